"""Planted faults of experts' weights: mirror maps, sharing, what is summed up."""

from dataclasses import dataclass

from theory.arrays import namespace
from theory.learners import FixedShare, Hedge


@dataclass(frozen=True)
class ForgetfulHedge(Hedge):
    """Claims the gaps only, without the price of not knowing the expert."""

    def bound(self, state, comparator_energy):
        return state.gap[..., 0]


@dataclass(frozen=True)
class Reciprocal(Hedge):
    """Weights 1/(1 + εL) in place of e^(−εL), and declares the laws of exponential ones."""

    def predict(self, state, hint=None):
        weights = 1 / (1 + self.meta_step_size * abs(state.cumulative))
        return weights / namespace(weights).sum(weights, axis=-1, keepdims=True)


@dataclass(frozen=True)
class LastLossAlone(Hedge):
    """Weighs by the last loss, not by the sum of all, as the paper's public code does."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(cumulative=following.cumulative - state.cumulative)


@dataclass(frozen=True)
class LinearWeights(Hedge):
    """Weights 1 − εL, the first terms of e^(−εL), which large losses make negative."""

    def predict(self, state, hint=None):
        xp = namespace(state.cumulative)
        weights = xp.exp(state.log_prior) * (1.0 - self.meta_step_size * state.cumulative)
        return weights / xp.sum(weights, axis=-1, keepdims=True)


@dataclass(frozen=True)
class SharesTwice(FixedShare):
    """Hands out its share before and after the update, and claims the bound of once."""

    def _shared(self, log_posterior):
        return super()._shared(super()._shared(log_posterior))


@dataclass(frozen=True)
class GivesWithoutTaking(FixedShare):
    """Adds the share of the others, and takes none of what is there."""

    def _shared(self, log_posterior):
        xp = namespace(log_posterior)
        v = xp.exp(log_posterior)
        return xp.log(v + self.share / (v.shape[-1] - 1) * (1.0 - v))


FAULTS = {
    ForgetfulHedge(0.5): "bound",
    Reciprocal(0.5): "translation",
    LastLossAlone(0.5): "bound",
    LinearWeights(0.1): "feasible",
    SharesTwice(0.5, 0.1): "bound",
    GivesWithoutTaking(0.5, 0.1): "feasible",
}
