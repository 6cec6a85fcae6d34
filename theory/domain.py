"""Feasible sets X: Euclidean projection, membership and diameter. The last axis is the decision.

Finite points of any size are projected right, in dtypes of at least float32's range. A point with an entry that is NaN
or infinite has no nearest one: on a ball and a simplex it gives NaN, so that whoever looks sees it. Two have one all
the same: −∞ on a simplex beside finite entries, and ±∞ on a box, which takes every coordinate alone.
"""

from dataclasses import dataclass
from math import frexp, inf, ldexp
from typing import Any, Protocol, runtime_checkable

from theory.arrays import Array, namespace

FAR = 2.0**32
"""A point further than so many radii is pulled closer, along its own direction, before it is squared."""
LARGE, BELOW = 64.0, 1024.0
"""On a simplex: entries are taken relative to a largest one beyond this size, and as no further below it than that."""


@runtime_checkable
class Domain(Protocol):
    """A convex set of decisions."""

    def project(self, x: Array) -> Array:
        """The nearest feasible point to ``x`` ``[..., d]``, Euclidean norm."""
        ...

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        """Whether each ``x`` ``[..., d]`` is feasible up to ``tolerance`` → bool ``[...]``."""
        ...

    def diameter(self, dimension: int) -> float:
        """D = max ‖x − y‖ over the set in R^dimension."""
        ...


@dataclass(frozen=True)
class Free:
    """All of R^d. Bounds that need a finite diameter do not apply."""

    def project(self, x: Array) -> Array:
        return x

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        xp = namespace(x)
        return xp.all(xp.isfinite(x), axis=-1)

    def diameter(self, dimension: int) -> float:
        return float("inf")


@dataclass(frozen=True)
class Ball:
    """{x : ‖x‖ ≤ radius}, of any radius: one that is larger than every number of the points' dtype bounds them too.

    A radius below the dtype's smallest normal number (1.2e-38 in float32) is refused with a ValueError by the first
    projection: entries of such points have no digits left.
    """

    radius: float

    def __post_init__(self):
        if not self.radius > 0:
            raise ValueError(f"Ball(radius={self.radius!r}): the radius must be positive; give one above 0")

    def project(self, x: Array) -> Array:
        x = self._nearer(x)
        return x / namespace(x).maximum(self._radii(x), 1.0)

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        wider = Ball(self.radius + tolerance)
        return wider._radii(wider._nearer(x))[..., 0] <= 1.0

    def _nearer(self, x: Array) -> Array:
        """``x``, what is further than ``FAR`` radii pulled to there."""
        xp, far = namespace(x), FAR * self.radius
        if not self._ordinary:
            tiny, most = _limits(xp, x)
            if self.radius < tiny:
                raise ValueError(
                    f"Ball(radius={self.radius!r}): points of {x.dtype} need a radius of at least {tiny:.3g}; take a "
                    "wider dtype or another unit"
                )
            far = min(far, most)
        largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
        if far < 1.0:  # a quotient of largest and far could overflow, and jax's 1 / largest vanish
            x = x / xp.maximum(largest / 8.0, 1.0)
            largest = xp.minimum(largest, 8.0)
        return x / xp.maximum(largest / far, 1.0)

    def _radii(self, x: Array) -> Array:
        """‖x‖ / radius ``[..., 1]`` of points that are not far, in a unit in which no square overflows or vanishes."""
        xp = namespace(x)
        if self._ordinary:
            return xp.norm(x) / self.radius
        most = _limits(xp, x)[1]
        unit = ldexp(1.0, frexp(min(self.radius, most / 8))[1] - 1)
        return xp.norm(x / unit) / min(self.radius / unit, most)

    @property
    def _ordinary(self) -> bool:
        """Whether squares of points that are not far fit into float32's range as they are."""
        return 1 / FAR < self.radius < FAR**0.5

    def diameter(self, dimension: int) -> float:
        return 2.0 * self.radius


@dataclass(frozen=True)
class Box:
    """{x : low ≤ x_i ≤ high for every coordinate}.

    A bound beyond the range of the points' dtype bounds nothing; where that leaves no point of the dtype, the first
    projection refuses it with a ValueError.
    """

    low: float
    high: float

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"Box(low={self.low!r}, high={self.high!r}): low must be below high; exchange them?")

    def project(self, x: Array) -> Array:
        xp = namespace(x)
        low, high = self._bounds(x, 0.0)
        return xp.minimum(xp.maximum(x, low), high)

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        low, high = self._bounds(x, tolerance)
        return namespace(x).all((x >= low) & (x <= high), axis=-1)

    def _bounds(self, x: Array, tolerance: float) -> tuple[float, float]:
        """Both bounds, moved out by ``tolerance``, in the dtype of ``x``."""
        low, high = self.low - tolerance, self.high + tolerance
        if max(abs(low), abs(high)) < BELOW:
            return low, high
        most = _limits(namespace(x), x)[1]
        if low > most or high < -most:
            raise ValueError(
                f"Box(low={self.low!r}, high={self.high!r}): holds no number of {x.dtype}, which ends at {most:.3g}; "
                "take a wider dtype or another unit"
            )
        return low if low >= -most else -inf, high if high <= most else inf

    def diameter(self, dimension: int) -> float:
        return (self.high - self.low) * dimension**0.5


def _limits(xp: Any, x: Array) -> tuple[float, float]:
    """The smallest positive normal number and the largest number of the dtype of ``x``; integers become float64."""
    info = xp.finfo((x + 0.0).dtype)
    return float(info.tiny), float(info.max)


@dataclass(frozen=True)
class Simplex:
    """{x : x_i ≥ 0, Σ x_i = 1}, the decisions of a meta learner."""

    def project(self, x: Array) -> Array:
        """Sort-and-threshold projection (Held, Wolfe & Crowder 1974; Duchi et al. 2008, Fig. 1).

        Shifting all entries alike changes nothing, nor does how far below the largest an entry lies, from 1 on: so what
        is summed is kept small.
        """
        xp = namespace(x)
        largest = xp.max(x, axis=-1, keepdims=True)
        x = xp.where(largest > LARGE, xp.maximum(x, 0.0), x)  # so that no difference overflows
        x = xp.maximum(x - xp.where(xp.abs(largest) > LARGE, largest, 0.0), -BELOW)
        descending = xp.flip(xp.sort(x, axis=-1), -1)
        rank = xp.asarray(xp.arange(x.shape[-1], like=x) + 1, like=x)
        excess = (xp.cumsum(descending, -1) - 1.0) / rank
        support = xp.sum(xp.where(descending > excess, xp.ones_like(x), xp.zeros_like(x)), axis=-1, keepdims=True)
        threshold = xp.take_along_axis(excess, xp.maximum(xp.integer(support), 1) - 1, axis=-1)
        return xp.maximum(x - threshold, 0.0)

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        xp = namespace(x)
        return xp.all(x >= -tolerance, axis=-1) & (xp.abs(xp.sum(x, axis=-1) - 1.0) <= tolerance * x.shape[-1])

    def diameter(self, dimension: int) -> float:
        return 2.0**0.5 if dimension > 1 else 0.0
