r"""How far a draft's laws are from the target's at n positions, and which way each logit must move.

Every divergence has a ``value`` ``[...]``, the mean over n positions, and a ``slope`` ``[..., n, V]``, its gradient in
the draft's logits, both from target laws and draft log-laws ``[..., n, V]``. With q = softmax(z), a function of q with
partial derivatives g has ∂/∂z = q·(g − ⟨q, g⟩); KL's is q − target, the only one that is convex in the logits.

    kl           Σ target·log(target/q)                        forward KL; cross-entropy up to the target's entropy
    reverse_kl   Σ q·log(q/target)                             mode seeking
    jsd          ½KL(target ‖ m) + ½KL(q ‖ m), m the middle    bounded by ln 2
    tv           ½Σ|target − q| = 1 − alpha                    what verification rejects
    speed        −log of the tokens a step of gamma commits    what a user waits for

Reference: Agarwal et al. 2024 (on-policy distillation), Liu et al. 2024 (OSD) for the first three.
"""

from dataclasses import dataclass
from typing import Protocol

from theory.arrays import Array, namespace

SMALLEST = 1e-30
"""A target that rules a token out has no reverse KL; its probability counts as this, 69 nats, which float32 holds."""


class Divergence(Protocol):
    """Target laws and draft log-laws ``[..., n, V]`` → a number, and the way down in the draft's logits."""

    def value(self, target: Array, log_draft: Array) -> Array:
        """Mean over the positions ``[...]``."""
        ...

    def slope(self, target: Array, log_draft: Array) -> Array:
        """Gradient of the value in the draft's logits ``[..., n, V]``."""
        ...


def _log(probs: Array) -> Array:
    xp = namespace(probs)
    return xp.log(xp.maximum(probs, SMALLEST))


def _mean(values: Array) -> Array:
    return namespace(values).sum(values, axis=-1) / values.shape[-1]


def _through_softmax(draft: Array, slope: Array) -> Array:
    """∂/∂logits of a function of the draft whose partial derivatives are ``slope``."""
    return draft * (slope - namespace(draft).sum(draft * slope, axis=-1, keepdims=True))


@dataclass(frozen=True)
class KL:
    """Mean KL(target ‖ draft); tokens of probability 0 under the target cost nothing."""

    def value(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        log_target = xp.log(xp.where(target > 0, target, xp.ones_like(target)))
        return _mean(xp.sum(target * (log_target - log_draft), axis=-1))

    def slope(self, target: Array, log_draft: Array) -> Array:
        return (namespace(log_draft).exp(log_draft) - target) / target.shape[-2]


@dataclass(frozen=True)
class ReverseKL:
    """Mean KL(draft ‖ target)."""

    def value(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        return _mean(xp.sum(xp.exp(log_draft) * (log_draft - _log(target)), axis=-1))

    def slope(self, target: Array, log_draft: Array) -> Array:
        draft = namespace(log_draft).exp(log_draft)
        return _through_softmax(draft, log_draft - _log(target)) / target.shape[-2]


@dataclass(frozen=True)
class JSD:
    """Mean Jensen–Shannon divergence, in [0, ln 2]."""

    def value(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        draft = xp.exp(log_draft)
        log_middle = _log(0.5 * (target + draft))
        gaps = target * (_log(target) - log_middle) + draft * (log_draft - log_middle)
        return _mean(0.5 * xp.sum(gaps, axis=-1))

    def slope(self, target: Array, log_draft: Array) -> Array:
        draft = namespace(log_draft).exp(log_draft)
        return _through_softmax(draft, 0.5 * (log_draft - _log(0.5 * (target + draft)))) / target.shape[-2]


@dataclass(frozen=True)
class TV:
    """Mean total variation, 1 − alpha; a subgradient where two probabilities are equal."""

    def value(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        return _mean(0.5 * xp.sum(xp.abs(xp.exp(log_draft) - target), axis=-1))

    def slope(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        draft = xp.exp(log_draft)
        one = xp.ones_like(draft)
        sign = xp.where(draft > target, one, xp.where(draft < target, -one, 0.0 * one))
        return _through_softmax(draft, 0.5 * sign) / target.shape[-2]


@dataclass(frozen=True)
class Speed:
    r"""−log of the mean tokens a step commits when it starts at each of the n consecutive positions and drafts gamma.

    A step starting at position s commits E_s = 1 + α_s + α_s·α_{s+1} + … tokens in expectation, at most gamma + 1
    (``speedup.tokens_per_step`` where every α is the same); windows are cut at the end of the n positions. What a step
    costs at fixed gamma does not depend on the draft's weights, so this is the logarithm of the seconds a token takes
    up to a constant. It weighs a position by how often verification gets there: an early rejection costs more.
    """

    gamma: int = 4

    def __post_init__(self):
        if self.gamma < 1:
            raise ValueError(f"Speed(gamma={self.gamma!r}): a step drafts at least one token")

    def value(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        return -xp.log(self._tokens(xp.sum(xp.minimum(target, xp.exp(log_draft)), axis=-1))[0])

    def slope(self, target: Array, log_draft: Array) -> Array:
        xp = namespace(log_draft)
        draft = xp.exp(log_draft)
        tokens, slope = self._tokens(xp.sum(xp.minimum(target, draft), axis=-1))
        kept = xp.where(draft < target, xp.ones_like(draft), xp.zeros_like(draft))
        return _through_softmax(draft, -slope[..., None] * kept) / tokens[..., None, None]

    def _tokens(self, alpha: Array) -> tuple[Array, Array]:
        """mean_s E_s ``[...]`` and its gradient in alpha ``[..., n]``, window by window."""
        xp, n = namespace(alpha), alpha.shape[-1]
        total, slope = xp.zeros_like(alpha[..., 0]), [xp.zeros_like(alpha[..., 0]) for _ in range(n)]
        for start in range(n):
            reach = min(self.gamma, n - start)
            before = [xp.ones_like(total)]  # products of the first j acceptances
            for j in range(reach):
                before.append(before[-1] * alpha[..., start + j])
            after = xp.ones_like(total)  # 1 + α_{j+1} + α_{j+1}·α_{j+2} + …
            for j in reversed(range(reach)):
                slope[start + j] = slope[start + j] + before[j] * after / n
                after = 1.0 + alpha[..., start + j] * after
            total = total + after / n
        return total, xp.stack(slope, -1)


FORWARD_KL = KL()
DIVERGENCES: dict[str, Divergence] = {
    "kl": FORWARD_KL, "reverse_kl": ReverseKL(), "jsd": JSD(), "tv": TV(), "speed": Speed()
}  # fmt: skip
"""By the name a system's row gives them."""
