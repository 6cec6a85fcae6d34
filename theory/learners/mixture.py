"""Mixture: the drafts' probabilities are mixed, weights follow what each draft gave to the committed tokens."""

from dataclasses import dataclass
from math import log
from typing import Any, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner, Terms
from theory.learners import hedge
from theory.learners.hedge import State
from theory.loss import Loss, expert_losses
from theory.problem import Problem


@dataclass(frozen=True)
class Mixture(Learner):
    r"""$w_{t,i} \propto p_i \exp(-\epsilon \sum_{s<t} f_s(e_i))$.

    With $f_s$ the log loss of a committed token $y_s$ and ε = 1 these are Bayes' weights $p_i \prod_s draft_i(y_s)$.
    Its decision is the weight vector, its loss ``loss.MixtureKL``, convex in the weights: so it is a learner like any
    other, and one update is one position. Unlike Hedge it reads the losses of the experts played alone, not the
    gradient; on linear losses both are the same.

    Guarantee against expert i (not against a fixed mixture of experts): ``bounds.hedge``, $\ln(1/p_i)/\epsilon$ + the
    gaps paid, a gap being $f_t(w_t) + \frac1\epsilon\ln\sum_i w_{t,i} e^{-\epsilon f_t(e_i)}$. If
    $e^{-\epsilon f_t}$ is concave no gap is positive (Jensen), whence $\ln N/\epsilon$ at any horizon, without a range,
    without tuning; for a committed token every gap is zero, and regret to i is $\ln(w_{T+1,i}/p_i)$.
    Reference: Vovk 1990; Cesa-Bianchi & Lugosi 2006, Theorem 3.2.
    """

    meta_step_size: float = 1.0
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})
    traceable = True
    static = True
    experts_only = True
    certified = True

    def __post_init__(self):
        require.positive(self, "log loss wants 1", meta_step_size=self.meta_step_size)

    def init(self, x_1: Array) -> State:
        return hedge.start(x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.cumulative).exp(hedge.log_weights(state, self.meta_step_size))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        log_weights_t = hedge.log_weights(state, self.meta_step_size)
        weights_t = namespace(log_weights_t).exp(log_weights_t)
        losses_t = expert_losses(loss_t, weights_t)
        gap_t = loss_t.value(weights_t)[..., None] - hedge.mix_loss(log_weights_t, losses_t, self.meta_step_size)
        return State(state.log_prior, state.cumulative + losses_t, state.gap + gap_t)

    def expert_bound(self, state: State) -> Array:
        """Regret against each expert is at most this: ``[..., N]``."""
        return bounds.hedge(-state.log_prior, self.meta_step_size, state.gap)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against the best fixed expert; neither a moving one nor a mixture is covered, except by linear losses."""
        return namespace(state.gap).max(self.expert_bound(state), axis=-1)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        return hedge.gap_paid(before, after)

    def prior_cost(self, before: State, candidate: Array) -> float:
        return hedge.prior_cost(before, self.meta_step_size, candidate)

    def guarantee(self, problem: Problem) -> float | None:
        if problem.path_length > 0 or (problem.exp_concavity or 0.0) < self.meta_step_size:
            return None
        return bounds.hedge(log(problem.dimension), self.meta_step_size, 0.0)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        return cls(**{"meta_step_size": problem.exp_concavity or 1.0, **settings})
