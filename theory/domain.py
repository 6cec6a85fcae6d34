"""Feasible sets X: Euclidean projection, membership and diameter. The last axis is the decision.

Finite points of any size are projected right. A point with an entry that is NaN or infinite has no nearest one: on a
ball and a simplex it gives NaN, so that whoever looks sees it. Two have one all the same: −∞ on a simplex beside finite
entries, and ±∞ on a box, which takes every coordinate alone.
"""

from dataclasses import dataclass
from math import frexp, ldexp
from typing import Protocol, runtime_checkable

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
    """{x : ‖x‖ ≤ radius}; in float32 the radius may be 1e-12 to 1e28, in float64 1e-140 to 1e280."""

    radius: float

    def __post_init__(self):
        if not self.radius > 0:
            raise ValueError(f"Ball(radius={self.radius!r}): the radius must be positive; give one above 0")

    def project(self, x: Array) -> Array:
        xp = namespace(x)
        far = max(FAR * self.radius, 1.0)
        x = x / xp.maximum(xp.max(xp.abs(x), axis=-1, keepdims=True) / far, 1.0)
        return x / xp.maximum(self._norm(x) / self.radius, 1.0)

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        return self._norm(x)[..., 0] <= self.radius + tolerance

    def _norm(self, x: Array) -> Array:
        """‖x‖ ``[..., 1]`` of points that are not far, in a unit in which their squares neither overflow nor vanish."""
        if 1 / FAR < self.radius < FAR**0.5:
            return namespace(x).norm(x)
        unit = ldexp(1.0, frexp(self.radius)[1] - 1)
        return namespace(x).norm(x / unit) * unit

    def diameter(self, dimension: int) -> float:
        return 2.0 * self.radius


@dataclass(frozen=True)
class Box:
    """{x : low ≤ x_i ≤ high for every coordinate}."""

    low: float
    high: float

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"Box(low={self.low!r}, high={self.high!r}): low must be below high; exchange them?")

    def project(self, x: Array) -> Array:
        xp = namespace(x)
        return xp.minimum(xp.maximum(x, self.low), self.high)

    def contains(self, x: Array, tolerance: float = 1e-9) -> Array:
        xp = namespace(x)
        return xp.all((x >= self.low - tolerance) & (x <= self.high + tolerance), axis=-1)

    def diameter(self, dimension: int) -> float:
        return (self.high - self.low) * dimension**0.5


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
