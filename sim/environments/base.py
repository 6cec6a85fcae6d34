"""What an environment is: it holds the truth, produces losses, and is never handed to a learner.

An ``Environment`` is a frozen description; ``start`` draws one ``Episode`` for many independent copies (seeds) at once,
copies on the leading axis, round t = 0 … T−1. The simulator asks an episode for the loss after the learner has played.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from theory.loss import Linear, Loss
from theory.problem import Problem


class Statement(NamedTuple):
    """What a run must satisfy: ``measured`` on the right side of ``limit``, both ``[rounds, seeds]``."""

    name: str
    measured: np.ndarray
    limit: np.ndarray
    at_least: bool = False
    in_expectation: bool = False
    """Whether it is about the mean over the copies. Chance may break it, so it is shown and not counted."""


class Episode(ABC):
    """One draw of the truth for ``seeds`` copies."""

    adaptive: bool = False
    """Whether the losses depend on the decisions, so that comparators are known only when all is played."""

    @abstractmethod
    def loss(self, t: int, x_t: np.ndarray) -> Loss:
        """f_t with parameters ``[seeds, ...]``, revealed after ``x_t`` ``[seeds, d]`` was played."""

    @abstractmethod
    def comparator(self, t: int) -> np.ndarray:
        """u_t ``[seeds, d]``."""

    def floor(self, t: int) -> np.ndarray | None:
        """A lower bound of f_t over R^d, ``[seeds]``, or None if there is none (linear losses)."""
        return None

    def in_hindsight(self) -> "Episode":
        """After a play: an oblivious episode with the same losses, whose comparators are known from the start."""
        return self

    def columns(self) -> dict[str, np.ndarray]:
        """Further cumulative measurements ``[T, seeds]``, after the play."""
        return {}

    def statements(self, columns: dict[str, np.ndarray], guarantee: float | None) -> list[Statement]:
        """Bounds of this environment's own on its further measurements, after the play.

        Args:
            columns: every cumulative column measured, ``[T, seeds]``.
            guarantee: the learner's a priori bound on the dynamic regret, or None.
        """
        return []


@dataclass(frozen=True)
class Environment(ABC):
    """A frozen dataclass; ``problem`` holds the constants that bounds and tuned learners may use."""

    @property
    @abstractmethod
    def problem(self) -> Problem: ...

    @abstractmethod
    def start(self, seeds: int, rng: np.random.Generator) -> Episode:
        """Draw the truth for ``seeds`` independent copies."""


@dataclass
class LinearEpisode(Episode):
    """Given slopes ``[T, seeds, d]`` and comparators ``[T, seeds, d]``."""

    slopes: np.ndarray
    comparators: np.ndarray

    def loss(self, t: int, x_t: np.ndarray) -> Loss:
        return Linear(self.slopes[t])

    def comparator(self, t: int) -> np.ndarray:
        return self.comparators[t]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to norm 1 along the last axis."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_directions(count: int, seeds: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors ``[count, seeds, dimension]``, uniform, each orthogonal to the one before it."""
    directions = rng.standard_normal((count, seeds, dimension))
    directions[0] = unit(directions[0])
    for previous, current in pairwise(directions):
        for _ in range(2):  # twice: the first pass leaves a component of rounding size
            current -= np.sum(current * previous, axis=-1, keepdims=True) * previous
        current[:] = unit(current)
    return directions


def check(owner: object, **rules: tuple[object, bool, str]) -> None:
    """Refuse arguments that break their rule: ``name=(value, holds, "the rule and the remedy")``.

    Raises:
        ValueError: naming class, argument, value, rule and remedy.
    """
    for name, (value, holds, rule) in rules.items():
        if not holds:
            raise ValueError(f"{type(owner).__name__}({name}={value!r}): {rule}")
