"""Gradient descent on smooth convex losses: what it pays besides the comparator's own loss, to the last constant."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from theory import bounds, regret, step_size
from theory.checker.checks import plays
from theory.domain import Ball, Free
from theory.learners import OGD
from theory.loss import Preference, Quadratic, SoftmaxKL
from theory.testing.strategies import BOUNDED, laws, vectors

ROUNDING = 1e-9
ORDERS = st.lists(st.integers(0, 3), min_size=1, max_size=30)


def within_smooth_bound(losses, x_1, domain, eta, smoothness, comparators):
    """The largest regret / sharp bound over rounds; asserts the bound, and that it is below the usual one."""
    x = plays(OGD(eta, domain), x_1, losses)
    lost, compared = (
        np.cumsum([float(loss.value(v)) for loss, v in zip(losses, path, strict=True)]) for path in (x, comparators)
    )
    energy = bounds.comparator_energy_sharp(x, comparators)
    limits = bounds.ogd_smooth(energy, eta, smoothness, compared)
    assert np.all(lost - compared <= limits + ROUNDING * (1 + np.abs(limits)))
    if 2 * eta * smoothness <= 1:
        usual = bounds.ogd_small_loss(np.abs(energy), eta, smoothness, compared)
        assert np.all(limits <= usual + ROUNDING * (1 + usual))
    return float(np.max((lost - compared) / np.maximum(limits, ROUNDING)))


@given(st.sampled_from([*BOUNDED, Free()]), ORDERS, vectors(4, 3), vectors(4, 3), st.floats(0.02, 0.98))
@example(Ball(1.0), [0, 1] * 15, np.eye(4, 3), -np.eye(4, 3), 0.9)
def test_regret_on_quadratics(domain, order, centers, comparators, eta):
    """Curvature 1, centers anywhere, comparators as many and as far apart as they like."""
    losses, u = [Quadratic(centers[i]) for i in order], domain.project(comparators)[np.array(order)[::-1]]
    within_smooth_bound(losses, domain.project(np.ones(3)), domain, eta, 1.0, u)


@given(ORDERS, vectors(4, 3), vectors(4, 3), vectors(4, 3), st.floats(0.2, 3.0), st.floats(0.02, 0.98))
def test_regret_on_preferences(order, chosen, rejected, comparators, beta, fraction):
    """B = max ‖φ‖, L = beta²·B²."""
    largest = max(float(np.linalg.norm(v, axis=-1).max()) for v in (chosen, rejected, np.ones((1, 3))))
    losses = [Preference(chosen[i][None], rejected[i][None], beta) for i in order]
    u, smoothness = Ball(2.0).project(comparators)[np.array(order)[::-1]], (beta * largest) ** 2
    within_smooth_bound(losses, np.zeros(3), Ball(2.0), fraction / smoothness, smoothness, u)


@given(ORDERS, laws(4, 3, 2), vectors(4, 3, 2, size=0.7), vectors(4, 4), st.floats(0.02, 0.98))
def test_regret_on_a_softmax_draft(order, target, features, comparators, fraction):
    """‖features‖ ≤ 1, L = ½, three positions a round; F_T is the KL of the comparators."""
    losses = [SoftmaxKL(features[i], target[i]) for i in order]
    within_smooth_bound(losses, np.zeros(4), Ball(2.0), 2 * fraction, 0.5, Ball(2.0).project(comparators)[order])


@pytest.mark.parametrize("eta", [0.1, 0.5, 0.9])
def test_the_smooth_bound_is_attained_in_every_round_and_for_any_path(eta):
    """Centers at u − (1/η − 1)(x − u), L = 1, put x on u after every round: nothing is lost in the proof."""
    u = np.random.default_rng(0).normal(size=(40, 3))
    x = np.concatenate([np.ones((1, 3)), u[:-1]])
    losses = [Quadratic(center) for center in u - (1 / eta - 1) * (x - u)]
    np.testing.assert_allclose(plays(OGD(eta), np.ones(3), losses), x, atol=1e-12)
    assert within_smooth_bound(losses, np.ones(3), Free(), eta, 1.0, u) == pytest.approx(1.0, rel=1e-12)


def test_the_realisable_bound_is_an_equality_at_the_inverse_of_the_smoothness():
    """Quadratics of curvature L, comparators at the centers: every round costs (L/2)‖u_t − u_{t−1}‖²."""
    centers = np.random.default_rng(1).normal(size=(40, 3))
    losses = [Quadratic(center, 4.0) for center in centers]
    x = plays(OGD(0.25), np.ones(3), losses)
    lost = sum(float(loss.value(v)) for loss, v in zip(losses, x, strict=True))
    limit = bounds.ogd_smooth_realisable(bounds.comparator_energy_sharp(x, centers)[-1], 4.0)
    assert lost == pytest.approx(limit, rel=1e-12)
    assert limit == pytest.approx(0.25 * bounds.ogd_realisable(bounds.comparator_energy_sharp(x, centers)[-1], 4.0))


def test_the_realisable_bound_a_priori_is_within_two():
    """From end to end of the ball every round: D·P_T once in the regret, twice in A_T."""
    centers = np.array([[(-1.0) ** t, 0.0, 0.0] for t in range(400)])
    losses = [Quadratic(center) for center in centers]
    x = plays(OGD(1.0, Ball(1.0)), np.array([-1.0, 0, 0]), losses)
    lost = sum(float(loss.value(v)) for loss, v in zip(losses, x, strict=True))
    energy = bounds.comparator_energy(2.0, float(regret.path_length(centers)[-1]))
    limit = bounds.ogd_smooth_realisable(energy, 1.0)
    assert 0.5 * limit <= lost <= limit


@given(st.floats(0.01, 100), st.floats(0.01, 50), st.floats(0.01, 100))
def test_the_tuned_form_is_the_least_of_the_plain_ones(energy, smoothness, comparator_loss):
    tuned = bounds.ogd_smooth_tuned(energy, smoothness, comparator_loss)
    best = 1 / (smoothness + sqrt(2 * smoothness * comparator_loss / energy))
    assert bounds.ogd_smooth(energy, best, smoothness, comparator_loss) == pytest.approx(tuned, rel=1e-9)
    for eta in np.linspace(0.02, 0.98, 25) / smoothness:
        assert bounds.ogd_smooth(energy, eta, smoothness, comparator_loss) >= tuned * (1 - 1e-9)
    assert tuned <= bounds.ogd_small_loss_tuned(energy, smoothness, comparator_loss)
    half = step_size.small_loss(smoothness)
    assert bounds.ogd_smooth(energy, half, smoothness, comparator_loss) == pytest.approx(
        smoothness * energy + comparator_loss
    )


def test_the_smooth_bound_refuses_long_steps():
    with pytest.raises(ValueError, match=r"step_size=0\.5.*below 1/smoothness = 0\.5"):
        bounds.ogd_smooth(1.0, 0.5, 2.0, 0.0)
