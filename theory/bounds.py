"""Right-hand sides of the guarantees, one short function each (THEORY.md section 3)."""

from math import floor, log, log2, sqrt


def proximal(comparator_energy, step_size, stability):
    """A_T/(2η_T) + ½Σ η_t‖grad_t − hint_t‖² for any non-increasing η_t."""
    return comparator_energy / (2 * step_size) + stability


def optimistic_self_confident(diameter, gradient_bound, path_length, hint_error):
    """(1.5·D + P_T)·√(4G² + δ_T)."""
    return (1.5 * diameter + path_length) * (4 * gradient_bound**2 + hint_error) ** 0.5


def hedge(log_inverse_prior, meta_step_size, mixability_gap):
    """ln(1/p_i)/ε + Σ mixability gaps."""
    return log_inverse_prior / meta_step_size + mixability_gap


def adahedge(log_inverse_prior, experts, mixability_gap):
    """(1 + ln(1/p_i)/ln N)·Σ mixability gaps."""
    return mixability_gap * (1 + log_inverse_prior / log(max(experts, 2)))


def adahedge_spread(experts, squared_spread, largest_spread):
    """√(ln N·Σ s_t²) + s_max(4/3·ln N + 2)."""
    return sqrt(log(experts) * squared_spread) + largest_spread * (4 / 3 * log(experts) + 2)


def ader(gradient_bound, diameter, path_length, horizon, loss_range):
    """(3G/4)√(2T(7D² + 4D·P_T)) + (c√(2T)/4)(1 + 2 ln(κ+1)), κ = ⌊½log₂(1+4P_T/(7D))⌋ + 1."""
    kappa = floor(0.5 * log2(1 + 4 * path_length / (7 * diameter))) + 1
    base = 0.75 * gradient_bound * sqrt(2 * horizon * (7 * diameter**2 + 4 * diameter * path_length))
    return base + loss_range * sqrt(2 * horizon) / 4 * (1 + 2 * log(kappa + 1))
