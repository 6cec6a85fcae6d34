"""Constructions that force regret: the lower bound of theory/README.md, and Hedge's bad case."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.environments.base import DrawnEpisode, Environment, check
from sim.environments.experts import BestExpert, simplex_problem
from theory.arrays import Array
from theory.checker.games import orthogonal
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
        return AdversaryEpisode(self, seeds, rng)


class Aimed(NamedTuple):
    """Of a round: the comparator, zero until it is known; a random direction, and once revealed the slope; whether a
    segment begins, 1 or 0."""

    comparator: np.ndarray
    slope: np.ndarray
    begins: np.ndarray


class Running(NamedTuple):
    """S, the sum of the segment's slopes ``[..., d]``."""

    total: Array


class AdversaryEpisode(DrawnEpisode):
    """The adversary at play. ``comparators`` ``[segments, seeds, d]`` are known in hindsight."""

    adaptive = True

    def __init__(self, environment: Adversarial, seeds: int, rng: np.random.Generator):
        super().__init__(environment.horizon, rng)
        self.environment, self.seeds = environment, seeds
        self.comparators = np.zeros((environment.segments, seeds, environment.dimension))

    @property
    def _length(self) -> int:
        return self.environment.horizon // self.environment.segments

    def draw(self, t: np.ndarray, rng: np.random.Generator) -> Aimed:
        raw = rng.standard_normal((len(t), self.seeds, self.environment.dimension))
        begins = np.broadcast_to((t % self._length == 0)[:, None, None], (*raw.shape[:2], 1))
        return Aimed(self.comparators[t // self._length], raw, begins.astype(float))

    def begin(self, x_1: np.ndarray) -> Running:
        return Running(np.zeros_like(x_1))

    def reveal(self, memory: Running, drawn: Aimed, x_t: Array) -> tuple[Running, Aimed]:
        before = (1.0 - drawn.begins) * memory.total
        slope = self.environment.gradient_bound * orthogonal(drawn.slope, x_t, before)
        return Running(before + slope), drawn._replace(slope=slope)

    def loss(self, revealed: Aimed) -> Loss:
        return Linear(revealed.slope)

    def in_hindsight(self, revealed: Iterable[Aimed]) -> "AdversaryEpisode":
        """u_t of every segment points against the sum of its slopes, on the sphere."""
        sums, first = np.zeros_like(self.comparators), 0
        for chunk in revealed:
            np.add.at(sums, (first + np.arange(len(chunk.slope))) // self._length, chunk.slope)
            first += len(chunk.slope)
        known = AdversaryEpisode(self.environment, self.seeds, self._rng)
        known.comparators = -0.5 * self.environment.diameter * sums / np.linalg.norm(sums, axis=-1, keepdims=True)
        return known


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

    def start(self, seeds: int, rng: np.random.Generator) -> "AlternatingEpisode":
        return AlternatingEpisode(self, seeds, rng)


class AlternatingEpisode(BestExpert):
    """Nothing is drawn but who begins."""

    def __init__(self, environment: Alternating, seeds: int, rng: np.random.Generator):
        self.environment, self.first = environment, rng.integers(2, size=seeds)
        super().__init__(environment.horizon, rng)
        self.find()

    def losses(self, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        loser = np.where(t < self.horizon - self.environment.steady, t % 2, 0)
        return np.eye(2)[(loser[:, None] + self.first) % 2]
