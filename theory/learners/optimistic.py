"""Optimistic online gradient descent: play with the hint, correct with the gradient."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from theory import bounds, step_size
from theory.arrays import Array, namespace
from theory.domain import Domain, Free
from theory.hints import HintRule, LastGradient
from theory.learner import Learner, Terms, squared_norm
from theory.loss import Loss
from theory.problem import Problem
from theory.step_size import SelfConfident, StepSize


class State(NamedTuple):
    anchor: Array  # [..., d]: x̂_t, where only gradients have led
    hint: Array  # [..., d]: guess of grad_t
    energy: Array  # [..., 1]: Σ ‖grad_s − hint_s‖², the hint error δ
    stability: Array  # [..., 1]: ½ Σ η_s ‖grad_s − hint_s‖²


@dataclass(frozen=True)
class OptimisticOGD(Learner):
    r"""$x_t = \Pi_X[\hat x_t - \eta_t h_t], \quad \hat x_{t+1} = \Pi_X[\hat x_t - \eta_t \nabla f_t(x_t)]$.

    The hint $h_t$ comes from ``hint`` (theory/hints.py: zero, the last gradient, a moving average) or from outside.

    Guarantee: ``bounds.proximal`` with the hint error in place of the gradients:
    $A_T/(2\eta_T) + \frac12\sum_t\eta_t\|\nabla f_t(x_t) - h_t\|^2$, at constant η less what x moved from $\hat x$
    (``bounds.optimistic_moving``). What that gives:

    - oracle, $\eta = \sqrt{A_T/\delta_T}$: $\sqrt{\delta_T A_T}$ (``bounds.optimistic_oracle``); a perfect hint of
      linear losses leaves $A_T/(2\eta)$;
    - ``SelfConfident``, $\eta_t = D/\sqrt{4G^2 + \delta_{t-1}}$, needs only $\|h_t\| \le G$:
      $(\frac32 D + P_T)\sqrt{4G^2 + \delta_T}$ (``bounds.optimistic_self_confident``);
    - ``LastGradient``, L-smooth losses, $\eta \le 1/(4L)$: $\eta(2V_T + G^2) + A_T/(2\eta)$
      (``bounds.optimistic_variation``).

    Reference: Rakhlin & Sridharan 2013, Lemma 1; Chiang et al. 2012 for $V_T$; constants derived in theory/bounds.py.
    """

    step_size: StepSize
    hint: HintRule = LastGradient()
    domain: Domain = Free()
    laws = frozenset({"permutation", "scaling"})
    traceable = True
    takes_hints = True

    def __post_init__(self):
        step_size.check(self.step_size)

    @property
    def constant_steps(self) -> bool:
        return isinstance(self.step_size, int | float | tuple)

    @property
    def certified(self) -> bool:
        return self.bases is None

    def init(self, x_1: Array) -> State:
        x = step_size.spread(self.step_size, x_1)
        return State(x, namespace(x).zeros_like(x), 0.0 * x[..., :1], 0.0 * x[..., :1])

    def predict(self, state: State, hint: Array | None = None) -> Array:
        eta_t = step_size.resolve(self.step_size, state.energy)
        return self.domain.project(state.anchor - eta_t * (state.hint if hint is None else hint))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        eta_t = step_size.resolve(self.step_size, state.energy)
        hint_t = state.hint if hint is None else hint
        grad_t = loss_t.grad(self.predict(state, hint))
        error_t = squared_norm(grad_t - hint_t)
        return State(
            self.domain.project(state.anchor - eta_t * grad_t),
            self.hint.after(state.hint, grad_t),
            state.energy + error_t,
            state.stability + 0.5 * eta_t * error_t,
        )

    def bound(self, state: State, comparator_energy: Array) -> Array:
        eta_t = step_size.resolve(self.step_size, state.energy) + 0.0 * state.energy
        return bounds.proximal(comparator_energy, eta_t[..., 0], state.stability[..., 0])

    def own_hint(self, state: State) -> Array:
        return state.hint

    def anchor(self, state: State) -> Array:
        return state.anchor

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        error_t = grad_t - (before.hint if hint is None else hint)
        return Terms(before.anchor, error_t, step_size.resolve(self.step_size, before.energy))

    def guarantee(self, problem: Problem) -> float | None:
        if problem.domain != self.domain:
            return None
        known = problem.diameter, problem.gradient_bound
        error = ((1 + self.hint.reach) * problem.gradient_bound) ** 2 * problem.horizon  # the largest δ_T
        eta = self.step_size
        if isinstance(eta, int | float):
            return bounds.proximal(problem.comparator_energy, eta, 0.5 * eta * error)
        if isinstance(eta, SelfConfident) and (eta.diameter, eta.gradient_bound) == known and self.hint.reach <= 1:
            return bounds.optimistic_self_confident(*known, problem.path_length, error)
        return None

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        if "step_size" not in settings:
            settings["step_size"] = SelfConfident(problem.diameter, problem.gradient_bound)
        return super().tuned(problem, **settings)
