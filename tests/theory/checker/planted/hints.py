"""Planted faults of hints."""

from dataclasses import dataclass

from theory import step_size
from theory.domain import Ball
from theory.learners import OptimisticOGD
from theory.learners.optimistic import State
from theory.loss import Linear


@dataclass(frozen=True)
class DeafToHints(OptimisticOGD):
    """Says that it takes outside hints, and ignores them."""

    def predict(self, state, hint=None):
        return super().predict(state, None)

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, None)


@dataclass(frozen=True)
class DeafUpdate(OptimisticOGD):
    """Plays by an outside hint, and learns as if it had played by its own."""

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, None)


@dataclass(frozen=True)
class AddedHint(OptimisticOGD):
    """Adds an outside hint to its own."""

    def predict(self, state, hint=None):
        return super().predict(state, None if hint is None else state.hint + hint)


@dataclass(frozen=True)
class AgainstTheHint(OptimisticOGD):
    """Steps along the hint, not against it."""

    def predict(self, state, hint=None):
        return super().predict(state, -(state.hint if hint is None else hint))


@dataclass(frozen=True)
class CountsTheNextHint(OptimisticOGD):
    """Charges the hint that it has just made from the gradient, which is never wrong."""

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint)._replace(energy=state.energy, stability=state.stability)


@dataclass(frozen=True)
class CorrectsFromThePlay(OptimisticOGD):
    """Corrects from the decision, not from the anchor."""

    def update(self, state, loss_t, hint=None):
        x_t = self.predict(state, hint)
        grad_t = loss_t.grad(x_t)
        right: State = super().update(state, Linear(grad_t), hint)
        eta_t = step_size.resolve(self.step_size, state.energy)
        return right._replace(anchor=self.domain.project(x_t - eta_t * grad_t))


FAULTS = {
    DeafToHints(0.1, domain=Ball(1.0)): "hint_taken",
    DeafUpdate(0.1, domain=Ball(1.0)): "hint_taken",
    AddedHint(0.1, domain=Ball(1.0)): "hint_optional",
    AgainstTheHint(0.1, domain=Ball(1.0)): "bound",
    CountsTheNextHint(0.1, domain=Ball(1.0)): "bound",
    CorrectsFromThePlay(0.1, domain=Ball(1.0)): "bound",
}
