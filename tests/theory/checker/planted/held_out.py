"""Ten faults that were written before any of them was tried, and for which nothing in the checker was changed.

Neither a law nor the search may be altered because one of these passes: then it must leave this file.
"""

from dataclasses import dataclass

import numpy as np

from theory.arrays import namespace
from theory.domain import Ball
from theory.learner import squared_norm
from theory.learners import OGD, FixedShare, Hedge, OptimisticOGD
from theory.learners.delayed import Delayed
from theory.loss import Linear
from theory.step_size import AdaGradNorm


@dataclass(frozen=True)
class StepByDimension(OGD):
    """Step size: divides the step by √d, as for coordinates of one size; its bound does not."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        slower = self.step_size / state.x.shape[-1] ** 0.5
        following = super().update(state, Linear(grad_t), hint)
        return following._replace(x=self.domain.project(state.x - slower * grad_t))


@dataclass(frozen=True)
class ProjectsTheStep(OGD):
    """Projection: of the step in place of the point that it leads to."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        step = self.domain.project(self.step_size * grad_t)
        return super().update(state, Linear(grad_t), hint)._replace(x=state.x - step)


@dataclass(frozen=True)
class CorrectsByTheError(OptimisticOGD):
    """Hint: the anchor moves by the gradient less the hint, so that steady gradients move it once."""

    def update(self, state, loss_t, hint=None):
        hint_t = state.hint if hint is None else hint
        grad_t = loss_t.grad(self.predict(state, hint))
        following = super().update(state, Linear(grad_t), hint)
        return following._replace(anchor=self.domain.project(state.anchor - self.step_size * (grad_t - hint_t)))


@dataclass(frozen=True)
class StartsAnew(OGD):
    """State: every tenth round it begins again in the middle of the domain."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        anew = following.rounds % 10 == 0
        return following._replace(x=namespace(state.x).where(anew, self.domain.project(0.0 * state.x), following.x))


@dataclass(frozen=True)
class EnergyOfAllCopies(OGD):
    """Copies: the squared gradients that its rate is made of are summed over every axis."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        energy = state.energy + (grad_t * grad_t).sum()
        eta_t = self.step_size.at(energy, state.rounds + 1.0)
        return state._replace(
            x=self.domain.project(state.x - eta_t * grad_t),
            energy=energy,
            stability=state.stability + 0.5 * eta_t * squared_norm(grad_t),
            rounds=state.rounds + 1.0,
        )


@dataclass(frozen=True)
class DoublePrecisionStep(OGD):
    """Dtype: keeps its step as a float64 array, which makes every decision one."""

    def update(self, state, loss_t, hint=None):
        grad_t, step = loss_t.grad(state.x), np.array([self.step_size])
        following = super().update(state, Linear(grad_t), hint)
        return following._replace(x=self.domain.project(state.x - step * grad_t))


@dataclass(frozen=True)
class ExtraGradient(OGD):
    """Protocol: looks ahead and asks for a second gradient there, with one declared."""

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        ahead = self.domain.project(state.x - self.step_size * grad_t)
        following = super().update(state, Linear(grad_t), hint)
        return following._replace(x=self.domain.project(state.x - self.step_size * loss_t.grad(ahead)))


@dataclass(frozen=True)
class FlooredWeights(Hedge):
    """Experts' weights: none is let fall below a twentieth, and the bound is that without a floor."""

    def predict(self, state, hint=None):
        xp, weights = namespace(state.cumulative), super().predict(state, hint)
        floored = xp.maximum(weights, 0.05)
        return floored / xp.sum(floored, axis=-1, keepdims=True)


@dataclass(frozen=True)
class ForgetsWhatIsUnderWay(Delayed):
    """Delayed feedback: its bound leaves out the gradients that have not arrived."""

    def bound(self, state, comparator_energy):
        return self.learner.bound(state.known.base, comparator_energy) + state.known.drift


@dataclass(frozen=True)
class SharesWithItself(FixedShare):
    """Sharing: the share goes to all N experts, its bound counts N − 1."""

    def _shared(self, log_posterior):
        xp = namespace(log_posterior)
        return xp.log((1.0 - self.share) * xp.exp(log_posterior) + self.share / log_posterior.shape[-1])


FAULTS = {
    StepByDimension(0.1, Ball(1.0)): "bound",
    ProjectsTheStep(0.1, Ball(1.0)): "feasible",
    CorrectsByTheError(0.1, domain=Ball(1.0)): "bound",
    StartsAnew(0.1, Ball(1.0)): "bound",
    EnergyOfAllCopies(AdaGradNorm(2.0), Ball(1.0)): "independent_copies",
    DoublePrecisionStep(0.1, Ball(1.0)): "dtype_kept",
    ExtraGradient(0.1, Ball(1.0)): "gradients_counted",
    FlooredWeights(0.5): "bound",
    ForgetsWhatIsUnderWay(OGD(0.1, Ball(1.0)), 2): "bound",
    SharesWithItself(0.5, 0.1): "bound",
}
