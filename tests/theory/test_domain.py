"""Projections: feasible and, more than idempotent, optimal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from tests.strategies import BOUNDED, vectors
from theory.domain import Ball, Box, Free, Simplex
from theory.hindsight import linear_minimiser

DOMAINS = [*BOUNDED, Free()]
domains = st.sampled_from(DOMAINS)


@given(domains, vectors(5, 4, size=10), vectors(5, 4, size=10))
def test_projection_is_the_nearest_point(domain, v, w):
    p, z = domain.project(v), domain.project(w)
    assert np.all(domain.contains(p))
    # ⟨v − p, z − p⟩ ≤ 0 for every feasible z characterises the projection of v
    assert np.all(np.sum((v - p) * (z - p), axis=-1) <= 1e-9)
    if not isinstance(domain, Free):
        farthest = linear_minimiser(-(v - p), domain)
        assert np.all(np.sum((v - p) * (farthest - p), axis=-1) <= 1e-9)


@given(domains, vectors(4, size=10), vectors(4, size=10))
def test_projection_is_firmly_nonexpansive_and_idempotent(domain, v, w):
    p, z = domain.project(v), domain.project(w)
    assert np.sum((p - z) ** 2) <= np.sum((p - z) * (v - w)) + 1e-9
    np.testing.assert_allclose(domain.project(p), p, atol=1e-15)


@given(domains, vectors(4, size=10), st.permutations(range(4)))
def test_projection_is_permutation_equivariant(domain, v, order):
    np.testing.assert_allclose(domain.project(v[order]), domain.project(v)[order], atol=1e-14)


@given(vectors(6, size=1e4))
def test_simplex_projection_is_the_threshold_that_sums_to_one(v):
    threshold = brentq(lambda tau: np.maximum(v - tau, 0).sum() - 1, v.min() - 1, v.max(), xtol=1e-13)
    np.testing.assert_allclose(Simplex().project(v), np.maximum(v - threshold, 0), atol=1e-9)


@given(domains, vectors(3, 4, size=10))
def test_numpy_and_torch_agree(domain, v):
    theirs = domain.project(torch.from_numpy(v))
    np.testing.assert_allclose(theirs.numpy(), domain.project(v), atol=1e-15)
    np.testing.assert_array_equal(domain.contains(theirs).numpy(), domain.contains(domain.project(v)))


@pytest.mark.parametrize("domain", BOUNDED, ids=repr)
def test_diameter_is_attained_and_never_passed(domain):
    v = np.random.default_rng(0).normal(size=(200, 4))
    if isinstance(domain, Box):
        v = np.sign(v)
    far = linear_minimiser(v, domain)
    distances = np.linalg.norm(far[:, None] - np.concatenate([far, linear_minimiser(-v, domain)]), axis=-1)
    assert distances.max() <= domain.diameter(4) + 1e-12
    assert distances.max() >= domain.diameter(4) - 1e-12


@pytest.mark.parametrize(
    ("domain", "outside"),
    [
        (Ball(1.0), [0.8, 0.7]),
        (Box(-1.0, 1.0), [0.0, 1.1]),
        (Box(-1.0, 1.0), [0.0, -1.1]),
        (Simplex(), [0.6, 0.5]),
        (Simplex(), [1.1, -0.1]),
        (Simplex(), [0.4, 0.5]),
        (Free(), [0.0, float("nan")]),
        (Free(), [0.0, float("inf")]),
    ],
)
def test_contains_refuses_points_outside(domain, outside):
    x = np.array(outside)
    assert not domain.contains(x)
    assert domain.contains(np.array([0.5, 0.5]))


def test_degenerate_diameters():
    assert Simplex().diameter(1) == 0.0
    assert Free().diameter(3) == float("inf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ball(0.0), r"Ball\(radius=0\.0\).*positive"),
        (lambda: Ball(float("nan")), r"radius=nan.*positive"),
        (lambda: Box(1.0, 1.0), r"Box\(low=1\.0, high=1\.0\).*below"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
