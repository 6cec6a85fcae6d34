"""Tracking: gradient descent on strongly convex losses, which follows their minimisers."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

from theory import bounds
from theory.arrays import Array
from theory.domain import Domain, Free
from theory.learner import Learner
from theory.learners.ogd import OGD, State
from theory.loss import Loss
from theory.problem import Problem


@dataclass(frozen=True)
class Tracking(Learner):
    r"""$x_{t+1} = \Pi_X[x_t - \eta\nabla f_t(x_t)], \quad \eta = 2/(\lambda + L)$, f_t λ-strongly convex and L-smooth.

    Guarantee for $u_t = \arg\min_X f_t$, $\kappa = L/\lambda$: $\sum_t\|x_t - u_t\| \le \frac{\kappa+1}{2}(D + P_T)$
    (``bounds.strongly_convex_distance``; also with $\|x_1-u_1\|$ in place of D), hence regret at most G times that
    (``bounds.strongly_convex_regret``): linear in the path, no $\sqrt T$. The step map contracts,
    $\|x_{t+1} - u_t\| \le \rho\|x_t - u_t\|$, $\rho = (\kappa-1)/(\kappa+1)$, because $u_t$ is a fixed point of it; so
    $\|x_{t+1} - u_{t+1}\| \le \rho\|x_t - u_t\| + \|u_{t+1} - u_t\|$, and the sum is geometric. It is attained by a
    quadratic of curvature λ (or L) whose centers run away on a line. Against any other comparators it is OGD at this
    step, for any convex losses: ``bounds.ogd``.
    Reference: Mokhtari, Shahrampour, Jadbabaie & Ribeiro 2016, Theorem 1; contraction: Nesterov 2004, Theorem 2.1.12.
    """

    strong_convexity: float
    smoothness: float
    domain: Domain = Free()
    laws = frozenset({"permutation"})
    traceable = True

    def __post_init__(self):
        if not (0 < self.strong_convexity <= self.smoothness and isfinite(self.smoothness)):
            raise ValueError(
                f"Tracking(strong_convexity={self.strong_convexity!r}, smoothness={self.smoothness!r}): needs "
                "0 < strong_convexity ≤ smoothness; for losses that are only convex use OGD"
            )

    @property
    def descent(self) -> OGD:
        """The recursion: OGD at η = 2/(λ + L)."""
        return OGD(2 / (self.strong_convexity + self.smoothness), self.domain)

    def init(self, x_1: Array) -> State:
        return self.descent.init(x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        return self.descent.update(state, loss_t)

    def distance_bound(self, distance: Array, path_length: Array) -> Array:
        """Σ‖x_t − argmin_X f_t‖ is at most this; ``distance`` is ‖x_1 − u_1‖ or D, path of the minimisers."""
        return bounds.strongly_convex_distance(distance, path_length, self.smoothness, self.strong_convexity)

    def bound(self, state: State, comparator_energy: Array) -> Array:
        return self.descent.bound(state, comparator_energy)

    def guarantee(self, problem: Problem) -> float | None:
        return self.descent.guarantee(problem)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """Unknown curvatures are taken to be G/D, that of the quadratic whose gradient reaches G across the domain."""
        smoothness = problem.smoothness or problem.gradient_bound / problem.diameter
        curvature = min(problem.strong_convexity or smoothness, smoothness)
        return super().tuned(problem, **{"strong_convexity": curvature, "smoothness": smoothness, **settings})
