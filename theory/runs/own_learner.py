"""A learner of your own: gradient descent with a step that falls, and the bound that its proof gives.

python -m theory check {file}:OwnLearner                     every law, then a search for a game that breaks the bound
python -m sim play {file}:OwnLearner drift/P8 --copies 100   regret against the bound in a known stream
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import Ball, Domain, Learner, Loss, Problem, bounds
from theory.arrays import Array, namespace
from theory.learner import squared_norm


class State(NamedTuple):
    """All that changes. Arrays: the last axis is the decision, every axis before it holds independent copies."""

    x: Array  # [..., d]
    rounds: Array  # [..., 1]: played so far
    stability: Array  # [..., 1]: ½ Σ η_s ‖grad_s‖², which the bound needs


@dataclass(frozen=True)
class OwnLearner(Learner):
    """x_{t+1} = Π[x_t − η_t·∇f_t(x_t)] with η_t = scale/√t. Fields are hyper-parameters: numbers, tuples, a domain."""

    scale: float = 1.0
    domain: Domain = Ball(1.0)
    traceable = True
    """No Python branch below looks at the value of an array, so that a compiler may run it (engine="jax")."""

    def init(self, x_1: Array) -> State:
        """Before round 1; x_1 is the first decision, one a copy."""
        zero = 0.0 * x_1[..., :1]
        return State(x_1, zero, zero)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        """x_t, before the loss exists."""
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        """The loss is revealed, as a function. Make a new state; leave the old one as it is."""
        grad_t, rounds = loss_t.grad(state.x), state.rounds + 1.0
        eta_t = self.scale / namespace(rounds).sqrt(rounds)
        stability = state.stability + 0.5 * eta_t * squared_norm(grad_t)
        return State(self.domain.project(state.x - eta_t * grad_t), rounds, stability)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """On the dynamic regret so far, for comparators of energy A_T = D² + 2·D·P_T. Leave it out to claim nothing."""
        xp = namespace(state.rounds)
        eta_t = self.scale / xp.sqrt(xp.maximum(state.rounds, 1.0))
        return bounds.proximal(comparator_energy, eta_t[..., 0], state.stability[..., 0])

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """How a theorem sets what the user does not: D/G here."""
        return super().tuned(problem, **{"scale": problem.diameter / problem.gradient_bound, **settings})
