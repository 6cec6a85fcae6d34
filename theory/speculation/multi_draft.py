"""Several drafts for one position: the best acceptance any lossless rule can reach, and what recursive rejection does.

n tokens are drawn independently from one draft law; a rule outputs one token of exactly the target's law, if it can one
of them. A yardstick for tree rules; at n = 1 both functions are ``acceptance.alpha``.
"""

from math import inf

from theory import require
from theory.arrays import Array, namespace
from theory.speculation.acceptance import alpha, residual


def best_acceptance(target_probs: Array, draft_probs: Array, drafts: int) -> Array:
    """α*_n = 1 + min_H [target(H) − draft(H)^n], H over the threshold sets of target/draft: ``[..., V]`` → ``[...]``.

    Proof. A rule is a flow from the drafted n-tuples (mass Π draft) to the tokens in them (capacity target). For any
    set H of tokens, tuples inside H pass at most target(H) and all others at most their mass 1 − draft(H)^n, and by
    max-flow min-cut the smallest of these sums is reached. For given s = draft(H), target(H) is at least T(s), the
    piecewise linear function that fills H by increasing target/draft; on each piece T(s) − s^n is concave, so its
    minimum lies at a corner: a threshold set.

    Args:
        target_probs: ``[..., V]``.
        draft_probs: ``[..., V]``, the law all drafts are drawn from.
        drafts: n, at least 1.

    Raises:
        ValueError: for n < 1.
    """
    require.whole("best_acceptance", 1, drafts=drafts)
    xp = namespace(target_probs)
    one = xp.ones_like(draft_probs)
    never = draft_probs <= 0
    ratio = xp.where(never, inf * one, target_probs / xp.where(never, one, draft_probs))
    order = xp.argsort(ratio)
    in_target = xp.cumsum(xp.take_along_axis(target_probs, order, axis=-1), -1)
    in_draft = xp.cumsum(xp.take_along_axis(draft_probs, order, axis=-1), -1)
    return 1 + xp.min(in_target - in_draft**drafts, axis=-1)


def recursive_rejection(target_probs: Array, draft_probs: Array, drafts: int) -> Array:
    """1 − Π_{j≤n}(1 − alpha(target_j, draft)), target_1 = target, target_{j+1} the residual: ``[..., V]`` → ``[...]``.

    The rule of tree decoders: test the drafts one after another by the token rule, each against the residual that the
    rejections before it left. Lossless, and never above ``best_acceptance``. Reference: Miao et al. 2024 (SpecInfer).

    Raises:
        ValueError: for n < 1.
    """
    require.whole("recursive_rejection", 1, drafts=drafts)
    rejected, left = 1.0, target_probs
    for _ in range(drafts):
        rejected = rejected * (1 - alpha(left, draft_probs))
        left = residual(left, draft_probs)
    return 1 - rejected
