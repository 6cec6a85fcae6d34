"""Momentum: what the paper's public code runs under the name of optimism; a contrast, without a guarantee."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import require, step_size
from theory.arrays import Array
from theory.domain import Domain, Free
from theory.learner import Learner
from theory.loss import Loss
from theory.problem import Problem
from theory.step_size import StepSize


class State(NamedTuple):
    x: Array  # [..., d]
    velocity: Array  # [..., d]


@dataclass(frozen=True)
class Momentum(Learner):
    r"""$v_t = \beta v_{t-1} + \nabla f_t(x_t), \quad x_{t+1} = \Pi_X[x_t - \eta v_t]$. No regret bound is claimed.

    ``tuned`` matches the displacement of OGD: η is OGD's times (1 − β). Reference: Polyak 1964 (heavy ball), in the
    form of torch.optim.SGD.
    """

    step_size: StepSize
    momentum: float = 0.9
    domain: Domain = Free()
    laws = frozenset({"permutation", "scaling"})
    traceable = True

    def __post_init__(self):
        step_size.check(self.step_size, schedules=False)
        require.fraction(self, momentum=self.momentum)

    def init(self, x_1: Array) -> State:
        x = step_size.spread(self.step_size, x_1)
        return State(x, 0.0 * x)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        eta = step_size.resolve(self.step_size, state.x[..., :1])
        velocity = self.momentum * state.velocity + loss_t.grad(state.x)
        return State(self.domain.project(state.x - eta * velocity), velocity)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        matched = (1 - settings.get("momentum", cls.momentum)) * problem.oracle_step_size
        return super().tuned(problem, **{"step_size": matched, **settings})
