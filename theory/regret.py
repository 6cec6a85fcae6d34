"""Regret, and what measures how hard a comparator moves. Time is the first axis, d the last."""

from theory.arrays import Array, namespace


def dynamic_regret(losses: Array, comparator_losses: Array) -> Array:
    """Σ_{s≤t} f_s(x_s) − f_s(u_s): ``[T, ...]`` twice → cumulative ``[T, ...]``."""
    return namespace(losses).cumsum(losses - comparator_losses, axis=0)


def static_regret(losses: Array, candidate_losses: Array) -> Array:
    """Regret to the best so far of K fixed decisions: ``[T, ...]``, ``[T, ..., K]`` → ``[T, ...]``."""
    xp = namespace(losses)
    return xp.max(xp.cumsum(losses[..., None] - candidate_losses, axis=0), axis=-1)


def path_length(comparators: Array) -> Array:
    """Σ_{2≤s≤t} ‖u_s − u_{s−1}‖: ``[T, ..., d]`` → cumulative ``[T, ...]``, Euclidean."""
    return _summed_changes(comparators, lambda xp, change: xp.norm(change)[..., 0])


def switches(comparators: Array) -> Array:
    """How often u_t differs from u_{t−1}: ``[T, ..., d]`` → cumulative ``[T, ...]``."""
    return _summed_changes(comparators, lambda xp, change: 1.0 * xp.any(change != 0, axis=-1))


def gradient_variation(gradients: Array) -> Array:
    """V_T = Σ_{t≥2} sup_x ‖∇f_t(x) − ∇f_{t−1}(x)‖²: gradients at any common point ``[T, ..., d]`` → ``[T, ...]``.

    Exact where the difference does not depend on x: linear losses, quadratics of one curvature.
    """
    return _summed_changes(gradients, lambda xp, change: xp.sum(change**2, axis=-1))


def _summed_changes(path: Array, size) -> Array:
    xp = namespace(path)
    change = size(xp, path[1:] - path[:-1])
    none = 0.0 * path[:1, ..., 0]
    return xp.cumsum(xp.concatenate([none, 1.0 * change], axis=0), axis=0)
