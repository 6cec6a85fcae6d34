"""Online gradient descent."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import bounds, step_size
from theory.arrays import Array
from theory.domain import Domain, Free
from theory.learner import Learner, Terms, squared_norm
from theory.loss import Loss
from theory.problem import Problem
from theory.step_size import AdaGradNorm, InverseSqrt, StepSize


class State(NamedTuple):
    x: Array  # [..., d]
    energy: Array  # [..., 1]: Σ ‖grad_s‖²
    stability: Array  # [..., 1]: ½ Σ η_s ‖grad_s‖²
    rounds: Array  # [..., 1]: played so far


@dataclass(frozen=True)
class OGD(Learner):
    r"""$x_{t+1} = \Pi_X[x_t - \eta_t \nabla f_t(x_t)]$.

    Guarantee: ``bounds.proximal``: $Reg_T \le A_T/(2\eta_T) + \frac12\sum_t \eta_t\|\nabla f_t(x_t)\|^2$ for any
    non-increasing $\eta_t$. What that gives for each choice of the step:

    - oracle, $\eta = \sqrt{A_T}/(G\sqrt T)$: $G\sqrt{T A_T}$ (``bounds.ogd_oracle``);
    - $\eta = D/(G\sqrt T)$: $G\sqrt T(D + P_T)$ (``bounds.ogd_untuned``);
    - ``InverseSqrt``, $\eta_t = D/(G\sqrt t)$: $G\sqrt T(\frac32 D + P_T)$ (``bounds.ogd_inverse_sqrt``);
    - ``AdaGradNorm``, $\eta_t = D/\sqrt{\sum_{s\le t}\|\nabla f_s(x_s)\|^2}$: $(\frac32 D + P_T)\sqrt{\sum_t
      \|\nabla f_t(x_t)\|^2}$ (``bounds.ogd_adagrad_norm``);
    - L-smooth convex losses, ``step_size.small_loss``, $\eta = 1/(2L)$: $F_T + L A_T$ (``bounds.ogd_smooth``; 2L in
      the usual proof, ``bounds.ogd_small_loss``); no $\sqrt T$ where $F_T = 0$, and $\frac L2 A_T$ at $\eta = 1/L$.

    Reference: Zinkevich 2003, Theorems 1 and 2; constants as derived in theory/bounds.py.
    """

    step_size: StepSize
    domain: Domain = Free()
    laws = frozenset({"permutation", "scaling"})
    traceable = True

    def __post_init__(self):
        step_size.check(self.step_size, inclusive=True)

    @property
    def constant_steps(self) -> bool:
        return isinstance(self.step_size, int | float | tuple)

    @property
    def certified(self) -> bool:
        return self.bases is None

    def init(self, x_1: Array) -> State:
        x = step_size.spread(self.step_size, x_1)
        zero = 0.0 * x[..., :1]
        return State(x, zero, zero, zero)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        grad_t = loss_t.grad(state.x)
        spent_t = squared_norm(grad_t)
        energy, rounds = state.energy + spent_t, state.rounds + 1.0
        eta_t = step_size.correction(self.step_size, state.energy, energy, rounds)
        return State(
            self.domain.project(state.x - eta_t * grad_t),
            energy,
            state.stability + 0.5 * eta_t * spent_t,
            rounds,
        )

    def bound(self, state: State, comparator_energy: Array) -> Array:
        eta_t = step_size.correction(self.step_size, state.energy, state.energy, state.rounds) + 0.0 * state.energy
        return bounds.proximal(comparator_energy, eta_t[..., 0], state.stability[..., 0])

    def anchor(self, state: State) -> Array:
        return state.x

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        eta_t = step_size.correction(self.step_size, before.energy, after.energy, after.rounds)
        return Terms(x_t, grad_t, eta_t)

    def guarantee(self, problem: Problem) -> float | None:
        if problem.domain != self.domain:
            return None
        g, d, t, eta = problem.gradient_bound, problem.diameter, problem.horizon, self.step_size
        if isinstance(eta, int | float):
            return bounds.ogd(problem.comparator_energy, eta, g**2 * t)
        if isinstance(eta, InverseSqrt) and (eta.diameter, eta.gradient_bound) == (d, g):
            return bounds.ogd_inverse_sqrt(g, t, d, problem.path_length)
        if isinstance(eta, AdaGradNorm) and eta.diameter == d:
            return bounds.ogd_adagrad_norm(d, problem.path_length, g**2 * t)
        return None

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        return super().tuned(problem, **{"step_size": problem.oracle_step_size, **settings})
