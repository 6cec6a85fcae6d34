"""The one loop: predict, reveal, update, measure. Run by numpy, or traced by jax: the same functions.

``one_round`` is all that has to wait for the round before; ``measure`` works on one round or on a chunk of them. The
numpy engine plays a chunk round by round and measures it at once. The traced engine plays and measures every round
inside one compiled function, under ``jax.lax.scan``. With either, memory does not depend on the horizon.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sim.environments.base import Drawn, Episode
from theory import bounds
from theory.arrays import Array, namespace
from theory.learner import Learner, State, one_decision
from theory.problem import Problem
from theory.runs.extras import needs

ENGINES = ("numpy", "jax")
CHUNK = 2**21
"""Numbers held at once, about: 16 MB of float64."""
FEASIBLE = 1e-6
"""How far outside its domain a play may be by rounding."""


class Carry(NamedTuple):
    """What one round hands to the next."""

    state: State  # the learner's
    memory: Any  # the environment's
    comparator: Array  # u_{t−1}
    path_length: Array  # [seeds]
    energy: Array  # [seeds], or [bases, seeds]: the sharp comparator energy


class Played(NamedTuple):
    """What a round, or a chunk, leaves behind; None where there is none."""

    x: Array  # [..., d]
    revealed: Drawn | None  # where it is not what was drawn: the environment is adaptive
    hint: Array | None
    path_length: Array
    bound: Array | None
    certificate: Array | None


class Measured(NamedTuple):
    """Of a round, one number a copy; None where there is none."""

    regret: Array  # f_t(x_t) − f_t(u_t)
    gradient_energy: Array  # ‖∇f_t(x_t)‖²
    comparator_loss: Array | None  # f_t(u_t), less the floor
    hint_error: Array | None  # ‖∇f_t(x_t) − hint_t‖²
    inside: Array  # whether x_t lies in the domain


class Game(NamedTuple):
    """Who plays what.

    Attributes:
        claims: whether the learner's bound is asked for; sharp: also with the sharp energy.
    """

    learner: Learner
    episode: Episode
    problem: Problem
    claims: bool = False
    sharp: bool = False

    def begin(self, x_1: np.ndarray, first: Drawn) -> Carry:
        """Before round 1, whose drawn numbers are ``first``."""
        state = self.learner.init(x_1)
        anchor = self.learner.anchor(state)
        gap = np.sum(((x_1 if anchor is None else anchor) - first.comparator) ** 2, axis=-1)
        return Carry(state, self.episode.begin(x_1), first.comparator, np.zeros(x_1.shape[:-1]), gap)

    def one_round(self, carry: Carry, drawn: Drawn) -> tuple[Carry, Played]:
        """Predict, reveal, update: the learner sees losses only, each after it has played."""
        learner, before, u_t = self.learner, carry.state, drawn.comparator
        x_t, copies = learner.predict(before), carry.path_length.shape
        one_decision(learner, getattr(x_t, "shape", ()), (*copies, self.problem.dimension))
        x_t = 1.0 * x_t  # a copy: what is played stays played, whatever update writes
        memory, revealed = self.episode.reveal(carry.memory, drawn, x_t)
        hint, energy, bound, certificate = learner.own_hint(before), carry.energy, None, None
        if self.sharp:
            anchor = learner.anchor(before)
            energy = energy + _further(x_t if anchor is None else anchor, u_t, carry.comparator)
        path_length = carry.path_length + namespace(u_t).norm(u_t - carry.comparator)[..., 0]
        after = learner.update(before, self.episode.loss(revealed))
        if self.claims:
            bound = learner.bound(after, bounds.comparator_energy(self.problem.diameter, path_length))
            certificate = learner.bound(after, energy) if self.sharp and bound is not None else None
        played = Played(x_t, revealed if self.episode.adaptive else None, hint, path_length, bound, certificate)
        return Carry(after, memory, u_t, path_length, energy), played

    def measure(self, played: Played, drawn: Drawn) -> Measured:
        """One round, or many in front of the other axes."""
        revealed = drawn if played.revealed is None else played.revealed
        xp, losses = namespace(played.x), self.episode.loss(revealed)
        value, grad = losses.value_and_grad(played.x)
        compared, floor = losses.value(drawn.comparator), self.episode.floor(revealed)
        return Measured(
            value - compared,
            xp.sum(grad * grad, axis=-1),
            None if floor is None else compared - floor + 0.0 * value,
            None if played.hint is None else xp.sum((grad - played.hint) ** 2, axis=-1),
            self.problem.domain.contains(played.x, FEASIBLE),
        )


def _further(anchor: Array, u_t: Array, before: Array) -> Array:
    """What a round adds to the sharp energy, ‖x_t−u_t‖² − ‖x_t−u_{t−1}‖² (``bounds.comparator_energy_sharp``)."""
    xp = namespace(anchor)
    return xp.sum((anchor - u_t) ** 2, axis=-1) - xp.sum((anchor - before) ** 2, axis=-1)


class Chunk(NamedTuple):
    """Rounds that were played and measured, in front of all other axes; arrays are numpy's."""

    rounds: np.ndarray
    """t ``[rounds]``, counted from 1."""
    drawn: Drawn
    played: Played
    measured: Any
    """``Measured``; None of a bare game."""

    @property
    def revealed(self) -> Drawn:
        """What makes the losses."""
        return self.drawn if self.played.revealed is None else self.played.revealed

    def of_setting(self, place: int) -> "Chunk":
        """One of several settings, whose axis stands behind that of the rounds."""
        played, measured = (
            type(part)(*(None if column is None else column[:, place] for column in part))
            for part in (self.played, self.measured)
        )
        drawn = type(self.drawn)(*(part[:, 0] for part in self.drawn))
        return Chunk(self.rounds, drawn, played, measured)


Advance = Callable[[Carry, Drawn], tuple[Carry, Played, Measured | None]]


def play(game: Game, x_1: np.ndarray, size: int, engine: str = "numpy", bare: bool = False) -> Iterator[Chunk]:
    """Play all rounds, chunk by chunk of at most ``size``; ``bare`` measures nothing.

    The plays of a traced game are kept only where the environment watches them; else ``played.x`` is None.

    Raises:
        ValueError: for an engine that is not there, or one that cannot run the learner or the environment.
        ModuleNotFoundError: where jax is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    with nullcontext() if engine == "numpy" else _double_precision(game):
        advance = _by_numpy(game, bare) if engine == "numpy" else _traced(game, bare)
        carry, ended = None, 0
        for drawn in game.episode.chunks(size):
            carry = game.begin(x_1, round_of(drawn, 0)) if carry is None else carry
            carry, played, measured = advance(carry, drawn)
            rounds = np.arange(ended + 1, ended + 1 + len(drawn.comparator))
            ended += len(rounds)
            yield Chunk(rounds, drawn, played, measured)


def round_of(drawn: Drawn, i: int) -> Drawn:
    """The numbers of one round of a chunk."""
    return type(drawn)(*(part[i] for part in drawn))


def _by_numpy(game: Game, bare: bool) -> Advance:
    def advance(carry: Carry, drawn: Drawn) -> tuple[Carry, Played, Measured | None]:
        rounds = []
        for i in range(len(drawn.comparator)):
            carry, played = game.one_round(carry, round_of(drawn, i))
            rounds.append(played)
        played = _stacked(rounds)
        return carry, played, None if bare else game.measure(played, drawn)

    return advance


def _stacked(parts: Any) -> Any:
    """Rounds as one chunk: arrays, or tuples of them, or None."""
    if isinstance(parts[0], tuple):
        return type(parts[0])(*map(_stacked, zip(*parts, strict=True)))
    return None if parts[0] is None else np.stack(parts)


def _traced(game: Game, bare: bool) -> Advance:
    import jax

    try:
        compiled = _compiled(game, bare)
    except TypeError:  # many settings at once: arrays have no hash
        compiled = _compiled.__wrapped__(game, bare)

    def advance(carry: Carry, drawn: Drawn) -> tuple[Carry, Played, Measured | None]:
        carry, found = compiled(jax.tree.map(jax.numpy.asarray, carry), drawn)
        return carry, *jax.tree.map(np.asarray, found)

    return advance


@lru_cache(maxsize=4)
def _compiled(game: Game, bare: bool) -> Callable[[Carry, Drawn], tuple[Carry, tuple[Played, Measured | None]]]:
    """A chunk in one function, compiled once for every length; a game that is played again has it already."""
    import jax

    def both(carry: Carry, drawn: Drawn) -> tuple[Carry, tuple[Played, Measured | None]]:
        after, played = game.one_round(carry, drawn)
        measured = None if bare else game.measure(played, drawn)
        return after, (played if game.episode.watches else played._replace(x=None), measured)

    return jax.jit(lambda carry, drawn: jax.lax.scan(both, carry, drawn))


def _double_precision(game: Game) -> Any:
    """A context in which jax counts in float64, once it is clear that jax can run this."""
    for what, able in ((game.learner, game.learner.traceable), (game.episode, game.episode.traceable)):
        if not able:
            raise ValueError(f"engine='jax': {what!r} is not traceable, a compiler cannot run it; take engine='numpy'")
    try:
        import jax
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(needs("engine='jax'", "jax"), name="jax") from missing
    return jax.enable_x64(True)
