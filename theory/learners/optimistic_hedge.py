"""Optimistic Hedge: exponential weights that count a guess of the next losses as if it had been suffered."""

from dataclasses import dataclass
from math import inf, isfinite, log
from typing import Any, NamedTuple, Self

from theory import bounds
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.hints import HintRule, LastGradient
from theory.learner import Learner, Terms
from theory.learners import hedge
from theory.learners.adahedge import SMALLEST_GAP
from theory.learners.hedge import mix_loss
from theory.loss import Loss
from theory.problem import Problem


class State(NamedTuple):
    log_prior: Array  # [..., N]
    cumulative: Array  # [..., N]: Σ loss_s,i
    hint: Array  # [..., N]: guess of loss_t
    gap: Array  # [..., 1]: Σ gaps ⟨w_s, loss_s⟩ − mix loss_s under the weights without hint; of any sign
    paid: Array  # [..., 1]: the positive gaps among them


@dataclass(frozen=True)
class OptimisticHedge(Learner):
    r"""$w_{t,i} \propto p_i \exp(-\epsilon_t(\sum_{s<t} \ell_{s,i} + h_{t,i}))$.

    The gap of round t is exactly $g_t - KL(w_t\|v_t)/\epsilon_t$, with $v_t$ the weights without the hint and $g_t$ the
    mixability gap of $\ell_t - h_t$ under $w_t$ (theory/bounds.py derives it); a perfect hint makes it negative.

    ``adaptive``: $\epsilon_t = \min\{\epsilon, \ln N / \sum_{s<t} (gap_s)_+\}$, AdaHedge's rule, which needs neither
    range nor horizon; otherwise $\epsilon_t = \epsilon$, ``meta_step_size``.

    Guarantee against expert i: ``bounds.hedge`` with these gaps; with $s_t$ the spread of $\ell_t - h_t$ over experts
    ``bounds.optimistic_hedge``: $\ln(1/p_i)/\epsilon + \frac\epsilon8\sum_t s_t^2 - \frac1\epsilon\sum_t KL(w_t\|v_t)$
    at constant ε, and ``bounds.adahedge_spread``: $\sqrt{\ln N\sum_t s_t^2} + 2 s_{\max}$, uniform prior.
    Reference: Rakhlin & Sridharan 2013, Lemma 1; Syrgkanis et al. 2015, Theorem 7; de Rooij et al. 2014 for the rate.
    """

    meta_step_size: float = inf
    hint: HintRule = LastGradient()
    adaptive: bool = True
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})
    traceable = True
    static = True
    takes_hints = True
    certified = True

    def __post_init__(self):
        if not (self.meta_step_size > 0 and (self.adaptive or isfinite(self.meta_step_size))):
            raise ValueError(
                f"OptimisticHedge(meta_step_size={self.meta_step_size!r}, adaptive={self.adaptive!r}): must be "
                "positive, and finite unless adaptive"
            )

    def init(self, x_1: Array) -> State:
        xp = namespace(x_1)
        return State(xp.log(x_1), 0.0 * x_1, xp.zeros_like(x_1), 0.0 * x_1[..., :1], 0.0 * x_1[..., :1])

    def _rate(self, state: State) -> Array | float:
        if not self.adaptive:
            return self.meta_step_size
        xp, experts = namespace(state.paid), max(state.cumulative.shape[-1], 2)
        return xp.minimum(log(experts) / xp.maximum(state.paid, SMALLEST_GAP), self.meta_step_size)

    def _log_weights(self, state: State, believed: Array) -> Array:
        """ln w_i for w_i ∝ p_i·e^{−ε·believed_i}, shifted by the leader so that nothing overflows."""
        xp = namespace(believed)
        lead = believed - xp.min(believed, axis=-1, keepdims=True)
        return xp.log_softmax(state.log_prior - self._rate(state) * lead)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        hint_t = state.hint if hint is None else hint
        return namespace(hint_t).exp(self._log_weights(state, state.cumulative + hint_t))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        xp = namespace(state.cumulative)
        weights_t = self.predict(state, hint)
        losses_t = loss_t.grad(weights_t)
        mixed = mix_loss(self._log_weights(state, state.cumulative), losses_t, self._rate(state))
        gap_t = xp.sum(weights_t * losses_t, axis=-1, keepdims=True) - mixed
        return State(
            state.log_prior,
            state.cumulative + losses_t,
            self.hint.after(state.hint, losses_t),
            state.gap + gap_t,
            state.paid + xp.maximum(gap_t, 0.0),
        )

    def own_hint(self, state: State) -> Array:
        return state.hint

    def expert_bound(self, state: State) -> Array:
        """Regret against each expert is at most this: ``[..., N]``."""
        return bounds.hedge(-state.log_prior, self._rate(state), state.gap)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against the best fixed expert or mixture of experts; a moving comparator is not covered."""
        return namespace(state.gap).max(self.expert_bound(state), axis=-1)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        """The gap, and the fall of ε, charged to the least likely expert."""
        slower = 1 / self._rate(after) - 1 / self._rate(before) + 0.0 * before.gap
        dearest = -namespace(before.gap).min(before.log_prior, axis=-1)
        return hedge.gap_paid(before, after, dearest * slower[..., 0])

    def prior_cost(self, before: State, candidate: Array) -> float:
        """KL(u‖v)/ε, with v the weights that count no hint."""
        paid = bounds.relative_entropy(candidate, self._log_weights(before, before.cumulative)) / self._rate(before)
        return float(paid.sum())

    def guarantee(self, problem: Problem) -> float | None:
        if problem.path_length > 0:
            return None
        spread = (1 + self.hint.reach) * problem.range  # the largest s_t
        energy, experts = spread**2 * problem.horizon, problem.dimension
        if self.adaptive:
            return bounds.adahedge_spread(experts, energy, spread, self.meta_step_size)
        return bounds.optimistic_hedge(log(experts), self.meta_step_size, energy)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        return cls(**settings)
