"""Planted faults of the protocol: what is remembered where, what may be changed, and what a round costs."""

from dataclasses import dataclass

import numpy as np

from theory.domain import Ball
from theory.learners import OGD
from theory.loss import Linear


@dataclass(frozen=True)
class InPlace(OGD):
    """Writes the next decision into the old state."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        state.x[...] = following.x
        return following


SEEN = [0.0]


@dataclass(frozen=True)
class Hidden(OGD):
    """Remembers outside its state."""

    def predict(self, state, hint=None):
        return self.domain.project(state.x + SEEN[-1])

    def update(self, state, loss_t, hint=None):
        SEEN.append(float(np.sum(loss_t.grad(state.x))))
        return super().update(state, loss_t, hint)


GENERATOR = np.random.default_rng(0)


@dataclass(frozen=True)
class Noisy(OGD):
    """Perturbs its play by a generator that is not in its state."""

    def predict(self, state, hint=None):
        return self.domain.project(state.x + 0.01 * GENERATOR.normal(size=state.x.shape))


@dataclass(frozen=True)
class ScalesInPlace(OGD):
    """Multiplies the gradient that it is given, and the loss with it."""

    def update(self, state, loss_t, hint=None):
        slope = loss_t.slope if isinstance(loss_t, Linear) else loss_t.grad(state.x)
        slope *= 0.5
        return super().update(state, Linear(2.0 * slope), hint)


@dataclass(frozen=True)
class StartsInTheMiddle(OGD):
    """Does not begin with the decision that it is given."""

    def init(self, x_1):
        return super().init(self.domain.project(0.0 * x_1))


@dataclass(frozen=True)
class Greedy(OGD):
    """Eleven gradients a round, where one is declared."""

    def update(self, state, loss_t, hint=None):
        for _ in range(10):
            loss_t.grad(state.x)
        return super().update(state, loss_t, hint)


FAULTS = {
    InPlace(0.1, Ball(1.0)): "without_side_effects",
    Hidden(0.1, Ball(1.0)): "causal",
    Noisy(0.1, Ball(1.0)): "pure",
    ScalesInPlace(0.1, Ball(1.0)): "without_side_effects",
    StartsInTheMiddle(0.1, Ball(1.0)): "starts_as_told",
    Greedy(0.1, Ball(1.0)): "gradients_counted",
}
