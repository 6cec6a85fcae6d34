"""Online gradient descent."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import bounds, step_size
from theory.arrays import Array
from theory.domain import Domain, Free
from theory.learner import Learner, squared_norm
from theory.loss import Loss
from theory.problem import Problem
from theory.step_size import StepSize


class State(NamedTuple):
    x: Array  # [..., d]
    energy: Array  # [..., 1]: Σ ‖grad_s‖²
    stability: Array  # [..., 1]: ½ Σ η_s ‖grad_s‖²


@dataclass(frozen=True)
class OGD(Learner):
    r"""$x_{t+1} = \Pi_X[x_t - \eta_t \nabla f_t(x_t)]$.

    Guarantee: ``bounds.proximal``: $Reg_T \le A_T/(2\eta_T) + \frac12\sum_t \eta_t\|\nabla f_t(x_t)\|^2$ for any
    non-increasing $\eta_t$; with the oracle step $G\sqrt{T A_T}$ (``bounds.ogd_oracle``).
    Reference: Zinkevich 2003, Theorem 2; constants as derived in theory/bounds.py.
    """

    step_size: StepSize
    domain: Domain = Free()
    laws = frozenset({"permutation", "scaling"})

    def __post_init__(self):
        step_size.check(self.step_size)

    def init(self, x_1: Array) -> State:
        x = step_size.spread(self.step_size, x_1)
        return State(x, 0.0 * x[..., :1], 0.0 * x[..., :1])

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        eta_t = step_size.resolve(self.step_size, state.energy)
        grad_t = loss_t.grad(state.x)
        spent_t = squared_norm(grad_t)
        return State(
            self.domain.project(state.x - eta_t * grad_t),
            state.energy + spent_t,
            state.stability + 0.5 * eta_t * spent_t,
        )

    def bound(self, state: State, comparator_energy: Array) -> Array:
        eta_t = step_size.resolve(self.step_size, state.energy) + 0.0 * state.energy
        return bounds.proximal(comparator_energy, eta_t[..., 0], state.stability[..., 0])

    def guarantee(self, problem: Problem) -> float | None:
        if not isinstance(self.step_size, int | float):
            return None
        energy = problem.gradient_bound**2 * problem.horizon
        return bounds.proximal(problem.comparator_energy, self.step_size, 0.5 * self.step_size * energy)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        return super().tuned(problem, **{"step_size": problem.oracle_step_size, **settings})
