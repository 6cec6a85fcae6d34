"""Truths that move a little every round: drift with a given total path length, and rotation with a given period."""

from dataclasses import dataclass
from math import asin, pi, sin

import numpy as np

from sim.environments.base import check
from sim.environments.stationary import Circle


@dataclass(frozen=True)
class Drift:
    """Equal steps along a great circle; Σ‖u_t − u_{t−1}‖ = ``path_length``, exactly.

    Each of the T−1 steps is a chord of length s = P/(T−1), so the angle is 2·asin(s/(2·reach)).
    """

    path_length: float

    def __post_init__(self):
        rule = "must be 0 or more; 0 is Stationary"
        check(self, path_length=(self.path_length, self.path_length >= 0, rule))

    def directions(self, horizon: int) -> int:
        return 2

    def length(self, horizon: int, reach: float) -> float:
        rule = f"{horizon} rounds on a sphere of radius {reach} allow at most 2·radius·(rounds − 1); shorten it"
        check(self, path_length=(self.path_length, self.path_length <= 2 * reach * (horizon - 1), rule))
        return float(self.path_length)

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> Circle:
        step = self.length(horizon, reach) / max(horizon - 1, 1)
        return Circle(reach, directions[0], directions[1], 2 * asin(step / (2 * reach)))


@dataclass(frozen=True)
class Periodic:
    """The truth returns every ``period`` rounds."""

    period: int

    def __post_init__(self):
        check(self, period=(self.period, self.period >= 2, "must be at least 2 rounds"))

    def directions(self, horizon: int) -> int:
        return 2

    def length(self, horizon: int, reach: float) -> float:
        return (horizon - 1) * 2 * reach * sin(pi / self.period)

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> Circle:
        return Circle(reach, directions[0], directions[1], 2 * pi / self.period)
