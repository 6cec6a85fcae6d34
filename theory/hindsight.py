"""Exact comparators: what regret is measured against. Time is the first axis, d the last.

Closed forms for linear losses and for quadratics of one curvature, dynamic programming over segments and switches, and
for any other convex loss a numerical minimiser that returns a certificate of how far from the minimum it can be. A
comparator that is merely good makes regret look small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theory.arrays import Array
from theory.domain import Ball, Box, Domain, Simplex
from theory.loss import Loss


def linear_minimiser(slope: Array, domain: Domain) -> Array:
    """argmin over X of ⟨slope, x⟩, ``[..., d]`` → ``[..., d]``; zero where the slope is zero on a ball.

    Raises:
        ValueError: if the domain has no closed form here, or is unbounded.
    """
    if isinstance(domain, Ball):
        _, power = np.frexp(np.max(np.abs(slope), axis=-1, keepdims=True))
        slope = np.ldexp(slope, -power)  # exactly the same direction, of which no square overflows or vanishes
        norm = np.linalg.norm(slope, axis=-1, keepdims=True)
        return -domain.radius * slope / np.where(norm > 0, norm, 1.0)
    if isinstance(domain, Box):
        return np.where(slope > 0, domain.low, domain.high)
    if isinstance(domain, Simplex):
        return np.eye(slope.shape[-1])[np.argmin(slope, axis=-1)]
    raise ValueError(f"linear_minimiser(domain={domain!r}): needs Ball, Box or Simplex")


def best_fixed_linear(slopes: Array, domain: Domain) -> Array:
    """The decision least in Σ_t ⟨slope_t, x⟩: ``[T, ..., d]`` → ``[..., d]``."""
    return linear_minimiser(np.sum(slopes, axis=0), domain)


def best_fixed_quadratic(centers: Array, domain: Domain) -> Array:
    """The decision least in Σ_t ‖x − center_t‖²: the projected mean, ``[T, ..., d]`` → ``[..., d]``."""
    return domain.project(np.mean(centers, axis=0))


def best_piecewise(parameters: Array, domain: Domain, segments: int, loss: str) -> Array:
    """The sequence least in total loss among those that are constant on at most ``segments`` intervals.

    Dynamic programming over the ends of segments (Bellman 1961), O(T²·(d + segments)), one copy.

    Args:
        parameters: ``[T, d]``: slopes of linear losses, or centers of quadratics of one curvature.
        domain: Ball, Box or Simplex; also Free for quadratics.
        segments: at most this many constant pieces.
        loss: "linear" or "quadratic".

    Returns:
        Comparators ``[T, d]``.

    Raises:
        ValueError: for another kind of loss, or segments outside 1 … T.
    """
    horizon = len(parameters)
    if loss not in BEST_FIXED or not 1 <= segments <= horizon:
        raise ValueError(
            f"best_piecewise(loss={loss!r}, segments={segments!r}): loss must be one of {', '.join(BEST_FIXED)}, "
            f"segments in [1, {horizon}]"
        )
    cost = _segment_costs(parameters, domain, loss)
    best = cost[0].copy()  # best[e]: rounds 0 … e−1 with the segments allowed so far
    starts = np.zeros((segments, horizon + 1), dtype=int)
    for k in range(1, segments):
        extended = best[:, None] + cost
        starts[k] = np.argmin(extended, axis=0)
        best = np.take_along_axis(extended, starts[k][None], axis=0)[0]
    decisions, end = np.empty_like(parameters, dtype=float), horizon
    for k in reversed(range(segments)):
        begin = starts[k][end]
        decisions[begin:end] = BEST_FIXED[loss](parameters[begin:end], domain) if end > begin else 0.0
        end = begin
    return decisions


BEST_FIXED = {"linear": best_fixed_linear, "quadratic": best_fixed_quadratic}


def _segment_costs(parameters: Array, domain: Domain, loss: str) -> np.ndarray:
    """``[T+1, T+1]``: least loss on rounds begin … end−1, 0 where empty, infinite where begin > end."""
    horizon = len(parameters)
    sums = np.concatenate([0.0 * parameters[:1], np.cumsum(parameters, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum(np.sum(parameters**2, axis=-1))])
    cost = np.full((horizon + 1, horizon + 1), np.inf)
    for begin in range(horizon + 1):
        total = sums[begin:] - sums[begin]
        if loss == "linear":
            value = np.sum(linear_minimiser(total, domain) * total, axis=-1)
        else:
            count = np.arange(horizon + 1 - begin)[:, None]
            x = domain.project(total / np.maximum(count, 1))
            value = 0.5 * (count[:, 0] * np.sum(x * x, axis=-1) - 2 * np.sum(x * total, axis=-1))
            value = value + 0.5 * (squares[begin:] - squares[begin])
        value[0] = 0.0
        cost[begin, begin:] = value
    return cost


@dataclass(frozen=True)
class Total:
    """Sum of losses, itself a loss."""

    losses: Sequence[Loss]

    def value(self, x: Array) -> Array:
        return sum(loss.value(x) for loss in self.losses)

    def grad(self, x: Array) -> Array:
        return sum(loss.grad(x) for loss in self.losses)

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        return self.value(x), self.grad(x)


def minimise(
    loss: Loss, x_1: Array, domain: Domain, smoothness: float, tolerance: float = 1e-8, rounds: int = 20_000
) -> tuple[Array, Array]:
    """Minimise a convex, smooth loss over a bounded domain, with a certificate.

    Accelerated projected gradient with restarts (Beck & Teboulle 2009; O'Donoghue & Candès 2015), one step size
    1/smoothness. The certificate is the Frank–Wolfe gap max_{y in X} ⟨∇f(x), x − y⟩ ≥ f(x) − min f, by convexity.

    Args:
        loss: convex; copies on leading axes are minimised side by side.
        x_1: start ``[..., d]``, feasible.
        domain: Ball, Box or Simplex.
        smoothness: L of ``loss``.
        tolerance: stop when every copy's gap is below this.
        rounds: at most this many gradients.

    Returns:
        x ``[..., d]`` and its gap ``[...]``; the gap may exceed ``tolerance`` if the rounds ran out.
    """
    x = lead = x_1
    momentum = 1.0
    for k in range(rounds):
        if k % 10 == 0 and np.all(_gap(loss, x, domain) <= tolerance):
            break
        following = domain.project(lead - loss.grad(lead) / smoothness)
        restart = np.sum((lead - following) * (following - x), axis=-1, keepdims=True) > 0
        grown = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        lead = following + np.where(restart, 0.0, (momentum - 1) / grown) * (following - x)
        momentum = np.where(restart, 1.0, grown)
        x = following
    return x, _gap(loss, x, domain)


def _gap(loss: Loss, x: Array, domain: Domain) -> Array:
    """Frank–Wolfe gap ``[...]``."""
    grad = loss.grad(x)
    return np.sum(grad * (x - linear_minimiser(grad, domain)), axis=-1)


def best_switching(candidate_losses: Array, switches: int) -> np.ndarray:
    """Which of K candidates to follow in every round, least in total loss with at most ``switches`` changes.

    Dynamic programming, O(T·K·switches). Reference: the offline comparator of Herbster & Warmuth 1998.

    Args:
        candidate_losses: ``[T, K]``.
        switches: S, at least 0.

    Returns:
        Indices ``[T]``.

    Raises:
        ValueError: for a negative number of switches.
    """
    if switches < 0:
        raise ValueError(f"best_switching(switches={switches!r}): must be at least 0")
    horizon, candidates = candidate_losses.shape
    levels = min(switches, horizon - 1) + 1
    best = np.full((levels, candidates), np.inf)  # best[s, k]: so far, at k, after exactly s switches
    best[0] = 0.0
    came_from = np.zeros((horizon, levels, candidates), dtype=int)
    for t, losses_t in enumerate(candidate_losses):
        came_from[t] = np.arange(candidates)
        if t > 0:
            leaders = np.argmin(best[:-1], axis=1)
            arriving = np.min(best[:-1], axis=1)[:, None]
            moves = arriving < best[1:]
            came_from[t, 1:] = np.where(moves, leaders[:, None], came_from[t, 1:])
            best[1:] = np.where(moves, arriving, best[1:])
        best = best + losses_t
    level, at = np.unravel_index(np.argmin(best), best.shape)
    path = np.empty(horizon, dtype=int)
    for t in reversed(range(horizon)):
        path[t] = at
        before = came_from[t, level, at]
        level, at = (level - (before != at), before)
    return path


def cutting_planes(loss: Loss, dimension: int, tolerance: float = 1e-7, rounds: int = 2000) -> tuple[np.ndarray, float]:
    """Minimise any convex loss over the simplex, with a certificate; made for piecewise linear ones. One copy.

    A convex loss lies above all its tangent planes. The least point of those found so far, a linear program of
    ``dimension`` + 1 unknowns, is asked next (Kelley 1960), and its value is below the minimum.

    Returns:
        The best x ``[d]`` asked for, and how far above the minimum it is at most; that may exceed ``tolerance`` if the
        rounds ran out.
    """
    from scipy.optimize import linprog

    x = best = np.full(dimension, 1 / dimension)
    least, gap = np.inf, np.inf
    planes, heights = [], []
    for _ in range(rounds):
        value, grad = loss.value_and_grad(x)
        best, least = (x, value) if value < least else (best, least)
        planes.append([*grad, -1.0])
        heights.append(grad @ x - value)
        below = linprog(
            [0.0] * dimension + [1.0],
            planes,
            heights,
            A_eq=[[1.0] * dimension + [0.0]],
            b_eq=[1.0],
            bounds=[(0, 1)] * dimension + [(None, None)],
        )
        gap = max(float(least - below.fun), 0.0)
        if gap <= tolerance:
            break
        x = below.x[:dimension]
    return best, gap
