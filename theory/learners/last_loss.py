"""Exponential weights on the last loss alone: what the paper's public code runs as its ensemble, kept as a contrast."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import require
from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.learner import Learner
from theory.loss import Loss
from theory.problem import Problem


class State(NamedTuple):
    log_prior: Array  # [..., N]
    last: Array  # [..., N]: loss_{t−1},i


@dataclass(frozen=True)
class LastLoss(Learner):
    r"""$w_{t,i} \propto p_i \exp(-\epsilon\, \ell_{t-1,i})$: nothing before the last round is remembered.

    No guarantee, and none is possible: two experts that take turns in losing 1 cost it exactly
    $\frac12 + (T-1)/(1 + e^{-\epsilon})$ where each of them costs $T/2$: linear regret at every ε. Hedge is the same
    line with the sum.
    """

    meta_step_size: float = 1.0
    domain: Domain = Simplex()
    laws = frozenset({"permutation", "translation", "scaling"})
    traceable = True

    def __post_init__(self):
        require.positive(self, meta_step_size=self.meta_step_size)

    def init(self, x_1: Array) -> State:
        return State(namespace(x_1).log(x_1), 0.0 * x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return namespace(state.last).softmax(state.log_prior - self.meta_step_size * state.last)

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        return State(state.log_prior, loss_t.grad(self.predict(state)))

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """No theory tunes it; ε = 1/range keeps the weights away from 0 and 1."""
        return cls(**{"meta_step_size": 1 / problem.range, **settings})
