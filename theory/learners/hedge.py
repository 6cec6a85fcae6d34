"""Hedge: exponential weights over N experts, on cumulative losses."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner, Terms
from theory.loss import Loss
from theory.problem import Problem
from theory.speculation.acceptance import categorical


class State(NamedTuple):
    log_prior: Array  # [..., N]
    cumulative: Array  # [..., N]: Σ loss_s,i
    gap: Array  # [..., 1]: Σ mixability gaps ⟨w_s, loss_s⟩ − mix loss_s


def start(x_1: Array) -> State:
    """Prior weights x_1 ``[..., N]`` (positive, summing to 1) and no losses yet."""
    return State(namespace(x_1).log(x_1), 0.0 * x_1, 0.0 * x_1[..., :1])


def log_weights(state: State, epsilon: Array | float) -> Array:
    r"""$\ln w_i$ for $w_i \propto p_i e^{-\epsilon L_i}$, ``[..., N]``; shifted by the leader so nothing overflows."""
    xp = namespace(state.cumulative)
    lead = state.cumulative - xp.min(state.cumulative, axis=-1, keepdims=True)
    return xp.log_softmax(state.log_prior - epsilon * lead)


def mix_loss(log_weights_t: Array, losses_t: Array, epsilon: Array | float) -> Array:
    r"""$-\frac1\epsilon \ln \sum_i w_{t,i} e^{-\epsilon \ell_{t,i}}$ ``[..., 1]``."""
    xp = namespace(losses_t)
    least = xp.min(losses_t, axis=-1, keepdims=True)
    return least - xp.logsumexp(log_weights_t - epsilon * (losses_t - least), keepdims=True) / epsilon


def revealed(state: State, losses_t: Array, epsilon: Array | float) -> State:
    """Add one round's losses ``[..., N]`` and the mixability gap they cost at learning rate ε."""
    xp = namespace(losses_t)
    log_weights_t = log_weights(state, epsilon)
    played = xp.sum(xp.exp(log_weights_t) * losses_t, axis=-1, keepdims=True)
    gap_t = xp.maximum(played - mix_loss(log_weights_t, losses_t, epsilon), 0.0)
    return State(state.log_prior, state.cumulative + losses_t, state.gap + gap_t)


def prior_cost(state: State, epsilon: Array | float, candidate: Array) -> float:
    r"""$KL(u\|w)/\epsilon$ for a candidate u ``[N]``, w the weights ``state`` has."""
    return float((bounds.relative_entropy(candidate, log_weights(state, epsilon)) / epsilon).sum())


def gap_paid(before: Any, after: Any, besides: Array | float = 0.0) -> Terms:
    """What a round adds to the certificate of exponential weights: its mixability gap, and ``besides``."""
    return Terms(surplus=(after.gap - before.gap)[..., 0] + besides)


def route(weights: Array, uniform: Array) -> Array:
    """Which draft proposes: index drawn from weights ``[..., N]`` by uniform ``[...]`` → int ``[...]``.

    Draw it *before* any draft has sampled: chosen after seeing a sample, decoding is no longer lossless. With Hedge's
    weights on losses TV(target, draft_i) the mean rejection is within ``bounds.routing`` of the best draft's.
    """
    return categorical(weights, uniform)


@dataclass(frozen=True)
class Hedge(Learner):
    r"""$w_{t,i} \propto p_i \exp(-\epsilon \sum_{s<t} \ell_{s,i})$.

    Guarantee against expert i: ``bounds.hedge``: $\ln(1/p_i)/\epsilon$ + the mixability gaps paid; a priori
    ``bounds.hedge_apriori``: $c\sqrt{T \ln N/2}$ at $\epsilon = \sqrt{8\ln N/(Tc^2)}$ and uniform prior.
    Losses are read off as the gradient, so any loss on the simplex is linearised at the weights played. For convex ones
    the bound covers every fixed mixture u of experts, with ``bounds.relative_entropy`` for $\ln(1/p_i)$.
    Reference: Freund & Schapire 1997, Theorem 2; Cesa-Bianchi & Lugosi 2006, Theorem 2.2.
    """

    meta_step_size: float
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})
    traceable = True
    static = True
    certified = True

    def __post_init__(self):
        require.positive(self, meta_step_size=self.meta_step_size)

    def init(self, x_1: Array) -> State:
        return start(x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.cumulative).exp(log_weights(state, self.meta_step_size))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        return revealed(state, loss_t.grad(self.predict(state)), self.meta_step_size)

    def expert_bound(self, state: State) -> Array:
        """Regret against each expert is at most this: ``[..., N]``."""
        return bounds.hedge(-state.log_prior, self.meta_step_size, state.gap)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against the best fixed expert or mixture of experts; a moving comparator is not covered."""
        return namespace(state.gap).max(self.expert_bound(state), axis=-1)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        return gap_paid(before, after)

    def prior_cost(self, before: State, candidate: Array) -> float:
        return prior_cost(before, self.meta_step_size, candidate)

    def guarantee(self, problem: Problem) -> float | None:
        if problem.path_length > 0:
            return None
        return bounds.hedge(log(problem.dimension), self.meta_step_size, 0.0) + (
            self.meta_step_size * problem.range**2 * problem.horizon / 8
        )

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        rate = sqrt(8 * log(max(problem.dimension, 2)) / problem.horizon) / problem.range
        return cls(**{"meta_step_size": rate, **settings})
