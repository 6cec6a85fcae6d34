"""Many settings of one learner, played at once: the numbers in which they differ on an axis in front of the copies.

A field that is a plain number in every learner becomes an array ``[settings, 1, 1]``, which broadcasts against
decisions ``[settings, seeds, d]``. Whether a learner can be played so is not declared but tried.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sim.environments.base import Drawn, Episode
from theory import bounds
from theory.arrays import Array
from theory.learner import Learner
from theory.loss import Linear, Loss
from theory.problem import Problem

TRIED = 4
"""Rounds of the trial."""


class Differs(TypeError):
    """Learners differ in what is no number."""


def together(learners: Sequence[Learner], problem: Problem) -> Learner | None:
    """One learner that plays all of them, ``[settings, seeds, d]``; None where none plays and claims as each alone."""
    try:
        one = merged(learners)
        return one if _as_alone(one, learners, problem) else None
    except (TypeError, ValueError, AttributeError, IndexError):
        return None


def merged(values: Sequence[Any]) -> Any:
    """One value in place of many: themselves where they are equal, else an array, or a dataclass of such."""
    first = values[0]
    if all(type(value) is type(first) and value == first for value in values):
        return first
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values, dtype=float)[:, None, None]
    if not is_dataclass(first) or any(type(value) is not type(first) for value in values):
        raise Differs(f"{first!r} and {values[-1]!r} differ in more than a number")
    one = copy(first)
    for field in fields(first):
        object.__setattr__(one, field.name, merged([getattr(value, field.name) for value in values]))
    return one


def _as_alone(one: Learner, learners: Sequence[Learner], problem: Problem) -> bool:
    """Whether a short game has each learner's own plays and bounds."""
    rng = np.random.default_rng(0)
    x_1 = problem.domain.project(np.zeros((2, problem.dimension)))
    slopes = problem.gradient_bound * rng.uniform(-1, 1, (TRIED, 2, problem.dimension)) / problem.dimension**0.5
    whole = list(_plays(one, np.stack([x_1] * len(learners)), slopes, problem))
    for place, learner in enumerate(learners):
        for ours, (play, bound) in zip(whole, _plays(learner, x_1, slopes, problem), strict=True):
            if (bound is None) != (ours[1] is None) or not _close(ours[0][place], play):
                return False
            if bound is not None and not _close(np.broadcast_to(ours[1], (len(learners), 2))[place], bound):
                return False
    return True


def _plays(learner: Learner, x_1: np.ndarray, slopes: np.ndarray, problem: Problem) -> Iterator[tuple[Array, Any]]:
    state, energy = learner.init(x_1), bounds.comparator_energy(problem.diameter, np.ones(x_1.shape[:-1]))
    for slope in slopes:
        yield np.array(learner.predict(state)), learner.bound(state, energy)
        state = learner.update(state, Linear(slope))


def _close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


class Spread(Episode):
    """An oblivious episode for many settings: what was drawn has an axis of one in front of the copies."""

    def __init__(self, episode: Episode):
        self.episode = episode
        self.traceable, self.watches = episode.traceable, episode.watches  # pyright: ignore[reportAttributeAccessIssue]

    def chunks(self, size: int) -> Iterator[Drawn]:
        for drawn in self.episode.chunks(size):
            yield type(drawn)(*(part[:, None] for part in drawn))

    def loss(self, revealed: Drawn) -> Loss:
        return self.episode.loss(revealed)

    def floor(self, revealed: Drawn) -> Array | None:
        return self.episode.floor(revealed)
