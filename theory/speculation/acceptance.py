"""Accept/reject arithmetic: the lossless token rule, for numpy and torch arrays alike.

Its parts (``following``, ``leading``, ``residual``, ``categorical``) also make the block rule
(theory/speculation/block_rule.py), and ``greedy_rule`` the Gumbel rule (theory/speculation/gumbel_rule.py); these three
files hold the only accept/reject rules of the repository.

``target_probs`` and ``draft_probs`` are next-token laws, last axis the vocabulary. Randomness comes in as uniforms in
[0, 1), so that one function serves any generator and every outcome can be enumerated in a test.
Reference: Leviathan, Kalman & Matias 2023; Chen et al. 2023.
"""

from math import inf
from typing import NamedTuple

from theory.arrays import Array, namespace

COLDEST = 2.0**-105
"""Divided by a lower temperature, float32 logits beyond 2^23, where whole numbers end, overflow."""


def process(logits: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Array:
    """Sampling law of ``logits`` ``[..., V]``: temperature, then top-k, then top-p, in transformers' order and meaning.

    top_k = 0 and top_p = 1 leave the law whole. Ties with the k-th logit are kept, as transformers keeps them. Of ties
    at the edge of top-p the later ids are kept, as in transformers where its sort is stable, which it need not be. A
    temperature too small for the dtype is the limit: the largest logits share all mass. Logits without a law, of which
    one is NaN or +inf or all are -inf, give NaN throughout.
    """
    xp = namespace(logits)
    if temperature != 1:
        logits = _sharpest(logits) if _vanishes(temperature, logits) else logits / temperature
    if 0 < top_k < logits.shape[-1]:
        kth = xp.flip(xp.sort(logits), -1)[..., top_k - 1 : top_k]
        logits = xp.where(logits < kth, -inf, logits)
    if top_p < 1.0:
        order = xp.argsort(logits)  # ascending: the tail of mass at most 1 − top_p goes, the most likely token never
        tail = xp.cumsum(xp.shares(xp.take_along_axis(logits, order, axis=-1)), -1) <= 1.0 - top_p
        tail = tail & (xp.arange(logits.shape[-1], like=logits) < logits.shape[-1] - 1)
        logits = xp.where(xp.take_along_axis(tail, xp.argsort(order), axis=-1), -inf, logits)
    return xp.softmax(logits)


def _vanishes(temperature: float, logits: Array) -> bool:
    """Whether logits as large as 1/eps of their dtype overflow when divided by ``temperature``."""
    if temperature >= COLDEST:
        return False
    kind = namespace(logits).finfo(logits.dtype)
    return temperature * float(kind.max) * float(kind.eps) < 1


def _sharpest(logits: Array) -> Array:
    """0 at the largest logits, -inf elsewhere; NaN where the largest is not finite."""
    xp = namespace(logits)
    below = logits - xp.max(logits, axis=-1, keepdims=True)
    return xp.where(below < 0, -inf, below)


def alpha(target_probs: Array, draft_probs: Array) -> Array:
    """Acceptance rate Σ_y min(target, draft) = 1 − TV: ``[..., V]`` → ``[...]``."""
    xp = namespace(target_probs)
    return xp.sum(xp.minimum(target_probs, draft_probs), axis=-1)


def residual(target_probs: Array, draft_probs: Array) -> Array:
    """The law of a recovered token, ∝ (target − draft)₊ ``[..., V]``; the target's own where the two are equal.

    A draft law of zeros (nothing was drafted) gives the target's law: the bonus token is the same formula.
    """
    xp = namespace(target_probs)
    excess = xp.maximum(target_probs - draft_probs, 0.0)
    mass = xp.sum(excess, axis=-1, keepdims=True)
    differ = mass > 0
    return xp.where(differ, excess, target_probs) / xp.where(differ, mass, 1.0)


def categorical(probs: Array, uniform: Array) -> Array:
    """Token whose cumulative interval holds ``uniform``: probs ``[..., V]``, uniform ``[...]`` → int ``[...]``.

    Tokens of probability 0 are never drawn where the sum is taken in order (a GPU's or jax's need not be): of normal
    floats u < 1 and s, multiplied with the digits of u or more, the product is rounded to less than s. A law of NaN
    gives token 0, so that no index leaves the vocabulary: look at laws that may be NaN before their tokens are used.
    """
    xp = namespace(probs)
    cumulative = xp.cumsum(probs, -1)
    return xp.sum(cumulative <= uniform[..., None] * cumulative[..., -1:], axis=-1)


def accept(target_probs: Array, draft_probs: Array, token: Array, uniform: Array) -> Array:
    """Whether a drafted token is kept, with probability min(1, target/draft): ``[..., V]``, ``[...]`` → ``[...]``."""
    xp = namespace(target_probs)
    chosen = xp.integer(token)[..., None]
    target = xp.take_along_axis(target_probs, chosen, axis=-1)[..., 0]
    draft = xp.take_along_axis(draft_probs, chosen, axis=-1)[..., 0]
    return uniform * draft < target


def leading(kept: Array) -> Array:
    """How many leading entries are true: bool ``[..., gamma]`` → int ``[...]``."""
    xp = namespace(kept)
    return xp.sum(xp.cumprod(xp.integer(kept), -1), axis=-1)


def following(target_probs: Array, draft_probs: Array, accepted: Array) -> Array:
    """Law of the token after the first ``accepted`` drafted ones: the residual there, the bonus law after all of them.

    target_probs ``[..., gamma + 1, V]``, draft_probs ``[..., gamma, V]``, accepted int ``[...]`` → ``[..., V]``.
    """
    xp = namespace(target_probs)
    none_drafted = xp.zeros_like(target_probs[..., -1:, :])
    drafted = xp.concatenate([draft_probs, none_drafted], axis=-2)
    at = accepted[..., None, None]
    at = xp.broadcast_to(at, (*at.shape[:-1], target_probs.shape[-1]))
    target_there = xp.take_along_axis(target_probs, at, axis=-2)
    draft_there = xp.take_along_axis(drafted, at, axis=-2)
    return residual(target_there, draft_there)[..., 0, :]


def token_rule(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array) -> tuple[Array, Array]:
    """Verify one drafted chain: how many tokens are accepted, and the recovered or bonus token that follows them.

    Args:
        target_probs: ``[..., gamma + 1, V]``, the target's law at every drafted position and after the last.
        draft_probs: ``[..., gamma, V]``, the law each token was sampled from.
        draft_tokens: int ``[..., gamma]``.
        uniforms: ``[..., gamma + 1]``: one to accept each drafted token, one to draw the token that follows.

    Returns:
        accepted ``[...]`` and token ``[...]``; the step commits ``draft_tokens[:accepted]`` and then ``token``.
    """
    kept = accept(target_probs[..., :-1, :], draft_probs, draft_tokens, uniforms[..., :-1])
    accepted = leading(kept)
    return accepted, categorical(following(target_probs, draft_probs, accepted), uniforms[..., -1])


def greedy_rule(target_tokens: Array, draft_tokens: Array) -> tuple[Array, Array]:
    """Temperature 0: keep drafted tokens while they are the target's argmax, then commit the target's own.

    target_tokens int ``[..., gamma + 1]``, draft_tokens int ``[..., gamma]`` → accepted ``[...]``, token ``[...]``.
    """
    xp = namespace(target_tokens)
    accepted = leading(target_tokens[..., :-1] == draft_tokens)
    return accepted, xp.take_along_axis(target_tokens, accepted[..., None], axis=-1)[..., 0]


class Walk(NamedTuple):
    """A chain decoder seen position by position: ``gamma`` acceptances in a row make the next position a bonus.

    Committed positions come one at a time; each is examined (a draft token was verified there) unless the ``gamma``
    before it were all accepted in the same step. Exactly the counts of a decoder that drafts ``gamma`` tokens a step,
    for any number of copies at once: every field has shape ``[...]``.
    """

    run: Array  # tokens accepted so far in the current step
    steps: Array
    accepted: Array
    recovered: Array
    bonus: Array

    @classmethod
    def begin(cls, zeros: Array) -> "Walk":
        """Nothing committed yet; ``zeros`` gives type and shape."""
        return cls(zeros, zeros, zeros, zeros, zeros)

    def examined(self, gamma: int) -> Array:
        """Whether a draft token is verified at the next position: bool ``[...]``."""
        return self.run < gamma

    def commit(self, kept: Array, gamma: int) -> "Walk":
        """One more committed position; ``kept`` (bool) counts only where the position is examined."""
        xp = namespace(self.run)
        one, none = xp.ones_like(self.run), xp.zeros_like(self.run)
        examined = self.examined(gamma)
        ends = ~(examined & kept)
        return Walk(
            run=xp.where(ends, none, self.run + 1),
            steps=self.steps + xp.where(ends, one, none),
            accepted=self.accepted + xp.where(ends, none, one),
            recovered=self.recovered + xp.where(examined & ~kept, one, none),
            bonus=self.bonus + xp.where(examined, none, one),
        )

    def cut(self) -> "Walk":
        """End the current step early, as the end of a request does; a step under way counts as one."""
        xp = namespace(self.run)
        one, none = xp.ones_like(self.run), xp.zeros_like(self.run)
        return self._replace(run=none, steps=self.steps + xp.where(self.run > 0, one, none))
