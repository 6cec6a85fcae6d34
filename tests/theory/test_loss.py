"""Losses: gradients, and the constants G and L that the theorems are stated with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theory.hindsight import Total
from theory.loss import Blocks, Counted, Linear, Quadratic, SoftmaxKL
from theory.testing.strategies import laws, vectors

POSITIONS, WIDTH, VOCABULARY, RANK = 3, 2, 4, 2


def unit_rows(v, norm=1.0):
    """Rows of norm at most ``norm``."""
    return v * norm / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), norm)


@st.composite
def softmax_losses(draw, norm=1.0, positive=False):
    """SoftmaxKL with ‖features‖ ≤ norm and an orthonormal readout or none; temperature 1."""
    features = unit_rows(draw(vectors(POSITIONS, WIDTH)), norm)
    target = draw(laws(POSITIONS, VOCABULARY, positive=positive))
    base = draw(st.none() | vectors(POSITIONS, VOCABULARY))
    readout = draw(st.none() | vectors(VOCABULARY, RANK).map(lambda v: np.linalg.qr(v + np.eye(VOCABULARY, RANK))[0].T))
    return SoftmaxKL(features, target, base, readout)


def width_of(loss):
    return WIDTH * (VOCABULARY if loss.readout is None else RANK)


LOSSES = {
    "linear": Linear(np.array([0.5, -1.0, 2.0, 0.1])),
    "quadratic": Quadratic(np.array([0.5, -1.0, 2.0, 0.1]), curvature=2.5),
    "softmax": SoftmaxKL(np.array([[0.6], [0.8]]), np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0]])),
    "adapter": SoftmaxKL(
        np.array([[0.6, 0.8], [1.0, -0.2]]),
        np.array([[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]]),
        base_logits=np.array([[1.0, 0.0, -2.0], [0.3, 0.2, 0.1]]),
        readout=np.array([[0.5, -0.5, 0.7], [0.1, 0.9, -0.3]]),
        temperature=0.7,
    ),
    "total": Total([Linear(np.array([0.5, -1.0, 2.0, 0.1])), Quadratic(np.array([0.5, 0.0, 2.0, 0.1]))]),
}


def as_torch(loss):
    def converted(value):
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    if isinstance(loss, Total):
        return Total([as_torch(part) for part in loss.losses])
    return type(loss)(**{name: converted(value) for name, value in vars(loss).items()})


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences_and_autograd(name):
    loss, x = LOSSES[name], np.random.default_rng(0).normal(size=4)
    step = 1e-5 * np.eye(4)
    np.testing.assert_allclose(loss.grad(x), (loss.value(x + step) - loss.value(x - step)) / 2e-5, atol=1e-8)
    tensor = torch.from_numpy(x).requires_grad_()
    value = as_torch(loss).value(tensor)
    value.backward()
    assert tensor.grad is not None
    np.testing.assert_allclose(value.detach().numpy(), loss.value(x), rtol=1e-13)
    np.testing.assert_allclose(tensor.grad.numpy(), loss.grad(x), atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_grad_are_value_and_grad(name):
    x = np.random.default_rng(0).normal(size=(3, 4))
    value, grad = LOSSES[name].value_and_grad(x)
    np.testing.assert_array_equal(value, LOSSES[name].value(x))
    np.testing.assert_array_equal(grad, LOSSES[name].grad(x))


@pytest.mark.parametrize("name", LOSSES)
def test_leading_axes_are_independent_copies(name):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    loss = LOSSES[name]
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(loss.value(x)[i], loss.value(x[i]), rtol=1e-13)
        np.testing.assert_allclose(loss.grad(x)[i], loss.grad(x[i]), rtol=1e-13, atol=1e-15)


def test_seeds_have_their_own_parameters_and_experts_broadcast():
    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(3, 2, 2)), rng.dirichlet(np.ones(4), size=(3, 2))
    x = rng.normal(size=(5, 3, 8))  # experts, seeds, decision
    loss = SoftmaxKL(features, target)
    assert loss.value(x).shape == (5, 3)
    for expert, seed in np.ndindex(5, 3):
        single = SoftmaxKL(features[seed], target[seed])
        np.testing.assert_allclose(loss.value(x)[expert, seed], single.value(x[expert, seed]), rtol=1e-13)
        np.testing.assert_allclose(loss.grad(x)[expert, seed], single.grad(x[expert, seed]), rtol=1e-12, atol=1e-15)


@given(softmax_losses(), st.data())
def test_softmax_kl_constants(loss, data):
    """B = 1: ‖∇f‖ ≤ √2, f is ½-smooth and convex, ‖∇f‖² ≤ 2L·f, f ≥ 0."""
    x, y = (data.draw(vectors(width_of(loss), size=8.0)) for _ in range(2))
    (value_x, grad_x), (value_y, grad_y) = loss.value_and_grad(x), loss.value_and_grad(y)
    assert value_x >= -1e-12
    assert np.linalg.norm(grad_x) <= np.sqrt(2) + 1e-12
    assert np.linalg.norm(grad_x - grad_y) <= 0.5 * np.linalg.norm(x - y) + 1e-12
    assert np.sum(grad_x**2) <= value_x + 1e-12
    gap = value_y - value_x - grad_x @ (y - x)
    assert -1e-12 <= gap <= 0.25 * np.sum((x - y) ** 2) + 1e-12


@given(softmax_losses(norm=3.0), st.data())
def test_softmax_kl_constants_scale_with_the_features(loss, data):
    """B = 3: G = √2·B, L = B²/2."""
    x, y = (data.draw(vectors(width_of(loss))) for _ in range(2))
    assert np.linalg.norm(loss.grad(x)) <= 3 * np.sqrt(2) + 1e-12
    assert np.linalg.norm(loss.grad(x) - loss.grad(y)) <= 4.5 * np.linalg.norm(x - y) + 1e-12
    assert np.sum(loss.grad(x) ** 2) <= 9 * loss.value(x) + 1e-12


def test_softmax_kl_constants_are_the_best_possible():
    feature, target = np.array([[1.0]]), np.array([[1.0, 0.0]])
    loss = SoftmaxKL(feature, target)
    assert np.linalg.norm(loss.grad(np.array([-30.0, 30.0]))) >= np.sqrt(2) - 1e-9
    step = 1e-4 * np.array([1.0, -1.0]) / np.sqrt(2)
    change = loss.grad(step) - loss.grad(-step)
    assert np.linalg.norm(change) >= (0.5 - 1e-6) * np.linalg.norm(2 * step)


@given(softmax_losses(positive=True))
def test_kl_is_zero_exactly_at_the_target(loss):
    realised = SoftmaxKL(loss.features, loss.target_probs, np.log(loss.target_probs), loss.readout)
    x = np.zeros(width_of(loss))
    np.testing.assert_allclose(realised.value(x), 0.0, atol=1e-13)
    np.testing.assert_allclose(realised.grad(x), 0.0, atol=1e-13)
    np.testing.assert_allclose(realised.draft_probs(x), loss.target_probs, atol=1e-13)


def test_value_is_cross_entropy_less_entropy():
    loss, x = LOSSES["adapter"], np.array([0.3, -1.0, 0.4, 2.0])
    logits = (loss.base_logits + loss.features @ x.reshape(2, 2) @ loss.readout) / loss.temperature
    draft = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    target = loss.target_probs
    entropy = -np.sum(np.where(target > 0, target * np.log(np.where(target > 0, target, 1)), 0), axis=-1)
    expected = np.mean(-np.sum(target * np.log(draft), axis=-1) - entropy)
    np.testing.assert_allclose(loss.value(x), expected, rtol=1e-13)
    np.testing.assert_allclose(loss.draft_probs(x), draft, rtol=1e-13)


def test_a_part_of_weight_0_is_never_asked():
    whole = Blocks((LOSSES["linear"], None), (2.0, 0.0))  # pyright: ignore[reportArgumentType]
    x = np.arange(8.0)
    value, grad = whole.value_and_grad(x)
    assert value == 2 * LOSSES["linear"].value(x[:4])
    np.testing.assert_array_equal(grad, [*(2 * LOSSES["linear"].grad(x[:4])), *np.zeros(4)])


def test_counted_counts_gradients_a_copy():
    counted = Counted(LOSSES["linear"], copies=3)
    counted.value(np.zeros((3, 4)))
    assert counted.queries == 0
    counted.grad(np.zeros((3, 4)))
    counted.value_and_grad(np.zeros((5, 3, 4)))
    assert counted.queries == 1 + 5
    alone = Counted(LOSSES["linear"])
    alone.grad(np.zeros(4))
    assert alone.queries == 1
