"""Adam: what practice uses; a contrast, without a guarantee."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple, Self

from theory import require, step_size
from theory.arrays import Array, namespace
from theory.domain import Domain, Free
from theory.learner import Learner
from theory.loss import Loss
from theory.problem import Problem
from theory.step_size import StepSize


class State(NamedTuple):
    x: Array  # [..., d]
    first: Array  # [..., d]: moving average of the gradient
    second: Array  # [..., d]: moving average of its square
    decay: Array  # [..., 2]: β₁^t and β₂^t, for the bias corrections


@dataclass(frozen=True)
class Adam(Learner):
    r"""$x_{t+1} = \Pi_X[x_t - \eta\, \hat m_t / (\sqrt{\hat v_t} + \varepsilon)]$. No regret bound is claimed.

    Its step does not shrink with the gradient, and on simple convex problems it need not converge (Reddi et al. 2018).
    Reference: Kingma & Ba 2015, Algorithm 1.
    """

    step_size: StepSize
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    domain: Domain = Free()
    laws = frozenset({"permutation"})
    traceable = True

    def __post_init__(self):
        step_size.check(self.step_size, schedules=False)
        require.fraction(self, beta_1=self.beta_1, beta_2=self.beta_2)
        require.positive(self, "without it a zero gradient is 0/0", epsilon=self.epsilon)

    def init(self, x_1: Array) -> State:
        x = step_size.spread(self.step_size, x_1)
        ones = 0.0 * x[..., :1] + 1.0
        return State(x, 0.0 * x, 0.0 * x, namespace(x).concatenate([ones, ones], axis=-1))

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        xp = namespace(state.x)
        eta = step_size.resolve(self.step_size, state.x[..., :1])
        grad_t = loss_t.grad(state.x)
        first = self.beta_1 * state.first + (1 - self.beta_1) * grad_t
        second = self.beta_2 * state.second + (1 - self.beta_2) * grad_t * grad_t
        decay = state.decay * xp.asarray([self.beta_1, self.beta_2], like=state.decay)
        direction = first / (1 - decay[..., :1]) / (xp.sqrt(second / (1 - decay[..., 1:])) + self.epsilon)
        return State(self.domain.project(state.x - eta * direction), first, second, decay)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        per_coordinate = problem.oracle_step_size * problem.gradient_bound / sqrt(problem.dimension)
        return super().tuned(problem, **{"step_size": per_coordinate, **settings})
