"""Planted faults of projections."""

from dataclasses import dataclass

from theory.arrays import namespace
from theory.domain import Ball, Simplex
from theory.learners import OGD
from theory.loss import Linear


@dataclass(frozen=True)
class Projected(OGD):
    """OGD with a projection of its own."""

    def _nearest(self, x):
        raise NotImplementedError

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        following = super().update(state, Linear(grad_t), hint)
        return following._replace(x=self._nearest(state.x - self.step_size * grad_t))


@dataclass(frozen=True)
class Unprojected(Projected):
    """Never projects."""

    def _nearest(self, x):
        return x


@dataclass(frozen=True)
class ClipsCoordinates(Projected):
    """Clips every coordinate to the radius, which is the projection on a box."""

    def _nearest(self, x):
        xp = namespace(x)
        return xp.minimum(xp.maximum(x, -self.domain.radius), self.domain.radius)


@dataclass(frozen=True)
class OntoTheSphere(Projected):
    """Divides by the norm inside the ball, too."""

    def _nearest(self, x):
        return self.domain.radius * x / namespace(x).norm(x)


@dataclass(frozen=True)
class NormalisesWeights(Projected):
    """On the simplex clips and divides by the sum, which is no Euclidean projection."""

    def _nearest(self, x):
        positive = namespace(x).maximum(x, 1e-9)
        return positive / namespace(x).sum(positive, axis=-1, keepdims=True)


FAULTS = {
    Unprojected(0.1, Ball(1.0)): "feasible",
    ClipsCoordinates(0.1, Ball(1.0)): "feasible",
    OntoTheSphere(0.1, Ball(1.0)): "bound",
    NormalisesWeights(0.1, Simplex()): "bound",
}
