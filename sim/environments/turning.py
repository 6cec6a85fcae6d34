"""Linear losses whose gradient variation V_T is given: what optimism is paid by."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import asin, sqrt

import numpy as np

from sim.environments.base import Environment, Episode, Slopes, check, random_directions
from sim.environments.stationary import Circle
from theory.domain import Ball
from theory.loss import Linear, Loss
from theory.problem import Problem


@dataclass(frozen=True)
class Turning(Environment):
    """f_t(x) = ⟨g_t, x⟩, ‖g_t‖ = 1: g_t turns on a great circle by a chord of length √(V/(T − 1)) a round.

    V_T = Σ_{t≥2} ‖g_t − g_{t−1}‖² is ``variation``, exactly. Comparator: the best fixed decision in hindsight.
    """

    variation: float = 4.0
    horizon: int = 2000
    dimension: int = 8
    radius: float = 1.0

    def __post_init__(self):
        most = 4.0 * (self.horizon - 1)
        check(
            self,
            horizon=(self.horizon, self.horizon >= 2, "must be at least 2 rounds"),
            dimension=(self.dimension, self.dimension >= 2, "must be at least 2: to turn takes a plane"),
            variation=(self.variation, 0 <= self.variation <= most, f"must lie in [0, 4·(rounds − 1) = {most:g}]"),
        )

    @property
    def problem(self) -> Problem:
        return Problem(Ball(self.radius), self.dimension, self.horizon, 1.0)

    def start(self, seeds: int, rng: np.random.Generator) -> "TurningEpisode":
        first, second = random_directions(2, seeds, self.dimension, rng)
        angle = 2 * asin(sqrt(self.variation / (self.horizon - 1)) / 2)
        return TurningEpisode(Circle(1.0, first, second, angle), self.horizon, self.radius)


class TurningEpisode(Episode):
    """A first pass over the slopes finds the comparator."""

    def __init__(self, track: Circle, horizon: int, radius: float):
        self.track, self.horizon = track, horizon
        total = sum(slope.sum(axis=0) for slope in track.walk(horizon, 1000))
        norm = np.linalg.norm(total, axis=-1, keepdims=True)
        self.best = -radius * total / np.where(norm > 0, norm, 1.0)

    def chunks(self, size: int) -> Iterator[Slopes]:
        for slope in self.track.walk(self.horizon, size):
            yield Slopes(np.broadcast_to(self.best, slope.shape), slope)

    def loss(self, revealed: Slopes) -> Loss:
        return Linear(revealed.slope)
