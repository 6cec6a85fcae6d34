"""Fixed Share: exponential weights that hand a share of every weight to the other experts, so that nobody dies."""

from dataclasses import dataclass
from math import isfinite, log, sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner, Terms
from theory.learners import hedge
from theory.loss import Linear, Loss, expert_losses
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

    ``surrogate``: $\langle\nabla f_t(w_t), \cdot\rangle$ is played in place of $f_t$. For a convex loss the bound then
    covers every moving *mixture* $u_t$, with $m = \sum_{t\ge2}\frac12\|u_t-u_{t-1}\|_1$ for S: values at corners say
    nothing of what lies between them. A linear loss is its own surrogate; an exp-concave one loses its ln N by it.
    Reference: Herbster & Warmuth 1998, Theorem 1 and Corollary 1; Cesa-Bianchi, Gaillard, Lugosi & Stoltz 2012 for m.
    """

    meta_step_size: float
    share: float
    surrogate: bool = False
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})
    traceable = True
    certified = True

    def __post_init__(self):
        require.positive(self, meta_step_size=self.meta_step_size)
        require.fraction(self, "0 is Hedge", share=self.share)

    @property
    def experts_only(self) -> bool:
        return not self.surrogate

    def init(self, x_1: Array) -> State:
        log_prior = namespace(x_1).log(x_1)
        return State(log_prior, log_prior, 0.0 * x_1[..., :1], 0.0 * x_1[..., :1])

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.log_weights).exp(state.log_weights)

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        xp = namespace(state.log_weights)
        weights_t = self.predict(state)
        loss_t = Linear(loss_t.grad(weights_t)) if self.surrogate else loss_t
        losses_t = expert_losses(loss_t, weights_t)
        gap_t = loss_t.value(weights_t)[..., None] - hedge.mix_loss(state.log_weights, losses_t, self.meta_step_size)
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

        On linear losses, and with ``surrogate`` on convex ones, also to any moving mixture $u_t$, with
        $\sum_{t\ge2}\frac12\|u_t-u_{t-1}\|_1$ for the switches: ``bounds.fixed_share`` says why.
        """
        log_inverse_prior = namespace(state.gap).max(-state.log_prior, axis=-1)
        rounds, experts = state.rounds[..., 0], state.log_prior.shape[-1]
        paid = bounds.fixed_share(log_inverse_prior, self.share, switches, rounds, experts)
        return paid / self.meta_step_size + state.gap[..., 0]

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Against sequences of experts of that A_T = 2 + 2√2·P_T; with ``surrogate`` against those of mixtures too."""
        most = self._switches((comparator_energy - 2.0) / sqrt(8), state.log_prior.shape[-1])
        paid = self.switching_bound(state, most)
        return namespace(paid).maximum(paid, self.switching_bound(state, 0.0 * most)) if self.surrogate else paid

    def _switches(self, path_length: Any, experts: int) -> Any:
        """Those of a path: √2 each between experts; between mixtures ½‖·‖₁ ≤ ½√N·‖·‖, so at most this many."""
        return path_length * sqrt(experts / 4 if self.surrogate else 0.5)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        """The gap and one more stay, ln(1/(1 − α))/ε: against fixed experts, or mixtures, from any weights on."""
        return hedge.gap_paid(before, after, -log(1.0 - self.share) / self.meta_step_size)

    def prior_cost(self, before: State, candidate: Array) -> float:
        return float(bounds.relative_entropy(candidate, before.log_weights).sum() / self.meta_step_size)

    def guarantee(self, problem: Problem) -> float | None:
        """Against sequences of experts of at most that path length, for linear or exp-concave losses.

        With ``surrogate`` against sequences of mixtures, for convex losses.
        """
        experts = problem.dimension
        most = min(self._switches(problem.path_length, experts), problem.horizon - 1.0)
        known = self.share, problem.horizon, experts
        # A share above (N−1)/N makes staying the less likely: then fewer switches are dearer.
        paid = max(_paid(switches, *known) for switches in (0.0, most)) / self.meta_step_size
        if not isfinite(paid):
            return None  # a switch, and no share
        mixable = not self.surrogate and (problem.exp_concavity or 0.0) >= self.meta_step_size
        return paid + (0.0 if mixable else self.meta_step_size * problem.range**2 * problem.horizon / 8)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """At the switches of ``problem``, but at least one: with none the theorem says α = 0, and experts would die.

        With ``surrogate`` unless the losses are known to be exp-concave.
        """
        horizon, experts = problem.horizon, max(problem.dimension, 2)
        rounds = max(horizon - 1, 2)
        switches = min(max(problem.path_length / sqrt(2), 1.0), 0.5 * rounds)
        paid = bounds.fixed_share_tuned(switches, rounds + 1, experts)
        surrogate = settings.get("surrogate", problem.exp_concavity is None)
        rate = (not surrogate and problem.exp_concavity) or sqrt(8 * paid / horizon) / problem.range
        return cls(**{"meta_step_size": rate, "share": switches / rounds, "surrogate": surrogate, **settings})


def _paid(switches: float, share: float, horizon: int, experts: int) -> float:
    """−log prior of a sequence with that many switches, uniform first expert."""
    return float(bounds.fixed_share(log(experts), share, switches, horizon, experts))
