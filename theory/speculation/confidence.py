"""Confidence sequences: intervals for a mean in [0, 1] that hold at every sample size at once, also under drift.

Values x_1, x_2, … in [0, 1] with conditional means m_t = E[x_t | past], which may move; the interval at t covers their
running average m̄_t = Σ_{s≤t} m_s/t, and P(it ever fails, at any t) ≤ δ: look after every token, stop when you like. For
``alpha`` take the overlaps Σ min(target, draft), or accepted = 1 and rejected = 0 on verified positions; for
tokens_per_step take each step's tokens over gamma + 1. Independence is not needed.
"""

from math import log, log1p

from theory.arrays import Array, namespace

GRID = 48
"""Bets λ_k = 2^{−k/2}, k = 1 … GRID: the right one for up to 2^GRID values is among them up to a factor √2."""


def variation(values: Array) -> Array:
    """V_t = Σ_{s≤t} (x_s − x̂_s)², x̂_s = (½ + x_1 + … + x_{s−1})/s known before x_s: ``[T, ...]``, cumulative."""
    xp = namespace(values)
    count = xp.cumsum(xp.ones_like(values), 0)
    guess = (0.5 + xp.cumsum(values, 0) - values) / count
    return xp.cumsum((values - guess) ** 2, 0)


def deviation(variation: Array, false_alarm: float) -> Array:
    """Half the width of the interval for the *sum*: min_k (log(2/(δ·w_k)) + ψ(λ_k)·V)/λ_k ``[...]``.

    λ_k = 2^{−k/2}, w_k = 1/(k(k+1)), ψ(λ) = −log(1−λ) − λ. Grows like √(2V·(log(1/δ) + 2·log log V)).

    Proof. log(1+λy) ≥ λy − ψ(λ)y² for y ≥ −1 and λ in [0, 1), since (log(1+z) − z)/z² increases in z. At y = x_t − x̂_t,
    E[exp(λ(x_t − x̂_t) − ψ(λ)(x_t − x̂_t)²) | past] ≤ 1 + λ(m_t − x̂_t) ≤ exp(λ(m_t − x̂_t)), so
    exp(λ·Σ(x_s − m_s) − ψ(λ)·V_t) is a nonnegative supermartingale starting at 1, and reaches 2/(δ·w) with probability
    at most δ·w/2 (Ville). Sum over k (Σ w_k ≤ 1), and over x and 1 − x, which have the same V.
    Reference: Fan, Grama & Liu 2015 (the inequality); Howard, Ramdas, McAuliffe & Sekhon 2021, Theorem 4.
    """
    xp = namespace(variation)
    width = float("inf") * xp.ones_like(variation)
    for k in range(1, GRID + 1):
        bet = 2 ** (-k / 2)
        width = xp.minimum(width, (log(2 * k * (k + 1) / false_alarm) + bet_cost(bet) * variation) / bet)
    return width


def bet_cost(bet: float) -> float:
    """ψ(λ) = −log(1−λ) − λ ≥ λ²/2 for λ in [0, 1): what a bet λ pays per unit of V to stay fair; no less would do."""
    return -log1p(-bet) - bet


def confidence_sequence(values: Array, false_alarm: float = 0.05) -> tuple[Array, Array]:
    """Lower and upper ends of the interval for m̄_t at every t.

    Args:
        values: x ``[T, ...]`` in [0, 1], in the order they came; the other axes are independent sequences.
        false_alarm: δ in (0, 1), of each sequence for all times together.

    Returns:
        low and high ``[T, ...]``, inside [0, 1].

    Raises:
        ValueError: for values outside [0, 1] or a false_alarm outside (0, 1).
    """
    xp = namespace(values)
    if not 0 < false_alarm < 1:
        raise ValueError(f"confidence_sequence(false_alarm={false_alarm}): a probability strictly between 0 and 1")
    if not bool(xp.all((values >= 0) & (values <= 1))):
        low, high = float(xp.min(values)), float(xp.max(values))
        raise ValueError(f"confidence_sequence(values in [{low}, {high}]): scale them into [0, 1] first")
    count = xp.cumsum(xp.ones_like(values), 0)
    mean, radius = xp.cumsum(values, 0) / count, deviation(variation(values), false_alarm) / count
    return xp.maximum(mean - radius, 0.0), xp.minimum(mean + radius, 1.0)
