"""A truth that stays where it is; and the Path protocol of truths that move."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
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

    def walk(self, horizon: int, size: int) -> Iterator[np.ndarray]:
        """u_t ``[rounds, seeds, d]`` of all rounds in order, at most ``size`` at a time; the same every time."""
        ...


class Known(ABC):
    """A path whose every place is known from the start."""

    @abstractmethod
    def at(self, t: np.ndarray) -> np.ndarray:
        """u_t ``[rounds, seeds, d]`` of the rounds ``t`` ``[rounds]``, counted from 0."""

    def walk(self, horizon: int, size: int) -> Iterator[np.ndarray]:
        """As in ``Track``."""
        for first in range(0, horizon, size):
            yield self.at(np.arange(first, min(first + size, horizon)))


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
class Circle(Known):
    """u_t = reach · (cos(t·angle)·first + sin(t·angle)·second): steps are chords of 2·reach·sin(angle/2)."""

    reach: float
    first: np.ndarray
    second: np.ndarray
    angle: float

    def at(self, t: np.ndarray) -> np.ndarray:
        turned = (t * self.angle)[:, None, None]
        return self.reach * (np.cos(turned) * self.first + np.sin(turned) * self.second)
