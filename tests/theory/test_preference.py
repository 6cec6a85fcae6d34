"""Online DPO: the preference loss, its constants, and the small-loss bound that rests on them."""

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from theory import bounds, regret, step_size
from theory.checker.checks import plays
from theory.domain import Ball
from theory.learners import OGD
from theory.loss import Preference
from theory.testing.strategies import vectors

PAIRS, WIDTH = 3, 4


def within(v, norm):
    """Rows of norm at most ``norm``."""
    return v * norm / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), norm)


@st.composite
def preferences(draw, norm=1.0):
    """Features of norm at most ``norm``, any beta, with or without a reference policy."""
    chosen, rejected = (within(draw(vectors(PAIRS, WIDTH)), norm) for _ in range(2))
    return Preference(chosen, rejected, draw(st.floats(0.05, 5.0)), draw(st.none() | vectors(PAIRS)))


CHOSEN = np.array([[0.6, 0.0, 0.8, 0.1], [1.0, -0.2, 0.0, 0.0]])
REJECTED = np.array([[0.0, 0.5, 0.5, 0.0], [0.1, 0.2, 0.7, -0.9]])
EXAMPLE = Preference(CHOSEN, REJECTED, 0.7)
WITH_REFERENCE = Preference(CHOSEN, REJECTED, 2.0, np.array([0.5, -1.5]))


# What it is


def dpo_by_hand(loss, x):
    """−log σ of beta times (the policy's log-odds − the reference's), the policy a softmax over the two answers."""
    total = 0.0
    for i in range(len(loss.chosen)):
        scores = [sum(a * b for a, b in zip(x, phi[i], strict=True)) for phi in (loss.chosen, loss.rejected)]
        normaliser = log(exp(scores[0]) + exp(scores[1]) + exp(0.3))  # any other answers too: it cancels
        odds = (scores[0] - normaliser) - (scores[1] - normaliser)
        reference = 0.0 if loss.reference is None else loss.reference[i]
        total += log(1 + exp(-loss.beta * (odds - reference)))
    return total / len(loss.chosen)


@pytest.mark.parametrize("loss", [EXAMPLE, WITH_REFERENCE], ids=["plain", "reference"])
def test_value_and_gradient(loss):
    x = np.random.default_rng(0).normal(size=WIDTH)
    assert float(loss.value(x)) == pytest.approx(dpo_by_hand(loss, x), rel=1e-13)
    step = 1e-5 * np.eye(WIDTH)
    np.testing.assert_allclose(loss.grad(x), (loss.value(x + step) - loss.value(x - step)) / 2e-5, atol=1e-8)
    tensors = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in vars(loss).items()}
    theirs, tensor = Preference(**tensors), torch.from_numpy(x).requires_grad_()
    theirs.value(tensor).backward()
    assert tensor.grad is not None
    np.testing.assert_allclose(tensor.grad.numpy(), loss.grad(x), atol=1e-13)
    np.testing.assert_allclose(theirs.grad(tensor.detach()).numpy(), loss.grad(x), atol=1e-13)
    value, grad = loss.value_and_grad(x)
    np.testing.assert_array_equal(value, loss.value(x))
    np.testing.assert_array_equal(grad, loss.grad(x))


def test_copies_and_experts_broadcast():
    rng = np.random.default_rng(0)
    chosen, rejected, reference = (rng.normal(size=(2, PAIRS, WIDTH)[: 3 - (i == 2)]) for i in range(3))
    loss, x = Preference(chosen, rejected, 0.5, reference), rng.normal(size=(5, 2, WIDTH))
    assert loss.value(x).shape == (5, 2)
    for expert, copy in np.ndindex(5, 2):
        single = Preference(chosen[copy], rejected[copy], 0.5, reference[copy])
        np.testing.assert_allclose(loss.value(x)[expert, copy], single.value(x[expert, copy]), rtol=1e-13)
        np.testing.assert_allclose(loss.grad(x)[expert, copy], single.grad(x[expert, copy]), rtol=1e-12)
    np.testing.assert_allclose(EXAMPLE.value(x)[3, 1], EXAMPLE.value(x[3, 1]))


@pytest.mark.parametrize("margin", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_sure_and_wrong_policies_are_finite(margin):
    loss, x = Preference(np.array([[1.0]]), np.array([[0.0]]), 1.0), np.array([margin])
    expected = max(-margin, 0.0) + np.log1p(np.exp(-abs(margin)))
    assert float(loss.value(x)) == pytest.approx(expected, rel=1e-12)
    assert -1.0 <= float(loss.grad(x)[0]) <= 0.0
    assert float(loss.grad(x)[0]) == pytest.approx(-1 / (1 + np.exp(min(margin, 700.0))), rel=1e-12, abs=1e-300)


def test_beta_must_be_positive():
    with pytest.raises(ValueError, match=r"beta=0\.0.*positive"):
        Preference(CHOSEN, REJECTED, 0.0)


# Its constants: G = 2·beta·B, L = beta²·B²


@pytest.mark.parametrize("norm", [1.0, 3.0])
@given(data=st.data())
def test_constants(norm, data):
    """Convex, Lipschitz, smooth, and ‖∇f‖² ≤ 2L·f."""
    loss = data.draw(preferences(norm))
    x, y = (data.draw(vectors(WIDTH, size=8.0)) for _ in range(2))
    gradient_bound, smoothness = 2 * loss.beta * norm, (loss.beta * norm) ** 2
    (value_x, grad_x), (value_y, grad_y) = loss.value_and_grad(x), loss.value_and_grad(y)
    rounding = 1e-12 * (1 + smoothness) * (1 + np.sum((x - y) ** 2))
    assert np.linalg.norm(grad_x) <= gradient_bound * (1 + 1e-12)
    assert np.linalg.norm(grad_x - grad_y) <= smoothness * np.linalg.norm(x - y) + rounding
    assert np.sum(grad_x**2) <= 2 * smoothness * value_x + rounding
    gap = value_y - value_x - grad_x @ (y - x)
    assert -rounding <= gap <= 0.5 * smoothness * np.sum((x - y) ** 2) + rounding


@pytest.mark.parametrize(("norm", "beta"), [(1.0, 1.0), (3.0, 0.2)])
def test_constants_are_attained(norm, beta):
    """Opposite features of full length: curvature L where the policy is undecided, slope G where it is quite wrong."""
    phi = np.array([[0.6 * norm, 0.8 * norm]])
    loss, along = Preference(phi, -phi, beta), phi[0] / norm
    h = 1e-4 / (beta * norm)
    curvature = (loss.grad(h * along) - loss.grad(-h * along)) @ along / (2 * h)
    assert curvature == pytest.approx((beta * norm) ** 2, rel=1e-6)
    assert np.linalg.norm(loss.grad(-100 / (beta * norm) * along)) == pytest.approx(2 * beta * norm, rel=1e-12)


# The small-loss bound


def stream(order, pool_chosen, pool_rejected, beta):
    return [Preference(pool_chosen[i][None], pool_rejected[i][None], beta) for i in order]


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    vectors(4, WIDTH),
    vectors(4, WIDTH),
    st.floats(0.2, 3.0),
    st.floats(0.05, 1.0),
    vectors(2, WIDTH),
)
@example([0, 1, 2, 3] * 10, np.eye(4), -np.eye(4), 3.0, 1.0, np.ones((2, WIDTH)))
def test_small_loss_bound_for_preferences(order, chosen, rejected, beta, fraction, corners):
    """B = 1, L = beta²: any step up to 1/(2L), comparators that move once."""
    losses, ball = stream(order, within(chosen, 1.0), within(rejected, 1.0), beta), Ball(2.0)
    eta = fraction * step_size.small_loss(beta**2)
    x = plays(OGD(eta, ball), np.zeros(WIDTH), losses)
    u = ball.project(corners)[np.where(np.arange(len(order)) < len(order) // 2, 0, 1)]
    compared = np.cumsum([float(loss.value(u_t)) for loss, u_t in zip(losses, u, strict=True)])
    lost = np.cumsum([float(loss.value(x_t)) for loss, x_t in zip(losses, x, strict=True)])
    energy = bounds.comparator_energy_sharp(x, u)
    limits = compared + bounds.ogd(energy, eta, 2 * beta**2 * lost)  # ‖∇f‖² ≤ 2L·f, not yet solved for the loss
    assert np.all(lost <= limits + 1e-9 * (1 + limits))
    moved = bounds.comparator_energy(4.0, regret.path_length(u))
    final = bounds.ogd_small_loss(moved, eta, beta**2, compared)
    assert np.all(lost - compared <= final + 1e-9 * (1 + final))


def test_the_price_of_a_separable_stream_is_logarithmic():
    """One answer always preferred by a margin, F_T → 0 far out: no √T; the same again for every fourfold horizon."""
    rng, horizons, prices = np.random.default_rng(0), [250, 1000, 4000], []
    for horizon in horizons:
        noise = 0.3 * rng.normal(size=(horizon, WIDTH)) * np.array([0.0, 1.0, 1.0, 1.0])
        chosen = within(noise + 0.6 * np.eye(WIDTH)[0], 1.0)
        losses = [Preference(c[None], -c[None], 2.0) for c in chosen]
        u, eta = 20.0 * np.eye(WIDTH)[0], step_size.small_loss(4.0)
        x = plays(OGD(eta, Ball(20.0)), np.zeros(WIDTH), losses)
        lost, compared = (
            sum(float(loss.value(v)) for loss, v in zip(losses, path, strict=True)) for path in (x, [u] * horizon)
        )
        assert lost - compared <= bounds.ogd_small_loss(400.0, eta, 4.0, compared)
        prices.append(lost - compared)
    assert np.diff(prices)[1] == pytest.approx(np.diff(prices)[0], rel=0.25)
    assert np.polyfit(np.log(horizons), np.log(prices), 1)[0] < 0.25
