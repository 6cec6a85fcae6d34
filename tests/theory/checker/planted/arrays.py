"""Planted faults of arrays: copies, libraries, precision, compilers."""

from dataclasses import dataclass

import numpy as np

from theory.domain import Ball
from theory.learners import OGD
from theory.loss import Linear


@dataclass(frozen=True)
class Coupled(OGD):
    """Every copy moves towards the mean of all."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=0.5 * (following.x + following.x.mean(axis=0, keepdims=following.x.ndim > 1)))


@dataclass(frozen=True)
class MixesCopiesOnThreeAxes(OGD):
    """The same where copies lie on three axes or more."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        x = following.x
        return following._replace(x=0.5 * (x + x.mean(axis=0, keepdims=True)) if x.ndim > 3 else x)


@dataclass(frozen=True)
class NormsAlongTheFirstAxis(OGD):
    """Clips gradients to norm 1, taken along the first axis: right for one copy alone."""

    laws = frozenset({"permutation"})

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        return super().update(state, Linear(grad_t / np.maximum(np.linalg.norm(grad_t, axis=0), 1.0)), hint)


@dataclass(frozen=True)
class NumpyAlone(OGD):
    """Makes numpy arrays of whatever it is given."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        x = self.domain.project(np.asarray(state.x) - self.step_size * np.asarray(grad_t))
        return super().update(state, Linear(grad_t), hint)._replace(x=x)


@dataclass(frozen=True)
class Wide(OGD):
    """Plays float64, whatever the precision of what it is given."""

    def predict(self, state, hint=None):
        return np.asarray(state.x, dtype=np.float64)


@dataclass(frozen=True)
class Branching(OGD):
    """Says that it can be traced, and looks at a value."""

    traceable = True

    def update(self, state, loss_t, hint=None):
        if np.any(state.energy > 2.0):
            return super().update(state, loss_t, hint)
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class Counting(OGD):
    """Says that it can be traced, and counts rounds in a Python int."""

    traceable = True

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=state.x) if int(np.max(following.rounds)) % 3 == 0 else following


FAULTS = {
    Coupled(0.1, Ball(1.0)): "independent_copies",
    MixesCopiesOnThreeAxes(0.1, Ball(1.0)): "independent_copies",
    NormsAlongTheFirstAxis(0.1, Ball(1.0)): "independent_copies",
    NumpyAlone(0.1, Ball(1.0)): "any_library",
    Wide(0.1, Ball(1.0)): "dtype_kept",
    Branching(0.1, Ball(1.0)): "traceable",
    Counting(0.1, Ball(1.0)): "traceable",
}
