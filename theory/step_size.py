"""Step sizes: constants, schedules that read what was seen so far, and the geometric grids of the ensembles.

A learner's ``step_size`` is a number, a tuple with one number per expert (a new leading axis), or a schedule.
"""

from dataclasses import dataclass
from math import ceil, inf, isfinite, log2, sqrt
from typing import ClassVar, Protocol

from theory import require
from theory.arrays import Array, namespace


class Schedule(Protocol):
    """A non-increasing η_t read from energy Σ_{s<t} ‖grad_s − hint_s‖² ``[...,1]``: known before x_t is played."""

    def at(self, energy: Array) -> Array: ...


class Correction(Protocol):
    """A non-increasing η_t read from Σ_{s≤t} ‖grad_s‖² and t, each ``[...,1]``: fits only the step after grad_t."""

    inclusive: ClassVar[bool] = True

    def at(self, energy: Array, rounds: Array) -> Array: ...


BOUND_IT = "on an unbounded domain give a number instead"


@dataclass(frozen=True)
class SelfConfident:
    """η_t = diameter / √(4·gradient_bound² + Σ_{s<t}‖grad_s − hint_s‖²): optimism without tuning (‖hint‖ ≤ G)."""

    diameter: float
    gradient_bound: float

    def __post_init__(self):
        require.positive(self, BOUND_IT, diameter=self.diameter, gradient_bound=self.gradient_bound)

    def at(self, energy: Array) -> Array:
        return self.diameter / namespace(energy).sqrt(4.0 * self.gradient_bound**2 + energy)


@dataclass(frozen=True)
class InverseSqrt:
    """η_t = diameter / (gradient_bound·√t): no horizon needed (Zinkevich 2003, Theorem 1)."""

    diameter: float
    gradient_bound: float
    inclusive: ClassVar[bool] = True

    def __post_init__(self):
        require.positive(self, BOUND_IT, diameter=self.diameter, gradient_bound=self.gradient_bound)

    def at(self, energy: Array, rounds: Array) -> Array:
        xp = namespace(rounds)
        return self.diameter / (self.gradient_bound * xp.sqrt(xp.maximum(rounds, 1.0)))


@dataclass(frozen=True)
class AdaGradNorm:
    """η_t = diameter / √(Σ_{s≤t}‖grad_s‖²): neither horizon nor G (Streeter & McMahan 2010; Duchi et al. 2011).

    The sum includes grad_t. Without it Σ η_t‖grad_t‖², and with it ``bounds.proximal``, would have no limit: a large
    gradient after tiny ones would meet a long step. While every gradient is 0, η is ``diameter`` and moves nothing.
    """

    diameter: float
    inclusive: ClassVar[bool] = True

    def __post_init__(self):
        require.positive(self, BOUND_IT, diameter=self.diameter)

    def at(self, energy: Array, rounds: Array) -> Array:
        xp = namespace(energy)
        return self.diameter / xp.sqrt(xp.where(energy > 0, energy, xp.ones_like(energy)))


StepSize = float | tuple[float, ...] | SelfConfident | InverseSqrt | AdaGradNorm


def small_loss(smoothness: float) -> float:
    """1/(2L): what the small-loss bounds want, and all they need to know.

    Raises:
        ValueError: for losses whose smoothness is unknown or 0.
    """
    if not (smoothness and smoothness > 0):
        raise ValueError(f"small_loss(smoothness={smoothness!r}): the losses must be L-smooth with a known L > 0")
    return 0.5 / smoothness


def check(step_size: StepSize, schedules: bool = True, inclusive: bool = False) -> None:
    """Refuse a step size that is not positive and finite, or a schedule that the learner cannot follow.

    Args:
        step_size: a learner's field.
        schedules: whether the learner keeps the energy that schedules read.
        inclusive: whether it needs η_t only once grad_t is known.

    Raises:
        ValueError: with the value and the rule.
    """
    if hasattr(step_size, "at") and not schedules:
        raise ValueError(f"step_size={step_size!r}: this learner follows no schedule; give a number or a tuple of them")
    if getattr(step_size, "inclusive", False) and not inclusive:
        raise ValueError(
            f"step_size={step_size!r}: this schedule reads grad_t, which is not known when this learner needs η_t; "
            "give a number, a tuple of numbers or SelfConfident, or use OGD"
        )
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
    return step_size.at(energy) if hasattr(step_size, "at") else step_size  # pyright: ignore


def correction(step_size: StepSize, before: Array, after: Array, rounds: Array) -> Array | float:
    """η_t of a step made once grad_t is known: ``inclusive`` schedules count grad_t, all others are ``resolve``d.

    ``before`` is Σ_{s<t}‖grad_s‖², ``after`` Σ_{s≤t}‖grad_s‖², ``rounds`` t, each ``[..., 1]``.
    """
    if getattr(step_size, "inclusive", False):
        return step_size.at(after, rounds)  # pyright: ignore
    return resolve(step_size, before)


def geometric(smallest: float, count: int, ratio: float = 2.0) -> tuple[float, ...]:
    """``count`` step sizes smallest, smallest·ratio, smallest·ratio², …"""
    return tuple(smallest * ratio**i for i in range(count))


def ader_grid(diameter: float, gradient_bound: float, horizon: int) -> tuple[float, ...]:
    """η_i = 2^{i−1}·(D/G)·√(7/(2T)), N = ⌈½log₂(1+4T/7)⌉+1 (Zhang, Lu & Zhou 2018, Eq. 8 and Theorem 3)."""
    count = ceil(0.5 * log2(1 + 4 * horizon / 7)) + 1
    return geometric(diameter / gradient_bound * sqrt(7 / (2 * horizon)), count)


def doubling_grid(diameter: float, gradient_bound: float, horizon: int) -> tuple[float, ...]:
    """η_i = 2^{i−1}·D/(G√T), N = ⌈½log₂(1+2T)⌉+1: from P_T = 0 to the longest path, never more than √2 off."""
    count = ceil(0.5 * log2(1 + 2 * horizon)) + 1
    return geometric(diameter / (gradient_bound * sqrt(horizon)), count)


def sword_ceiling(smoothness: float) -> float:
    """1/(8L), the largest step of ``bounds.sword``; infinite for linear losses."""
    return 1 / (8 * smoothness) if smoothness > 0 else inf


def sword_grid(diameter: float, gradient_bound: float, horizon: int, smoothness: float) -> tuple[float, ...]:
    """Doubling from D/(4G√T) to min{1/(8L), (D/G)√(T+½)}: the best steps of ``bounds.sword`` for all P_T and V_T.

    They are √(A_T/(2(G² + 2V_T))), with V_T ≤ 4G²(T−1) and P_T ≤ D(T−1).
    """
    smallest = diameter / (4 * gradient_bound * sqrt(horizon))
    largest = min(sword_ceiling(smoothness), diameter / gradient_bound * sqrt(horizon + 0.5))
    if smallest >= largest:
        return (largest,)
    return (*geometric(smallest, ceil(log2(largest / smallest))), largest)
