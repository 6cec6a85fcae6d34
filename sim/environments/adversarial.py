"""Constructions that force regret: the lower bound of theory/README.md, and Hedge's bad case."""

from dataclasses import dataclass

import numpy as np

from sim.environments.base import Environment, Episode, LinearEpisode, check
from sim.environments.experts import simplex_problem
from theory.checker.games import Adversary
from theory.domain import Ball
from theory.loss import Linear, Loss
from theory.problem import Problem


@dataclass(frozen=True)
class Adversarial(Environment):
    """Linear losses that force dynamic regret (G·D/2)·√(T·K) on any algorithm, exactly.

    ``theory.checker.games.Adversary`` says how and why; d ≥ 3, K equal segments, P_T ≤ D·(K−1).
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
        raw = rng.standard_normal(shape)
        return AdversaryEpisode(Adversary(raw, self.segments, self.gradient_bound), self.diameter)


@dataclass
class AdversaryEpisode(Episode):
    """The adversary at play; its slopes ``[T, seeds, d]`` grow round by round."""

    adversary: Adversary
    diameter: float
    adaptive = True

    def loss(self, t: int, x_t: np.ndarray) -> Loss:
        return Linear(self.adversary.slope(t, x_t))

    def comparator(self, t: int) -> np.ndarray:
        raise RuntimeError("an adaptive adversary's comparators are known in hindsight only; use in_hindsight()")

    def in_hindsight(self) -> LinearEpisode:
        return LinearEpisode(self.adversary.slopes, self.adversary.comparators(self.diameter))


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
