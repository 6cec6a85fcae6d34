"""Bookkeeping of regret, and comparators that are exactly the best."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import hindsight, regret
from theory.checker.checks import plays
from theory.domain import Ball, Box, Free, Simplex
from theory.learners import OGD
from theory.loss import Linear, Quadratic, SoftmaxKL
from theory.testing.strategies import BOUNDED, expert_losses, games, vectors

KINDS = ("linear", "quadratic")
BOTH = st.booleans()


def total(losses, decisions):
    return sum(float(loss.value(x)) for loss, x in zip(losses, decisions, strict=True))


def values(losses, decisions):
    return np.array([loss.value(x) for loss, x in zip(losses, decisions, strict=True)])


# Bookkeeping


@given(games(quadratic=BOTH), st.data())
def test_regret_is_additive_and_dynamic_regret_exceeds_static(game, data):
    x = plays(OGD(0.3, game.domain), game.x_1, game.losses)
    u = game.hard_comparators()[1]
    played, compared = values(game.losses, x), values(game.losses, u)
    cut = data.draw(st.integers(0, game.horizon))
    whole = regret.dynamic_regret(played, compared)
    parts = [regret.dynamic_regret(played[s], compared[s]) for s in (slice(cut), slice(cut, None))]
    np.testing.assert_allclose(whole[-1], sum(part[-1] for part in parts if len(part)), atol=1e-9)
    fixed = values(game.losses, game.hard_comparators()[0])
    best_each_round = hindsight.best_piecewise(game.slopes, game.domain, game.horizon, game.kind)
    dynamic = regret.dynamic_regret(played, values(game.losses, best_each_round))[-1]
    assert dynamic >= regret.dynamic_regret(played, fixed)[-1] - 1e-9
    assert dynamic >= -1e-9  # nobody beats the best decision of every round


@given(expert_losses())
def test_static_regret_is_to_the_best_candidate_so_far(losses):
    played = losses.mean(axis=-1)
    ours = regret.static_regret(played, losses)
    for t in range(len(losses)):
        assert ours[t] == pytest.approx(played[: t + 1].sum() - losses[: t + 1].sum(axis=0).min(), abs=1e-9)


def test_path_length_switches_and_variation_by_hand():
    u = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 3.0]])
    np.testing.assert_array_equal(regret.path_length(u), [0, 5, 5, 6])
    np.testing.assert_array_equal(regret.switches(u), [0, 1, 1, 2])
    np.testing.assert_array_equal(regret.gradient_variation(u), [0, 25, 25, 26])


@given(vectors(6, 2, 3), vectors(2, 3))
def test_gradient_variation_of_quadratics_is_that_at_any_point(centers, x):
    gradients = np.stack([Quadratic(c, 1.5).grad(x) for c in centers])
    expected = np.cumsum([0.0, *(1.5**2 * np.sum(np.diff(centers[:, 0], axis=0) ** 2, axis=-1))])
    np.testing.assert_allclose(regret.gradient_variation(gradients)[:, 0], expected, atol=1e-9)


def test_copies_are_summed_apart():
    u = np.random.default_rng(0).normal(size=(5, 3, 2))
    for function in (regret.path_length, regret.switches, regret.gradient_variation):
        np.testing.assert_allclose(function(u)[:, 1], function(u[:, 1]))


# Comparators


def corners(domain):
    """Border points in many directions, ``[32, 3]``."""
    directions = np.random.default_rng(0).normal(size=(32, 3))
    return hindsight.linear_minimiser(directions, domain)


@given(games(quadratic=BOTH), st.integers(0, 10**6))
def test_best_fixed_is_a_minimiser(game, seed):
    best = {"linear": hindsight.best_fixed_linear, "quadratic": hindsight.best_fixed_quadratic}[game.kind]
    u = best(game.slopes, game.domain)
    assert game.domain.contains(u)
    others = [*game.domain.project(np.random.default_rng(seed).normal(size=(20, 3)) * 3), *corners(game.domain)]
    near = game.domain.project(u + 0.01 * np.random.default_rng(seed).normal(size=(20, 3)))
    least = total(game.losses, [u] * game.horizon)
    for other in [*others, *near]:
        assert least <= total(game.losses, [other] * game.horizon) + 1e-9


@pytest.mark.parametrize("domain", BOUNDED, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("segments", [1, 2, 3, 7])
def test_best_piecewise_is_the_best_of_all_segmentations(domain, kind, segments):
    parameters = np.random.default_rng(0).normal(size=(7, 3))
    loss = {"linear": Linear, "quadratic": Quadratic}[kind]
    fixed = {"linear": hindsight.best_fixed_linear, "quadratic": hindsight.best_fixed_quadratic}[kind]
    losses = [loss(p) for p in parameters]

    def of_segmentation(ends):
        parts = np.split(parameters, ends)
        return total(losses, np.concatenate([np.repeat(fixed(p, domain)[None], len(p), axis=0) for p in parts]))

    u = hindsight.best_piecewise(parameters, domain, segments, kind)
    least = min(of_segmentation(ends) for k in range(segments) for ends in combinations(range(1, 7), k))
    assert total(losses, u) == pytest.approx(least, abs=1e-9)
    assert regret.switches(u)[-1] <= segments - 1
    assert np.all(domain.contains(u))


def test_best_piecewise_finds_the_switch():
    slopes = np.array([[1.0, 0.0]] * 5 + [[-1.0, 0.0]] * 7)
    u = hindsight.best_piecewise(slopes, Box(-1.0, 1.0), 2, "linear")
    np.testing.assert_array_equal(u[:, 0], [-1.0] * 5 + [1.0] * 7)


@pytest.mark.parametrize(("segments", "kind"), [(0, "linear"), (8, "linear"), (2, "cubic")])
def test_best_piecewise_errors(segments, kind):
    with pytest.raises(ValueError, match=r"best_piecewise\("):
        hindsight.best_piecewise(np.ones((7, 3)), Ball(1.0), segments, kind)


def test_linear_minimiser_needs_a_bounded_domain():
    with pytest.raises(ValueError, match=r"Free\(\)"):
        hindsight.linear_minimiser(np.ones(3), Free())


# Numerical comparator with its certificate


def softmax_loss(seed, vocabulary=5):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(12, 2))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    return SoftmaxKL(features, rng.dirichlet(0.3 * np.ones(vocabulary), size=12))


@pytest.mark.parametrize("domain", [Ball(0.5), Ball(6.0), Box(-0.5, 1.0)], ids=repr)
@pytest.mark.parametrize("seed", [0, 1])
def test_minimise_certifies_the_minimum(domain, seed):
    from scipy.optimize import minimize

    loss = softmax_loss(seed)
    x, gap = hindsight.minimise(loss, np.zeros(10), domain, smoothness=0.5)
    assert 0 <= gap <= 1e-8
    assert domain.contains(x)
    if isinstance(domain, Ball):
        limits = {"constraints": {"type": "ineq", "fun": lambda y: domain.radius**2 - y @ y, "jac": lambda y: -2 * y}}
    else:
        limits = {"bounds": [(domain.low, domain.high)] * 10}
    settings = {"ftol": 1e-14, "maxiter": 500}
    reference = minimize(loss.value, np.zeros(10), jac=loss.grad, method="SLSQP", options=settings, **limits)
    # SLSQP may leave the domain by rounding, and then go below the minimum by as much
    assert abs(loss.value(x) - reference.fun) <= 1e-8 + 1e-6 * max(0.0, np.linalg.norm(reference.x - x))


def test_minimise_finds_the_closed_forms():
    centers = np.random.default_rng(0).normal(size=(6, 4, 3)) * 2
    loss = hindsight.Total([Quadratic(c) for c in centers])
    for domain in (Ball(1.0), Box(-0.4, 0.3), Simplex()):
        x, gap = hindsight.minimise(loss, domain.project(np.zeros((4, 3))), domain, smoothness=6.0)
        assert gap.max() <= 1e-8
        np.testing.assert_allclose(x, hindsight.best_fixed_quadratic(centers, domain), atol=1e-4)


def test_the_certificate_is_honest_when_rounds_run_out():
    loss = softmax_loss(0)
    least = loss.value(hindsight.minimise(loss, np.zeros(10), Ball(6.0), 0.5)[0])
    for rounds in (1, 5, 25):
        x, gap = hindsight.minimise(loss, np.zeros(10), Ball(6.0), 0.5, rounds=rounds)
        assert gap > 1e-8
        assert loss.value(x) - least <= gap
