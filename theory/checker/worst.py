"""The worst game known of every bound, built by hand: there it is attained, or no game has come nearer.

    worst = WORST["ogd_oracle"]
    print(worst.game, worst.ratio(worst.played()))

Every limit is a call of the bound itself, so that a test can tighten the function and see its own worst game break it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log, sqrt
from typing import Any

import numpy as np

from theory import bounds, regret
from theory.checker import constructed as games
from theory.checker.claims import ROUNDING, Played
from theory.domain import Ball, Free
from theory.hints import Zero
from theory.learners import (
    OGD,
    AdaHedge,
    CoinBetting,
    Ensemble,
    FixedShare,
    Hedge,
    OptimisticHedge,
    OptimisticOGD,
    Sword,
    Tracking,
)
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.problem import Problem
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident

UNIT = Ball(1.0)
LONG = 16384
"""Rounds of the games whose bound is reached slowest as T grows."""
ROOT = np.sqrt(np.arange(1.0, LONG + 1))


@dataclass(frozen=True)
class Worst:
    """A game by its name, how it is played, and what is held against what.

    Attributes:
        game: its name.
        played: plays it.
        limit: the bound in it.
        measured: what is bounded.
        lower: whether the bound is a lower one.
    """

    game: str
    played: Callable[[], Played]
    limit: Callable[[Any], Any]
    measured: Callable[[Played], Any] = lambda played: played.regret
    lower: bool = False

    def ratio(self, played: Played) -> float:
        """Measured over bound, of a lower bound its inverse: 1 where it is attained, more where it is broken."""
        measured, limit = float(self.measured(played)), float(self.limit(played))
        return limit / measured if self.lower else measured / limit

    def broken(self, played: Played) -> bool:
        """Whether the bound is passed by more than rounding."""
        return not self.ratio(played) <= 1 + ROUNDING


def growing(smallest: float, step: float) -> np.ndarray:
    """Norms up to 1, ``[LONG]``, of slopes that move x by at most ``step`` while η_t is 2/√(Σ of their squares)."""
    return np.minimum(1.0, smallest * step * (1 + step**2 / 4) ** (0.5 * np.arange(LONG)))


def moved(played: Any) -> float:
    """Σ‖x_t − x̂_t‖²."""
    return float(np.sum((played.decisions - played.anchors) ** 2))


def distances(played: Played) -> float:
    """Σ‖x_t − u_t‖."""
    return float(np.sum(np.linalg.norm(played.decisions - played.comparators, axis=-1)))


def compared(played: Played) -> float:
    """F_T of losses whose infimum is 0."""
    return float(np.sum(played.comparator_losses))


def gaps(played: Any) -> float:
    """Σ mixability gaps."""
    return float(played.state.gap[..., 0])


def errors(played: Played) -> np.ndarray:
    """loss_t − the last loss, ``[T, N]``."""
    return np.diff(played.game.slopes, axis=0, prepend=0.0)


def guessed(played: Any) -> float:
    """Σ KL(w_t ‖ v_t), v_t the weights without the hint."""
    before = np.cumsum(played.game.slopes, axis=0) - played.game.slopes
    believed = np.exp(-played.learner.meta_step_size * before)
    without = np.log(believed / believed.sum(axis=-1, keepdims=True))
    return float(np.sum(bounds.relative_entropy(played.decisions, without)))


ORTHOGONAL = partial(games.orthogonal, OGD(2 / 3, UNIT), 9)
CONSTANT_HEDGE = OptimisticHedge(0.01, adaptive=False)
KEPT = partial(games.experts, CONSTANT_HEDGE, [[1.0, 0.0]] * 1024, [0.0, 1.0])
MANY = partial(games.anyone, FixedShare(sqrt(8 * bounds.fixed_share_tuned(48.0, 65, 4) / 65), 0.75), 65, 4)
SWITCHES = partial(games.one_possible, FixedShare(1.0, 3 / 39), 40, 5, 3)


def hedged(rounds: int, size: float = 1.0) -> Callable[[], Played]:
    """``games.take_turns`` against the tuned Hedge, losses of that range."""
    return partial(games.take_turns, Hedge(sqrt(8 * log(2) / rounds) / size), rounds, 2.5, size)


WORST: dict[str, Worst] = {
    "proximal": Worst("orthogonal steps", ORTHOGONAL, lambda p: bounds.proximal(4.0, 2 / 3, p.gradient_energy / 3)),
    "ogd": Worst("orthogonal steps", ORTHOGONAL, lambda p: bounds.ogd(4.0, 2 / 3, p.gradient_energy)),
    "ogd_oracle": Worst("orthogonal steps", ORTHOGONAL, lambda p: bounds.ogd_oracle(1.0, 9, 4.0)),
    "ogd_centred": Worst(
        "there and back",
        partial(games.there_and_back, OGD(2.0, UNIT), 3),
        lambda p: bounds.ogd_centred(1.0, 3, 2.0, p.path_length),
    ),
    "ogd_untuned": Worst("orthogonal steps", ORTHOGONAL, lambda p: bounds.ogd_untuned(1.0, 9, 2.0, 0.0)),
    "ogd_inverse_sqrt": Worst(
        "turns across, then back",
        partial(games.across, OGD(InverseSqrt(2.0, 1.0), UNIT), np.minimum(1.0, 0.15 * ROOT), 124),
        lambda p: bounds.ogd_inverse_sqrt(1.0, LONG, 2.0, 0.0),
    ),
    "ogd_adagrad_norm": Worst(
        "turns across, then back",
        partial(games.across, OGD(AdaGradNorm(2.0), UNIT), growing(0.025, 0.15), 124, push=0.05),
        lambda p: bounds.ogd_adagrad_norm(2.0, 0.0, p.gradient_energy),
    ),
    "zinkevich": Worst(
        "turns",
        partial(games.turns, OGD(2.0, UNIT), 1000, 1.0),
        lambda p: bounds.zinkevich(2.0, 0.0, 2.0, 1.0, 1000),
    ),
    "ogd_chunked": Worst(
        "orthogonal steps, chunks",
        partial(games.orthogonal, Chunked(OGD(2 / 3, UNIT), 4), 9, 4),
        lambda p: bounds.ogd_chunked(1.0, 36, 4.0, 4),
    ),
    "chunked": Worst(
        "orthogonal steps, chunks",
        partial(games.orthogonal, Chunked(OGD(2 / 3, UNIT), 4), 9, 4),
        lambda p: bounds.chunked(bounds.ogd(4.0, 2 / 3, 9.0), 4, 4.0, 0.0),
    ),
    "ogd_delayed": Worst(
        "one sweep, late",
        partial(games.sweep, Delayed(OGD(0.1, UNIT), 1), 20),
        lambda p: bounds.ogd_delayed(4.0, 0.1, 20.0, 20.0),
    ),
    "ogd_delayed_oracle": Worst(
        "turns across in blocks, then back",
        partial(games.across, Delayed(OGD(2 / sqrt(3 * 4096), UNIT), 1), np.ones(4096), 111, block=24),
        lambda p: bounds.ogd_delayed_oracle(1.0, 4096, 4.0, 1),
    ),
    "ogd_small_loss": Worst(
        "a flat bowl",
        partial(games.bowl, OGD(0.01, UNIT), 4500, 0.05),
        lambda p: bounds.ogd_small_loss(4.0, 0.01, 1.0, compared(p)),
    ),
    "ogd_small_loss_tuned": Worst(
        "a center far beyond",
        partial(games.past, OGD(0.5 * sqrt(2 / 1000.0**2), UNIT), 1000.0),
        lambda p: bounds.ogd_small_loss_tuned(4.0, 1.0, compared(p)),
    ),
    "ogd_realisable": Worst(
        "a flat bowl",
        partial(games.bowl, OGD(0.5, UNIT), 220, 0.02),
        lambda p: bounds.ogd_realisable(4.0, 1.0),
    ),
    "ogd_smooth": Worst(
        "a center beyond",
        partial(games.past, OGD(0.25, UNIT), 3.0),
        lambda p: bounds.ogd_smooth(4.0, 0.25, 1.0, compared(p)),
    ),
    "ogd_smooth_tuned": Worst(
        "a center beyond",
        partial(games.past, OGD(0.25, UNIT), 3.0),
        lambda p: bounds.ogd_smooth_tuned(4.0, 1.0, compared(p)),
    ),
    "ogd_smooth_realisable": Worst(
        "one center",
        partial(games.past, OGD(1.0, UNIT), 0.0),
        lambda p: bounds.ogd_smooth_realisable(4.0, 1.0),
    ),
    "strongly_convex_distance": Worst(
        "one center",
        partial(games.past, Tracking(1.0, 3.0, UNIT), 0.0, 60),
        lambda p: bounds.strongly_convex_distance(2.0, 0.0, 3.0, 1.0),
        distances,
    ),
    "strongly_convex_regret": Worst(
        "a center far beyond",
        partial(games.past, Tracking(1.0, 1.0, UNIT), 50.0),
        lambda p: bounds.strongly_convex_regret(distances(p), p.gradient_bound),
    ),
    "optimistic_moving": Worst(
        "one sweep",
        partial(games.sweep, OptimisticOGD(0.05, domain=UNIT), 40),
        lambda p: bounds.optimistic_moving(4.0, 0.05, float(p.state.energy[0]), moved(p)),
    ),
    "optimistic_oracle": Worst(
        "orthogonal steps, no hint",
        partial(games.orthogonal, OptimisticOGD(2 / 3, Zero(), UNIT), 9),
        lambda p: bounds.optimistic_oracle(float(p.state.energy[0]), 4.0),
    ),
    "optimistic_self_confident": Worst(
        "turns across, then back, no hint",
        partial(games.across, OptimisticOGD(SelfConfident(2.0, 1.0), Zero(), UNIT), growing(1.0, 0.15), 124),
        lambda p: bounds.optimistic_self_confident(2.0, 1.0, 0.0, float(p.state.energy[0])),
    ),
    "optimistic_variation": Worst(
        "one sweep",
        partial(games.sweep, OptimisticOGD(0.02, domain=UNIT), 100),
        lambda p: bounds.optimistic_variation(4.0, 0.02, regret.gradient_variation(p.game.slopes)[-1], 1.0),
    ),
    "optimistic_variation_tuned": Worst(
        "one round",
        partial(games.sweep, OptimisticOGD(sqrt(2), domain=UNIT), 1),
        lambda p: bounds.optimistic_variation_tuned(4.0, 0.0, 0.0, 1.0),
    ),
    "coin_betting": Worst(
        "turns, the comparator at x_1",
        partial(games.turns, CoinBetting(1.0, 1.0, UNIT), 64, 0.0),
        lambda p: bounds.coin_betting(0.0, 1.0, 64, 1.0),
    ),
    "coin_betting_wealth": Worst(
        "one sweep",
        partial(games.sweep, CoinBetting(1.0, 1.0, Free()), 20),
        lambda p: p.learner.static_bound(p.state, 2.0),
    ),
    "relative_entropy": Worst(
        "random losses, the last weights as comparator",
        partial(games.last_weights, Hedge(2.0)),
        lambda p: bounds.relative_entropy(p.comparators[0], np.log(p.game.x_1)) / 2.0 + gaps(p),
    ),
    "hedge": Worst("taking turns", hedged(1024), lambda p: np.max(p.learner.expert_bound(p.state))),
    "hedge_apriori": Worst("taking turns", hedged(4096), lambda p: bounds.hedge_apriori(1.0, 4096, 2)),
    "mixture_rounds": Worst("taking turns", hedged(4096, 4.0), lambda p: bounds.mixture_rounds(4 * 4096, 4, 2)),
    "routing": Worst(
        "taking turns", hedged(4096), lambda p: bounds.routing(4096, 2), lambda played: played.regret / 4096
    ),
    "adahedge": Worst(
        "taking turns",
        partial(games.take_turns, AdaHedge(), 4096, 4.5),
        lambda p: bounds.adahedge(log(2), 2, gaps(p)),
    ),
    "adahedge_spread": Worst(
        "taking turns",
        partial(games.take_turns, AdaHedge(), LONG, 4.5),
        lambda p: bounds.adahedge_spread(2, float(LONG), 1.0),
    ),
    "ensemble": Worst(
        "one sweep, a base that stays",
        partial(games.sweep, Ensemble(OGD((0.2, 1e-6), UNIT), Hedge(5.0)), 10),
        lambda p: p.learner.bound(p.state, 4.0)[()],
    ),
    "ader": Worst(
        "segments",
        partial(games.segments, Ensemble.ader(Problem(UNIT, 1, 4096, 1.0)), 4096, 24, 26),
        lambda p: bounds.ader(1.0, 2.0, p.path_length, 4096, 2.0),
    ),
    "ensemble_doubling": Worst(
        "segments",
        partial(games.segments, Ensemble.paper(Problem(UNIT, 1, 64, 1.0)), 64, 1, 8),
        lambda p: bounds.ensemble_doubling(1.0, p.comparator_energy, 64, 2.0, 5),
    ),
    "fixed_share": Worst("one possible draft", SWITCHES, lambda p: bounds.fixed_share(log(5), 3 / 39, 3.0, 40, 5)),
    "fixed_share_tuned": Worst("one possible draft", SWITCHES, lambda p: bounds.fixed_share_tuned(3.0, 40, 5)),
    "fixed_share_apriori": Worst("any expert next", MANY, lambda p: bounds.fixed_share_apriori(1.0, 48.0, 65, 4)),
    "optimistic_hedge": Worst(
        "the first always loses",
        KEPT,
        lambda p: bounds.optimistic_hedge(log(2), 0.01, np.sum(np.ptp(errors(p), axis=-1) ** 2), guessed(p)),
    ),
    "optimistic_hedge_stable": Worst(
        "the first always loses",
        KEPT,
        lambda p: bounds.optimistic_hedge_stable(
            log(2),
            0.01,
            np.sum(np.ptp(errors(p), axis=-1) ** 2),
            np.sum(np.sum(np.abs(np.diff(p.decisions, axis=0)), axis=-1) ** 2),
        ),
    ),
    "sword": Worst(
        "one sweep",
        partial(
            games.sweep, Sword(OptimisticOGD((0.02,), domain=UNIT), OptimisticHedge(0.1, adaptive=False), 1.0), 100
        ),
        lambda p: bounds.sword(4.0, 0.0, 0.02, 0.1, 2.0, 1.0, 0.0),
    ),
    "sword_small_loss": Worst(
        "a flat bowl",
        partial(
            games.bowl,
            Sword(OptimisticOGD((0.005,), domain=UNIT), OptimisticHedge(1e-6, adaptive=False), 1.0),
            4096,
            0.1,
        ),
        lambda p: bounds.sword_small_loss(4.0, 0.0, 0.005, 1e-6, 2.0, 1.0, compared(p)),
    ),
    "adversary_value": Worst(
        "the adversary",
        partial(games.forced, OGD(0.1, UNIT), 60, 4),
        lambda p: bounds.adversary_value(1.0, 2.0, 60, 4),
        lower=True,
    ),
}
