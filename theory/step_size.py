"""Step sizes: constants, schedules that read what was seen so far, and the geometric grids of the ensembles.

A learner's ``step_size`` is a number, a tuple with one number per expert (a new leading axis), or a schedule.
"""

from dataclasses import dataclass
from math import ceil, isfinite, log2, sqrt
from typing import Protocol

from theory.arrays import Array, namespace


class Schedule(Protocol):
    """A non-increasing η_t read from energy Σ_{s<t} ‖grad_s − hint_s‖² ``[...,1]``."""

    def at(self, energy: Array) -> Array: ...


@dataclass(frozen=True)
class SelfConfident:
    """η_t = diameter / √(4·gradient_bound² + Σ_{s<t}‖grad_s − hint_s‖²): optimism without tuning (‖hint‖ ≤ G)."""

    diameter: float
    gradient_bound: float

    def __post_init__(self):
        for name, value in (("diameter", self.diameter), ("gradient_bound", self.gradient_bound)):
            if not (value > 0 and isfinite(value)):
                raise ValueError(f"SelfConfident({name}={value!r}): must be positive and finite; bound the domain")

    def at(self, energy: Array) -> Array:
        return self.diameter / namespace(energy).sqrt(4.0 * self.gradient_bound**2 + energy)


StepSize = float | tuple[float, ...] | SelfConfident


def check(step_size: StepSize) -> None:
    """Refuse a step size that is not positive and finite.

    Raises:
        ValueError: with the value and the rule.
    """
    values = step_size if isinstance(step_size, tuple) else (step_size,)
    for value in values:
        if isinstance(value, int | float) and not (value > 0 and isfinite(value)):
            raise ValueError(f"step_size={step_size!r}: every step size must be positive and finite; got {value!r}")
        if not isinstance(value, int | float) and not hasattr(value, "at"):
            raise ValueError(
                f"step_size={step_size!r}: give a number, a tuple of numbers or a schedule with .at(energy)"
            )


def spread(step_size: StepSize, x_1: Array) -> Array:
    """x_1 ``[..., d]``, repeated along a new first axis when the step size is a tuple with one value per expert."""
    if not isinstance(step_size, tuple):
        return x_1
    return namespace(x_1).stack([x_1] * len(step_size))


def resolve(step_size: StepSize, energy: Array) -> Array | float:
    """η_t that broadcasts against the decision ``[..., d]``; ``energy`` is ``[..., 1]``."""
    if isinstance(step_size, tuple):
        column = namespace(energy).asarray(step_size, like=energy)
        return column.reshape((len(step_size),) + (1,) * (len(energy.shape) - 1))
    if isinstance(step_size, int | float):
        return step_size
    return step_size.at(energy)


def geometric(smallest: float, count: int, ratio: float = 2.0) -> tuple[float, ...]:
    """``count`` step sizes smallest, smallest·ratio, smallest·ratio², …"""
    return tuple(smallest * ratio**i for i in range(count))


def ader_grid(diameter: float, gradient_bound: float, horizon: int) -> tuple[float, ...]:
    """η_i = 2^{i−1}·(D/G)·√(7/(2T)), N = ⌈½log₂(1+4T/7)⌉+1 (Zhang, Lu & Zhou 2018, Eq. 8 and Theorem 3)."""
    count = ceil(0.5 * log2(1 + 4 * horizon / 7)) + 1
    return geometric(diameter / gradient_bound * sqrt(7 / (2 * horizon)), count)
