"""The paper's own speed formulas (arXiv 2603.12617 v1), beside those of theory/speculation/speedup.py; no result uses
them.

Its letters: k is our gamma, α our cost_ratio c, γ our speedup, Acc our alpha, Reg_T/T our ``mean_regret``. Its limits
carry a soft Ω; here that constant is 1, and every fault below remains with any other positive constant:

    the lower limits diverge as Reg → 0 and pass the cap (γ+1)/(1+γc), their own cap too, once Reg/T ≪ 1/γ²
    they hide a factor −ln(alpha), which vanishes exactly there (``paper_step``)
    the bonus token is counted in Lemma 1's lower limit and in neither upper limit
    Reg leaves out the comparators' own loss F_T: zero regret promises infinite speed to a draft that cannot fit
    Corollary 4's length depends on the cost alone, where the best one depends as much on alpha (``paper_best_gamma``)
"""

import numpy as np

from theory.arrays import Array
from theory.speculation.speedup import Number


def paper_step(acceptance: Number, gamma: int, hidden: Number = 1.0) -> Number:
    """(1 − 1/(1 + γ·hidden))/(1 − alpha): the drafted tokens of a step in the proof of Lemma 1.

    From (1 − a^γ)/(1 − a) and a^γ = e^{−γ·(−ln a)} ≤ 1/(1 + γ·(−ln a)): true with hidden = −ln(alpha), and *false* with
    the 1 that Lemma 1 prints, as soon as alpha is large: it exceeds γ itself for alpha > γ/(γ+1).
    """
    return (1 - 1 / (1 + gamma * hidden)) / (1 - acceptance)


def paper_tokens_per_step(mean_regret: Number, gamma: int) -> tuple[Number, float]:
    """Lemma 1 over T: (1 − 1/(1+γ))/√(Reg/T) + 1 ≤ tokens_per_step ≤ γ. The truth reaches γ + 1, the bonus included."""
    return (1 - 1 / (1 + gamma)) / mean_regret**0.5 + 1, float(gamma)


def paper_speedup(mean_regret: Number, gamma: int, cost_ratio: float) -> tuple[Number, float]:
    """Theorem 1: (1 − 1/γ)/((1 + γc)·√(Reg/T)) ≤ speedup ≤ γ/(1 + γc)."""
    cost = 1 + gamma * cost_ratio
    return (1 - 1 / gamma) / (cost * mean_regret**0.5), gamma / cost


def paper_best_gamma(cost_ratio: Number) -> Number:
    """1 + √(1 + 1/c): the length that maximises Theorem 1's lower limit, the rate √(1/c) of Corollary 4.

    (γ−1)/(γ(1+γc)) is stationary where γ² − 2γ = 1/c. No alpha and no regret is in it.
    """
    return 1 + (1 + 1 / cost_ratio) ** 0.5


def feasible(gamma: int, cost_ratio: Number) -> tuple[Number, Number]:
    """1/(1+γc) ≤ speedup ≤ (γ+1)/(1+γc) for every decoder and draft: a step commits from 1 to γ + 1 tokens."""
    cost = 1 + gamma * cost_ratio
    return 1 / cost, (gamma + 1) / cost


def leaves_feasible(speedup: Number, gamma: int, cost_ratio: Number) -> Array:
    """Where a claimed speedup leaves the feasible set: 1 above it, −1 below it, 0 inside; elementwise."""
    low, high = feasible(gamma, cost_ratio)
    return np.where(np.asarray(speedup) > high, 1, np.where(np.asarray(speedup) < low, -1, 0))


def paper_diverges_below(gamma: int) -> float:
    """((1 − 1/γ)/(γ+1))²: the mean regret below which Theorem 1's lower limit is above the feasible set, for any c."""
    return ((1 - 1 / gamma) / (gamma + 1)) ** 2
