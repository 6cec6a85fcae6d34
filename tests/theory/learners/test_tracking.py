"""Tracking: strongly convex losses are followed at a distance that is linear in their path."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.learners.test_gradient_learners import BALL, ROUNDING
from theory import bounds, regret
from theory.checker.checks import plays
from theory.domain import Box
from theory.learners import OGD
from theory.learners.tracking import Tracking
from theory.loss import Quadratic
from theory.problem import Problem
from theory.testing.strategies import vectors


class Stretched(Quadratic):
    """½Σ curvature_i (x_i − center_i)², one curvature per axis: λ and L are the least and the largest."""

    def value(self, x):
        return 0.5 * np.sum(self.curvature * (x - self.center) ** 2, axis=-1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), vectors(4, 3, size=1.0), st.floats(1.0, 20.0))
def test_tracking_stays_near_the_minimisers(order, pool, kappa):
    """Centers in the box: there they are the minimisers, whatever the curvatures."""
    centers, curvature = pool[np.array(order)], np.array([1.0, kappa, sqrt(kappa)])
    domain, x_1 = Box(-1.0, 1.0), np.array([1.0, -1.0, 1.0])
    learner = Tracking(1.0, kappa, domain)
    losses = [Stretched(center, curvature) for center in centers]
    x = plays(learner, x_1, losses)
    distance = np.linalg.norm(x - centers, axis=-1)
    path, rho = regret.path_length(centers), (kappa - 1) / (kappa + 1)
    assert np.all(distance[1:] <= rho * distance[:-1] + np.diff(path) + 1e-12)
    limits = learner.distance_bound(distance[0], path)
    assert np.all(np.cumsum(distance) <= limits + ROUNDING)
    assert np.all(limits <= bounds.strongly_convex_distance(domain.diameter(3), path, kappa, 1.0) + ROUNDING)
    suffered = sum(float(loss.value(x_t)) for loss, x_t in zip(losses, x, strict=True))
    gradient_bound = max(float(np.linalg.norm(loss.grad(x_t))) for loss, x_t in zip(losses, x, strict=True))
    assert suffered <= bounds.strongly_convex_regret(limits[-1], gradient_bound) + ROUNDING


@pytest.mark.parametrize("curvature", [1.0, 9.0])
def test_tracking_attains_its_bound_on_a_line(curvature):
    """Centers run away (or turn back, at curvature L): equality but for the distance still there at the end."""
    rho, centers = 0.8, [0.0]
    gap = 1.0
    for _ in range(60):  # every move lengthens the distance as far as a move of 0.1 can
        gap = (rho if curvature == 1.0 else -rho) * gap
        centers.append(centers[-1] - 0.1 * np.sign(gap))
        gap += 0.1 * np.sign(gap)
    centers = np.array(centers)[:, None]
    x = plays(Tracking(1.0, 9.0), np.array([1.0]), [Quadratic(c, curvature) for c in centers])
    distance, path = np.abs(x - centers)[:, 0], float(regret.path_length(centers)[-1])
    limit = bounds.strongly_convex_distance(1.0, path, 9.0, 1.0)
    assert distance.sum() == pytest.approx(limit - rho / (1 - rho) * distance[-1], rel=1e-12)
    assert distance.sum() >= 0.9 * limit


def test_tracking_knows_its_curvatures_or_guesses_them():
    problem = Problem(BALL, 3, 50, 3.0, smoothness=4.0, strong_convexity=0.5)
    assert Tracking.tuned(problem) == Tracking(0.5, 4.0, BALL)
    assert Tracking.tuned(Problem(BALL, 3, 50, 3.0)) == Tracking(1.5, 1.5, BALL)  # G/D
    learner = Tracking(0.5, 4.0, BALL)
    assert learner.guarantee(problem) == OGD(2 / 4.5, BALL).guarantee(problem)
