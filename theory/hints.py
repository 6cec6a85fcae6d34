"""Where a hint comes from: a guess of grad_t made before x_t is played (Rakhlin & Sridharan 2013).

A hint rule turns the gradients seen so far into the next guess. The oracle and hints computed outside the learner (the
prompt's gradient in the decoder) are passed to ``predict`` and ``update`` as ``hint=`` and override the rule.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Protocol, runtime_checkable

from theory import require
from theory.arrays import Array, namespace


@runtime_checkable
class HintRule(Protocol):
    """How the next hint follows from the last hint and the gradient just revealed."""

    @property
    def reach(self) -> float:
        """‖hint‖ ≤ reach·G wherever ‖grad‖ ≤ G: what a priori bounds of optimistic learners rest on."""
        ...

    def after(self, hint: Array, grad: Array) -> Array:
        """Next hint ``[..., d]`` from the last one and grad_t."""
        ...


@dataclass(frozen=True)
class Zero:
    """hint = 0: OptimisticOGD is then OGD."""

    @property
    def reach(self) -> float:
        return 0.0

    def after(self, hint: Array, grad: Array) -> Array:
        return namespace(grad).zeros_like(grad)


@dataclass(frozen=True)
class LastGradient:
    """hint_{t+1} = scale · grad_t; at scale 1 the hint error telescopes into the gradient variation V_T."""

    scale: float = 1.0

    def __post_init__(self):
        if not isfinite(self.scale):
            raise ValueError(f"LastGradient(scale={self.scale!r}): must be finite; 0 is no hint")

    @property
    def reach(self) -> float:
        return abs(self.scale)

    def after(self, hint: Array, grad: Array) -> Array:
        return self.scale * grad


@dataclass(frozen=True)
class MovingAverage:
    """hint_{t+1} = decay · hint_t + (1 − decay) · grad_t."""

    decay: float = 0.9

    def __post_init__(self):
        require.fraction(self, "0 is the last gradient", decay=self.decay)

    @property
    def reach(self) -> float:
        return 1.0

    def after(self, hint: Array, grad: Array) -> Array:
        return self.decay * hint + (1.0 - self.decay) * grad
