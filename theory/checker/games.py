"""Games that are hard to play: constructions that make regret large, and the adversary nobody escapes.

Random losses cancel; what comes close to a bound is built. Slopes have norm at most 1 here and are
scaled by whoever plays them. Directions come from a basis whose first vector spans the domain's diameter.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf, isqrt
from typing import Self

import numpy as np

from theory.arrays import Array, namespace
from theory.domain import Box, Domain, Simplex
from theory.learner import Learner
from theory.loss import Linear, Loss, Quadratic


@dataclass(frozen=True)
class Game:
    """First decisions ``[copies, d]`` and slopes ``[T, copies, d]`` of the losses of one kind; also one copy alone."""

    x_1: np.ndarray
    slopes: np.ndarray
    quadratic: bool = False

    @property
    def kind(self) -> str:
        """Of its losses, as ``hindsight`` calls it."""
        return "quadratic" if self.quadratic else "linear"

    @property
    def losses(self) -> list[Loss]:
        """f_1 … f_T, linear or quadratic around the slopes."""
        return [Quadratic(slope) if self.quadratic else Linear(slope) for slope in self.slopes]

    @property
    def loss(self) -> Loss:
        """All rounds at once: takes ``[T, ..., d]``."""
        return Quadratic(self.slopes) if self.quadratic else Linear(self.slopes)

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Self:
        """The game with ``change`` applied to x_1 and to the slopes."""
        return replace(self, x_1=change(self.x_1), slopes=change(self.slopes))

    def copy(self, index: int) -> Self:
        """One copy alone: ``[d]`` and ``[T, d]``."""
        return replace(self, x_1=self.x_1[index], slopes=self.slopes[:, index])


def plays(learner: Learner, x_1: Array, losses: Sequence[Loss]) -> Array:
    """The decisions x_1 … x_T against given losses, ``[T, ..., d]``."""
    state, decisions = learner.init(deepcopy(x_1)), []
    for loss_t in losses:
        decisions.append(np.array(learner.predict(state)))
        state = learner.update(state, loss_t)
    return np.stack(decisions)


# Constructions


def basis(domain: Domain, dimension: int) -> np.ndarray:
    """Orthonormal directions ``[m, d]``, the first along a diameter; on the simplex those that keep the sum."""
    first = {Box: np.ones(dimension), Simplex: np.eye(dimension)[0] - np.eye(dimension)[-1]}
    along = first.get(type(domain), np.eye(dimension)[0])
    others = np.eye(dimension) - (1 / dimension if isinstance(domain, Simplex) else 0.0)
    found = [along / np.linalg.norm(along)]
    for other in others:
        for direction in found:
            other = other - (other @ direction) * direction
        if np.linalg.norm(other) > 1e-6:
            found.append(other / np.linalg.norm(other))
    return np.array(found)


def families(directions: np.ndarray, rounds: int) -> Iterator[tuple[str, np.ndarray]]:
    """(name, slopes ``[T, d]``) of every construction of that many rounds, norms at most 1, largest norm 1."""
    v, w = directions[0], directions[1 % len(directions)]
    t = np.arange(rounds)
    turns = np.where(t % 2 == 0, 1.0, -1.0)
    for name, signs in _signs(t, turns):
        yield name, signs[:, None] * v
    for out in (1, 2, 4):
        for back in sorted({1, rounds // 32, rounds // 8, rounds // 3} - {0}):
            if out + back < rounds:
                along = np.where(t < out, -1.0, np.where(t >= rounds - back, 1.0, 0.0))
                yield "away, across, back", along[:, None] * v + np.where(along == 0, turns, 0.0)[:, None] * w
    yield "orthogonal staircase", directions[t % len(directions)]
    yield "alternating staircase", turns[:, None] * directions[(t // 2) % len(directions)]
    for ratio in (2.0, 10.0):
        growing = ratio ** np.maximum(t - rounds + 1.0, -12.0)
        yield "growing", growing[:, None] * v
        yield "growing, alternating", (growing * turns)[:, None] * v
        cycle = ratio ** (t % 5 - min(rounds - 1, 4.0))
        yield "growing, leaders change", cycle[:, None] * directions[t % len(directions)]
    for giant in sorted({0, rounds // 2, rounds - 1}):
        yield "one giant", np.where(t == giant, 1.0, 1e-3 * turns)[:, None] * v
        yield "one giant across", np.where(t[:, None] == giant, w, 1e-3 * v)


def _signs(t: np.ndarray, turns: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Constructions along one line, as signs ``[T]``."""
    rounds = len(t)
    yield "constant", np.ones(rounds)
    yield "alternating", turns
    for end in sorted({1, isqrt(rounds) // 2, isqrt(rounds), 2 * isqrt(rounds), rounds // 4, rounds // 2} - {0}):
        yield "alternating, then constant", np.where(t < rounds - end, turns, 1.0)
        yield "alternating, then constant", np.where(t < rounds - end, -turns, 1.0)
        yield "constant, then alternating", np.where(t < end, 1.0, turns)
    for flip in sorted({rounds // 4, rounds // 2, 3 * rounds // 4, rounds - 1} - {0}):
        yield "one flip", np.where(t < flip, 1.0, -1.0)
    for segments in (2, 3, 5):
        length = max(rounds // segments, 1)
        here, side = t % length, np.where(t // length % 2 == 0, 1.0, -1.0)
        for end in sorted({isqrt(length) // 2, isqrt(length), isqrt(length) + 1} - {0}):
            if end < length:
                turning = (here < length - end) & (here % 2 == 1)
                yield "segments, alternating, then constant", np.where(turning, -side, side)
    for half in (3, 6):
        if 2 * half <= rounds:
            yield "square wave", np.where(t // half % 2 == 0, 1.0, -1.0)
    for segments in (3, 5, 8, isqrt(rounds)):
        if 2 < segments < rounds:
            yield f"{segments} segments", np.where(t * segments // rounds % 2 == 0, 1.0, -1.0)


# The lower bound


class Adversary:
    """Linear losses that force dynamic regret (G·D/2)·√(T·K) on any algorithm, exactly (``bounds.adversary_value``).

    T rounds in K equal segments, ball of diameter D around 0, d ≥ 3. Knowing x_t the adversary plays g_t of norm G,
    orthogonal to x_t and to the segment's running sum S. Hence ⟨g_t, x_t⟩ = 0 in every round, and by Pythagoras
    ‖S‖ = G·√(T/K) at the segment's end; the comparator u = −(D/2)·S/‖S‖ collects −(D/2)·G·√(T/K) in each of K segments.
    The learner's loss is 0 wherever it plays, so the identity needs only that g_t is chosen after x_t. P_T ≤ D(K−1).

    Args:
        raw: random directions ``[T, ..., d]``.
        segments: K, a divisor of T.
        gradient_bound: G.

    Raises:
        ValueError: for d < 3 or segments that do not divide the rounds.
    """

    def __init__(self, raw: np.ndarray, segments: int = 1, gradient_bound: float = 1.0):
        if raw.shape[-1] < 3 or segments < 1 or len(raw) % segments:
            raise ValueError(
                f"Adversary(raw of shape {raw.shape}, segments={segments!r}): the last axis must be at least 3, to be "
                "orthogonal to two vectors, and segments must divide the rounds"
            )
        self.raw, self.segments, self.gradient_bound = raw, segments, gradient_bound
        self.slopes = np.zeros_like(raw)
        self.running = np.zeros_like(raw[0])

    def slope(self, t: int, x_t: np.ndarray) -> np.ndarray:
        """g_t ``[..., d]`` against x_t ``[..., d]``; rounds in order, t from 0."""
        if t % (len(self.raw) // self.segments) == 0:
            self.running = np.zeros_like(self.raw[0])
        self.slopes[t] = self.gradient_bound * orthogonal(self.raw[t], x_t, self.running)
        self.running = self.running + self.slopes[t]
        return self.slopes[t]

    def comparators(self, diameter: float) -> np.ndarray:
        """u_t ``[T, ..., d]``, known in hindsight only."""
        length = len(self.slopes) // self.segments
        sums = self.slopes.reshape(self.segments, length, *self.slopes.shape[1:]).sum(axis=1)
        return np.repeat(-0.5 * diameter * sums / np.linalg.norm(sums, axis=-1, keepdims=True), length, axis=0)

    def against(self, learner: Learner, x_1: np.ndarray) -> np.ndarray:
        """Slopes ``[T, ..., d]`` of a whole game played by ``learner``."""
        state = learner.init(x_1)
        for t in range(len(self.raw)):
            state = learner.update(state, Linear(self.slope(t, learner.predict(state))))
        return self.slopes


def orthogonal(raw: Array, *others: Array) -> Array:
    """Unit vectors ``[..., d]``: ``raw`` without its components along ``others`` (zero vectors are no constraint).

    ``raw`` must not lie in the span of the others; a random direction does not.
    """
    xp = namespace(raw, *others)
    found: list[Array] = []
    for vector in (*others, raw):
        norm = xp.norm(vector)
        vector = vector / xp.where(norm > 0, norm, xp.ones_like(norm))
        for _ in range(3):  # again: one pass leaves components of rounding size, which nearly parallel vectors magnify
            for direction in found:
                vector = vector - xp.sum(vector * direction, axis=-1, keepdims=True) * direction
            norm = xp.norm(vector)
            vector = vector / xp.where(norm > 1e-12, norm, inf * xp.ones_like(norm))  # parallel to an earlier one
        found.append(vector)
    return found[-1]
