"""How tight every bound is: the largest regret/bound that the search finds or a game by hand reaches, and the game.

Three kinds of rows. Every learner of ``LEARNERS``, as its theorem tunes it, with all that it claims itself; named
right-hand sides of ``theory/bounds.py`` that need their own step size or kind of loss; and every bound's worst game by
hand (``worst``). At a ratio of 1 a bound is attained. What counts is the tightest row of each.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from math import inf, log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from theory import bounds, regret, step_size
from theory.catalogue import BOUNDS
from theory.checker.claims import Claim, Played, claims
from theory.checker.counterexample import summary
from theory.checker.search import GAMES, HORIZONS, Search
from theory.checker.worst import WORST, Worst
from theory.domain import Ball, Simplex
from theory.learner import Learner
from theory.learners import LEARNERS, OGD, AdaHedge, CoinBetting, Ensemble, Hedge, OptimisticHedge, OptimisticOGD, Sword
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.problem import Problem
from theory.runs.experiment import select
from theory.runs.files import write_whole
from theory.step_size import AdaGradNorm, InverseSqrt

BALL = Problem(Ball(1.0), 3, 64, 1.0)
EXPERTS = Problem(Simplex(), 2, 1024, 2**0.5)
FROZEN = 4
ROUNDS = replace(EXPERTS, gradient_bound=FROZEN / 2**0.5, loss_range=float(FROZEN))
MOVING = replace(BALL, path_length=4.0)


class Tightness(NamedTuple):
    """One line of the table."""

    bound: str
    function: str  # of ``theory/bounds.py``, whose value is reached
    learner: str
    ratio: float
    game: str
    rounds: int
    path_length: float
    broken: bool
    note: str
    instance: str  # x_1, slopes or centers and comparators, as text; of a game by hand where it is made


@dataclass(frozen=True)
class Row:
    """A learner, its problem, and the limit it is held against; without a limit, all that it claims itself."""

    learner: Callable[[Problem], Learner]
    problem: Problem
    limit: Callable[[Problem, Played], Any] | None = None
    horizons: tuple[int, ...] = HORIZONS


def at_horizon(problem: Problem, played: Played, limit: float) -> Any:
    """``limit`` for linear losses within G, the problem's own horizon and at most its path length; else nothing."""
    slopes = np.max(np.linalg.norm(played.game.slopes, axis=-1), axis=0)
    fits = (slopes <= problem.gradient_bound * (1 + 1e-9)) & (played.path_length <= problem.path_length + 1e-9)
    return np.where(fits & (played.horizon == problem.horizon) & (not played.game.quadratic), limit, inf)


def oracle(problem: Problem, played: Played) -> Any:
    """``bounds.ogd_oracle``."""
    limit = bounds.ogd_oracle(problem.gradient_bound, problem.horizon, problem.comparator_energy)
    return at_horizon(problem, played, limit)


def centred(problem: Problem, played: Played) -> Any:
    """``bounds.ogd_centred``."""
    limit = bounds.ogd_centred(problem.gradient_bound, problem.horizon, problem.diameter, problem.path_length)
    return at_horizon(problem, played, limit)


def half_path_step(problem: Problem) -> OGD:
    """OGD with the step that ``centred`` is for."""
    energy = problem.diameter * (problem.diameter + problem.path_length)
    return OGD(energy**0.5 / (problem.gradient_bound * problem.horizon**0.5), problem.domain)


def constant_sword(problem: Problem) -> Sword:
    """Sword with the constant rates of ``bounds.sword``."""
    d, g, smoothness = problem.diameter, problem.gradient_bound, problem.smoothness or 0.0
    base = OptimisticOGD(step_size.sword_grid(d, g, problem.horizon, smoothness), domain=problem.domain)
    return Sword(base, OptimisticHedge(bounds.sword_rate(smoothness, d), adaptive=False), smoothness)


def mild_sword(problem: Problem) -> Sword:
    """Sword with one base of a step and a rate small enough for ``bounds.sword_small_loss``."""
    base = OptimisticOGD((0.01,), domain=problem.domain)
    return Sword(base, OptimisticHedge(1e-6, adaptive=False), problem.smoothness or 0.0)


def untuned(problem: Problem, played: Played) -> Any:
    """``bounds.ogd_untuned``, at the game's own path length."""
    limit = bounds.ogd_untuned(problem.gradient_bound, problem.horizon, problem.diameter, played.path_length)
    return at_horizon(replace(problem, path_length=inf), played, limit)


def zinkevich(problem: Problem, played: Played) -> Any:
    """``bounds.zinkevich`` with the largest gradient played."""
    eta = played.learner.step_size  # pyright: ignore[reportAttributeAccessIssue]
    return bounds.zinkevich(played.diameter, played.path_length, eta, played.gradient_bound, played.horizon)


def small_loss(problem: Problem, played: Played) -> Any:
    """``bounds.ogd_small_loss`` for quadratics, L = 1, whose infimum is 0."""
    if not played.game.quadratic:
        return np.full_like(np.asarray(played.regret), inf)
    eta = played.learner.step_size  # pyright: ignore[reportAttributeAccessIssue]
    return bounds.ogd_small_loss(played.comparator_energy, eta, 1.0, np.sum(played.comparator_losses, axis=0))


def smooth(problem: Problem, played: Played) -> Any:
    """``bounds.ogd_smooth`` for quadratics, L = 1, whose infimum is 0."""
    if not played.game.quadratic:
        return np.full_like(np.asarray(played.regret), inf)
    eta = played.learner.step_size  # pyright: ignore[reportAttributeAccessIssue]
    return bounds.ogd_smooth(played.comparator_energy, eta, 1.0, np.sum(played.comparator_losses, axis=0))


def realised(bound: str, problem: Problem, played: Played) -> Any:
    """A ``bound`` by its name, for losses that the comparators bring to their infimum: quadratics, L = 1."""
    apart = np.max(np.abs(played.game.slopes - played.comparators), axis=(0, -1))
    limit = getattr(bounds, bound)(played.comparator_energy, 1.0)
    return np.where((apart < 1e-12) & played.game.quadratic, limit, inf)


def self_confident(problem: Problem, played: Played) -> Any:
    """``bounds.optimistic_self_confident``, gradients within G."""
    error = played.state.energy[..., 0]
    limit = bounds.optimistic_self_confident(problem.diameter, problem.gradient_bound, played.path_length, error)
    return np.where(played.gradient_bound <= problem.gradient_bound * (1 + 1e-9), limit, inf)


def variation(problem: Problem, played: Played) -> Any:
    """``bounds.optimistic_variation`` for linear losses, where every step size is small enough."""
    if played.game.quadratic:
        return np.full_like(np.asarray(played.regret), inf)
    eta = played.learner.step_size  # pyright: ignore[reportAttributeAccessIssue]
    varied = regret.gradient_variation(played.game.slopes)[-1]
    return bounds.optimistic_variation(played.comparator_energy, eta, varied, played.gradient_bound)


def spread(problem: Problem, played: Played) -> Any:
    """``bounds.adahedge_spread``, uniform prior."""
    spreads = np.ptp(played.game.slopes, axis=-1)
    limit = bounds.adahedge_spread(played.decisions.shape[-1], np.sum(spreads**2, axis=0), np.max(spreads, axis=0))
    return np.where(np.ptp(played.game.x_1, axis=-1) < 1e-9, limit, inf)


def rounds(problem: Problem, played: Played) -> Any:
    """``bounds.mixture_rounds`` for rounds of ``FROZEN`` positions, uniform prior.

    Linear losses of spread at most n are, up to a constant, the TV of n sure tokens: ``loss.MixtureTV``.
    """
    limit = bounds.mixture_rounds(FROZEN * problem.horizon, FROZEN, played.decisions.shape[-1])
    return np.where(np.ptp(played.game.x_1, axis=-1) < 1e-9, at_horizon(problem, played, limit), inf)


def stable(problem: Problem, played: Played) -> Any:
    """``bounds.optimistic_hedge_stable``, uniform prior, the last loss as hint."""
    rate = played.learner.meta_step_size  # pyright: ignore[reportAttributeAccessIssue]
    spreads = np.ptp(np.diff(played.game.slopes, axis=0, prepend=0.0), axis=-1)
    movement = np.sum(np.sum(np.abs(np.diff(played.decisions, axis=0)), axis=-1) ** 2, axis=0)
    prior = log(played.decisions.shape[-1])
    limit = bounds.optimistic_hedge_stable(prior, rate, np.sum(spreads**2, axis=0), movement)
    return np.where(np.ptp(played.game.x_1, axis=-1) < 1e-9, limit, inf)


def wealth(problem: Problem, played: Played) -> Any:
    """``bounds.coin_betting_wealth``, gradients within G, comparators that stay."""
    distance = np.linalg.norm(played.comparators[0] - played.game.x_1, axis=-1)
    learner: Any = played.learner
    rounding = 1e-12 * learner.gradient_bound * learner.endowment  # the wealth is the endowment and what was won
    limit = learner.static_bound(played.state, distance) + rounding
    fits = (played.gradient_bound <= problem.gradient_bound * (1 + 1e-9)) & (played.path_length == 0)
    return np.where(fits, limit, inf)


def sword_small_loss(problem: Problem, played: Played) -> Any:
    """``bounds.sword_small_loss`` for quadratics, L = 1, whose infimum is 0, and ``mild_sword``."""
    if not played.game.quadratic:
        return np.full_like(np.asarray(played.regret), inf)
    sword = mild_sword(problem)
    (eta,), rate = sword.base.step_size, sword.meta.meta_step_size  # pyright: ignore[reportGeneralTypeIssues]
    compared = np.sum(played.comparator_losses, axis=0)
    return bounds.sword_small_loss(played.comparator_energy, 0.0, eta, rate, problem.diameter, 1.0, compared)


NAMED = {
    "bounds.ogd_oracle, P_T = 0": Row(OGD.tuned, BALL, oracle, (64,)),
    "bounds.ogd_oracle, P_T = 4": Row(OGD.tuned, MOVING, oracle, (64,)),
    "G√(T(D² + D·P_T)), P_T = 4": Row(half_path_step, MOVING, centred, (64,)),
    "bounds.ogd_untuned": Row(lambda p: OGD(p.diameter / p.horizon**0.5, p.domain), BALL, untuned, (64,)),
    "bounds.zinkevich": Row(lambda p: OGD(0.2, p.domain), BALL, zinkevich),
    "bounds.ogd_small_loss": Row(lambda p: OGD(0.25, p.domain), BALL, small_loss),
    "bounds.ogd_realisable": Row(lambda p: OGD(0.5, p.domain), BALL, partial(realised, "ogd_realisable")),
    "bounds.ogd_smooth": Row(lambda p: OGD(0.25, p.domain), BALL, smooth),
    "bounds.ogd_smooth_realisable": Row(lambda p: OGD(1.0, p.domain), BALL, partial(realised, "ogd_smooth_realisable")),
    "bounds.optimistic_self_confident": Row(OptimisticOGD.tuned, BALL, self_confident),
    "bounds.optimistic_variation": Row(lambda p: OptimisticOGD(0.2, domain=p.domain), BALL, variation),
    "bounds.adahedge_spread": Row(lambda p: AdaHedge(), EXPERTS, spread),
    "bounds.mixture_rounds": Row(Hedge.tuned, ROUNDS, rounds, (1024,)),
    "bounds.optimistic_hedge_stable": Row(lambda p: OptimisticHedge(0.01, adaptive=False), EXPERTS, stable),
    "bounds.coin_betting_wealth": Row(CoinBetting.tuned, BALL, wealth),
    "bounds.sword_small_loss": Row(mild_sword, replace(BALL, smoothness=1.0), sword_small_loss),
    "ogd, inverse root": Row(lambda p: OGD(InverseSqrt(p.diameter, p.gradient_bound), p.domain), BALL),
    "ogd, adagrad-norm": Row(lambda p: OGD(AdaGradNorm(p.diameter), p.domain), BALL),
    "chunked": Row(Chunked.tuned, BALL),
    "delayed": Row(Delayed.tuned, BALL),
    "sword, constant rates": Row(constant_sword, replace(BALL, smoothness=1.0)),
    "optimistic, constant step": Row(lambda p: OptimisticOGD(0.1, domain=p.domain), BALL),
    "optimistic, four rounds": Row(lambda p: OptimisticOGD(0.5, domain=p.domain), replace(BALL, horizon=4)),
    "ensemble, the paper's grid": Row(Ensemble.paper, BALL),
}
"""Bounds and learners beside those of ``LEARNERS`` as tuned."""

STATES = {
    "ogd: guarantee": "ogd",
    "tracking: guarantee": "ogd",
    "optimistic: guarantee": "optimistic_self_confident",
    "optimistic_hedge: guarantee": "adahedge_spread",
    "hedge: guarantee": "hedge",
    "adahedge: guarantee": "adahedge_spread",
    "fixed_share: guarantee": "fixed_share",
    "ensemble: guarantee": "ader",
    "coin_betting: guarantee": "coin_betting",
    "ogd, inverse root: guarantee": "ogd_inverse_sqrt",
    "ogd, adagrad-norm: guarantee": "ogd_adagrad_norm",
    "chunked: guarantee": "chunked",
    "delayed: guarantee": "ogd_delayed",
    "sword, constant rates: guarantee": "sword",
    "ensemble, the paper's grid: guarantee": "ensemble_doubling",
    "hedge: bound": "hedge",
    "optimistic_hedge: bound": "hedge",
    "mixture: bound": "hedge",
    "adahedge: bound": "adahedge",
    "fixed_share: bound": "fixed_share",
    "ensemble: bound": "ensemble",
    "sword: bound": "ensemble",
    "sword, constant rates: bound": "ensemble",
    "ensemble, the paper's grid: bound": "ensemble",
    "chunked: bound": "chunked",
    "G√(T(D² + D·P_T)), P_T = 4": "ogd_centred",
}
"""Which function a line is about, where its name does not say so and it is not ``proximal``."""


def states(line: str) -> str:
    """The function of ``theory/bounds.py`` that a line is about."""
    named = line.partition(",")[0].removeprefix("bounds.")
    return named if line.startswith("bounds.") else STATES.get(line, "proximal")


def tuned(name: str, problem: Problem) -> Learner:
    """The learner of the table ``LEARNERS`` as its theorem tunes it."""
    return LEARNERS[name].tuned(problem)


def rows() -> dict[str, Row]:
    """Every row by name: the learners of ``LEARNERS``, then ``NAMED``."""
    own = {
        name: Row(partial(tuned, name), EXPERTS if learner.weighs_experts() else BALL)
        for name, learner in LEARNERS.items()
    }
    return own | NAMED


def chosen(patterns: list[str]) -> dict[str, Row | Worst]:
    """Rows by pattern, all without one; of games by hand ``worst of`` and the bound.

    Raises:
        ValueError: for a pattern without a row.
    """
    every = rows() | {f"worst of {name}": worst for name, worst in WORST.items()}
    return select(every, patterns) if patterns else every


def held(name: str, row: Row) -> list[Claim]:
    """What a row's learner is held against."""
    if row.limit is not None:
        return [Claim(name, partial(row.limit, row.problem))]
    learner = row.learner(row.problem)
    return [replace(claim, name=f"{name}: {claim.name}") for claim in claims(learner, row.problem)]


def measure(name: str, games: int = GAMES, horizons: Sequence[int] | None = None) -> list[Tightness]:
    """The lines of one row, one per claim; none where nothing is claimed. ``horizons`` instead of the row's own."""
    row = chosen([])[name]
    if isinstance(row, Worst):
        return [_by_hand(name, row)]
    claimed = held(name, row)
    lines = []
    horizons = row.horizons if horizons is None else horizons
    search = Search(row.learner(row.problem), row.problem, claimed, games, horizons=horizons)
    for found in search.run() if claimed else []:
        game = "; ".join(f"{key} {value}" for key, value in summary(found).items())
        lines.append(_line(found.claim.name, found.played, found.ratio, found.family, found.broken, game))
    return lines


def _by_hand(name: str, worst: Worst) -> Tightness:
    bound = name.removeprefix("worst of ")
    played = worst.played()
    game = f'theory.checker.worst.WORST["{bound}"].played()'
    return _line(f"bounds.{bound}", played, worst.ratio(played), worst.game, worst.broken(played), game)._replace(
        bound=name
    )


def _line(name: str, played: Played, ratio: float, game: str, broken: bool, instance: str) -> Tightness:
    function, path = states(name), float(played.path_length) + 0.0  # −0 is 0
    note = "" if ratio >= 0.9 else BOUNDS[function].slack or "its game by hand comes nearer"
    shown = name, function, type(played.learner).__name__, ratio, game, played.horizon
    return Tightness(*shown, path, broken, note, instance)


def tightest(lines: list[Tightness]) -> dict[str, float]:
    """The largest ratio of every bound that has a line."""
    best: dict[str, float] = {}
    for line in lines:
        best[line.function] = max(line.ratio, best.get(line.function, 0.0))
    return best


def save(lines: list[Tightness], path: Path) -> None:
    """The table as CSV, atomically."""
    table = StringIO()
    csv.writer(table, lineterminator="\n").writerows([Tightness._fields, *lines])
    write_whole(path, table.getvalue())
