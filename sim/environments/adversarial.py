"""Constructions that force regret: the lower bound of THEORY section 3, and Hedge's bad case."""

from dataclasses import dataclass, field

import numpy as np

from sim.environments.base import Environment, Episode, LinearEpisode, check, unit
from sim.environments.experts import simplex_problem
from theory.domain import Ball
from theory.loss import Linear, Loss
from theory.problem import Problem


@dataclass(frozen=True)
class Adversarial(Environment):
    """Linear losses that force dynamic regret (G·D/2)·√(T·K) on any algorithm, exactly.

    T rounds in K equal segments, ball of diameter D around 0, d ≥ 3. Knowing x_t the adversary plays g_t of norm G,
    orthogonal to x_t and to the segment's running sum S. Hence ⟨g_t, x_t⟩ = 0 in every round, and by Pythagoras
    ‖S‖ = G·√(T/K) at the segment's end; the comparator u = −(D/2)·S/‖S‖ collects −(D/2)·G·√(T/K) in each of K segments.
    The learner's loss is 0 wherever it plays, so the identity needs only that g_t is chosen after x_t.
    P_T ≤ D·(K−1).
    """

    horizon: int = 2000
    dimension: int = 3
    segments: int = 1
    diameter: float = 2.0
    gradient_bound: float = 1.0

    def __post_init__(self):
        divides = self.segments >= 1 and self.horizon % self.segments == 0
        check(
            self,
            dimension=(self.dimension, self.dimension >= 3, "must be at least 3, to be orthogonal to two vectors"),
            segments=(self.segments, divides, f"must be a divisor of the horizon {self.horizon}"),
        )

    @property
    def problem(self) -> Problem:
        path_length = self.diameter * (self.segments - 1)
        ball = Ball(self.diameter / 2)
        return Problem(ball, self.dimension, self.horizon, self.gradient_bound, path_length=path_length)

    def start(self, seeds: int, rng: np.random.Generator) -> "AdversaryEpisode":
        shape = (self.horizon, seeds, self.dimension)
        return AdversaryEpisode(self, rng.standard_normal(shape), np.zeros(shape))


@dataclass
class AdversaryEpisode(Episode):
    """Raw random directions and the slopes chosen so far, both ``[T, seeds, d]``."""

    environment: Adversarial
    raw: np.ndarray
    slopes: np.ndarray
    segment_sum: np.ndarray = field(init=False)
    adaptive = True

    def loss(self, t: int, x_t: np.ndarray) -> Loss:
        if t % (self.environment.horizon // self.environment.segments) == 0:
            self.segment_sum = np.zeros_like(self.slopes[0])
        self.slopes[t] = self.environment.gradient_bound * orthogonal(self.raw[t], x_t, self.segment_sum)
        self.segment_sum = self.segment_sum + self.slopes[t]
        return Linear(self.slopes[t])

    def comparator(self, t: int) -> np.ndarray:
        raise RuntimeError("an adaptive adversary's comparators are known in hindsight only; use in_hindsight()")

    def in_hindsight(self) -> LinearEpisode:
        rounds, seeds, dimension = self.slopes.shape
        segments = self.environment.segments
        sums = self.slopes.reshape(segments, rounds // segments, seeds, dimension).sum(axis=1)
        best = -0.5 * self.environment.diameter * unit(sums)
        return LinearEpisode(self.slopes, np.repeat(best, rounds // segments, axis=0))


def orthogonal(raw: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Unit vectors ``[seeds, d]``: ``raw`` without its components along ``others`` (zero vectors are no constraint)."""
    basis: list[np.ndarray] = []
    for vector in (*others, raw):
        norm = np.linalg.norm(vector, axis=-1, keepdims=True)
        vector = vector / np.where(norm > 0, norm, 1.0)
        for _ in range(3):  # again: one pass leaves components of rounding size, which nearly parallel vectors magnify
            for direction in basis:
                vector = vector - np.sum(vector * direction, axis=-1, keepdims=True) * direction
            norm = np.linalg.norm(vector, axis=-1, keepdims=True)
            vector = vector / np.where(norm > 1e-12, norm, np.inf)  # parallel to an earlier one: no new constraint
        basis.append(vector)
    assert np.all(np.linalg.norm(basis[-1], axis=-1) > 0.5), "the random direction lies in the span of the others"
    return basis[-1]


@dataclass(frozen=True)
class Alternating(Environment):
    """Two experts that take turns in losing until the last ``steady`` rounds, in which only one loses.

    While they alternate, Hedge pays a mixability gap every round and learns nothing; then it pays ln 2/ε more.
    Deterministic; copies differ in which expert begins.
    """

    horizon: int = 2000
    steady: int = 200

    def __post_init__(self):
        rule = f"must lie in [1, {self.horizon}) and leave an even number of rounds to alternate"
        holds = 1 <= self.steady < self.horizon and (self.horizon - self.steady) % 2 == 0
        check(self, steady=(self.steady, holds, rule))

    @property
    def problem(self) -> Problem:
        return simplex_problem(2, self.horizon)

    def start(self, seeds: int, rng: np.random.Generator) -> LinearEpisode:
        loser = np.arange(self.horizon) % 2
        loser[self.horizon - self.steady :] = 0
        loser = (loser[:, None] + rng.integers(2, size=seeds)) % 2
        losses = np.eye(2)[loser]
        best = np.broadcast_to(losses.sum(axis=0).argmin(axis=-1), loser.shape)
        return LinearEpisode(losses, np.eye(2)[best])
