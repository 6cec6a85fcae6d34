"""Projections: feasible and, more than idempotent, optimal."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from theory.arrays import namespace
from theory.domain import LARGE, Ball, Box, Free, Simplex
from theory.hindsight import linear_minimiser
from theory.testing.strategies import BOUNDED, vectors

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


# Every size of number: the definition, in exact arithmetic

LIBRARIES = {
    "numpy": np.asarray,
    "torch": torch.tensor,
    "jax": lambda x: pytest.importorskip("jax").numpy.asarray(x),
}
RADII = (1.0, 2.5, 1e-30, 1e-20, 1e-9, 1e12, 1e30, 1e38, 1e39, 1e308)
EVERY_SIZE = [*map(Ball, RADII), Box(-1.0, 1.0), Box(-0.5, 2.0), Box(-1e300, 1e39), Simplex(), Free()]


def points(kind) -> st.SearchStrategy[np.ndarray]:
    """``[2, 4]`` of any finite numbers: huge and tiny ones, mixed, and ties."""
    width = 64 if kind is np.float64 else 32
    largest = float(np.finfo(kind).max)
    any_size = st.floats(-largest, largest, width=width)
    tied = st.sampled_from([1e16, -1e16, 3e7, 1e30, -1e30, 1e-40, 0.5, 0.0, 100.1, -70.3]).map(lambda v: float(kind(v)))
    return arrays(kind, (2, 4), elements=any_size | tied | st.floats(-3, 3, width=width))


def exact(domain, x: np.ndarray) -> list[Fraction]:
    """The projection of ``[d]`` by its definition, in rational numbers; on a ball to 60 digits."""
    v = [Fraction(float(entry)) for entry in x]
    if isinstance(domain, Box):
        return [min(max(entry, Fraction(domain.low)), Fraction(domain.high)) for entry in v]
    if isinstance(domain, Simplex):
        descending = sorted(v, reverse=True)
        thresholds = [(sum(descending[: k + 1], Fraction(-1))) / (k + 1) for k in range(len(v))]
        threshold = max(t for t, entry in zip(thresholds, descending, strict=True) if entry > t)
        return [max(entry - threshold, Fraction(0)) for entry in v]
    squared = sum((entry * entry for entry in v), Fraction(0))
    if not isinstance(domain, Ball) or squared <= Fraction(domain.radius) ** 2:
        return v
    with localcontext(Context(prec=60, Emin=-9999, Emax=9999)):
        ratio = (Decimal(squared.numerator) / Decimal(squared.denominator)).sqrt() / Decimal(domain.radius)
        return [Fraction(Decimal(float(entry)) / ratio) for entry in x]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("domain", EVERY_SIZE, ids=repr)
@given(data=st.data())
@settings(max_examples=15)
def test_projections_of_any_size_are_the_definition_s(domain, kind, library, data):
    x = data.draw(points(kind))
    if library == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
        x = np.where(np.abs(x) < np.finfo(kind).tiny, kind(0), x)  # which takes subnormals for 0
    found = np.asarray(domain.project(LIBRARIES[library](x)))
    assert found.dtype == kind
    size = {Ball: getattr(domain, "radius", 1.0), Box: 2.0, Simplex: 4 * LARGE, Free: 0.0}[type(domain)]
    allowed = 8 * float(np.finfo(kind).eps) * size
    for ours, row in zip(found, x, strict=True):
        for entry, wanted in zip(ours, exact(domain, row), strict=True):
            assert abs(Fraction(float(entry)) - wanted) <= Fraction(allowed), (row, ours)
    assert np.all(domain.contains(found.astype(float), 4 * allowed + 1e-9))


SIZES: dict[Any, Any] = {
    (np.float32, 1e-37): ([1e30, 1e-38], [1e-37, 0.0]),
    (np.float32, 1e-20): ([1.0, 1.0], [0.5**0.5 * 1e-20] * 2),
    (np.float32, 1e39): ([1.0, 1e-37], [1.0, 1e-37]),
    (np.float32, 1e300): ([3e38, -3e38], [3e38, -3e38]),
    (np.float32, 3e38): ([3e38, -3e38], [0.5**0.5 * 3e38, -(0.5**0.5) * 3e38]),
    (np.float64, 1e-300): ([1e200, 0.0], [1e-300, 0.0]),
    (np.float64, float("inf")): ([1e308, -1e308], [1e308, -1e308]),
    (np.float64, 1.7e308): ([1.7e308, 1.7e308], [0.5**0.5 * 1.7e308] * 2),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("kind", "radius"), SIZES, ids=str)
def test_a_ball_may_have_any_radius_that_its_numbers_hold_and_larger_ones(kind, radius, library):
    if library == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    point, wanted = (np.array(entry, kind) for entry in SIZES[kind, radius])
    x = LIBRARIES[library](point)
    found: Any = Ball(radius).project(x)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=4 * float(np.finfo(kind).eps))
    assert Ball(radius).contains(found, 1e-6 * min(radius, 1e300))
    assert bool(Ball(radius).contains(x, 0.0)) == np.array_equal(point, wanted)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Ball(1e-50), r"Ball\(radius=1e-50\): points of .*float32 need a radius of at least 1.18e-38; take a wider"),
        (
            Box(1e39, 1e40),
            r"Box\(low=1e\+39, high=1e\+40\): holds no number of .*float32, which ends at 3.4e\+38",
        ),
        (Box(-1e40, -1e39), "holds no number of .*float32"),
    ],
)
def test_a_set_that_the_dtype_of_its_points_cannot_hold_is_refused(domain, message, library):
    with pytest.raises(ValueError, match=message):
        domain.project(LIBRARIES[library](np.ones(2, np.float32)))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("largest", [3e38, -3e38, 1.7e308, -1.7e308])
def test_no_difference_of_two_entries_overflows_on_a_simplex(largest, library):
    if library == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    kind = np.float32 if abs(largest) < 1e39 else np.float64
    found = np.asarray(Simplex().project(LIBRARIES[library](np.array([largest, -1.0, -abs(largest)], kind))))
    assert found.tolist() == ([1.0, 0.0, 0.0] if largest > 0 else [0.0, 1.0, 0.0])


def test_whole_numbers_are_points():
    assert Ball(1e20).project(np.array([3, 4])).tolist() == [3.0, 4.0]
    np.testing.assert_allclose(Ball(0.5).project(np.array([3, 4])), [0.3, 0.4])


def simplex_before(x):
    """The projection as it was when large entries were not taken relative to each other."""
    xp = namespace(x)
    descending = xp.flip(xp.sort(x, axis=-1), -1)
    excess = (xp.cumsum(descending, -1) - 1.0) / xp.asarray(xp.arange(x.shape[-1], like=x) + 1, like=x)
    support = xp.sum(xp.integer(descending > excess), axis=-1, keepdims=True)
    return xp.maximum(x - xp.take_along_axis(excess, xp.maximum(support, 1) - 1, axis=-1), 0.0)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("dimension", [1, 2, 10, 300])
def test_ordinary_points_keep_every_bit(dimension, size, kind, make):
    """Up to ``LARGE`` on a simplex, up to ``FAR`` radii from a ball: results and replays depend on them."""
    drawn = np.random.default_rng(0).uniform(-size, size, (200, dimension)).astype(kind)
    x = make(drawn)
    assert np.array_equal(np.asarray(Simplex().project(x)), np.asarray(simplex_before(x)))
    for radius in (0.1, 1.0, 2.5, 100.0):
        xp = namespace(x)
        before = x / xp.maximum(xp.norm(x) / radius, 1.0)
        assert np.array_equal(np.asarray(Ball(radius).project(x)), np.asarray(before))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("domain", [Ball(1.0), Simplex()], ids=repr)
def test_a_point_without_a_nearest_one_is_projected_on_nan_and_spoils_no_other(domain, make, bad):
    x = make([[bad, 0.5], [0.5, 0.5]])
    with np.errstate(invalid="ignore"):
        found = np.asarray(domain.project(x))
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [0.5, 0.5])


def test_linear_minimisers_of_any_size_are_of_the_same_direction():
    slopes = np.array([[3e200, 4e200], [3e-200, 4e-200], [3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(linear_minimiser(slopes, Ball(5.0)), [[-3, -4], [-3, -4], [-3, -4], [0, 0]], rtol=1e-15)
