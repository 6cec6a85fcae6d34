"""A truth that stays where it is; and the Path protocol of truths that move."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Path(Protocol):
    """How the best decision moves on the sphere of radius ``reach`` in T rounds."""

    def directions(self, horizon: int) -> int:
        """How many unit vectors the path needs, each orthogonal to the one before it."""
        ...

    def length(self, horizon: int, reach: float) -> float:
        """Path length P_T = Σ_{t≥2} ‖u_t − u_{t−1}‖, exact; raises ValueError where it cannot be had."""
        ...

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> "Track":
        """The path itself, for unit vectors ``[count, seeds, d]``."""
        ...


class Track(Protocol):
    """One drawn path."""

    def at(self, t: np.ndarray) -> np.ndarray:
        """u_t ``[rounds, seeds, d]`` of the rounds ``t`` ``[rounds]``, counted from 0."""
        ...


@dataclass(frozen=True)
class Stationary:
    """u_t = u: path length 0."""

    def directions(self, horizon: int) -> int:
        return 1

    def length(self, horizon: int, reach: float) -> float:
        return 0.0

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> "Circle":
        return Circle(reach, directions[0], 0.0 * directions[0], 0.0)


STATIONARY = Stationary()


@dataclass(frozen=True)
class Circle:
    """u_t = reach · (cos(t·angle)·first + sin(t·angle)·second): steps are chords of 2·reach·sin(angle/2)."""

    reach: float
    first: np.ndarray
    second: np.ndarray
    angle: float

    def at(self, t: np.ndarray) -> np.ndarray:
        turned = (t * self.angle)[:, None, None]
        return self.reach * (np.cos(turned) * self.first + np.sin(turned) * self.second)
