"""Losses f_t. The learner sees one only after it has played; then as a function (full information).

The last axis of ``x`` is the decision; leading axes are independent copies (seeds), and further axes in front of those
(experts) broadcast, so a loss with parameters ``[seeds, ...]`` serves ``[experts, seeds, d]`` unchanged.
"""

from dataclasses import dataclass
from typing import Protocol

from theory.arrays import Array, namespace
from theory.divergence import FORWARD_KL, Divergence


class Loss(Protocol):
    """A convex or differentiable function of the decision."""

    def value(self, x: Array) -> Array:
        """f(x): ``[..., d]`` → ``[...]``."""
        ...

    def grad(self, x: Array) -> Array:
        """∇f(x): ``[..., d]`` → ``[..., d]``."""
        ...

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        """Both, sharing the work."""
        ...


@dataclass(frozen=True)
class Linear:
    """f(x) = ⟨slope, x⟩, slope ``[..., d]``: experts' losses on the simplex, and every linearised surrogate."""

    slope: Array

    def value(self, x: Array) -> Array:
        return namespace(x).sum(self.slope * x, axis=-1)

    def grad(self, x: Array) -> Array:
        return namespace(x).broadcast_to(self.slope, x.shape)

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        return self.value(x), self.grad(x)


@dataclass(frozen=True)
class Quadratic:
    """f(x) = curvature/2 · ‖x − center‖², center ``[..., d]``."""

    center: Array
    curvature: float = 1.0

    def value(self, x: Array) -> Array:
        gap = x - self.center
        return 0.5 * self.curvature * namespace(x).sum(gap * gap, axis=-1)

    def grad(self, x: Array) -> Array:
        return self.curvature * (x - self.center)

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        return self.value(x), self.grad(x)


@dataclass(frozen=True)
class SoftmaxKL:
    """Mean KL(target ‖ draft_x) over n positions, for a draft whose logits are affine in x: convex.

    logits = (base_logits + features · X · readout) / temperature, X = x as a matrix ``[k, r]``. It covers a
    softmax-linear draft (readout None, r = V), a d×d output adapter (readout ``[r, V]``) and a vocabulary bias
    (features all one, k = 1). KL rather than cross-entropy: same gradient, and its infimum is 0.
    With ‖features‖ ≤ B, ‖readout‖ ≤ 1 and temperature 1, ‖∇f‖ ≤ √2·B and f is B²/2-smooth. Another ``divergence`` of
    the same laws may take KL's place; it is not convex in x, and no theorem is claimed for it.

    Shapes: features ``[..., n, k]``, target_probs ``[..., n, V]``, base_logits ``[..., n, V]`` or None.
    """

    features: Array
    target_probs: Array
    base_logits: Array | None = None
    readout: Array | None = None
    temperature: float = 1.0
    divergence: Divergence = FORWARD_KL

    def _log_draft(self, x: Array) -> Array:
        width = self.target_probs.shape[-1] if self.readout is None else self.readout.shape[0]
        matrix = x.reshape(*x.shape[:-1], self.features.shape[-1], width)
        logits = self.features @ matrix
        if self.readout is not None:
            logits = logits @ self.readout
        if self.base_logits is not None:
            logits = logits + self.base_logits
        return namespace(x).log_softmax(logits / self.temperature)

    def draft_probs(self, x: Array) -> Array:
        """The draft's law at every position: ``[..., k·r]`` → ``[..., n, V]``."""
        return namespace(x).exp(self._log_draft(x))

    def _grad(self, x: Array, log_draft: Array) -> Array:
        residual = self.divergence.slope(self.target_probs, log_draft) / self.temperature
        if self.readout is not None:
            residual = residual @ self.readout.T
        return (namespace(x).moveaxis(self.features, -1, -2) @ residual).reshape(x.shape)

    def value(self, x: Array) -> Array:
        return self.divergence.value(self.target_probs, self._log_draft(x))

    def grad(self, x: Array) -> Array:
        return self._grad(x, self._log_draft(x))

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        log_draft = self._log_draft(x)
        return self.divergence.value(self.target_probs, log_draft), self._grad(x, log_draft)


@dataclass(frozen=True)
class Blocks:
    """f(x) = Σ_k weight_k · f_k(x^(k)), x cut into K equal consecutive parts: one loss a head, one decision for all.

    Convex if every part is. With f_k having G_k and L_k, ‖∇f‖ ≤ √Σ(weight_k·G_k)² and f is max_k weight_k·L_k-smooth.
    A part of weight 0 is never asked.
    """

    losses: tuple[Loss, ...]
    weights: tuple[float, ...]

    def __post_init__(self):
        if len(self.losses) != len(self.weights) or not any(self.weights):
            raise ValueError(f"Blocks({len(self.losses)} losses, weights={self.weights!r}): one weight each, not all 0")

    def _parts(self, x: Array) -> list[Array]:
        width = x.shape[-1] // len(self.losses)
        return [x[..., k * width : (k + 1) * width] for k in range(len(self.losses))]

    def value(self, x: Array) -> Array:
        rows = zip(self.losses, self.weights, self._parts(x), strict=True)
        return sum(weight * loss.value(part) for loss, weight, part in rows if weight)

    def grad(self, x: Array) -> Array:
        xp = namespace(x)
        rows = zip(self.losses, self.weights, self._parts(x), strict=True)
        return xp.concatenate(
            [weight * loss.grad(part) if weight else xp.zeros_like(part) for loss, weight, part in rows], axis=-1
        )

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        return self.value(x), self.grad(x)


@dataclass(frozen=True)
class OfMixture:
    """A loss of the law Σ_i x_i·draft_i at one position, x on the simplex.

    Shapes: draft_probs ``[..., N, V]``, target_probs ``[..., V]``.
    """

    draft_probs: Array
    target_probs: Array

    def mixture(self, x: Array) -> Array:
        """Σ_i x_i·draft_i: ``[..., N]`` → ``[..., V]``."""
        return (x[..., None, :] @ self._drafts())[..., 0, :]

    def _drafts(self) -> Array:
        return self.draft_probs

    def _value(self, mixed: Array) -> Array:
        """The loss of the mixed law ``[..., V]`` → ``[...]``."""
        raise NotImplementedError

    def _slope(self, mixed: Array) -> Array:
        """A subgradient in the mixed law, ``[..., V]``."""
        raise NotImplementedError

    def _grad(self, mixed: Array) -> Array:
        return (self._drafts() @ self._slope(mixed)[..., None])[..., 0]

    def value(self, x: Array) -> Array:
        return self._value(self.mixture(x))

    def grad(self, x: Array) -> Array:
        return self._grad(self.mixture(x))

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        mixed = self.mixture(x)
        return self._value(mixed), self._grad(mixed)


@dataclass(frozen=True)
class MixtureKL(OfMixture):
    """KL(target ‖ Σ_i x_i·draft_i) of one position, x on the simplex: convex, and e^{−f} is concave.

    For a committed token (a hard label) give the probabilities the drafts gave it, ``[..., N, 1]``, and a target of
    ones ``[..., 1]``: f(x) = −log Σ_i x_i·draft_i(y). e^{−f} is a weighted geometric mean of functions linear in x, so
    f is 1-exp-concave: exponential weights at ε = 1 pay no mixability gap (``theory/learners/mixture.py``). The *sum*
    over n positions under the same x is only 1/n-exp-concave, which costs a factor n: update once a position.

    Shapes: draft_probs ``[..., N, V]``, target_probs ``[..., V]``. Draft probabilities below ``SMALLEST`` count as it.
    """

    SMALLEST = 1e-30
    """A draft that calls a committed token impossible loses 69 nats instead of the game; float32 still holds it."""

    def _drafts(self) -> Array:
        return namespace(self.draft_probs).maximum(self.draft_probs, self.SMALLEST)

    def _value(self, mixed: Array) -> Array:
        xp, target = namespace(mixed), self.target_probs
        log_target = xp.log(xp.where(target > 0, target, xp.ones_like(target)))
        return xp.sum(target * (log_target - xp.log(mixed)), axis=-1)

    def _slope(self, mixed: Array) -> Array:
        return -self.target_probs / mixed


@dataclass(frozen=True)
class MixtureTV(OfMixture):
    """TV(target, Σ_i x_i·draft_i) = Σ_y (target − mixed)₊ of one position, x on the simplex: what verification rejects.

    Convex, piecewise linear, in [0, 1]; the subgradient is −g with g_i = Σ of draft_i(y) over the tokens y that the
    mixture gives less than the target does, in [0, 1]. So ⟨∇f, ·⟩ has range 1, G = √N, and exponential weights on the
    gradients compete with every *mixture* (theory/README.md, Theorem 7). For a hard label y the target is one-hot, and
    f(x) = 1 − Σ_i x_i·draft_i(y) is linear; probabilities of y alone, ``[..., N, 1]``, and a target of one suffice.

    The sum of n positions under the same x is this loss of their laws laid end to end, V = n·vocabulary; it has range
    n. A law that is kept as its largest entries and one remainder has the remainder as one more token: then f is at
    most the full TV, and equal to it where drafts and target spread their remainders alike.

    Shapes: draft_probs ``[..., N, V]``, target_probs ``[..., V]``.
    """

    def _value(self, mixed: Array) -> Array:
        xp = namespace(mixed)
        return xp.sum(xp.maximum(self.target_probs - mixed, 0.0), axis=-1)

    def _slope(self, mixed: Array) -> Array:
        return -namespace(mixed).asarray(mixed < self.target_probs, like=mixed)


@dataclass(frozen=True)
class Preference:
    """Online DPO: mean over n pairs of −log σ(beta·(⟨x, φ⁺ − φ⁻⟩ − reference)), for a log-linear policy: convex.

    The policy π_x(y) ∝ exp⟨x, φ(y)⟩ prefers the chosen answer to the rejected one by log π_x(y⁺) − log π_x(y⁻) =
    ⟨x, φ⁺ − φ⁻⟩: the normaliser cancels. It does not for an autoregressive softmax, whose log-probability of an answer
    is no linear function of x; nothing is claimed there. ``reference`` is the same margin under the reference policy.
    With ‖φ‖ ≤ B, ‖∇f‖ ≤ 2·beta·B and f is beta²·B²-smooth (σ ≤ 1, σ' ≤ ¼, ‖φ⁺ − φ⁻‖ ≤ 2B). As f ≥ 0, ‖∇f‖² ≤ 2L·f, and
    the small-loss bounds hold with F_T = Σ f_t(u_t).
    Reference: Rafailov et al. 2023, Eq. 7.

    Shapes: chosen, rejected ``[..., n, d]``, reference ``[..., n]`` or None (a uniform reference policy).
    """

    chosen: Array
    rejected: Array
    beta: float = 1.0
    reference: Array | None = None

    def __post_init__(self):
        if not self.beta > 0:
            raise ValueError(f"Preference(beta={self.beta!r}): must be positive, the weight of the margin")

    def _logits(self, x: Array) -> Array:
        margin = ((self.chosen - self.rejected) @ x[..., None])[..., 0]
        return self.beta * (margin if self.reference is None else margin - self.reference)

    def _value(self, logits: Array) -> Array:
        xp = namespace(logits)
        losses = xp.maximum(-logits, 0.0) + xp.log(1.0 + xp.exp(-xp.abs(logits)))
        return xp.sum(losses, axis=-1) / logits.shape[-1]

    def _grad(self, logits: Array) -> Array:
        xp = namespace(logits)
        decayed = xp.exp(-xp.abs(logits))
        doubt = xp.where(logits > 0, decayed, xp.ones_like(decayed)) / (1.0 + decayed)  # σ(−logits), no overflow
        pull = -self.beta / logits.shape[-1] * doubt
        return (pull[..., None, :] @ (self.chosen - self.rejected))[..., 0, :]

    def value(self, x: Array) -> Array:
        return self._value(self._logits(x))

    def grad(self, x: Array) -> Array:
        return self._grad(self._logits(x))

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        logits = self._logits(x)
        return self._value(logits), self._grad(logits)


def expert_losses(loss: Loss, weights: Array) -> Array:
    """f(e_i), the loss of every expert played alone: values at the N corners of the simplex, ``[..., N]``.

    For a linear loss its slope. For a curved one not its gradient: exponential weights on these values, not on the
    linearised loss, is what exp-concavity rewards.
    """
    xp = namespace(weights)
    index = xp.arange(weights.shape[-1], like=weights)
    corners = xp.asarray(index[:, None] == index, like=weights)
    ahead = (len(index),) + (1,) * (len(weights.shape) - 1)
    return xp.moveaxis(loss.value(corners.reshape((*ahead, len(index)))), 0, -1) + 0.0 * weights


class Counted:
    """A loss that counts its gradient queries: one or N gradients a round is a result, not a detail.

    A call on ``[experts, seeds, d]`` where the loss itself has ``[seeds]`` copies counts ``experts`` queries;
    ``copies`` is the number of copies one query answers.
    """

    def __init__(self, loss: Loss, copies: int = 1):
        self.loss, self.copies, self.queries = loss, copies, 0.0

    def _count(self, x: Array) -> None:
        size = 1
        for length in x.shape[:-1]:
            size *= length
        self.queries += size / self.copies

    def value(self, x: Array) -> Array:
        return self.loss.value(x)

    def grad(self, x: Array) -> Array:
        self._count(x)
        return self.loss.grad(x)

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        self._count(x)
        return self.loss.value_and_grad(x)
