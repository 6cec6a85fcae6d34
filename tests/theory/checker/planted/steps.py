"""Planted faults of step sizes and adaptive rates."""

from dataclasses import dataclass
from typing import NamedTuple

from theory import bounds
from theory.arrays import Array, namespace
from theory.domain import Ball
from theory.learner import squared_norm
from theory.learners import OGD
from theory.learners.ogd import State as OGDState
from theory.loss import Linear
from theory.step_size import AdaGradNorm


@dataclass(frozen=True)
class TooFast(OGD):
    """Plays with a step 1.3 times its bound's."""

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, self.step_size / 1.3, state.stability[..., 0] / 1.3)


@dataclass(frozen=True)
class TooSlow(OGD):
    """Plays with a step 1.3 times smaller than its bound's."""

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, 1.3 * self.step_size, 1.3 * state.stability[..., 0])


@dataclass(frozen=True)
class GrowingSteps(OGD):
    """Multiplies its step by √t where it should divide, and telescopes all the same."""

    def _step(self, rounds):
        return self.step_size * namespace(rounds).sqrt(namespace(rounds).maximum(rounds, 1.0))

    def update(self, state, loss_t, hint=None):
        grad_t, rounds = loss_t.grad(state.x), state.rounds + 1.0
        eta_t, spent_t = self._step(rounds), squared_norm(grad_t)
        x = self.domain.project(state.x - eta_t * grad_t)
        return OGDState(x, state.energy + spent_t, state.stability + 0.5 * eta_t * spent_t, rounds)

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, self._step(state.rounds)[..., 0], state.stability[..., 0])


class Rolling(NamedTuple):
    base: OGDState
    velocity: Array


@dataclass(frozen=True)
class HeavyBall(OGD):
    """Adds momentum, and keeps the bound that is proven without."""

    def init(self, x_1):
        return Rolling(super().init(x_1), 0.0 * x_1)

    def predict(self, state, hint=None):
        return state.base.x

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.base.x)
        velocity = 0.9 * state.velocity + grad_t
        x = self.domain.project(state.base.x - self.step_size * velocity)
        return Rolling(super().update(state.base, Linear(grad_t), hint)._replace(x=x), velocity)

    def bound(self, state, comparator_energy):
        return super().bound(state.base, comparator_energy)

    def anchor(self, state):
        return state.base.x


@dataclass(frozen=True)
class Normalised(OGD):
    """Divides by the gradient's norm, and declares a scaling law that it does not keep."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        return super().update(state, Linear(grad_t / namespace(grad_t).norm(grad_t)), hint)


@dataclass(frozen=True)
class WithoutRoot(AdaGradNorm):
    """The rate of ``DyingSteps``."""

    def at(self, energy, rounds):
        return self.diameter / namespace(energy).where(energy > 0, energy, namespace(energy).ones_like(energy))


@dataclass(frozen=True)
class DyingSteps(OGD):
    """Divides by the sum of squared gradients, not by its root."""


@dataclass(frozen=True)
class NormsForSquares(OGD):
    """Adds up norms where its rate reads squared norms, and declares the scaling of the right one."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        energy, rounds = state.energy + namespace(grad_t).norm(grad_t), state.rounds + 1.0
        eta_t = self.step_size.at(energy, rounds)
        x = self.domain.project(state.x - eta_t * grad_t)
        return OGDState(x, energy, state.stability + 0.5 * eta_t * squared_norm(grad_t), rounds)


@dataclass(frozen=True)
class LosesTheFirstGradient(OGD):
    """Begins to learn in the second round, by an index that is one too large."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=namespace(state.x).where(state.rounds < 1.0, state.x, following.x))


FAULTS = {
    TooFast(0.25, Ball(1.0)): "bound",
    TooSlow(0.25, Ball(1.0)): "bound",
    GrowingSteps(0.1, Ball(1.0)): "bound",
    HeavyBall(0.1, Ball(1.0)): "bound",
    Normalised(0.1, Ball(1.0)): "scaling",
    DyingSteps(WithoutRoot(2.0), Ball(1.0)): "scaling",
    NormsForSquares(AdaGradNorm(2.0), Ball(1.0)): "scaling",
    LosesTheFirstGradient(0.1, Ball(1.0)): "bound",
}
