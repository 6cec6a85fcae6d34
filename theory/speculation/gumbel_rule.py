r"""The Gumbel rule: target and draft choose by the same noise, and the target's choice is what the text holds.

Every token y of every position has its own noise E_y, exponential with mean 1, and a law p chooses

    T(p) = argmax_y p_y/E_y = argmax_y (log p_y + G_y),    G_y = −log E_y a Gumbel variable.

P(T(p) = y) = p_y. A drafted token is accepted if it is what the target chooses; otherwise the target's choice replaces
it, and the bonus token is the target's choice as well. So the text is the target's choice at every position: a function
of the prompt and the noise, whatever was drafted. Two laws choose alike with probability

    A(p, q) = Σ_y 1/Σ_z max(p_z/p_y, q_z/q_y),    (1 − TV)/(1 + TV) ≤ A ≤ 1 − TV,

so that up to 2TV/(1 + TV) is rejected instead of TV: the price of a text that the seed fixes.

The noise of a position is a function of seed, request and place in the request's text, prompt included: a counter-based
generator, of which any part is made anew wherever it is wanted, on host and device alike.
Reference: Daliri, Musco & Suresh 2024, arXiv 2408.07978. The generator: Steele, Lea & Flood 2014 (SplitMix).
"""

import numpy as np

from theory.arrays import Array, namespace
from theory.speculation.acceptance import greedy_rule

STRIDE = 0x9E3779B97F4A7C15 - 2**64
"""Between the states of successive numbers: odd, so that all 2^64 states come before one comes again."""
MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))
"""Shifts and factors by which a state becomes 64 random bits."""


def key(seed: int, request: int) -> int:
    """Where the noise of a request begins: int64, from a seed and a number that no other request has, each ≥ 0."""
    return int(np.random.SeedSequence([seed, request]).generate_state(1, np.uint64).view(np.int64)[0])


def mixed(states: Array) -> Array:
    """64 random bits of every state, int64 → int64; products wrap."""
    for shift, factor in MIXING:
        states = (states ^ _shifted(states, shift)) * factor
    return states


def _shifted(bits: Array, by: int) -> Array:
    """Shifted to the right; zeros come in, whatever the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def noise(keys: Array, positions: Array, vocab: int) -> Array:
    """E of every token at ``positions`` int64 ``[...]`` of the requests with ``keys`` int64 ``[...]``.

    E is −log of uniforms that are odd multiples of 2^−53, the same on every machine: above 0, float64 ``[..., vocab]``.
    What one token gets does not depend on V. The grid moves what a law chooses by V·2^−53 at most in total variation: a
    token's own uniform decides between it and the best of the others at one threshold, and the V are swapped in turn.
    """
    xp = namespace(keys)
    streams = mixed(keys[..., None] + positions[..., None] * STRIDE)
    bits = mixed(streams + xp.arange(vocab, like=keys) * STRIDE)
    return -xp.log((xp.double(_shifted(bits, 12)) + 0.5) * 2.0**-52)


def race(probs: Array, noise: Array) -> Array:
    """T(p): the token that a law ``[..., V]`` chooses by the noise ``[..., V]`` of its position, int ``[...]``.

    A token of probability 0 is never chosen. A law of NaN gives token 0.
    """
    return namespace(probs).argmax(probs / noise, axis=-1)


def lead(probs: Array, noise: Array) -> Array:
    """log p_y + G_y of the token chosen over that of the next ``[...]``: how far it is from a tie.

    Where two laws choose differently, log p differs by half of it at least at one of the two tokens.
    """
    xp = namespace(probs)
    top = xp.sort(probs / noise)
    return xp.log(top[..., -1]) - xp.log(xp.maximum(top[..., -2], 1e-300))


def gumbel_rule(target_probs: Array, draft_tokens: Array, noise: Array) -> tuple[Array, Array]:
    """Verify one drafted chain: how many tokens are accepted, and the target's own choice after them.

    Lossless whatever was drafted and by whatever law, so that the draft's laws are not asked for.

    Args:
        target_probs: ``[..., gamma + 1, V]``, the target's law at every drafted position and after the last.
        draft_tokens: int ``[..., gamma]``, the draft's choices by the same noise; others are only accepted less often.
        noise: ``[..., gamma + 1, V]``, of these positions.

    Returns:
        accepted ``[...]`` and token ``[...]``; the step commits ``draft_tokens[:accepted]`` and then ``token``.
    """
    return greedy_rule(race(target_probs, noise), draft_tokens)


def agreement(target_probs: Array, draft_probs: Array) -> Array:
    """A(p, q): the probability that two laws ``[..., V]`` choose alike by the same noise, ``[...]``.

    With the tokens in order of q/p, max(p_z/p_y, q_z/q_y) is p_z/p_y up to y and q_z/q_y after it: two running sums.
    """
    xp = namespace(target_probs)
    total = target_probs + draft_probs
    order = xp.argsort(draft_probs / xp.where(total > 0, total, xp.ones_like(total)))
    p, q = (xp.take_along_axis(law, order, axis=-1) for law in (target_probs, draft_probs))
    up_to, after = xp.cumsum(p, -1), xp.sum(q, axis=-1, keepdims=True) - xp.cumsum(q, -1)
    both, against = p * q, q * up_to + p * after
    return xp.sum(both / xp.where(both > 0, against, xp.ones_like(both)), axis=-1)
