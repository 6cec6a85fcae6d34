"""Losses f_t. The learner sees one only after it has played; then as a function (full information).

The last axis of ``x`` is the decision; leading axes are independent copies (seeds), and further axes in front of those
(experts) broadcast, so a loss with parameters ``[seeds, ...]`` serves ``[experts, seeds, d]`` unchanged.
"""

from dataclasses import dataclass
from typing import Protocol

from theory.arrays import Array, namespace


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
    (features all one, k = 1). KL rather than cross-entropy: same gradient, and its infimum is 0 (THEORY section 1).
    With ‖features‖ ≤ B, ‖readout‖ ≤ 1 and temperature 1, ‖∇f‖ ≤ √2·B and f is B²/2-smooth.

    Shapes: features ``[..., n, k]``, target_probs ``[..., n, V]``, base_logits ``[..., n, V]`` or None.
    """

    features: Array
    target_probs: Array
    base_logits: Array | None = None
    readout: Array | None = None
    temperature: float = 1.0

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

    def _value(self, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        target = self.target_probs
        log_target = xp.log(xp.where(target > 0, target, xp.ones_like(target)))
        return xp.sum(xp.sum(target * (log_target - log_draft), axis=-1), axis=-1) / target.shape[-2]

    def _grad(self, x: Array, log_draft: Array) -> Array:
        residual = (namespace(x).exp(log_draft) - self.target_probs) / (self.temperature * self.target_probs.shape[-2])
        if self.readout is not None:
            residual = residual @ self.readout.T
        return (namespace(x).moveaxis(self.features, -1, -2) @ residual).reshape(x.shape)

    def value(self, x: Array) -> Array:
        return self._value(self._log_draft(x))

    def grad(self, x: Array) -> Array:
        return self._grad(x, self._log_draft(x))

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        log_draft = self._log_draft(x)
        return self._value(log_draft), self._grad(x, log_draft)


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
