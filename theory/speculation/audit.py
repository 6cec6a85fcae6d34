"""Anytime-valid losslessness audit: watch committed tokens beside the target's laws, stop whenever you like.

    U_t = target_t(tokens more likely than y_t) + V_t·target_t(y_t),  V_t uniform      randomised PIT of committed y_t
    ŵ_t(b) = (n_t(b) + ½)/(t − 1 + B/2),  n_t(b) how often U fell into bin b before t   Krichevsky–Trofimov
    M_t = M_{t−1}·B·ŵ_t(bin of U_t),  M_0 = 1;  alarm when M_t ≥ 1/δ

Lossless decoding makes U_1, U_2, … independent and uniform (condition on committed tokens only), so B·ŵ_t(bin) has mean
1 given the past: M_t is a nonnegative martingale and P(it ever reaches 1/δ) ≤ δ (Ville 1939), at any stopping time.
Ordering by probability puts a bias towards likely or unlikely tokens, what most bugs make, into few bins.

If the bins have law q instead, E[log M_t] = t·KL(q ‖ uniform) − ((B−1)/2)·log t + ``kt_constant(B)`` + o(1). The KT bet
is a Dirichlet(½) mixture of all constant bets, so M_t depends on the counts only and exceeds every fixed bet up to this
price. Reference: Vovk, Gammerman & Shafer 2005 (betting on PIT values); Cover & Ordentlich 1996, Theorem 2 (the price).
"""

from dataclasses import dataclass
from math import lgamma, log, pi
from typing import NamedTuple

from theory.arrays import Array, namespace


def pit(target_probs: Array, tokens: Array, uniforms: Array) -> Array:
    """Randomised probability integral transform in order of descending probability, ties by index.

    Args:
        target_probs: ``[..., V]``, the target's law each committed token must have.
        tokens: int ``[...]``, the committed tokens.
        uniforms: ``[...]`` in [0, 1), drawn independently of everything.

    Returns:
        U ``[...]``, uniform on [0, 1) if the token has the target's law.
    """
    xp = namespace(target_probs)
    chosen = xp.integer(tokens)[..., None]
    own = xp.take_along_axis(target_probs, chosen, axis=-1)
    earlier = xp.arange(target_probs.shape[-1], like=target_probs) < chosen
    before = (target_probs > own) | ((target_probs == own) & earlier)
    return xp.sum(xp.where(before, target_probs, xp.zeros_like(target_probs)), axis=-1) + uniforms * own[..., 0]


class State(NamedTuple):
    """One audit per entry of the leading axes."""

    counts: Array  # [..., B], how often each bin was hit
    log_wealth: Array  # [...], log M_t
    log_peak: Array  # [...], log of the largest M so far


@dataclass(frozen=True)
class Audit:
    """The bettor. Its wealth is evidence; ``alarm`` holds with probability at most ``false_alarm``, ever.

    ``tolerance`` η > 0 gives the composite null "each token's law, given the past, is within TV η of the target's", for
    replaying another engine's output: the bet ŵ becomes its likelihood ratio to the nearest law the null allows,
    clipped (``clipped_bet``). A bias of the bins beyond η is still found at exponential rate, one within η never.

    Args:
        bins: B, at least 2.
        false_alarm: δ in (0, 1).
        tolerance: η in [0, 1).

    Raises:
        ValueError: outside these ranges.
    """

    bins: int = 16
    false_alarm: float = 1e-6
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"Audit(bins={self.bins}): at least 2, or there is nothing to bet on")
        if not 0 < self.false_alarm < 1:
            raise ValueError(f"Audit(false_alarm={self.false_alarm}): a probability strictly between 0 and 1")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"Audit(tolerance={self.tolerance}): a total variation in [0, 1); 0 is the exact null")

    def init(self, zeros: Array) -> State:
        """Before the first token; ``zeros`` (floating) gives the type and shape ``[...]`` of the streams."""
        xp = namespace(zeros)
        return State(xp.stack([zeros] * self.bins, -1), zeros, zeros)

    def bets(self, counts: Array) -> Array:
        """What each bin would multiply the wealth by, ``[..., B]``; the mean is 1, or less under a composite null."""
        xp = namespace(counts)
        total = xp.sum(counts, axis=-1, keepdims=True)
        weights = (counts + 0.5) / (total + 0.5 * self.bins)
        return clipped_bet(weights, self.tolerance) if self.tolerance > 0 else self.bins * weights

    def hits(self, pits: Array) -> Array:
        """One-hot bin of each transform: ``[...]`` → ``[..., B]``; NaN for one that is not finite: its law was none."""
        xp = namespace(pits)
        known = xp.isfinite(pits)
        scaled = xp.where(known, self.bins * pits, xp.zeros_like(pits))
        bin_t = xp.integer(xp.minimum(scaled, self.bins - 1.0))  # rounding may lift U to 1
        hit = xp.arange(self.bins, like=pits) == bin_t[..., None]
        one = xp.where(known, xp.ones_like(pits), float("nan"))
        return xp.where(hit, one[..., None], (one - 1)[..., None])

    def update(self, state: State, pit_t: Array) -> State:
        """The state after one more committed token per stream, whose transform is ``pit_t`` ``[...]``."""
        xp = namespace(pit_t)
        hit = self.hits(pit_t)
        log_wealth = state.log_wealth + xp.log(xp.sum(hit * self.bets(state.counts), axis=-1))
        return State(state.counts + hit, log_wealth, xp.maximum(state.log_peak, log_wealth))

    def watch(self, state: State, pits: Array, committed: Array) -> tuple[State, Array]:
        """``update`` over the last axis, for whole texts at once; entries not ``committed`` are passed over.

        Args:
            state: of the streams ``[...]``.
            pits: ``[..., n]``.
            committed: bool ``[..., n]``.

        Returns:
            The state after them and log M along the way, ``[..., n]``.
        """
        xp = namespace(pits)
        hits = xp.where(committed[..., None], self.hits(pits), 0.0)
        counts = state.counts[..., None, :] + xp.cumsum(hits, -2)
        won = xp.sum(hits * self.bets(counts - hits), axis=-1)
        growth = xp.log(xp.where(committed, won, xp.ones_like(won)))
        path = state.log_wealth[..., None] + xp.cumsum(growth, -1)
        peak = xp.maximum(state.log_peak, xp.max(path, axis=-1))
        return State(counts[..., -1, :], path[..., -1], peak), path

    def alarm(self, state: State) -> Array:
        """Whether the wealth ever reached 1/δ, or is NaN, as of a law that is none: bool ``[...]``."""
        return ~(state.log_peak < log(1 / self.false_alarm))


def clipped_bet(weights: Array, tolerance: float) -> Array:
    """e = clip(B·ŵ, c₁, c₂) with E_q[e] ≤ 1 for every law q of the bins within TV η of uniform: ``[..., B]``.

    c₂ = max{1, max_k (sum of the k largest ŵ)/(k/B + η)},  c₁ = min{1, min_{k > ηB} (sum of the k smallest)/(k/B − η)}.

    Proof. If ŵ is itself within η of uniform, c₁ = c₂ = 1 and e = 1. Otherwise c₂ > 1 > c₁ solve Σ(ŵ/c₂ − 1/B)₊ = η =
    Σ(1/B − ŵ/c₁)₊, so p := ŵ/e is a law: uniform, plus η where e = c₂, minus η where e = c₁. Any q within η of uniform
    has E_q[e] ≤ E_uniform[e] + η(c₂ − c₁) = E_p[e] = Σ ŵ = 1. At η = 0 nothing is clipped.
    p is the null law nearest to ŵ in KL, so no valid bet grows faster under ŵ. Reference: Huber 1965; Grünwald, de
    Heide & Koolen 2024, Theorem 1.
    """
    xp = namespace(weights)
    bins = weights.shape[-1]
    share = xp.cumsum(xp.ones_like(weights), -1) / bins
    ascending = xp.sort(weights)
    largest, smallest = xp.cumsum(xp.flip(ascending, -1), -1), xp.cumsum(ascending, -1)
    room = share - tolerance
    one = xp.ones_like(room)
    below = xp.where(room > 0, smallest / xp.where(room > 0, room, one), float("inf") * one)
    low = xp.minimum(xp.min(below, axis=-1, keepdims=True), 1.0)
    high = xp.maximum(xp.max(largest / (share + tolerance), axis=-1, keepdims=True), 1.0)
    return xp.minimum(xp.maximum(bins * weights, low), high)


def log_wealth(counts: Array) -> float:
    """log M_t from the final counts ``[B]`` alone, whatever their order: t·log B + log of the Dirichlet(½) integral."""
    bins, total = len(counts), float(sum(counts))
    hits = sum(lgamma(float(n) + 0.5) - lgamma(0.5) for n in counts)
    return total * log(bins) + lgamma(bins / 2) - lgamma(total + bins / 2) + hits


def kt_constant(bins: int) -> float:
    """((B−1)/2)(1 + log 2π) − log(Γ(½)^B/Γ(B/2)): E[log M_t] − t·KL + ((B−1)/2)·log t for large t; 20.7 at B = 16."""
    return (bins - 1) / 2 * (1 + log(2 * pi)) - (bins / 2 * log(pi) - lgamma(bins / 2))
