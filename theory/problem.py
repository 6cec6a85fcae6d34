"""The constants a theorem may know before the game starts."""

from dataclasses import dataclass
from math import inf, sqrt

from theory import bounds
from theory.domain import Domain


@dataclass(frozen=True)
class Problem:
    """What a learner may be tuned with, and what a priori bounds are stated in.

    Attributes:
        domain: feasible set X.
        dimension: d.
        horizon: T, rounds.
        gradient_bound: G ≥ ‖∇f_t(x)‖ on X.
        smoothness: L, or None if the losses are not smooth.
        path_length: P_T of the comparators the bound is stated for.
        loss_range: c ≥ ⟨∇f_t(w), x − y⟩ for all w, x, y in X; by default G·D. For linear losses on experts it is
            the range of one round's losses. For other losses their own range is *not* enough: learners play ⟨∇f_t, ·⟩.
        exp_concavity: η such that every e^{−η·f_t} is concave (1 for log loss), or None if unknown.
        strong_convexity: λ > 0 with f_t − λ‖·‖²/2 convex, or None if the losses are not known to be curved.
    """

    domain: Domain
    dimension: int
    horizon: int
    gradient_bound: float
    smoothness: float | None = None
    path_length: float = 0.0
    loss_range: float | None = None
    exp_concavity: float | None = None
    strong_convexity: float | None = None

    def __post_init__(self):
        if self.horizon < 1 or self.dimension < 1:
            raise ValueError(
                f"Problem(horizon={self.horizon!r}, dimension={self.dimension!r}): both must be at least 1"
            )
        if not self.gradient_bound > 0:
            raise ValueError(f"Problem(gradient_bound={self.gradient_bound!r}): must be positive")

    @property
    def diameter(self) -> float:
        """D of the domain in its dimension."""
        return self.domain.diameter(self.dimension)

    @property
    def comparator_energy(self) -> float:
        """A_T = D² + 2·D·P_T (theory/README.md, the game)."""
        return inf if self.diameter == inf else bounds.comparator_energy(self.diameter, self.path_length)

    @property
    def range(self) -> float:
        """c: the given range of ⟨∇f_t, ·⟩ on X, or G·D."""
        return self.gradient_bound * self.diameter if self.loss_range is None else self.loss_range

    @property
    def oracle_step_size(self) -> float:
        """η = √A_T / (G√T), which minimises A_T/(2η) + ηG²T/2."""
        return sqrt(self.comparator_energy) / (self.gradient_bound * sqrt(self.horizon))
