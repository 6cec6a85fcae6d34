"""Settings that cannot be are refused with owner, setting, value, rule and remedy; what lies on the border is not."""

from math import inf, nan

import numpy as np
import pytest

from theory import bounds, step_size
from theory.domain import Ball
from theory.hints import LastGradient, MovingAverage
from theory.learners import (
    OGD,
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
from theory.speculation import multi_draft, speedup
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident

POSITIVE = "must be positive and finite"
REFUSED = [
    (lambda: OGD(0.0), "step_size=0.0: every step size must be positive and finite; got 0.0"),
    (lambda: OGD((0.1, inf)), "step_size=(0.1, inf): every step size must be positive and finite; got inf"),
    (lambda: OGD("0.1"), "step_size='0.1': give a number, a tuple of numbers or a schedule with .at(energy)"),
    (lambda: OptimisticOGD(AdaGradNorm(1.0)), "reads grad_t, which is not known when this learner needs η_t"),
    (lambda: OptimisticOGD(InverseSqrt(1.0, 1.0)), "give a number, a tuple of numbers or SelfConfident, or use OGD"),
    (lambda: Momentum(SelfConfident(1.0, 1.0)), "this learner follows no schedule; give a number or a tuple of them"),
    (lambda: Adam(AdaGradNorm(1.0)), "this learner follows no schedule"),
    (lambda: SelfConfident(0.0, 1.0), f"SelfConfident(diameter=0.0): {POSITIVE}; on an unbounded domain give a number"),
    (lambda: SelfConfident(1.0, nan), f"SelfConfident(gradient_bound=nan): {POSITIVE}"),
    (lambda: InverseSqrt(0.0, 1.0), f"InverseSqrt(diameter=0.0): {POSITIVE}; on an unbounded domain"),
    (lambda: InverseSqrt(1.0, inf), f"InverseSqrt(gradient_bound=inf): {POSITIVE}"),
    (lambda: AdaGradNorm(inf), f"AdaGradNorm(diameter=inf): {POSITIVE}; on an unbounded domain give a number instead"),
    (lambda: LastGradient(nan), "LastGradient(scale=nan): must be finite; 0 is no hint"),
    (lambda: MovingAverage(1.0), "MovingAverage(decay=1.0): must lie in [0, 1); 0 is the last gradient"),
    (lambda: Momentum(0.1, 1.0), "Momentum(momentum=1.0): must lie in [0, 1)"),
    (lambda: Momentum(0.1, -0.1), "Momentum(momentum=-0.1): must lie in [0, 1)"),
    (lambda: Adam(0.1, beta_1=1.0), "Adam(beta_1=1.0): must lie in [0, 1)"),
    (lambda: Adam(0.1, beta_2=1.5), "Adam(beta_2=1.5): must lie in [0, 1)"),
    (lambda: Adam(0.1, epsilon=0.0), f"Adam(epsilon=0.0): {POSITIVE}; without it a zero gradient is 0/0"),
    (lambda: Tracking(2.0, 1.0), "Tracking(strong_convexity=2.0, smoothness=1.0): needs 0 < strong_convexity"),
    (lambda: Tracking(0.0, 1.0), "≤ smoothness; for losses that are only convex use OGD"),
    (lambda: Tracking(1.0, inf), "Tracking(strong_convexity=1.0, smoothness=inf)"),
    (lambda: CoinBetting(0.0, 1.0), f"CoinBetting(endowment=0.0): {POSITIVE}"),
    (lambda: CoinBetting(1.0, -1.0), f"CoinBetting(gradient_bound=-1.0): {POSITIVE}"),
    (lambda: Hedge(0.0), f"Hedge(meta_step_size=0.0): {POSITIVE}"),
    (lambda: LastLoss(inf), f"LastLoss(meta_step_size=inf): {POSITIVE}"),
    (lambda: Mixture(0.0), f"Mixture(meta_step_size=0.0): {POSITIVE}; log loss wants 1"),
    (lambda: FixedShare(0.0, 0.1), f"FixedShare(meta_step_size=0.0): {POSITIVE}"),
    (lambda: FixedShare(1.0, 1.0), "FixedShare(share=1.0): must lie in [0, 1); 0 is Hedge"),
    (lambda: OptimisticHedge(0.0), "OptimisticHedge(meta_step_size=0.0, adaptive=True): must be positive"),
    (
        lambda: OptimisticHedge(adaptive=False),
        "(meta_step_size=inf, adaptive=False): must be positive, and finite",
    ),
    (lambda: Ensemble(Hedge(0.1)), "the base's step_size must be a tuple"),
    (lambda: Ensemble(OGD(0.1)), "the base's step_size must be a tuple, one per expert"),
    (
        lambda: Ensemble(OGD((0.1, 0.2)), prior=(1.0,)),
        "Ensemble(prior=(1.0,)): one positive weight for each of 2",
    ),
    (lambda: Ensemble(OGD((0.1, 0.2)), prior=(1.0, 0.0)), "Ensemble(prior=(1.0, 0.0)): one positive weight"),
    (lambda: Sword(OptimisticOGD(0.1)), "the base's step_size must be a tuple, one per expert"),
    (lambda: Sword(OptimisticOGD((0.1,)), correction=-1.0), "Sword(correction=-1.0): must be at least 0 and finite"),
    (lambda: Sword(OptimisticOGD((0.1,)), correction=inf), "theory wants L"),
    (lambda: Chunked(OGD(0.1), 0), "Chunked(rounds=0): must be a whole number of at least 1; 1 is the learner itself"),
    (lambda: Chunked(OGD(0.1), 2.5), "Chunked(rounds=2.5): must be a whole number"),
    (lambda: Delayed(OGD(0.1), -1), "Delayed(delay=-1): must be a whole number of at least 0; 0 is the learner itself"),
    (lambda: Delayed(OGD(0.1), 1.5), "Delayed(delay=1.5): must be a whole number"),
    (lambda: Problem(Ball(1.0), 3, 0, 1.0), "Problem(horizon=0, dimension=3): both must be at least 1"),
    (lambda: Problem(Ball(1.0), 0, 3, 1.0), "Problem(horizon=3, dimension=0): both must be at least 1"),
    (lambda: Problem(Ball(1.0), 3, 3, 0.0), "Problem(gradient_bound=0.0): must be positive"),
    (lambda: step_size.small_loss(None), "small_loss(smoothness=None): the losses must be L-smooth with a known L > 0"),
    (lambda: step_size.small_loss(-1.0), "small_loss(smoothness=-1.0)"),
    (
        lambda: bounds.ogd_small_loss(4.0, 0.6, 2.0, 0.0),
        "(step_size=0.6): at most 1/(2·smoothness) = 0.25",
    ),
    (lambda: bounds.ogd_smooth(4.0, 0.5, 2.0, 0.0), "ogd_smooth(step_size=0.5): must be below 1/smoothness = 0.5"),
    (
        lambda: bounds.sword_small_loss(4.0, 0.0, 0.0625, 0.0625, 2.0, 1.0, 0.0),  # q = 1
        "sword_small_loss(step_size=0.0625, meta_step_size=0.0625): 8·smoothness·(step_size",
    ),
    (lambda: multi_draft.best_acceptance([1.0], [1.0], 0), "best_acceptance(drafts=0): must be a whole number of at"),
    (lambda: multi_draft.recursive_rejection([1.0], [1.0], 0), "recursive_rejection(drafts=0): must be a whole number"),
    (lambda: speedup.best_gamma_real(0.0, 0.5), "best_gamma_real(epsilon=0.0): must lie strictly between 0 and 1"),
    (lambda: speedup.best_gamma_real(0.5, 1.0), "best_gamma_real(cost_ratio=1.0): must lie strictly between 0 and 1"),
    (lambda: speedup.best_gamma(0.5, [1.0]), "best_gamma(costs=[1.0]): needs the costs of gamma = 0, 1 and up"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError) as refusal:
        make()
    assert words in str(refusal.value)


BORDER = [
    lambda: Momentum(0.1, 0.0),
    lambda: Adam(0.1, 0.0, 0.0),
    lambda: MovingAverage(0.0),
    lambda: FixedShare(1.0, 0.0),
    lambda: Tracking(2.0, 2.0),
    lambda: Sword(OptimisticOGD((0.1,)), correction=0.0),
    lambda: OptimisticHedge(inf),
    lambda: Chunked(OGD(0.1), 1),
    lambda: Delayed(OGD(0.1), 0),
    lambda: Problem(Ball(1.0), 1, 1, 1e-300),
    lambda: bounds.ogd_small_loss(4.0, 0.25, 2.0, 0.0),
    lambda: multi_draft.best_acceptance(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 1),
    lambda: speedup.best_gamma(0.5, [1.0, 1.1]),
]


@pytest.mark.parametrize("make", BORDER)
def test_what_lies_on_the_border_is_taken(make):
    make()
