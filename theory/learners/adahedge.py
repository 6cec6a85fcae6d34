"""AdaHedge: Hedge that sets its own learning rate from the mixability gaps it has paid."""

from dataclasses import dataclass
from math import log
from typing import Any, Self

from theory import bounds
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner, Terms
from theory.learners import hedge
from theory.learners.hedge import State
from theory.loss import Loss
from theory.problem import Problem

SMALLEST_GAP = 1e-30
"""Stands for a zero gap: ε is then so large that the weights follow the leader, as ε = ∞ would."""


@dataclass(frozen=True)
class AdaHedge(Learner):
    r"""Hedge at $\epsilon_t = \ln N / \sum_{s<t} \delta_s$, with $\delta_s$ the mixability gap of round s.

    Guarantee: ``bounds.adahedge``: twice the gaps paid (uniform prior), hence
    $\sqrt{\ln N \sum_t s_t^2} + 2 s_{\max}$ with $s_t$ the spread of the experts' losses
    (``bounds.adahedge_spread``): no range and no horizon needed.
    Reference: de Rooij, van Erven, Grünwald & Koolen 2014.
    """

    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation"})
    traceable = True
    static = True
    certified = True

    def _rate(self, state: State) -> Array:
        experts = state.cumulative.shape[-1]
        return log(max(experts, 2)) / namespace(state.gap).maximum(state.gap, SMALLEST_GAP)

    def init(self, x_1: Array) -> State:
        return hedge.start(x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.gap).exp(hedge.log_weights(state, self._rate(state)))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        return hedge.revealed(state, loss_t.grad(self.predict(state)), self._rate(state))

    def expert_bound(self, state: State) -> Array:
        """Regret against each expert is at most this: ``[..., N]``."""
        return bounds.adahedge(-state.log_prior, state.cumulative.shape[-1], state.gap)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against the best fixed expert or mixture of experts; a moving comparator is not covered."""
        return namespace(state.gap).max(self.expert_bound(state), axis=-1)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        """The gap, and the fall of ε that it brings: 1/ε grows by gap/ln N, charged to the least likely expert."""
        dearest = -namespace(before.gap).min(before.log_prior, axis=-1)
        gap = (after.gap - before.gap)[..., 0]
        return Terms(surplus=bounds.adahedge(dearest, before.cumulative.shape[-1], gap))

    def prior_cost(self, before: State, candidate: Array) -> float:
        return hedge.prior_cost(before, self._rate(before), candidate)

    def guarantee(self, problem: Problem) -> float | None:
        if problem.path_length > 0:
            return None
        return bounds.adahedge_spread(problem.dimension, problem.range**2 * problem.horizon, problem.range)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        return cls(**settings)
