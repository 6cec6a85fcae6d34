"""The block rule: verify a drafted chain as a whole, losslessly, and never accept fewer tokens than the token rule.

With x_1 … x_γ drafted and target, draft the laws after each prefix x^i:

    p_0 = 1,   p_i = min{1, p_{i−1}·target(x_i)/draft(x_i)}                       the weight a prefix still carries
    h_i = Z_i/(Z_i + 1 − p_i),   Z_i = Σ_y (p_i·target(y|x^i) − draft(y|x^i))₊    for i < γ;   h_γ = p_γ;   0/0 = 1
    accept the first τ tokens, τ the *largest* i with uniform_i < h_i (0 if there is none)
    then draw from the law ∝ (p_τ·target − draft)₊ at x^τ, or the bonus from the target where τ = γ

Lossless, and E[τ] is the largest of all lossless rules for one drafted chain. At γ = 1 and at temperature 0 it is the
token rule. Reference: Sun et al. 2024, arXiv 2403.10444, Algorithm 2, Theorems 1 and 2.
"""

from theory.arrays import Array, namespace
from theory.speculation.acceptance import categorical, following, leading


def prefix_weights(target_probs: Array, draft_probs: Array, draft_tokens: Array) -> Array:
    """p_0 … p_γ ``[..., gamma + 1]``; shapes as in ``block_rule``. A token of draft probability 0 is never drawn."""
    xp = namespace(target_probs)
    chosen = xp.integer(draft_tokens)[..., None]
    target = xp.take_along_axis(target_probs[..., :-1, :], chosen, axis=-1)[..., 0]
    draft = xp.take_along_axis(draft_probs, chosen, axis=-1)[..., 0]
    one = xp.ones_like(target_probs[..., 0, 0])
    weights = [one]
    for i in range(draft_probs.shape[-2]):
        carried = weights[-1] * target[..., i]
        kept_whole = carried >= draft[..., i]
        weights.append(xp.where(kept_whole, one, carried / xp.where(kept_whole, one, draft[..., i])))
    return xp.stack(weights, -1)


def block_thresholds(target_probs: Array, draft_probs: Array, weights: Array) -> Array:
    """h_1 … h_γ ``[..., gamma]``: with probability h_i, given that no longer prefix is, the first i are accepted."""
    xp = namespace(target_probs)
    before = weights[..., :-1]
    excess = xp.sum(xp.maximum(before[..., None] * target_probs[..., :-1, :] - draft_probs, 0.0), axis=-1)
    total = excess + 1 - before
    ratio = xp.where(total > 0, excess / xp.where(total > 0, total, xp.ones_like(total)), xp.ones_like(total))
    return xp.concatenate([ratio, weights[..., -1:]], axis=-1)[..., 1:]


def trailing(kept: Array) -> Array:
    """Position (from 1) of the last true entry, 0 if there is none: bool ``[..., gamma]`` → int ``[...]``."""
    xp = namespace(kept)
    return kept.shape[-1] - leading(~xp.flip(kept, -1))


def block_rule(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array) -> tuple[Array, Array]:
    """Verify one drafted chain as a block; same arguments and results as ``acceptance.token_rule``.

    Args:
        target_probs: ``[..., gamma + 1, V]``, the target's law at every drafted position and after the last.
        draft_probs: ``[..., gamma, V]``, the law each token was sampled from.
        draft_tokens: int ``[..., gamma]``.
        uniforms: ``[..., gamma + 1]``: one for each prefix length 1 … gamma, one to draw the token that follows.

    Returns:
        accepted ``[...]`` and token ``[...]``; the step commits ``draft_tokens[:accepted]`` and then ``token``.
    """
    weights = prefix_weights(target_probs, draft_probs, draft_tokens)
    accepted = trailing(uniforms[..., :-1] < block_thresholds(target_probs, draft_probs, weights))
    law = following(weights[..., None] * target_probs, draft_probs, accepted)
    return accepted, categorical(law, uniforms[..., -1])
