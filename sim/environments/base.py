"""What an environment is: it holds the truth, produces losses, and is never handed to a learner.

An ``Environment`` is a frozen description; ``start`` draws one ``Episode`` for many independent copies (seeds) at once.
An episode yields what was drawn in chunks of rounds, arrays ``[rounds, seeds, ...]``, and makes of a round's numbers
its loss. Nothing in it changes while it is played: asked again, it draws the same, in chunks of whatever size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from theory.arrays import Array
from theory.loss import Linear, Loss
from theory.problem import Problem

Drawn = Any
"""A NamedTuple of arrays ``[rounds, seeds, ...]``, or of one round ``[seeds, ...]``; ``comparator`` is among them."""


class Statement(NamedTuple):
    """What a run must satisfy: ``measured`` on the right side of ``limit``, both ``[rounds, seeds]``."""

    name: str
    measured: np.ndarray
    limit: np.ndarray
    at_least: bool = False
    in_expectation: bool = False
    """Whether it is about the mean over the copies. Chance may break it, so it is shown and not counted."""


class Episode(ABC):
    """One draw of the truth for ``seeds`` copies.

    Attributes:
        adaptive: whether losses depend on decisions, so that comparators are known only when all is played.
        traceable: whether ``reveal``, ``loss`` and ``floor`` may run on arrays whose values are not known.
        watches: whether ``watch`` measures anything.
    """

    adaptive: ClassVar[bool] = False
    traceable: ClassVar[bool] = True
    watches: ClassVar[bool] = False

    @abstractmethod
    def chunks(self, size: int) -> Iterator[Drawn]:
        """What was drawn, in order, at most ``size`` rounds at a time; the same every time, whatever the size."""

    @abstractmethod
    def loss(self, revealed: Drawn) -> Loss:
        """f_t of one round or of many at once: parameters with the leading axes of ``revealed``. Pure."""

    def begin(self, x_1: np.ndarray) -> Any:
        """What an adaptive environment remembers of plays of the shape of ``x_1``, before round 1: a NamedTuple of
        arrays, or ()."""
        return ()

    def reveal(self, memory: Any, drawn: Drawn, x_t: Array) -> tuple[Any, Drawn]:
        """One round, once ``x_t`` ``[..., d]`` is played: the memory after it, and what makes its loss. Pure."""
        return memory, drawn

    def floor(self, revealed: Drawn) -> Array | None:
        """A lower bound of the losses over R^d, one number a round and copy; None if there is none (linear losses)."""
        return None

    def in_hindsight(self, revealed: Iterable[Drawn]) -> "Episode":
        """Of an adaptive episode, after a play: the same with its comparators, of the chunks that were revealed."""
        return self

    def watch(self, memory: Any, revealed: Drawn, x: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
        """Further measurements of a chunk, sums up to each round ``[rounds, seeds]``; ``memory`` is None at first.

        Args:
            memory: what the last call returned.
            revealed: of the chunk.
            x: the plays ``[rounds, seeds, d]``.
        """
        return memory, {}

    def statements(
        self, rounds: np.ndarray, columns: dict[str, np.ndarray], guarantee: float | None
    ) -> list[Statement]:
        """Bounds of this environment's own on its further measurements, of a chunk.

        Args:
            rounds: t ``[rounds]``, counted from 1.
            columns: every cumulative column of the chunk, ``[rounds, seeds]``.
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

    @property
    def width(self) -> int:
        """Numbers drawn a round and copy, about: what decides how many rounds are drawn at once."""
        return 2 * self.problem.dimension


class DrawnEpisode(Episode):
    """An episode that draws its rounds one after another from one generator.

    Args:
        horizon: T.
        rng: the generator as it stands before round 1; a copy of it draws.
    """

    def __init__(self, horizon: int, rng: np.random.Generator):
        self.horizon, self._rng = horizon, deepcopy(rng)

    def chunks(self, size: int) -> Iterator[Drawn]:
        rng = deepcopy(self._rng)
        for first in range(0, self.horizon, size):
            yield self.draw(np.arange(first, min(first + size, self.horizon)), rng)

    @abstractmethod
    def draw(self, t: np.ndarray, rng: np.random.Generator) -> Drawn:
        """Rounds ``t`` ``[rounds]``, counted from 0 and in order: draw them one after another, from ``rng`` alone."""


class Slopes(NamedTuple):
    """Of linear losses: ``[rounds, seeds, d]`` twice."""

    comparator: np.ndarray
    slope: np.ndarray


@dataclass
class LinearEpisode(Episode):
    """Given slopes ``[T, seeds, d]`` and comparators ``[T, seeds, d]``."""

    slopes: np.ndarray
    comparators: np.ndarray

    def chunks(self, size: int) -> Iterator[Slopes]:
        for first in range(0, len(self.slopes), size):
            yield Slopes(self.comparators[first : first + size], self.slopes[first : first + size])

    def loss(self, revealed: Slopes) -> Loss:
        return Linear(revealed.slope)


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
