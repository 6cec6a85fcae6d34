"""Right-hand sides of the guarantees, one short function each; THEORY section 3 has them as one table.

Symbols: G gradient bound, D Euclidean diameter, L smoothness, T rounds, P_T path length, A_T comparator energy,
F_T = Σ [f_t(u_t) − inf f_t], V_T gradient variation, δ_T hint error, c range of one round's losses.

Two kinds. *A priori* forms take constants known before the game. *Data-dependent* forms take what the run measured;
given cumulative arrays ``[T, ...]`` they are elementwise and hold at every round, so a bound can be drawn beside its
regret. All accept numbers and arrays. None is assumed tight: tests/test_bounds.py measures how tight each is.

Key of every proximal bound (derived again in that file's one-step test), for x⁺ = Π[x̂ − η·g] and x = Π[x̂ − η·h]:

    ⟨g, x − u⟩ ≤ (‖x̂ − u‖² − ‖x⁺ − u‖²)/(2η) + (η/2)‖g − h‖² − ‖x − x̂‖²/(2η)

summed over rounds; ‖x̂ − u_t‖² − ‖x̂ − u_{t−1}‖² ≤ 2D·‖u_t − u_{t−1}‖ then gives A_T.
"""

from math import log
from typing import Any

import numpy as np

from theory.arrays import Array, namespace

Number = Any  # a number, or an array of any of the libraries: then elementwise


def comparator_energy(diameter: float, path_length: Number) -> Number:
    """A_T = D² + 2·D·P_T, the price of moving comparators (THEORY section 1)."""
    return diameter**2 + 2 * diameter * path_length


def comparator_energy_sharp(anchors: Array, comparators: Array, step_sizes: Array | None = None) -> Array:
    """‖x_1−u_1‖² + Σ_{t≥2}(‖x_t−u_t‖² − ‖x_t−u_{t−1}‖²) ≤ A_T: what the telescoping sum really leaves.

    With changing step sizes it does not telescope this way, and the form above in ``proximal`` is *false* (a test has
    an instance where regret exceeds it by 36 %); A_T stays valid, and so does, with ``step_sizes``,
    η_T·(‖x_1−u_1‖²/η_1 + Σ_{t≥2}(‖x_t−u_t‖²/η_t − ‖x_t−u_{t−1}‖²/η_{t−1})).

    Args:
        anchors: ``[T, ..., d]``, the iterate each update starts from (x_t for OGD, x̂_t for optimistic steps).
        comparators: u_t, the same shape.
        step_sizes: η_t ``[T, ...]``, non-increasing; None where they are all the same.

    Returns:
        ``[T, ...]``, cumulative; may be negative.
    """
    xp = namespace(anchors, comparators)
    eta = xp.ones_like(anchors[..., 0]) if step_sizes is None else step_sizes
    to_own = xp.sum((anchors - comparators) ** 2, axis=-1) / eta
    to_last = xp.sum((anchors[1:] - comparators[:-1]) ** 2, axis=-1) / eta[:-1]
    return eta * xp.cumsum(xp.concatenate([to_own[:1], to_own[1:] - to_last], axis=0), axis=0)


# Gradient descent and optimism


def proximal(comparator_energy: Number, step_size: Number, stability: Number) -> Number:
    """A_T/(2η_T) + stability, stability = ½Σ η_t‖grad_t − hint_t‖², for any non-increasing η_t; OGD has hint 0."""
    return comparator_energy / (2 * step_size) + stability


def ogd(comparator_energy: Number, step_size: float, gradient_energy: Number) -> Number:
    """A_T/(2η) + (η/2)Σ‖grad_t‖², constant η."""
    return proximal(comparator_energy, step_size, 0.5 * step_size * gradient_energy)


def ogd_oracle(gradient_bound: float, horizon: Number, comparator_energy: Number) -> Number:
    """G√(T·A_T): ``ogd`` a priori at η = √A_T/(G√T), which needs P_T."""
    return gradient_bound * (horizon * comparator_energy) ** 0.5


def ogd_untuned(gradient_bound: float, horizon: Number, diameter: float, path_length: Number):
    """G√T·(D + P_T): ``ogd`` a priori at η = D/(G√T), which needs no P_T."""
    return gradient_bound * horizon**0.5 * (diameter + path_length)


def zinkevich(diameter: float, path_length: Number, step_size: float, gradient_bound: float, horizon: int):
    """7D²/(4η) + D·P_T/η + ηTG²/2 (Zinkevich 2003, Theorem 2); never below ``ogd``."""
    return (1.75 * diameter**2 + diameter * path_length) / step_size + 0.5 * step_size * horizon * gradient_bound**2


def ogd_chunked(gradient_bound: float, horizon: int, comparator_energy: float, chunk: int) -> float:
    """G√(b·T·A_T) for one update per chunk of b rounds (b divides T), comparators constant inside a chunk."""
    return gradient_bound * (chunk * horizon * comparator_energy) ** 0.5


def ogd_small_loss(comparator_energy, step_size: float, smoothness: float, comparator_loss) -> Number:
    """A_T/(2η) + L·A_T + 2ηL·F_T for L-smooth losses and η ≤ 1/(2L), from ‖∇f‖² ≤ 2L(f − inf f).

    At η = 1/(2L) and F_T = 0 it is ``ogd_realisable``.

    Raises:
        ValueError: for a larger step size.
    """
    if step_size * smoothness > 0.5 * (1 + 1e-12):
        raise ValueError(f"ogd_small_loss(step_size={step_size!r}): at most 1/(2·smoothness) = {0.5 / smoothness!r}")
    return comparator_energy * (0.5 / step_size + smoothness) + 2 * step_size * smoothness * comparator_loss


def ogd_small_loss_tuned(comparator_energy, smoothness: float, comparator_loss) -> Number:
    """2√(L·F_T·A_T) + 3L·A_T at η = min{1/(2L), ½√(A_T/(L·F_T))}."""
    return 2 * (smoothness * comparator_loss * comparator_energy) ** 0.5 + 3 * smoothness * comparator_energy


def ogd_realisable(comparator_energy: Number, smoothness: float) -> Number:
    """2L·A_T at η = 1/(2L) when F_T = 0: no √T, and the step needs only L."""
    return 2 * smoothness * comparator_energy


def strongly_convex_distance(diameter: float, path_length, smoothness: float, curvature: float) -> Number:
    """Σ‖x_t − u_t‖ ≤ ((κ+1)/2)(D + P_T), u_t = argmin_X f_t, κ = L/λ, OGD at η = 2/(λ+L) (a contraction)."""
    return 0.5 * (smoothness / curvature + 1) * (diameter + path_length)


def optimistic_oracle(hint_error: Number, comparator_energy: Number) -> Number:
    """√(δ_T·A_T): optimistic steps at η = √(A_T/δ_T)."""
    return (hint_error * comparator_energy) ** 0.5


def optimistic_self_confident(diameter, gradient_bound, path_length, hint_error) -> Number:
    """(1.5·D + P_T)·√(4G² + δ_T) at η_t = D/√(4G² + δ_{t−1}); needs ‖hint_t‖ ≤ G."""
    return (1.5 * diameter + path_length) * (4 * gradient_bound**2 + hint_error) ** 0.5


def optimistic_variation(comparator_energy, step_size: float, gradient_variation, gradient_bound: float):
    """η(2V_T + G²) + A_T/(2η) with the last gradient as hint, L-smooth losses and η ≤ 1/(4L)."""
    return step_size * (2 * gradient_variation + gradient_bound**2) + comparator_energy / (2 * step_size)


def optimistic_variation_tuned(comparator_energy, smoothness: float, gradient_variation, gradient_bound: float):
    """max{√((4V_T + 2G²)·A_T), 4L·A_T}: ``optimistic_variation`` at its best η ≤ 1/(4L)."""
    root = ((4 * gradient_variation + 2 * gradient_bound**2) * comparator_energy) ** 0.5
    return np.maximum(root, 4 * smoothness * comparator_energy)


# Expert advice and ensembles


def hedge(log_inverse_prior: Number, meta_step_size: float, mixability_gap: Number) -> Number:
    """ln(1/p_i)/ε + Σ mixability gaps: regret to expert i, from the telescoping of the mix loss, an identity.

    Reference: de Rooij et al. 2014, Lemma 1.
    """
    return log_inverse_prior / meta_step_size + mixability_gap


def hedge_apriori(loss_range: float, horizon: Number, experts: int) -> Number:
    """c√(T ln N/2) at ε = √(8 ln N/(T c²)), uniform prior (Cesa-Bianchi & Lugosi 2006, Theorem 2.2)."""
    return loss_range * (horizon * log(experts) / 2) ** 0.5


def adahedge(log_inverse_prior: Number, experts: int, mixability_gap: Number) -> Number:
    """(1 + ln(1/p_i)/ln N)·Σ mixability gaps: twice the gaps for the uniform prior (de Rooij et al. 2014, Lemma 3)."""
    return mixability_gap * (1 + log_inverse_prior / log(max(experts, 2)))


def adahedge_spread(experts: int, squared_spread: Number, largest_spread: Number) -> Number:
    """√(ln N·Σ s_t²) + s_max(4/3·ln N + 2), s_t = spread of the experts' losses in round t, uniform prior.

    Reference: de Rooij et al. 2014, Theorem 6 with variance at most s_t²/4.
    """
    return (log(experts) * squared_spread) ** 0.5 + largest_spread * (4 / 3 * log(experts) + 2)


def ensemble(base_bounds: Array, meta_bounds: Array) -> Array:
    """min_i of base i's bound + the meta learner's regret to i: ``[N, ...]`` twice → ``[...]``."""
    return namespace(base_bounds, meta_bounds).min(base_bounds + meta_bounds, axis=0)


def ader(gradient_bound: float, diameter: float, path_length, horizon, loss_range: float) -> Number:
    """(3G/4)√(2T(7D² + 4D·P_T)) + (c√(2T)/4)(1 + 2 ln(κ+1)), κ = ⌊½log₂(1 + 4P_T/(7D))⌋ + 1.

    Grid η_i = 2^{i−1}(D/G)√(7/(2T)), prior ∝ 1/(i(i+1)), Hedge at ε = √(8/T)/c (Zhang, Lu & Zhou 2018, Theorem 3).
    c = G·D suffices with the linear surrogate.
    """
    kappa = np.floor(0.5 * np.log2(1 + 4 * path_length / (7 * diameter))) + 1
    base = 0.75 * gradient_bound * (2 * horizon * (7 * diameter**2 + 4 * diameter * path_length)) ** 0.5
    return base + loss_range * (2 * horizon) ** 0.5 / 4 * (1 + 2 * np.log(kappa + 1))


def ensemble_doubling(gradient_bound: float, comparator_energy, horizon, loss_range: float, experts: int):
    """1.0607·G√(T·A_T) + c√(T ln N/2): grid η_i = 2^{i−1}D/(G√T), N = ⌈½log₂(1+2T)⌉+1, uniform prior, tuned Hedge.

    The factor is (√2 + 1/√2)/2: the worst place between two step sizes a factor of 2 apart.
    """
    base = 0.5 * (2**0.5 + 0.5**0.5) * ogd_oracle(gradient_bound, horizon, comparator_energy)
    return base + hedge_apriori(loss_range, horizon, experts)


# What no learner can beat


def adversary_value(gradient_bound: float, diameter: float, horizon: int, segments: int) -> float:
    """(G·D/2)√(T·K): regret an adversary forces on any learner on a ball, d ≥ 3, K equal segments, P_T ≤ D(K−1)."""
    return 0.5 * gradient_bound * diameter * (horizon * segments) ** 0.5
