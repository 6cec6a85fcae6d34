"""Projections: feasible and, more than idempotent, optimal."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from tests.strategies import BOUNDED, vectors
from theory.arrays import namespace
from theory.domain import LARGE, Ball, Box, Free, Simplex
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


# Every size of number: the definition, in exact arithmetic

LIBRARIES = {
    "numpy": np.asarray,
    "torch": torch.tensor,
    "jax": lambda x: pytest.importorskip("jax").numpy.asarray(x),
}
EVERY_SIZE = [Ball(1.0), Ball(2.5), Ball(1e-9), Ball(1e12), Box(-1.0, 1.0), Box(-0.5, 2.0), Simplex(), Free()]


def points(kind) -> st.SearchStrategy[np.ndarray]:
    """``[2, 4]`` of any finite numbers: huge and tiny ones, mixed, and ties."""
    width = 64 if kind is np.float64 else 32
    largest = float(np.finfo(kind).max) / 4  # of the sum of two entries there is no overflow
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
