"""Every right-hand side and every tuned setting at a point worked out by hand from the theorem, constants and all.

Bounds that are merely true hide slips: a factor too much is still a bound. These numbers do not come from the code.
G = 3, D = 2, L = 5, T = 8, P_T = 7, hence A_T = D² + 2·D·P_T = 32, unless a line says otherwise.
"""

from dataclasses import replace
from math import inf, log, pi, sqrt

import numpy as np
import pytest

from theory import bounds, step_size
from theory.domain import Ball, Simplex
from theory.hints import LastGradient
from theory.learners import (
    OGD,
    AdaHedge,
    Adam,
    CoinBetting,
    Ensemble,
    FixedShare,
    Hedge,
    LastLoss,
    Mixture,
    Momentum,
    OptimisticHedge,
    OptimisticOGD,
    Sword,
    Tracking,
)
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.problem import Problem
from theory.speculation import speedup
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident

MOVING = Problem(Ball(1.0), 4, 8, 3.0, smoothness=5.0, path_length=7.0)
STILL = replace(MOVING, path_length=0.0)
EXPERTS = Problem(Simplex(), 4, 8, 1.0, loss_range=2.0)
BINARY_ENTROPY = -(2 / 7) * log(2 / 7) - (5 / 7) * log(5 / 7)  # nats, 2 switches in 7 places

FORMULAS = {
    "comparator_energy": (lambda: bounds.comparator_energy(2.0, 7.0), 32.0),
    "proximal": (lambda: bounds.proximal(32.0, 0.25, 3.0), 64.0 + 3.0),
    "ogd": (lambda: bounds.ogd(32.0, 0.25, 72.0), 64.0 + 9.0),
    "ogd_oracle": (lambda: bounds.ogd_oracle(3.0, 8, 32.0), 3 * 16.0),
    "ogd_centred": (lambda: bounds.ogd_centred(3.0, 8, 2.0, 7.0), 3 * 12.0),
    "ogd_untuned": (lambda: bounds.ogd_untuned(3.0, 16, 2.0, 7.0), 3 * 4 * 9.0),
    "ogd_inverse_sqrt": (lambda: bounds.ogd_inverse_sqrt(3.0, 16, 2.0, 7.0), 3 * 4 * 10.0),
    "ogd_adagrad_norm": (lambda: bounds.ogd_adagrad_norm(2.0, 7.0, 49.0), 10 * 7.0),
    "zinkevich": (lambda: bounds.zinkevich(4.0, 7.0, 0.25, 3.0, 8), 112.0 + 112.0 + 9.0),
    "ogd_chunked": (lambda: bounds.ogd_chunked(3.0, 8, 8.0, 4), 3 * 16.0),
    "chunked": (lambda: bounds.chunked(11.0, 4, 6.0, 7.0), 44.0 + 21.0),
    "ogd_delayed": (lambda: bounds.ogd_delayed(32.0, 0.25, 72.0, 12.0), 64.0 + 9.0 + 3.0),
    "ogd_delayed_oracle": (lambda: bounds.ogd_delayed_oracle(3.0, 2, 8.0, 4), 3 * 12.0),
    "ogd_small_loss": (lambda: bounds.ogd_small_loss(32.0, 0.1, 5.0, 6.0), 160.0 + 160.0 + 6.0),
    "ogd_small_loss_tuned": (lambda: bounds.ogd_small_loss_tuned(32.0, 5.0, 10.0), 2 * 40.0 + 480.0),
    "ogd_realisable": (lambda: bounds.ogd_realisable(32.0, 5.0), 320.0),
    "ogd_smooth": (lambda: bounds.ogd_smooth(32.0, 0.05, 5.0, 6.0), 320.0 + 2.0),
    "ogd_smooth_tuned": (lambda: bounds.ogd_smooth_tuned(32.0, 5.0, 20.0), 80.0 + 80.0),
    "ogd_smooth_realisable": (lambda: bounds.ogd_smooth_realisable(32.0, 5.0), 80.0),
    "strongly_convex_distance": (lambda: bounds.strongly_convex_distance(2.0, 7.0, 5.0, 2.5), 1.5 * 9.0),
    "strongly_convex_regret": (lambda: bounds.strongly_convex_regret(7.0, 3.0), 21.0),
    "optimistic_moving": (lambda: bounds.optimistic_moving(32.0, 0.25, 72.0, 4.0), 64.0 + 9.0 - 8.0),
    "optimistic_oracle": (lambda: bounds.optimistic_oracle(2.0, 32.0), 8.0),
    "optimistic_self_confident": (lambda: bounds.optimistic_self_confident(2.0, 3.0, 7.0, 28.0), 10 * 8.0),
    "optimistic_variation": (lambda: bounds.optimistic_variation(32.0, 0.05, 10.0, 3.0), 0.05 * 29.0 + 320.0),
    "optimistic_variation_tuned, varied": (
        lambda: bounds.optimistic_variation_tuned(32.0, 0.25, 11.0, 3.0),
        sqrt(62 * 32),
    ),
    "optimistic_variation_tuned, smooth": (lambda: bounds.optimistic_variation_tuned(32.0, 5.0, 0.0, 3.0), 640.0),
    "coin_betting": (
        lambda: bounds.coin_betting(2.0, 3.0, 8, 0.5),
        3 * (2 * sqrt(9 * log(1 + pi * 81 * 4 / (2 * 0.25))) + 0.5 * (1 - sqrt(2 / (9 * pi)))),
    ),
    "coin_betting_wealth": (lambda: bounds.coin_betting_wealth(2.0, 3.0, 0.5, 4.0, 1.5), 3 * 7.0),
    "relative_entropy": (
        lambda: bounds.relative_entropy(np.array([0.5, 0.5, 0.0]), np.log([0.25, 0.5, 0.25])),
        0.5 * log(2),
    ),
    "hedge": (lambda: bounds.hedge(3.0, 0.5, 2.0), 8.0),
    "hedge_apriori": (lambda: bounds.hedge_apriori(2.0, 8, 3), 4 * sqrt(log(3))),
    "mixture_rounds": (lambda: bounds.mixture_rounds(32, 4, 3), 8 * sqrt(log(3))),
    "adahedge": (lambda: bounds.adahedge(log(9), 3, 5.0), 15.0),
    "adahedge, one expert": (lambda: bounds.adahedge(0.0, 1, 5.0), 5.0),
    "adahedge_spread": (lambda: bounds.adahedge_spread(3, 16 / log(3), 1.5, 0.5 * log(3)), 4.0 + 3.0 + 2.0),
    "ader": (
        lambda: bounds.ader(3.0, 2.0, 7.0, 8, 6.0),  # 1 + 4·7/14 = 3, κ = ⌊½·log₂ 3⌋ + 1 = 1
        2.25 * sqrt(16 * 84) + 6 * 4 / 4 * (1 + 2 * log(2)),
    ),
    "ader, a longer path": (  # 1 + 4·52.5/14 = 16, κ = 3
        lambda: bounds.ader(3.0, 2.0, 52.5, 8, 6.0),
        2.25 * sqrt(16 * 448) + 6 * (1 + 2 * log(4)),
    ),
    "ader, the last path with κ = 1": (  # 1 + 4·20.3/28 = 3.9
        lambda: bounds.ader(3.0, 4.0, 20.3, 8, 6.0),
        2.25 * sqrt(16 * (112 + 324.8)) + 6 * (1 + 2 * log(2)),
    ),
    "ader, the first with κ = 2": (  # 1 + 4·21.7/28 = 4.1
        lambda: bounds.ader(3.0, 4.0, 21.7, 8, 6.0),
        2.25 * sqrt(16 * (112 + 347.2)) + 6 * (1 + 2 * log(3)),
    ),
    "ensemble_doubling": (
        lambda: bounds.ensemble_doubling(3.0, 32.0, 8, 6.0, 3),
        0.5 * (sqrt(2) + 1 / sqrt(2)) * 48 + 6 * sqrt(4 * log(3)),
    ),
    "fixed_share": (
        lambda: bounds.fixed_share(log(3), 0.25, 2.0, 8.0, 3),
        log(3) + 2 * log(2 / 0.25) + 5 * log(4 / 3),
    ),
    "fixed_share, two experts": (lambda: bounds.fixed_share(log(2), 0.25, 1.0, 2.0, 2), log(2) + log(4)),
    "fixed_share, more switches than rounds": (lambda: bounds.fixed_share(0.0, 0.25, 3.0, 2.0, 2), 3 * log(4)),
    "fixed_share, no share": (lambda: bounds.fixed_share(1.5, 0.0, 0.0, 8.0, 3), 1.5),
    "fixed_share, no share but a switch": (lambda: bounds.fixed_share(1.5, 0.0, 1.0, 8.0, 3), inf),
    "fixed_share_tuned": (lambda: bounds.fixed_share_tuned(2.0, 8, 3), log(3) + 2 * log(2) + 7 * BINARY_ENTROPY),
    "fixed_share_tuned, no switch": (lambda: bounds.fixed_share_tuned(0.0, 8, 3), log(3)),
    "fixed_share_tuned, always": (lambda: bounds.fixed_share_tuned(1.0, 2, 2), log(2)),
    "fixed_share_tuned, one round": (lambda: bounds.fixed_share_tuned(0.0, 1, 2), log(2)),
    "fixed_share_apriori": (
        lambda: bounds.fixed_share_apriori(2.0, 2.0, 8, 3),
        2 * sqrt(4 * (log(3) + 2 * log(2) + 7 * BINARY_ENTROPY)),
    ),
    "optimistic_hedge": (lambda: bounds.optimistic_hedge(3.0, 0.5, 32.0, 0.25), 5.5 + 2.0),
    "optimistic_hedge_stable": (lambda: bounds.optimistic_hedge_stable(3.0, 0.5, 32.0, 8.0), 6.0 + 4.0 - 2.0),
    "routing": (lambda: bounds.routing(8, 3), sqrt(log(3) / 16)),
    "sword_rate": (lambda: bounds.sword_rate(5.0, 4.0), 1 / 160),
    "sword_rate, linear": (lambda: bounds.sword_rate(0.0, 2.0), inf),
    "sword": (lambda: bounds.sword(32.0, 3.0, 0.25, 0.5, 4.0, 3.0, 5.0), 64.0 + 6.0 + 2.25 * 19.0),
    "sword_small_loss": (  # q = 8·5·(1/160 + ¼·(1/160)·4) = ½
        lambda: bounds.sword_small_loss(32.0, 3.0, 1 / 160, 1 / 160, 2.0, 5.0, 6.0),
        (2560.0 + 480.0 + 3.0) / 0.5,
    ),
    "adversary_value": (lambda: bounds.adversary_value(3.0, 2.0, 8, 2), 12.0),
    "speedup": (lambda: speedup.speedup(3.0, 4, 0.125, 1.25, 0.5, 2.0), 3.0 / 2.0),
    "speedup, an update every step": (lambda: speedup.speedup(3.0, 4, 0.125, 1.25, 0.5), 3.0 / 2.25),
    "speedup, nothing charged": (lambda: speedup.speedup(3.0, 4, 0.125), 2.0),
    "tokens_per_step": (lambda: speedup.tokens_per_step(0.25, 2), 1 + 0.75 + 0.5625),
    "tokens_per_step, all rejected": (lambda: speedup.tokens_per_step(1.0, 2), 1.0),
    "tokens_per_step, none rejected": (lambda: speedup.tokens_per_step(0.0, 2), 3.0),
    "tokens_per_step_lower": (lambda: speedup.tokens_per_step_lower(0.25, 4), 2.5),
    "tokens_per_step_upper, few": (lambda: speedup.tokens_per_step_upper(0.25, 4), 4.0),
    "tokens_per_step_upper, many": (lambda: speedup.tokens_per_step_upper(0.5, 4), 2.0),
    "verified_lower": (lambda: speedup.verified_lower(0.5, 4), 4.5 / 2.5),
    "verified_upper, few": (lambda: speedup.verified_upper(0.125, 4), 4.5),
    "verified_upper, many": (lambda: speedup.verified_upper(0.5, 4), 2.0),
    "rejection_deviation": (lambda: speedup.rejection_deviation(50, 0.05), sqrt(log(20) / 100)),
    "rejection_bound, Pinsker": (lambda: speedup.rejection_bound(0.5), 0.5),
    "rejection_bound, Bretagnolle-Huber": (lambda: speedup.rejection_bound(log(8)), sqrt(7 / 8)),
    "rejection_bound, rounding": (lambda: speedup.rejection_bound(-1e-12), 0.0),
    "greedy_rejections": (lambda: speedup.greedy_rejections(3 * log(2)), 3.0),
    "greedy_rejections_tv": (lambda: speedup.greedy_rejections_tv(1.5), 3.0),
    "sequence_lower": (lambda: speedup.sequence_lower(np.array([0.25, 0.5, 0.5])), 1 + 0.75 + 0.25),
    "sequence_upper": (lambda: speedup.sequence_upper(np.array([0.75, 0.5])), 2.25),
    "best_gamma": (lambda: speedup.best_gamma(0.5, np.array([1.0, 1.25, 1.375, 2.0])), 2),
    "best_gamma, where plain decoding is best": (lambda: speedup.best_gamma(0.9, np.array([1.0, 5.0, 9.0])), 1),
    "small_loss": (lambda: step_size.small_loss(5.0), 0.1),
    "sword_ceiling": (lambda: step_size.sword_ceiling(5.0), 1 / 40),
    "sword_ceiling, linear": (lambda: step_size.sword_ceiling(0.0), inf),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula_has_its_value(name):
    compute, expected = FORMULAS[name]
    assert compute() == pytest.approx(expected, rel=1e-12)


def test_relative_entropies_of_copies_are_those_of_each():
    mixtures, priors = np.array([[0.5, 0.5], [1.0, 0.0]]), np.log([[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(bounds.relative_entropy(mixtures, priors), [0.0, log(4)], rtol=1e-12)


def test_limits_of_steps_and_speed_come_in_pairs():
    assert speedup.steps_range(13.0, 2.0, 4) == (3.0, 21 / 5)
    assert speedup.steps_range(12.0, 6.0, 4) == (6.0, 36 / 5)
    lower, upper = speedup.theorem_1(0.5, 4, 0.125)  # ε ≤ ½, so E = 31/16
    assert (float(lower), float(upper)) == pytest.approx((31 / 16 / 1.5, 5 / 1.5), rel=1e-12)


SCHEDULES = {
    "self-confident": (lambda: SelfConfident(2.0, 3.0).at(np.array([28.0])), 0.25),
    "inverse root": (lambda: InverseSqrt(2.0, 3.0).at(np.array([7.0]), np.array([4.0])), 1 / 3),
    "inverse root, before round 1": (lambda: InverseSqrt(2.0, 3.0).at(np.array([0.0]), np.array([0.0])), 2 / 3),
    "adagrad-norm": (lambda: AdaGradNorm(2.0).at(np.array([16.0]), np.array([9.0])), 0.5),
    "adagrad-norm, nothing seen": (lambda: AdaGradNorm(2.0).at(np.array([0.0]), np.array([0.0])), 2.0),
    "ader grid": (lambda: step_size.ader_grid(2.0, 3.0, 14), np.array([1, 2, 4]) / 3),  # N = ⌈½·log₂ 9⌉ + 1
    "doubling grid": (lambda: step_size.doubling_grid(2.0, 3.0, 4), np.array([1, 2, 4]) / 3),  # N = ⌈½·log₂ 9⌉ + 1
    "sword grid": (lambda: step_size.sword_grid(2.0, 1.0, 4, 0.5), np.array([0.25])),
    "sword grid, linear": (
        lambda: step_size.sword_grid(2.0, 3.0, 4, 0.0),
        [*(2.0 ** np.arange(5) / 12), 2 / 3 * sqrt(4.5)],
    ),
    "ader grid, the last T of three": (lambda: len(step_size.ader_grid(2.0, 3.0, 26)), 3),  # 1 + 4·26/7 = 15.9
    "ader grid, the first T of four": (lambda: len(step_size.ader_grid(2.0, 3.0, 27)), 4),  # 1 + 4·27/7 = 16.4
    "doubling grid, the last T of three": (lambda: len(step_size.doubling_grid(2.0, 3.0, 7)), 3),
    "doubling grid, the first T of four": (lambda: len(step_size.doubling_grid(2.0, 3.0, 8)), 4),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_have_their_values(name):
    compute, expected = SCHEDULES[name]
    np.testing.assert_allclose(compute(), expected, rtol=1e-12)


ORACLE = sqrt(32) / (3 * sqrt(8))  # √A_T/(G√T) = 2/3
TUNED = {
    "ogd": (lambda: OGD.tuned(MOVING), OGD(ORACLE, Ball(1.0))),
    "optimistic": (lambda: OptimisticOGD.tuned(MOVING), OptimisticOGD(SelfConfident(2.0, 3.0), domain=Ball(1.0))),
    "optimistic, given": (
        lambda: OptimisticOGD.tuned(MOVING, step_size=0.1),
        OptimisticOGD(0.1, domain=Ball(1.0)),
    ),
    "momentum": (lambda: Momentum.tuned(MOVING), Momentum((1 - 0.9) * ORACLE, domain=Ball(1.0))),
    "momentum, given": (lambda: Momentum.tuned(MOVING, momentum=0.5), Momentum(0.5 * ORACLE, 0.5, Ball(1.0))),
    "adam": (lambda: Adam.tuned(MOVING), Adam(ORACLE * 3 / 2, domain=Ball(1.0))),
    "tracking": (lambda: Tracking.tuned(replace(MOVING, strong_convexity=2.0)), Tracking(2.0, 5.0, Ball(1.0))),
    "tracking, unknown": (lambda: Tracking.tuned(replace(MOVING, smoothness=None)), Tracking(1.5, 1.5, Ball(1.0))),
    "tracking, too curved": (
        lambda: Tracking.tuned(replace(MOVING, strong_convexity=9.0)),
        Tracking(5.0, 5.0, Ball(1.0)),
    ),
    "coin_betting": (lambda: CoinBetting.tuned(MOVING), CoinBetting(2.0, 3.0, Ball(1.0))),
    "hedge": (lambda: Hedge.tuned(EXPERTS), Hedge(sqrt(log(4)) / 2)),
    "hedge, one expert": (lambda: Hedge.tuned(replace(EXPERTS, dimension=1)), Hedge(sqrt(log(2)) / 2)),
    "adahedge": (lambda: AdaHedge.tuned(EXPERTS), AdaHedge()),
    "last_loss": (lambda: LastLoss.tuned(EXPERTS), LastLoss(0.5)),
    "mixture": (lambda: Mixture.tuned(replace(EXPERTS, exp_concavity=1.0)), Mixture(1.0)),
    "mixture, curvature unknown": (lambda: Mixture.tuned(EXPERTS), Mixture(1.0)),
    "mixture, half as curved": (lambda: Mixture.tuned(replace(EXPERTS, exp_concavity=0.5)), Mixture(0.5)),
    "optimistic_hedge": (lambda: OptimisticHedge.tuned(EXPERTS), OptimisticHedge()),
    "fixed_share, log loss": (
        lambda: FixedShare.tuned(replace(EXPERTS, exp_concavity=1.0, path_length=2 * sqrt(2))),
        FixedShare(1.0, 2 / 7),
    ),
    "fixed_share, a switch at least": (
        lambda: FixedShare.tuned(replace(EXPERTS, exp_concavity=1.0)),
        FixedShare(1.0, 1 / 7),
    ),
    "fixed_share, two rounds to switch in": (
        lambda: FixedShare.tuned(replace(EXPERTS, exp_concavity=1.0, horizon=3)),
        FixedShare(1.0, 1 / 2),
    ),
    "fixed_share, all the time": (
        lambda: FixedShare.tuned(replace(EXPERTS, exp_concavity=1.0, path_length=100.0)),
        FixedShare(1.0, 1 / 2),
    ),
    "fixed_share, linear": (
        lambda: FixedShare.tuned(replace(EXPERTS, path_length=2 * sqrt(2))),
        FixedShare(sqrt(log(4) + 2 * log(3) + 7 * BINARY_ENTROPY) / 2, 2 / 7, surrogate=True),
    ),
    "fixed_share, linearised though exp-concave": (
        lambda: FixedShare.tuned(replace(EXPERTS, path_length=2 * sqrt(2), exp_concavity=1.0), surrogate=True),
        FixedShare(sqrt(log(4) + 2 * log(3) + 7 * BINARY_ENTROPY) / 2, 2 / 7, surrogate=True),
    ),
    "fixed_share, by values at corners": (
        lambda: FixedShare.tuned(replace(EXPERTS, path_length=2 * sqrt(2)), surrogate=False),
        FixedShare(sqrt(log(4) + 2 * log(3) + 7 * BINARY_ENTROPY) / 2, 2 / 7),
    ),
    "chunked": (lambda: Chunked.tuned(MOVING, rounds=4), Chunked(OGD(2 * ORACLE, Ball(1.0)), 4)),
    "chunked, as the paper": (lambda: Chunked.tuned(MOVING), Chunked(OGD(5 * ORACLE, Ball(1.0)), 25)),
    "delayed": (lambda: Delayed.tuned(MOVING, delay=4), Delayed(OGD(ORACLE / 3, Ball(1.0)), 4)),
    "delayed, by one": (lambda: Delayed.tuned(MOVING), Delayed(OGD(ORACLE / sqrt(3), Ball(1.0)), 1)),
    "ader": (
        lambda: Ensemble.ader(replace(MOVING, horizon=14)),
        Ensemble(OGD((1 / 3, 2 / 3, 4 / 3), Ball(1.0)), Hedge(sqrt(4 / 7) / 6), True, (2 / 3, 2 / 9, 1 / 9)),
    ),
    "ader, true losses": (
        lambda: Ensemble.tuned(replace(MOVING, horizon=14), surrogate=False),
        Ensemble(OGD((1 / 3, 2 / 3, 4 / 3), Ball(1.0)), Hedge(sqrt(4 / 7) / 6), False, (2 / 3, 2 / 9, 1 / 9)),
    ),
    "the paper's ensemble": (
        lambda: Ensemble.paper(replace(MOVING, horizon=4)),
        Ensemble(OGD((1 / 3, 2 / 3, 4 / 3), Ball(1.0)), Hedge(sqrt(2 * log(3)) / 6)),
    ),
    "ensemble, given": (
        lambda: Ensemble.tuned(MOVING, base=OGD((0.1, 0.2))),
        Ensemble(OGD((0.1, 0.2)), AdaHedge()),
    ),
    "sword, given": (
        lambda: Sword.tuned(MOVING, base=OptimisticOGD((0.1, 0.2)), meta=OptimisticHedge(0.5, adaptive=False)),
        Sword(OptimisticOGD((0.1, 0.2)), OptimisticHedge(0.5, adaptive=False), 5.0),
    ),
    "sword": (
        lambda: Sword.tuned(MOVING),
        Sword(OptimisticOGD((1 / 40,), LastGradient(), Ball(1.0)), OptimisticHedge(1 / 40), 5.0),
    ),
    "sword, linear": (
        lambda: Sword.tuned(replace(MOVING, smoothness=None, gradient_bound=1.0, horizon=4)),
        Sword(
            OptimisticOGD((0.25, 0.5, 1.0, 2.0, 4.0, 2 * sqrt(4.5)), LastGradient(), Ball(1.0)),
            OptimisticHedge(inf),
            0.0,
        ),
    ),
}


@pytest.mark.parametrize("name", TUNED)
def test_a_learner_is_tuned_as_its_theorem_says(name):
    tuned, expected = TUNED[name]
    assert_same(tuned(), expected)


def assert_same(one, other):
    """Two learners with the same settings, numbers to rounding."""
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value == (pytest.approx(other[key], rel=1e-12) if isinstance(value, float) else other[key]), key


def flat(learner) -> dict:
    """Its numbers by path, and everything else as text."""
    found = {"class": type(learner).__name__} if hasattr(learner, "__dataclass_fields__") else {}
    values = vars(learner).items() if found else enumerate(learner)
    for key, value in values:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[str(key)] = float(value)
        elif isinstance(value, tuple) or hasattr(value, "__dataclass_fields__"):
            found |= {f"{key}.{inner}": number for inner, number in flat(value).items()}
        else:
            found[str(key)] = str(value)
    return found


GUARANTEES = {
    "ogd": (OGD(0.25, Ball(1.0)), MOVING, 64.0 + 9.0),
    "ogd, inverse root": (OGD(InverseSqrt(2.0, 3.0), Ball(1.0)), MOVING, 30 * sqrt(8)),
    "ogd, adagrad-norm": (OGD(AdaGradNorm(2.0), Ball(1.0)), MOVING, 10 * sqrt(72)),
    "ogd, another schedule's G": (OGD(InverseSqrt(2.0, 1.0), Ball(1.0)), MOVING, None),
    "optimistic": (OptimisticOGD(0.25, domain=Ball(1.0)), MOVING, 64.0 + 36.0),
    "optimistic, half a hint": (OptimisticOGD(0.25, LastGradient(0.5), Ball(1.0)), MOVING, 64.0 + 9.0 * 2.25),
    "optimistic, self-confident": (OptimisticOGD.tuned(MOVING), MOVING, 10 * sqrt(36 + 288)),
    "tracking": (Tracking(3.0, 5.0, Ball(1.0)), MOVING, 64.0 + 9.0),
    "coin_betting": (
        CoinBetting(0.5, 3.0, Ball(1.0)),
        STILL,
        3 * (2 * sqrt(9 * log(1 + pi * 81 * 4 / (2 * 0.25))) + 0.5 * (1 - sqrt(2 / (9 * pi)))),
    ),
    "coin_betting, moving": (CoinBetting(0.5, 3.0, Ball(1.0)), MOVING, None),
    "hedge": (Hedge(0.5), EXPERTS, 2 * log(4) + 2.0),
    "hedge, moving": (Hedge(0.5), replace(EXPERTS, path_length=1.0), None),
    "adahedge": (AdaHedge(), EXPERTS, sqrt(32 * log(4)) + 4.0),
    "adahedge, a wider range": (AdaHedge(), replace(EXPERTS, loss_range=3.0), sqrt(72 * log(4)) + 6.0),
    "adahedge, moving": (AdaHedge(), replace(EXPERTS, path_length=1.0), None),
    "optimistic_hedge": (OptimisticHedge(0.5, adaptive=False), EXPERTS, 2 * log(4) + 8.0),
    "optimistic_hedge, adaptive": (OptimisticHedge(0.5), EXPERTS, sqrt(128 * log(4)) + 8.0 + 2 * log(4)),
    "optimistic_hedge, moving": (OptimisticHedge(0.5), replace(EXPERTS, path_length=1.0), None),
    "mixture": (Mixture(1.0), replace(EXPERTS, exp_concavity=1.0), log(4)),
    "mixture, moving a little": (Mixture(1.0), replace(EXPERTS, exp_concavity=1.0, path_length=0.5), None),
    "chunks of hedge see linear losses": (Chunked(Hedge(0.5), 2), EXPERTS, 2 * (2 * log(4) + 0.5)),
    "chunks of a mixture too": (Chunked(Mixture(1.0), 2), replace(EXPERTS, exp_concavity=1.0), None),
    "fixed_share": (
        FixedShare(0.5, 0.25),
        replace(EXPERTS, path_length=2 * sqrt(2)),
        2 * (log(4) + 2 * log(12) + 5 * log(4 / 3)) + 2.0,
    ),
    "fixed_share, mixtures": (  # ½‖·‖₁ ≤ ½√N·‖·‖, so that path is at most 2√2 switches
        FixedShare(0.5, 0.25, surrogate=True),
        replace(EXPERTS, path_length=2 * sqrt(2), exp_concavity=1.0),
        2 * (log(4) + 2 * sqrt(2) * log(12) + (7 - 2 * sqrt(2)) * log(4 / 3)) + 2.0,
    ),
    "fixed_share, mixtures, never more switches than rounds": (
        FixedShare(0.5, 0.25, surrogate=True),
        replace(EXPERTS, path_length=100.0),
        2 * (log(4) + 7 * log(12)) + 2.0,
    ),
    "fixed_share, log loss": (
        FixedShare(1.0, 0.25),
        replace(EXPERTS, path_length=2 * sqrt(2), exp_concavity=1.0),
        log(4) + 2 * log(12) + 5 * log(4 / 3),
    ),
    "delayed": (Delayed(OGD(0.25, Ball(1.0)), 2), MOVING, 64.0 + 9.0 + 36.0),
    "sword": (
        Sword(OptimisticOGD((1 / 80, 1 / 40, 1.0), domain=Ball(1.0)), OptimisticHedge(1 / 40, adaptive=False), 5.0),
        MOVING,
        40 * 16.0 + 40 * log(3) + 0.05 * (9 + 2 * 252),
    ),
    "ensemble, ader": (Ensemble.ader(MOVING), MOVING, 2.25 * sqrt(16 * 84) + 6 * (1 + 2 * log(2))),
    "ensemble, the paper's": (  # N = ⌈½·log₂ 17⌉ + 1 = 4
        Ensemble.paper(MOVING),
        MOVING,
        0.5 * (sqrt(2) + 1 / sqrt(2)) * 48 + 6 * sqrt(4 * log(4)),
    ),
    "ensemble, another grid": (Ensemble(OGD((0.25, 0.5), Ball(1.0))), MOVING, None),
    "chunked": (Chunked(OGD(0.25, Ball(1.0)), 4), MOVING, 4 * (64 + 2.25) + 42.0),
    "chunked, the last one open": (Chunked(OGD(0.25, Ball(1.0)), 5), MOVING, 5 * (64 + 2.25) + 52.5),
}


@pytest.mark.parametrize("name", GUARANTEES)
def test_a_guarantee_has_its_value(name):
    learner, problem, expected = GUARANTEES[name]
    found = learner.guarantee(problem)
    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-12)
