"""Truths that move a little every round: drift of a given path length, rotation of a given period, a random walk."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import asin, cos, pi, sin

import numpy as np

from sim.environments.base import check, unit
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


@dataclass(frozen=True)
class RandomWalk:
    """Every step is a chord of length ``step`` in a direction of its own, uniform: P_T = (T − 1)·step, exactly."""

    step: float

    def __post_init__(self):
        check(self, step=(self.step, self.step > 0, "must be positive; 0 is Stationary"))

    def directions(self, horizon: int) -> int:
        return 1

    def length(self, horizon: int, reach: float) -> float:
        check(
            self, step=(self.step, self.step <= 2 * reach, f"on a sphere of radius {reach} at most 2·radius; lower it")
        )
        return (horizon - 1) * self.step

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> "Walking":
        self.length(horizon, reach)
        return Walking(reach, directions[0], 2 * asin(self.step / (2 * reach)), rng.spawn(1)[0])


@dataclass(frozen=True)
class Walking:
    """u_{t+1} = reach · (cos(angle)·u_t/reach + sin(angle)·v), v a random unit vector orthogonal to u_t."""

    reach: float
    first: np.ndarray
    angle: float
    rng: np.random.Generator

    def walk(self, horizon: int, size: int) -> Iterator[np.ndarray]:
        """As in ``Track``."""
        rng, place, begun = deepcopy(self.rng), self.first, 0
        while begun < horizon:
            count = min(size, horizon - begun)
            path = np.empty((count, *place.shape))
            for i, direction in enumerate(rng.standard_normal(path.shape)):
                if begun + i:
                    aside = unit(direction - np.sum(direction * place, axis=-1, keepdims=True) * place)
                    place = unit(cos(self.angle) * place + sin(self.angle) * aside)
                path[i] = place
            begun += count
            yield self.reach * path
