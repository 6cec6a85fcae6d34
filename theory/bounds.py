"""Right-hand sides of the guarantees, one short function each; theory/README.md has them as one table.

Symbols: G gradient bound, D Euclidean diameter, L smoothness, T rounds, P_T path length, A_T comparator energy,
F_T = Σ [f_t(u_t) − inf f_t], V_T gradient variation, δ_T hint error, c range of ⟨∇f_t, ·⟩ on X (of linear losses: the
range of one round's losses).

Two kinds. *A priori* forms take constants known before the game. *Data-dependent* forms take what the run measured;
given cumulative arrays ``[T, ...]`` they are elementwise and hold at every round, so a bound can be drawn beside its
regret. All accept numbers and arrays. None is assumed tight: tests/theory/test_bounds.py measures how tight each is.

Key of every proximal bound (derived again in that file's one-step test), for x⁺ = Π[x̂ − η·g] and x = Π[x̂ − η·h]:

    ⟨g, x − u⟩ ≤ (‖x̂ − u‖² − ‖x⁺ − u‖²)/(2η) + (η/2)‖g − h‖² − ‖x − x̂‖²/(2η)

summed over rounds; ‖x̂ − u_t‖² − ‖x̂ − u_{t−1}‖² ≤ 2D·‖u_t − u_{t−1}‖ then gives A_T.
"""

from math import inf, log
from typing import Any

import numpy as np

from theory.arrays import Array, namespace

Number = Any  # a number, or an array of any of the libraries: then elementwise


def comparator_energy(diameter: float, path_length: Number) -> Number:
    """A_T = D² + 2·D·P_T, the price of moving comparators (theory/README.md, the game)."""
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
    xp = namespace(anchors)
    to_own = xp.sum((anchors - comparators) ** 2, axis=-1)
    to_last = xp.sum((anchors[1:] - comparators[:-1]) ** 2, axis=-1)
    return telescoped(to_own, to_last, xp.ones_like(to_own) if step_sizes is None else step_sizes)


def telescoped(to_own: Array, to_last: Array, step_sizes: Array) -> Array:
    """``comparator_energy_sharp`` from ‖x_t−u_t‖² ``[T, ...]`` and, from round 2 on, ‖x_t−u_{t−1}‖² ``[T−1, ...]``."""
    xp = namespace(to_own)
    own, last = to_own / step_sizes, to_last / step_sizes[:-1]
    return step_sizes * xp.cumsum(xp.concatenate([own[:1], own[1:] - last], axis=0), axis=0)


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


def ogd_centred(gradient_bound: float, horizon: Number, diameter: float, path_length: Number) -> Number:
    """G√(T·(D² + D·P_T)): ``ogd_oracle`` with half the path, on a set with a centre (ball, box), at its own best η.

    With c the centre and ‖x_t − c‖ ≤ D/2, ‖x_t−u_t‖² − ‖x_t−u_{t−1}‖² = ‖u_t−c‖² − ‖u_{t−1}−c‖² +
    2⟨u_{t−1}−u_t, x_t−c⟩: the first part telescopes, the second is at most D·P_T in all, and
    ‖x_1−u_1‖² + ‖u_T−c‖² − ‖u_1−c‖² = ‖x_1−c‖² − 2⟨x_1−c, u_1−c⟩ + ‖u_T−c‖² ≤ D². Derived for this project.
    """
    return ogd_oracle(gradient_bound, horizon, diameter * (diameter + path_length))


def ogd_untuned(gradient_bound: float, horizon: Number, diameter: float, path_length: Number):
    """G√T·(D + P_T): ``ogd`` a priori at η = D/(G√T), which needs no P_T."""
    return gradient_bound * horizon**0.5 * (diameter + path_length)


def ogd_inverse_sqrt(gradient_bound: float, horizon: Number, diameter: float, path_length: Number):
    """G√T·(1.5·D + P_T): ``proximal`` a priori at η_t = D/(G√t), by Σ 1/√t ≤ 2√T; no horizon needed."""
    return gradient_bound * horizon**0.5 * (1.5 * diameter + path_length)


def ogd_adagrad_norm(diameter: float, path_length: Number, gradient_energy: Number) -> Number:
    """(1.5·D + P_T)·√(Σ‖grad_t‖²) at η_t = D/√(Σ_{s≤t}‖grad_s‖²), by Σ a_t/√(a_1 + … + a_t) ≤ 2√(Σ a_t).

    Reference: Streeter & McMahan 2010; constants from ``proximal``.
    """
    return (1.5 * diameter + path_length) * gradient_energy**0.5


def zinkevich(diameter: float, path_length: Number, step_size: float, gradient_bound: float, horizon: int):
    """7D²/(4η) + D·P_T/η + ηTG²/2 (Zinkevich 2003, Theorem 2); never below ``ogd``."""
    return (1.75 * diameter**2 + diameter * path_length) / step_size + 0.5 * step_size * horizon * gradient_bound**2


def ogd_chunked(gradient_bound: float, horizon: int, comparator_energy: float, chunk: int) -> float:
    """G√(b·T·A_T) for one update per chunk of b rounds (b divides T), comparators constant inside a chunk."""
    return gradient_bound * (chunk * horizon * comparator_energy) ** 0.5


def chunked(base_bound: Number, chunk: int, heaviest: Number, path_length: Number) -> Number:
    """b·(bound of the learner inside) + ½·max_c W_c·P_T, W_c = Σ of ‖grad_t‖ over chunk c; the last one may be open.

    With v_c for u inside chunk c, Σ⟨g_t, x_t − u_t⟩ = b·Σ_c⟨mean g, x_c − v_c⟩ + Σ⟨g_t, v_c − u_t⟩. Let v_c be the u_t
    of that chunk that is least in the second sum; with s drawn in proportion to ‖g_s‖ the mean over v_c = u_s is at
    most Σ_{s,t} ‖g_s‖‖g_t‖‖u_s − u_t‖/W_c, to which a move of length m, weight a before and W_c − a after it, adds at
    most 2a(W_c − a)m/W_c ≤ ½W_c·m. The v_c lie on the path of u in order: theirs is no longer. Rounds missing in an
    open chunk count as zero gradients. For comparators constant inside a chunk the second term is 0.
    """
    return chunk * base_bound + 0.5 * heaviest * path_length


def ogd_delayed(comparator_energy: Number, step_size: float, gradient_energy: Number, overlap: Number) -> Number:
    """A_T/(2η) + (η/2)Σ‖grad_t‖² + ηΣ_t Σ_{t−d≤s<t}‖grad_t‖‖grad_s‖: one OGD, every gradient d rounds late.

    With y_t what it would play without delay, x_t = y_{t−d}: Σ⟨g_t, y_t − u_t⟩ is within ``ogd``, since y moves by
    exactly these g_t, and ⟨g_t, y_{t−d} − y_t⟩ ≤ ‖g_t‖·Σ_{t−d≤s<t}‖y_{s+1} − y_s‖ with ‖y_{s+1} − y_s‖ ≤ η‖g_s‖.
    ``overlap`` is the double sum, at most d·G²·T. Compare Langford, Smola & Zinkevich 2009, Theorem 1.
    """
    return ogd(comparator_energy, step_size, gradient_energy) + step_size * overlap


def ogd_delayed_oracle(gradient_bound: float, horizon: Number, comparator_energy: Number, delay: int) -> Number:
    """G√((2d+1)·T·A_T): ``ogd_delayed`` a priori at η = √(A_T/((2d+1)T))/G."""
    return ogd_oracle(gradient_bound, (2 * delay + 1) * horizon, comparator_energy)


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


def ogd_smooth(comparator_energy, step_size: float, smoothness: float, comparator_loss) -> Number:
    """A_T/(2η) + ηL/(1 − ηL)·F_T for convex losses, L-smooth on all of R^d, and η < 1/L; below ``ogd_small_loss``.

    f(x) − f(u) ≤ ⟨∇f(x), x − u⟩ − ‖∇f(x) − ∇f(u)‖²/(2L), and in (η/2)‖∇f(x)‖² ≤ (η/2)(1+c)‖∇f(x) − ∇f(u)‖² +
    (η/2)(1+1/c)‖∇f(u)‖² that pays for all of the first part if c = 1/(ηL) − 1; ‖∇f(u)‖² ≤ 2L(f(u) − inf f) is the
    rest. Attained in every round by quadratics of curvature L with center u_t − c(x_t − u_t). Derived for this project.

    Raises:
        ValueError: for a larger step size.
    """
    used = step_size * smoothness
    if used >= 1:
        raise ValueError(f"ogd_smooth(step_size={step_size!r}): must be below 1/smoothness = {1 / smoothness!r}")
    return comparator_energy / (2 * step_size) + used / (1 - used) * comparator_loss


def ogd_smooth_tuned(comparator_energy, smoothness: float, comparator_loss) -> Number:
    """√(2L·F_T·A_T) + L·A_T/2: ``ogd_smooth`` at its best step η = 1/(L + √(2L·F_T/A_T))."""
    return (2 * smoothness * comparator_loss * comparator_energy) ** 0.5 + 0.5 * smoothness * comparator_energy


def ogd_smooth_realisable(comparator_energy: Number, smoothness: float) -> Number:
    """L·A_T/2 at η = 1/L when F_T = 0: a quarter of ``ogd_realisable``, an equality for quadratics of curvature L."""
    return 0.5 * smoothness * comparator_energy


def strongly_convex_distance(diameter: float, path_length, smoothness: float, curvature: float) -> Number:
    """Σ‖x_t − u_t‖ ≤ ((κ+1)/2)(D + P_T), u_t = argmin_X f_t, κ = L/λ, OGD at η = 2/(λ+L) (a contraction)."""
    return 0.5 * (smoothness / curvature + 1) * (diameter + path_length)


def strongly_convex_regret(distance: Number, gradient_bound: float) -> Number:
    """G·Σ‖x_t − u_t‖ for u_t = argmin_X f_t, by convexity (Mokhtari et al. 2016, Corollary 1)."""
    return gradient_bound * distance


def optimistic_moving(comparator_energy: Number, step_size: float, hint_error: Number, movement: Number) -> Number:
    """A_T/(2η) + (η/2)δ_T − Σ‖x_t − x̂_t‖²/(2η), constant η: the key above, summed, with nothing dropped."""
    return ogd(comparator_energy - movement, step_size, hint_error)


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


# Without a step size


def coin_betting(distance: Number, gradient_bound: float, horizon: Number, endowment: float) -> Number:
    """G·[‖u−x_1‖·√((T+1)·ln(1 + π(T+1)²‖u−x_1‖²/(2ε²))) + ε·(1 − √(2/(π(T+1))))]: static regret, ε the endowment.

    With C the sum of the coins −grad_t/G, regret to u is *exactly* G·(ε − wealth + ⟨C, u − x_1⟩) (linear losses, no
    projection), and wealth ≥ ε·F_T(‖C‖), F_T(x) = 2^T·Γ((T+1+x)/2)·Γ((T+1−x)/2)/(π·T!): F_t(x±1) =
    F_{t−1}(x)(1 ± x/t), F_t is convex, and a power series in x² with coefficients ≥ 0 (it is ∝ ∫(s(1−s))^{(t−1)/2}
    cosh(½x·ln(s/(1−s)))ds), which covers coins between ±1 and in other directions than C (Orabona & Pál 2016, Lemma 8).
    Its logarithm has second derivative ¼(ψ'((T+1+x)/2) + ψ'((T+1−x)/2)) ≥ ½ψ'((T+1)/2) ≥ 1/(T+1), and F_T(0) =
    Γ((T+1)/2)/(√π·Γ(T/2+1)) ≥ √(2/(π(T+1))). So with β = ε√(2/(π(T+1))) regret ≤ G·max_x [ε + x‖u−x_1‖ −
    β·e^{x²/(2(T+1))}], whose maximum is at x² ≤ (T+1)·ln(1 + (T+1)‖u−x_1‖²/β²), and there the last term is at least β.
    Their Corollary 5 has 24T² where this has (π/2)(T+1)².
    """
    xp, after = namespace(distance, horizon), horizon + 1.0
    growth = xp.log(1.0 + 0.5 * np.pi * (after * distance / endowment) ** 2)
    return gradient_bound * (distance * (after * growth) ** 0.5 + endowment * (1 - (2 / (np.pi * after)) ** 0.5))


def coin_betting_wealth(distance: Number, gradient_bound: float, endowment: float, coins: Number, wealth: Number):
    """G·(ε − wealth + ‖C‖·‖u−x_1‖): the identity above at its worst u of that distance, from the log alone."""
    return gradient_bound * (endowment - wealth + coins * distance)


# Expert advice and ensembles


def relative_entropy(mixture: Array, log_prior: Array) -> Array:
    """KL(u ‖ p) = Σ u_i·ln(u_i/p_i), ``[..., N]`` twice → ``[...]``: ln(1/p_i) for a fixed mixture u of the experts.

    By Gibbs' variational formula −ln(Σ p_i·e^{−ε·L_i}) ≤ ε⟨u, L⟩ + KL(u ‖ p), an equality at u ∝ p·e^{−εL}, the weights
    after the last round. So every bound of exponential weights on linear losses, and on the gradients of convex ones,
    holds with it against u; never more than ln N for the uniform prior.
    Reference: Kivinen & Warmuth 1997; Cesa-Bianchi & Lugosi 2006, Theorem 11.3.
    """
    return namespace(mixture).sum(_times_log(mixture) - mixture * log_prior, axis=-1)


def hedge(log_inverse_prior: Number, meta_step_size: float, mixability_gap: Number) -> Number:
    """ln(1/p_i)/ε + Σ mixability gaps: regret to expert i, from the telescoping of the mix loss, an identity.

    On linear losses also to a fixed mixture of experts, with ``relative_entropy`` for ln(1/p_i).
    Reference: de Rooij et al. 2014, Lemma 1.
    """
    return log_inverse_prior / meta_step_size + mixability_gap


def hedge_apriori(loss_range: float, horizon: Number, experts: int) -> Number:
    """c√(T ln N/2) at ε = √(8 ln N/(T c²)), uniform prior (Cesa-Bianchi & Lugosi 2006, Theorem 2.2)."""
    return loss_range * (horizon * log(experts) / 2) ** 0.5


def mixture_rounds(positions: Number, longest: Number, experts: int) -> Number:
    """√(nT ln N/2): Σ TV of T positions − the best fixed mixture's, weights frozen for rounds of at most n positions.

    Exponential weights, one update a round with the sum of its gradients (``loss.MixtureTV``), uniform prior,
    ε = √(8 ln N/(nT)). A round of n_j positions has range n_j and a gap of at most ε·n_j²/8 (Hoeffding), and
    Σ n_j² ≤ n·Σ n_j = nT, whatever the lengths; they may depend on the past. At n = 1 it is ``hedge_apriori``.
    """
    return hedge_apriori(1.0, longest * positions, experts)


def adahedge(log_inverse_prior: Number, experts: int, mixability_gap: Number) -> Number:
    """(1 + ln(1/p_i)/ln N)·Σ mixability gaps: twice the gaps for the uniform prior (de Rooij et al. 2014, Lemma 3).

    On linear losses also to a fixed mixture of experts, with ``relative_entropy`` for ln(1/p_i).
    """
    return mixability_gap * (1 + log_inverse_prior / log(max(experts, 2)))


def adahedge_spread(experts: int, squared_spread: Number, largest_spread: Number, ceiling: float = inf) -> Number:
    """√(ln N·Σ s_t²) + 2·s_max + ln N/ceiling at ε_t = min{ceiling, ln N/Δ_{t−1}}, Δ_t = Σ_{s≤t} (gap_s)₊.

    s_t = spread over the experts of loss_t, of loss_t − hint_t under hints; uniform prior. Regret ≤ ln N/ε_{T+1} + Δ_T,
    since −ln(Σ p_i·e^{−ε·L_i})/ε falls in ε; a gap is at most ε_t·s_t²/8 and at most s_t, hence Δ_T² =
    Σ (2Δ_{t−1}·(gap_t)₊ + (gap_t)₊²) ≤ ln N·Σ s_t²/4 + s_max·Δ_T, so Δ_T ≤ ½√(ln N·Σ s_t²) + s_max. Compare de Rooij
    et al. 2014, Theorem 6, which has 4/3·ln N + 2 spreads where this has 2, and variances.
    """
    return (log(experts) * squared_spread) ** 0.5 + 2 * largest_spread + log(experts) / ceiling


def ensemble(base_bounds: Array, meta_bounds: Array) -> Array:
    """min_i of base i's bound + the meta learner's regret to i: ``[N, ...]`` twice → ``[...]``."""
    return namespace(base_bounds).min(base_bounds + meta_bounds, axis=0)


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


# Experts who change, experts who are guessed


def fixed_share(log_inverse_prior: Number, share: float, switches: Number, rounds: Number, experts: int) -> Number:
    """ln(1/p) + S·ln((N−1)/α) + (T−1−S)·ln(1/(1−α)): −log prior of a sequence of experts with S switches, any α.

    Over ε and with the mixability gaps added it bounds the regret to that sequence: the weights of Fixed Share are
    those of Bayes over all sequences, so its mix loss telescopes over them as Hedge's does over experts. Infinite for
    α = 0 and S > 0.

    A share α leaves in all, α/(N−1) to each other expert. On linear losses it bounds regret to a moving mixture u_t,
    with m = Σ_{t≥2} ½‖u_t − u_{t−1}‖₁ for S: draw I_1 ~ u_1 and I_t from the maximal coupling of u_{t−1} and u_t, which
    moves with probability ½‖u_t − u_{t−1}‖₁ and has I_t ~ u_t. The bound is affine in S ≤ T − 1, and the losses are
    linear, so the mean over the sequences has E[S] = m and E[⟨grad_t, e_{I_t}⟩] = ⟨grad_t, u_t⟩.
    """
    xp = namespace(switches, rounds)
    stays = xp.maximum(rounds - 1.0 - switches, 0.0) * -log(1.0 - share)
    if share == 0:
        return log_inverse_prior + xp.where(switches + 0.0 * rounds > 1e-9, inf, 0.0)[()]
    return log_inverse_prior + stays + switches * log(max(experts - 1, 1) / share)


def fixed_share_tuned(switches: Number, horizon: int, experts: int) -> Number:
    """ln N + S·ln(N−1) + (T−1)·h(S/(T−1)), h in nats: ``fixed_share`` at α = S/(T−1), uniform prior; log loss at ε = 1.

    Reference: Herbster & Warmuth 1998.
    """
    moved = switches / max(horizon - 1, 1)
    entropy = -_times_log(moved) - _times_log(1.0 - moved)
    return log(experts) + switches * log(max(experts - 1, 1)) + (horizon - 1) * entropy


def _times_log(x: Number) -> Number:
    """x·ln x, 0 at 0."""
    xp = namespace(x)
    return x * xp.log(xp.where(x > 0, x, 1.0))


def fixed_share_apriori(loss_range: float, switches: Number, horizon: int, experts: int) -> Number:
    """c√(T·K/2), K = ``fixed_share_tuned``: linear losses of range c, at ε = √(8K/(T c²)) and α = S/(T−1)."""
    return loss_range * (horizon * fixed_share_tuned(switches, horizon, experts) / 2) ** 0.5


def optimistic_hedge(
    log_inverse_prior: Number, meta_step_size: float, squared_spread: Number, divergence: Number = 0.0
) -> Number:
    """ln(1/p_i)/ε + (ε/8)Σ s_t² − (1/ε)Σ KL(w_t‖v_t), s_t = spread of loss_t − hint_t over the experts, constant ε.

    v_t are the weights without the hint, v_{t+1} ∝ v_t·e^{−ε·loss_t} and w_t ∝ v_t·e^{−ε·hint_t}. With r = loss − hint,
    −ln Σ v e^{−ε·loss} = −ln Σ v e^{−ε·hint} − ln Σ w e^{−ε·r}; by Gibbs' variational formula the first is
    ε⟨w, hint⟩ + KL(w‖v), the second is ε⟨w, r⟩ − ε·g with g the mixability gap of r. So the gap of the round,
    ⟨w, loss⟩ − mix loss of v, is *exactly* g − KL(w‖v)/ε, and 0 ≤ g ≤ ε·s²/8 (Hoeffding). As s ≤ 2‖r‖∞ this is at most
    (ε/2)‖r‖∞² − ‖w − v‖₁²/(2ε).
    """
    return (log_inverse_prior - divergence) / meta_step_size + 0.125 * meta_step_size * squared_spread


def optimistic_hedge_stable(
    log_inverse_prior: Number, meta_step_size: float, squared_spread: Number, movement: Number
) -> Number:
    """ln(1/p_i)/ε + (ε/4)Σ s_t² − (1/8ε)Σ_{t≥2}‖w_t − w_{t−1}‖₁², constant ε: what two-layer ensembles rest on.

    In ``optimistic_hedge`` Gibbs' formula at its optimum v_{t+1} gives g = ⟨w_t − v_{t+1}, r⟩ − KL(v_{t+1}‖w_t)/ε ≤
    s·n/2 − n²/(2ε) ≤ ε·s²/4 − n²/(4ε), n = ‖w_t − v_{t+1}‖₁, by Pinsker; and ‖w_t − w_{t−1}‖₁² is at most twice
    ‖w_t − v_t‖₁² + ‖v_t − w_{t−1}‖₁². Compare Syrgkanis et al. 2015, Theorem 7: ε‖r‖∞² for ε·s²/4.
    """
    return log_inverse_prior / meta_step_size + 0.25 * meta_step_size * squared_spread - movement / (8 * meta_step_size)


def routing(horizon: Number, experts: int) -> Number:
    """√(ln N/(2T)): mean rejection − the best draft's mean TV, when Hedge on the TVs draws the draft, in expectation.

    One draft proposes, drawn with ``hedge.route`` before it drafts; learning needs every draft's law at the position.
    ``hedge_apriori`` at range 1, over T; rejections being a martingale around Σ⟨w_t, TV_t⟩, their own mean is below
    this + √(ln(1/δ)/(2T)) with probability 1 − δ (Azuma).
    """
    return hedge_apriori(1.0, horizon, experts) / horizon


def sword_rate(smoothness: float, diameter: float) -> float:
    """1/(2LD²), the largest ε of ``sword``; infinite for linear losses."""
    return 1 / (2 * smoothness * diameter**2) if smoothness > 0 else inf


def sword(
    comparator_energy: Number,
    log_inverse_prior: Number,
    step_size: float,
    meta_step_size: float,
    diameter: float,
    gradient_bound: float,
    gradient_variation: Number,
) -> Number:
    """A_T/(2η) + ln(1/p)/ε + (η + εD²/4)(G² + 2V_T), L-smooth losses, η ≤ 1/(8L), ε ≤ 1/(2LD²), correction λ = L.

    For every base of such a step η, whatever the steps of the others. Base: A_T/(2η) + ηδ − S/(8η), δ = Σ‖g_t −
    g_{t−1}‖², S = Σ‖x_{t,i} − x_{t−1,i}‖² (the key above before ⟨g − h, x − x̂⁺⟩ ≤ η‖g − h‖² + ‖x − x̂⁺‖²/(4η) is used).
    Meta: ``optimistic_hedge_stable``, whose spreads are at most D‖g_t − g_{t−1}‖, as the corrections cancel in loss −
    hint; undoing them adds λS − λC, C = Σ_t Σ_j w_{t,j}‖x_{t,j} − x_{t−1,j}‖². Smoothness: δ ≤ G² + 2V_T +
    2L²Σ‖x_t − x_{t−1}‖², and ‖x_t − x_{t−1}‖² ≤ 2Σ_j w_{t,j}‖x_{t,j} − x_{t−1,j}‖² + (D²/2)‖w_t − w_{t−1}‖₁². With
    κ = η + εD²/4 ≤ 1/(4L) everything else is at most (λ − 1/(8η))S + (4κL² − λ)C + (κL²D² − 1/(8ε))Σ‖w_t − w_{t−1}‖₁²,
    and no coefficient is positive. Derived for this project; the literature states O(·) only.
    """
    error = gradient_bound**2 + 2 * gradient_variation
    return (
        comparator_energy / (2 * step_size)
        + log_inverse_prior / meta_step_size
        + (step_size + 0.25 * meta_step_size * diameter**2) * error
    )


def sword_small_loss(
    comparator_energy: Number,
    log_inverse_prior: Number,
    step_size: float,
    meta_step_size: float,
    diameter: float,
    smoothness: float,
    comparator_loss: Number,
) -> Number:
    """(A_T/(2η) + ln(1/p)/ε + q·F_T)/(1 − q), q = 8L(η + εD²/4) < 1, correction λ ≤ 1/(8η), losses L-smooth on R^d.

    As ``sword``, but with δ ≤ 4Σ‖g_t‖² ≤ 8L·Σ(f_t(x_t) − inf f_t) = 8L(Reg + F_T) in place of the variation, and
    its negative terms dropped. At η = 1/(32L), ε = 1/(8LD²): 32L·A_T + 16LD²·ln(1/p) + F_T, no √T where F_T = 0.

    Raises:
        ValueError: for steps so large that q ≥ 1.
    """
    q = 8 * smoothness * (step_size + 0.25 * meta_step_size * diameter**2)
    if q >= 1:
        raise ValueError(
            f"sword_small_loss(step_size={step_size!r}, meta_step_size={meta_step_size!r}): 8·smoothness·(step_size + "
            f"meta_step_size·diameter²/4) = {q!r} must be below 1; take smaller ones"
        )
    paid = comparator_energy / (2 * step_size) + log_inverse_prior / meta_step_size
    return (paid + q * comparator_loss) / (1 - q)


# What no learner can beat


def adversary_value(gradient_bound: float, diameter: float, horizon: int, segments: int) -> float:
    """(G·D/2)√(T·K): regret an adversary forces on any learner on a ball, d ≥ 3, K equal segments, P_T ≤ D(K−1)."""
    return 0.5 * gradient_bound * diameter * (horizon * segments) ** 0.5
