"""The convex output adapter's arithmetic, once for simulator and decoder, numpy and torch arrays alike.

A draft with features h ``[d]`` and logits W h gets logits W (h + B h): affine in what is learned, so every theorem for
convex losses holds. What is learned is x, the flat matrix X ``[d, d]`` of ``SoftmaxKL``:

    W = Q R  (thin QR, Q orthonormal),   M = (Σ + ridge)^{-1/2} / √d,   B = R^{-1} Xᵀ M
    logits = W h + Q Xᵀ M h = base_logits + (h M) X Qᵀ

Σ is the second moment of the features over a burn-in, so whitened features h M have mean squared norm 1 and an
orthonormal readout adds no scale: G and L are those of a softmax-linear draft (theory/README.md, the game). x = 0
is the draft itself. Compute in float64: the inverse square root amplifies rounding in directions the features hardly
use.
"""

from collections.abc import Sequence

from theory.arrays import Array, namespace
from theory.domain import Ball, Free
from theory.loss import SoftmaxKL
from theory.problem import Problem


def whitening(features: Array, ridge: float = 1e-2) -> Array:
    """M = (Σ + ridge · (tr Σ/d) · I)^{-1/2} / √d, symmetric ``[d, d]``, of burn-in features ``[n, d]``.

    Args:
        features: raw features, one row a position; Σ = featuresᵀ features / n, not centred.
        ridge: relative to the mean eigenvalue of Σ; limits how far a rare direction is amplified, to 1/√ridge.

    Raises:
        ValueError: if there are no rows, the ridge is not positive, or the features are not finite or all zero.
    """
    xp = namespace(features)
    count, width = features.shape
    if count < 1 or not ridge > 0:
        raise ValueError(f"whitening(features={tuple(features.shape)}, ridge={ridge!r}): give rows and a ridge above 0")
    moment = features.T @ features / count
    values, vectors = xp.eigh(moment)
    scale = float(xp.sum(values)) / width
    if not 0 < scale < float("inf"):
        raise ValueError(f"whitening(features): mean square {scale!r}; features must be finite and not all zero")
    values = xp.maximum(values, 0.0) + ridge * scale
    return (vectors / xp.sqrt(values)) @ vectors.T / width**0.5


def readout(head: Array) -> tuple[Array, Array]:
    """Thin QR of the draft's output matrix W ``[V, d]`` → Q ``[V, d]`` with orthonormal columns, R ``[d, d]``.

    Raises:
        ValueError: if V < d: Q would not be orthonormal in the directions of the features.
    """
    if head.shape[0] < head.shape[1]:
        raise ValueError(f"readout(head={tuple(head.shape)}): the vocabulary must be at least as large as the width")
    q, r = namespace(head).qr(head)
    return q, r


def adapted(features: Array, x: Array, whitener: Array, r_inverse: Array) -> Array:
    """The draft's new features h + B h ``[..., n, d]`` of features h ``[n, d]`` under x ``[..., d·d]``.

    Three narrow products a token: B itself is never formed, which would cost two of width d at every update.
    """
    width = whitener.shape[-1]
    matrix = x.reshape(*x.shape[:-1], width, width)
    return features + features @ whitener @ matrix @ r_inverse.T


def adapter_loss(
    features: Array, target_probs: Array, base_logits: Array, whitener: Array, q: Array, temperature: float = 1.0
) -> SoftmaxKL:
    """One round's loss from raw features ``[n, d]``, target laws ``[n, V]`` and the draft's own logits ``[n, V]``."""
    return SoftmaxKL(features @ whitener, target_probs, base_logits, q.T, temperature)


def adapter_problem(
    width: int,
    horizon: int,
    radius: float | None = None,
    temperature: float = 1.0,
    weights: Sequence[float] = (1.0,),
) -> Problem:
    """What a learner of x in R^{K·d·d} is tuned with, K heads of these ``weights``; ``radius`` None: a free domain.

    G = √2·B/temperature and L = B²/(2·temperature²) at B = 1, the root mean square of the whitened features' norm, and
    for several heads those of ``loss.Blocks``. They are those of a typical round, not a supremum; data-dependent bounds
    and certificates need neither.
    """
    domain = Free() if radius is None else Ball(radius)
    together = sum(weight**2 for weight in weights) ** 0.5
    smoothness = 0.5 * max(weights) / temperature**2
    return Problem(domain, len(weights) * width**2, horizon, 2.0**0.5 * together / temperature, smoothness)
