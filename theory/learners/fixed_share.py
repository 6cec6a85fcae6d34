"""Fixed Share: exponential weights that hand a share of every weight to the other experts, so that nobody dies."""

from dataclasses import dataclass
from math import isfinite, log, sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner
from theory.learners.hedge import mix_loss
from theory.loss import Loss, expert_losses
from theory.problem import Problem


class State(NamedTuple):
    log_prior: Array  # [..., N]
    log_weights: Array  # [..., N]: ln w_t
    gap: Array  # [..., 1]: Σ mixability gaps f_s(w_s) − mix loss_s; negative where mixing is better than mixable
    rounds: Array  # [..., 1]: played so far


@dataclass(frozen=True)
class FixedShare(Learner):
    r"""$v_t \propto w_t e^{-\epsilon f_t(e_\cdot)}, \quad w_{t+1,i} = (1-\alpha) v_{t,i} + \alpha(1 - v_{t,i})/(N-1)$.

    These are the weights of Bayes over all sequences of experts that start at i with $p_i$ and leave their expert with
    probability α; α is ``share``, and α = 0 is Hedge.

    Guarantee against every sequence of experts with S switches: ``bounds.fixed_share``: its log prior over ε + the
    mixability gaps paid. Log loss (ε = 1) or any loss with $e^{-\epsilon f_t}$ concave pays none, which at
    $\alpha = S/(T-1)$ leaves $\ln N + S\ln(N-1) + (T-1)h(S/(T-1))$ (``bounds.fixed_share_tuned``); a linear loss of
    range c pays at most $\epsilon c^2/8$ a round, hence ``bounds.fixed_share_apriori``. Log loss attains its bound
    exactly; the a priori form for linear losses is reached to 0.48 at S = 1, as a switch that the losses show plainly
    costs less than one hidden anywhere.
    Reference: Herbster & Warmuth 1998, Theorem 1 and Corollary 1.
    """

    meta_step_size: float
    share: float
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})

    def __post_init__(self):
        require.positive(self, meta_step_size=self.meta_step_size)
        require.fraction(self, "0 is Hedge", share=self.share)

    def init(self, x_1: Array) -> State:
        log_prior = namespace(x_1).log(x_1)
        return State(log_prior, log_prior, 0.0 * x_1[..., :1], 0.0 * x_1[..., :1])

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.log_weights).exp(state.log_weights)

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        xp = namespace(state.log_weights)
        weights_t = self.predict(state)
        losses_t = expert_losses(loss_t, weights_t)
        gap_t = loss_t.value(weights_t)[..., None] - mix_loss(state.log_weights, losses_t, self.meta_step_size)
        posterior = xp.log_softmax(state.log_weights - self.meta_step_size * losses_t)
        return State(state.log_prior, self._shared(posterior), state.gap + gap_t, state.rounds + 1.0)

    def _shared(self, log_posterior: Array) -> Array:
        experts = log_posterior.shape[-1]
        if self.share == 0 or experts == 1:
            return log_posterior
        xp = namespace(log_posterior)
        v = xp.exp(log_posterior)
        return xp.log((1.0 - self.share) * v + self.share / (experts - 1) * xp.maximum(1.0 - v, 0.0))

    def switching_bound(self, state: State, switches: Array | float) -> Array:
        r"""Regret to any sequence of experts with that many switches ``[...]``, for the least likely first expert.

        On linear losses also to any moving mixture $u_t$, with $\sum_{t\ge2}\frac12\|u_t-u_{t-1}\|_1$ for the switches:
        couple $u_{t-1}$ and $u_t$ maximally, and take the mean of the bound over the random sequence of experts.
        """
        log_inverse_prior = namespace(state.gap).max(-state.log_prior, axis=-1)
        rounds, experts = state.rounds[..., 0], state.log_prior.shape[-1]
        paid = bounds.fixed_share(log_inverse_prior, self.share, switches, rounds, experts)
        return paid / self.meta_step_size + state.gap[..., 0]

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against sequences of experts, not of mixtures: one switch has length √2, so A_T = 2 + 4·switches."""
        return self.switching_bound(state, (comparator_energy - 2.0) / 4.0)

    def guarantee(self, problem: Problem) -> float | None:
        """Against sequences of experts of at most that path length, √2 a switch; for linear or exp-concave losses."""
        experts, most = problem.dimension, problem.path_length / sqrt(2)
        known = self.share, problem.horizon, experts
        # A share above (N−1)/N makes staying the less likely: then fewer switches are dearer.
        paid = max(_paid(switches, *known) for switches in (0.0, most)) / self.meta_step_size
        if not isfinite(paid):
            return None  # a switch, and no share
        mixable = (problem.exp_concavity or 0.0) >= self.meta_step_size
        return paid + (0.0 if mixable else self.meta_step_size * problem.range**2 * problem.horizon / 8)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """At the switches of ``problem``, but at least one: with none the theorem says α = 0, and experts would die."""
        horizon, experts = problem.horizon, max(problem.dimension, 2)
        rounds = max(horizon - 1, 2)
        switches = min(max(problem.path_length / sqrt(2), 1.0), 0.5 * rounds)
        paid = bounds.fixed_share_tuned(switches, rounds + 1, experts)
        rate = problem.exp_concavity or sqrt(8 * paid / horizon) / problem.range
        return cls(**{"meta_step_size": rate, "share": switches / rounds, **settings})


def _paid(switches: float, share: float, horizon: int, experts: int) -> float:
    """−log prior of a sequence with that many switches, uniform first expert."""
    return float(bounds.fixed_share(log(experts), share, switches, horizon, experts))
