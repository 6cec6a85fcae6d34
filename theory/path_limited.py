"""The best comparators that may move, but not far: path length at most P, convex optimisation with a certificate."""

import numpy as np

from theory.arrays import Array
from theory.domain import Domain, Simplex
from theory.hindsight import BEST_FIXED, best_piecewise, linear_minimiser
from theory.regret import path_length


def best_on_path(
    parameters: Array, domain: Domain, longest: float, loss: str, tolerance: float = 1e-7, rounds: int = 100_000
) -> tuple[np.ndarray, float]:
    """min Σ f_t(u_t) subject to Σ‖u_t − u_{t−1}‖ ≤ longest and u_t in X, with a certificate.

    Primal–dual steps (Chambolle & Pock 2011, Algorithm 1) on max_p min_{u in X} Σ f_t(u_t) + Σ⟨p_t, u_t − u_{t−1}⟩ −
    longest·max‖p_t‖. Any p bounds the minimum from below by that inner minimum, a closed form here; u, drawn towards
    its mean until it is short enough, bounds it from above. Their difference is the gap.

    Args:
        parameters: ``[T, d]``, slopes of linear losses, or centers of quadratics of curvature 1.
        domain: Ball, Box or Simplex.
        longest: P, at least 0.
        loss: "linear" or "quadratic".
        tolerance: stop when the gap is below this times 1 + Σ‖parameters_t‖.
        rounds: at most this many steps.

    Returns:
        u ``[T, d]``, feasible, and its gap ≥ total loss − minimum; the gap may exceed it if the rounds ran out.

    Raises:
        ValueError: for another kind of loss, or a negative length.
    """
    if loss not in BEST_FIXED or not longest >= 0:
        raise ValueError(f"best_on_path(loss={loss!r}, longest={longest!r}): linear or quadratic, and at least 0")
    size = max(float(np.max(np.linalg.norm(parameters, axis=-1))), 1e-300)
    allowed = tolerance * (1 + float(np.sum(np.linalg.norm(parameters, axis=-1))))
    u = best_piecewise(parameters, domain, 1, loss)
    lead, p = u, np.zeros((max(len(parameters) - 1, 0), parameters.shape[-1]))
    reach = domain.diameter(parameters.shape[-1])
    forward, backward = 0.5 * reach / size, 0.5 * size / reach  # forward·backward·‖differences‖² ≤ 1
    kept, gap = u, np.inf
    for k in range(rounds):
        if k % 50 == 0:
            fitted = _shortened(u, longest)
            missing = _total(parameters, fitted, loss) - _dual(parameters, p, domain, longest, loss)
            if missing < gap:
                kept, gap = fitted, missing
            if gap <= allowed:
                break
        p = p + backward * np.diff(lead, axis=0)
        p = p - backward * _within_length(p / backward, longest)
        moved = u - forward * _adjoint(p, len(u))
        if loss == "linear":
            following = domain.project(moved - forward * parameters)
        else:
            following = domain.project((moved + forward * parameters) / (1 + forward))
        lead, u = 2 * following - u, following
    return kept, float(gap)


def _adjoint(p: np.ndarray, horizon: int) -> np.ndarray:
    """Σ⟨p_t, u_{t+1} − u_t⟩ = ⟨adjoint, u⟩."""
    wide = (
        np.concatenate([np.zeros_like(p[:1]), p, np.zeros_like(p[:1])]) if horizon > 1 else np.zeros((2, p.shape[-1]))
    )
    return wide[:-1] - wide[1:]


def _within_length(steps: np.ndarray, longest: float) -> np.ndarray:
    """The nearest steps with Σ‖step‖ ≤ longest: norms projected as onto a simplex of that size."""
    norms = np.linalg.norm(steps, axis=-1)
    if norms.sum() <= longest:
        return steps
    if longest == 0:
        return np.zeros_like(steps)
    return steps * (longest * Simplex().project(norms / longest) / np.where(norms > 0, norms, 1.0))[:, None]


def _shortened(u: np.ndarray, longest: float) -> np.ndarray:
    length = float(path_length(u)[-1])
    mean = np.mean(u, axis=0)
    return u if length <= longest else mean + (longest / length) * (u - mean)


def _total(parameters: np.ndarray, u: np.ndarray, loss: str) -> float:
    return float(np.sum(parameters * u) if loss == "linear" else 0.5 * np.sum((u - parameters) ** 2))


def _dual(parameters: np.ndarray, p: np.ndarray, domain: Domain, longest: float, loss: str) -> float:
    pull = _adjoint(p, len(parameters))
    price = longest * np.max(np.linalg.norm(p, axis=-1), initial=0.0)
    if loss == "linear":
        total = parameters + pull
        return float(np.sum(total * linear_minimiser(total, domain))) - price
    u = domain.project(parameters - pull)
    return _total(parameters, u, loss) + float(np.sum(pull * u)) - price
