"""From acceptance to speed, and from regret to acceptance (theory/README.md, from acceptance to speed).

Symbols: epsilon = 1 − alpha, the rejection probability of one position; gamma drafted tokens a step; n = gamma + 1.
A step that rejects commits its accepted tokens and one recovered; one that rejects nothing commits n, one a bonus.
Four kinds of statement, and only the first two assume independence:

    i.i.d. positions   ``tokens_per_step``: E(epsilon, gamma), averaged over steps
    one known text     ``expected_steps``, ``steps_begun``: every position with an acceptance rate of its own
    pathwise, counts   ``tokens_per_step_lower`` (share of committed tokens), ``verified_lower`` (share of verified
                       positions): true on every path, up to its last step
    through regret     ``rejection_bound``: mean KL → mean rejection probability

All functions but those of one known text are elementwise on numbers and numpy arrays.
"""

from math import log
from typing import Any

import numpy as np

from theory.arrays import Array

Number = Any  # a number or a numpy array: then elementwise
LN_2 = log(2.0)


def tokens_per_step(epsilon: Number, gamma: Number) -> Array:
    """E(ε, γ) = Σ_{j=0}^{γ} (1−ε)^j = (1 − (1−ε)^{γ+1})/ε, bonus included, stable for all ε in [0, 1].

    Positions rejected independently with probability ε (Leviathan et al. 2023, Eq. 1). Convex and decreasing in ε.
    """
    epsilon = np.asarray(epsilon, dtype=float)
    inside = np.clip(epsilon, 1e-300, 1 - 1e-16)
    return -np.expm1((gamma + 1) * np.log1p(-inside)) / inside


def expected_steps(alpha: Array, gamma: int) -> Array:
    r"""Expected number of steps that commit a whole text, given the acceptance rate of each of its positions.

    A step that begins at position t drafts γ tokens, or fewer where the text ends before. It commits those that are
    accepted in a row and one more. If positions are accepted independently, the steps still to come from t on are

        S_t = 1 + Σ_{j=0}^{γ−1} α_t ⋯ α_{t+j−1}·(1 − α_{t+j})·S_{t+j+1} + α_t ⋯ α_{t+γ−1}·S_{t+γ+1},

    with α_t = S_t = 0 beyond the text. So n / S_0 is the expected tokens per step. It tends to E(1 − α, γ) for a long
    text of constant α. The rate α_t must not depend on where the step began: the draft reads the text before t, its own
    tokens included, and nothing else. This holds for a small model, and not for heads that read the state at the start
    of a step. The rule is the token rule.

    Args:
        alpha: acceptance rates in [0, 1], ``[..., n]``; the last axis is the text.
        gamma: drafted tokens a step, at least 0; 0 is plain decoding, in n steps.

    Returns:
        S_0 ``[...]``, between n / (γ + 1) and n; the sum of ``steps_begun``.

    Raises:
        ValueError: for rates outside [0, 1] or a negative gamma.
    """
    return np.sum(steps_begun(alpha, gamma), axis=-1)


def steps_begun(alpha: Array, gamma: int) -> Array:
    r"""Probability that a step begins at each position of a text: ``expected_steps`` position by position.

    The same steps from the front, b_0 = 1: a step from t hands its b_t on to where it may end,

        b_t·α_t ⋯ α_{t+j−1}·(1 − α_{t+j}) to t + j + 1 for j < γ,    b_t·α_t ⋯ α_{t+γ−1} to t + γ + 1.

    No rate after a position enters its b. So the first m of them sum to the steps of the text's first m tokens, for
    every m at once.

    Args:
        alpha: acceptance rates in [0, 1], ``[..., n]``; the last axis is the text.
        gamma: drafted tokens a step, at least 0.

    Returns:
        b ``[..., n]``, each in [0, 1].

    Raises:
        ValueError: for rates outside [0, 1] or a negative gamma.
    """
    alpha = np.asarray(alpha, dtype=float)
    if gamma < 0 or not np.all((alpha >= 0) & (alpha <= 1)):
        raise ValueError(
            f"alpha from {alpha.min()} to {alpha.max()}, gamma={gamma!r}: rates lie in [0, 1], gamma is at least 0; "
            "give one acceptance rate a position"
        )
    length = alpha.shape[-1]
    rates = np.concatenate([alpha, np.zeros((*alpha.shape[:-1], gamma))], -1)
    begun = np.zeros((*alpha.shape[:-1], length + gamma + 1))
    begun[..., 0] = 1.0
    for t in range(length):
        kept = np.cumprod(rates[..., t : t + gamma], -1)  # P(at least 1, …, γ accepted)
        reached = begun[..., t, None]
        begun[..., t + 1] += reached[..., 0]
        change = reached * kept
        begun[..., t + 1 : t + gamma + 1] -= change
        begun[..., t + 2 : t + gamma + 2] += change
    return begun[..., :length]


def speedup(
    tokens_per_step: Number,
    gamma: int,
    cost_ratio: Number,
    verify: Number = 1.0,
    update: Number = 0.0,
    steps_per_update: Number = 1.0,
) -> Number:
    """tokens_per_step / (v(γ) + γ·c + b/m), against plain decoding.

    Args:
        tokens_per_step: mean, bonus included.
        gamma: drafted tokens a step.
        cost_ratio: c, one draft forward in plain target steps.
        verify: v(γ), verifying γ+1 tokens in plain target steps; measured, 1 only while memory-bound.
        update: b, one learner update in plain target steps.
        steps_per_update: m.
    """
    return tokens_per_step / (verify + gamma * cost_ratio + update / steps_per_update)


# Theorem 4: shares of committed tokens


def tokens_per_step_lower(rejections_per_token: Number, gamma: int) -> Number:
    """(γ+1)/(1 + γ·R/N) ≤ tokens_per_step on every path: N committed tokens, R of them recovered (Theorem 4).

    In expectation with ρ̂, the mean TV per committed token, in place of R/N. Also the lower half of Lemma A (i) with ε.
    """
    return (gamma + 1) / (1 + gamma * rejections_per_token)


def tokens_per_step_upper(rejections_per_token: Number, gamma: int) -> Number:
    """tokens_per_step ≤ min{(γ+1)/(1 + R/N), N/R} on every path.

    A step that rejects commits at most γ tokens, so N ≤ (γ+1)S − R; and S ≥ R. Sharper than min{γ+1, N/R} everywhere.
    """
    share = np.asarray(rejections_per_token, dtype=float)
    return np.minimum((gamma + 1) / (1 + share), 1 / np.maximum(share, 1e-300))


def steps_range(tokens: Array, rejections: Array, gamma: int) -> tuple[Array, Array]:
    """(fewest, most) steps that can have committed ``tokens`` with ``rejections`` recovered, as real numbers."""
    fewest = np.maximum(rejections, (tokens + rejections) / (gamma + 1))
    return fewest, (tokens + gamma * rejections) / (gamma + 1)


# Theorem 4: shares of verified positions


def verified_lower(rejections_per_verified: Number, gamma: int) -> Number:
    """(γ+1−r)/(1+(γ−1)r) ≤ tokens_per_step on every path, r = rejections / verified positions (Theorem 4).

    Attained by rejecting at once in some steps and nothing in the others. E(r, γ) in its place is false there.
    """
    r = rejections_per_verified
    return (gamma + 1 - r) / (1 + (gamma - 1) * r)


def verified_upper(rejections_per_verified: Number, gamma: int) -> Number:
    """tokens_per_step ≤ min{1 + γ(1−r), 1/r}: C verified positions need S ≥ max(R, C/γ) steps."""
    r = np.asarray(rejections_per_verified, dtype=float)
    return np.minimum(1 + gamma * (1 - r), 1 / np.maximum(r, 1e-300))


def rejection_deviation(verified: Number, false_alarm: float) -> Number:
    """√(ln(1/δ)/(2C)): r exceeds the mean TV of the C verified positions by more with probability at most δ.

    Azuma–Hoeffding for the martingale Σ(rejected − TV). C is fixed beforehand: if it depends on the run, give the
    largest C possible and scale, √(C_max·ln(1/δ)/2)/C, which Hoeffding's maximal inequality allows at any time.
    """
    return (log(1 / false_alarm) / (2 * verified)) ** 0.5


# From regret to rejection


def rejection_bound(mean_divergence: Number) -> Array:
    """ρ(K̄) = min{√(K̄/2), √(1−e^{−K̄})} ≥ mean TV, K̄ = (Reg + F)/count ≥ 0 the mean KL over the same positions.

    Pinsker and Bretagnolle–Huber, each concave in K̄, so the bound of the mean bounds the mean (Theorem 5). What
    rounding leaves below 0 counts as 0.
    """
    divergence = np.maximum(np.asarray(mean_divergence, dtype=float), 0.0)
    return np.sqrt(np.minimum(divergence / 2, -np.expm1(-divergence)))


def greedy_rejections(hard_label_loss: Number) -> Number:
    """R ≤ Σ −log draft(argmax target) / ln 2 on every path (greedy): a wrong argmax has draft(y) ≤ ½.

    The sum over committed or verified tokens is Reg + F of that loss: linear in it, no square root.
    """
    return hard_label_loss / LN_2


def greedy_rejections_tv(total_variation: Number) -> Number:
    """R ≤ 2·Σ TV on every path (greedy, hard labels): TV = 1 − draft(argmax target), at least ½ where it is wrong.

    The sum over committed or verified tokens; attained by ties at ½ that the draft resolves the other way. Nothing
    smaller holds, so that learning on TV promises half as much for greedy decoding as for sampling.
    """
    return 2 * total_variation


def shared_noise_rejections(total_variation: Number) -> Number:
    """2TV/(1 + TV) ≥ P(rejection) under the Gumbel rule, where the token rule rejects TV (Theorem 8).

    Concave, so the bound of the mean TV bounds the mean: for ρ of ``rejection_bound`` and ε of ``tokens_per_step`` or
    ``tokens_per_step_lower`` alike. Attained where the laws agree on every token that both give mass.
    """
    return 2 * total_variation / (1 + total_variation)


def theorem_1(mean_divergence: Number, gamma: int, cost_ratio: float) -> tuple[Array, Array]:
    """(E(ρ,γ)/(1+γc), (γ+1)/(1+γc)): lower and upper limit of the speedup for i.i.d. positions within a step.

    Named after the theorem of arXiv 2603.12617 that it corrects. K̄ averaged over *steps*; with rounds of equal token
    count use Theorem 4 instead.
    """
    cost = 1 + gamma * cost_ratio
    return tokens_per_step(rejection_bound(mean_divergence), gamma) / cost, np.asarray((gamma + 1) / cost)


def sequence_lower(total_variation: Array) -> Array:
    """Σ_{j=0}^{γ}(1 − Σ_{i≤j} ε_i)₊ ≤ E[tokens in the step]; ε_i = E_{prefix~target} TV at position i, ``[..., γ]``.

    No independence: P(the first j are accepted) ≥ 1 − Σ_{i≤j} ε_i (Theorem 6).
    """
    return 1 + np.sum(np.maximum(1 - np.cumsum(total_variation, axis=-1), 0.0), axis=-1)


def sequence_upper(overlap: Array) -> Array:
    """E[tokens in the step] ≤ 1 + Σ_j Σ_{y_1…y_j} min(target, draft)(y_1…y_j), the overlaps given as ``[..., γ]``."""
    return 1 + np.sum(overlap, axis=-1)


# The best draft length


def best_gamma_real(epsilon: Number, cost_ratio: Number) -> Array:
    """γ* maximising E(ε, γ)/(1 + γc) over real γ: w/s − 1, s = −ln(1−ε), q = s(1−c)/c, w = −1−q−W₋₁(−e^{−1−q}).

    w is the positive root of e^w − 1 − w = q, found by Newton from above: W₋₁ itself underflows for large q and loses
    half its digits for small. An affine cost a + γ·k is c = k/a: verify curve and update charge included.

    Args:
        epsilon: in (0, 1).
        cost_ratio: c in (0, 1).

    Raises:
        ValueError: outside these ranges.
    """
    epsilon, cost_ratio = np.broadcast_arrays(np.asarray(epsilon, dtype=float), np.asarray(cost_ratio, dtype=float))
    for name, value in (("epsilon", epsilon), ("cost_ratio", cost_ratio)):
        if not np.all((value > 0) & (value < 1)):
            raise ValueError(f"best_gamma_real({name}={value}): must lie strictly between 0 and 1")
    s = -np.log1p(-epsilon)
    q = s * (1 - cost_ratio) / cost_ratio
    w = np.where(q < 1, np.sqrt(2 * q), 2 * np.log1p(q))
    for _ in range(100):  # convex and increasing: monotone from above, quadratic at the end
        grown = np.expm1(w)
        w = w - (grown - w - q) / grown
    return w / s - 1


def best_gamma(epsilon: float, costs: Array) -> int:
    """The γ ≥ 1 maximising E(ε, γ)/cost(γ); ``costs[γ]`` for γ = 0, 1, … is v(γ) + γ·c + b/m, any measured curve.

    Raises:
        ValueError: for a curve that ends before γ = 1.
    """
    if len(costs) < 2:
        raise ValueError(f"best_gamma(costs={costs!r}): needs the costs of gamma = 0, 1 and up")
    lengths = range(1, len(costs))
    return max(lengths, key=lambda gamma: float(tokens_per_step(epsilon, gamma)) / costs[gamma])
