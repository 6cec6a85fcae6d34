"""Planted faults that show in some games only: dimensions, kinds of losses, sizes of gradients."""

from dataclasses import dataclass

import numpy as np

from theory.arrays import namespace
from theory.domain import Ball
from theory.learners import OGD
from theory.loss import Linear, SoftmaxKL


@dataclass(frozen=True)
class FrozenOnKL(OGD):
    """Knows the losses of the simulator, and stands still on the decoder's."""

    def update(self, state, loss_t, hint=None):
        return state if isinstance(loss_t, SoftmaxKL) else super().update(state, loss_t, hint)


@dataclass(frozen=True)
class ReadsTheSlope(OGD):
    """Asks for the slope that only linear losses have."""

    def update(self, state, loss_t, hint=None):
        return super().update(state, Linear(loss_t.slope), hint)


@dataclass(frozen=True)
class WrongFromFiveDimensionsOn(OGD):
    """Doubles its decisions in more than four dimensions."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=self.domain.project(2.0 * following.x)) if state.x.shape[-1] > 4 else following


@dataclass(frozen=True)
class FrozenInOneDimension(OGD):
    """Stands still where decisions are single numbers."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=state.x) if state.x.shape[-1] == 1 else following


@dataclass(frozen=True)
class FavouriteCoordinate(OGD):
    """Halves its first coordinate, and declares that none is special."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        halved = np.where(np.arange(state.x.shape[-1]) == 0, 0.5, 1.0)
        return following._replace(x=self.domain.project(following.x * halved))


@dataclass(frozen=True)
class SkipsSmallGradients(OGD):
    """Takes gradients below 1e-3 for none."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        xp = namespace(grad_t)
        return super().update(state, Linear(xp.where(xp.norm(grad_t) < 1e-3, 0.0 * grad_t, grad_t)), hint)


@dataclass(frozen=True)
class ClipsGradients(OGD):
    """Shortens gradients to norm 1, and bounds the regret of all."""

    laws = frozenset({"permutation"})

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        xp = namespace(grad_t)
        return super().update(state, Linear(grad_t / xp.maximum(xp.norm(grad_t), 1.0)), hint)


FAULTS = {
    FrozenOnKL(0.1, Ball(1.0)): "disguised",
    ReadsTheSlope(0.1, Ball(1.0)): "disguised",
    WrongFromFiveDimensionsOn(0.1, Ball(1.0)): "bound",
    FrozenInOneDimension(0.1, Ball(1.0)): "moves",
    FavouriteCoordinate(0.1, Ball(1.0)): "permutation",
    SkipsSmallGradients(0.1, Ball(1.0)): "moves",
    ClipsGradients(0.1, Ball(1.0)): "bound",
}
