"""The laws of a learner as checks for any learner object, a user's own included.

    for name, check in checks(MyLearner(step_size=0.1, domain=Ball(1.0))):
        check()                                   # AssertionError says what broke

``LAWS`` has all of them; ``untried`` says which are not for a learner, and why. Every learner is tried in several
dimensions, and on games that are played alike by whoever keeps the laws: three copies, linear and quadratic losses.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from math import isfinite

import numpy as np

from theory.bounds import comparator_energy
from theory.checker import honesty, sameness
from theory.checker.demand import demand
from theory.checker.games import Game, plays
from theory.domain import Simplex
from theory.hindsight import best_piecewise
from theory.learner import Learner, State
from theory.loss import Counted, Linear, Loss
from theory.regret import dynamic_regret
from theory.regret import path_length as measured_path_length

COPIES = 3
ROUNDING = 1e-9
DIMENSIONS = (1, 2, 9)
"""In which laws are tried besides the one asked for; experts are at least two."""
SIZES = (1e-6, 1e-3, 1.0, 1e3)
"""Of gradients that must move a learner, where it claims nothing of smaller ones alone."""
PATIENCE = 4096
"""Rounds within which a learner must have moved: more than any delay that is of use."""

Law = Callable[[Learner, Game], None]


def feasible(learner: Learner, game: Game) -> None:
    """Plays stay in the domain, from its border, under losses that push outwards, ten thousand times too strongly."""
    outward = game.slopes[0] / np.linalg.norm(game.slopes[0], axis=-1, keepdims=True)
    x_1 = game.x_1 if isinstance(learner.domain, Simplex) else learner.domain.project(game.x_1 + 1e3 * outward)
    push = 1e4 * outward * np.where(np.arange(len(game.slopes)) < len(game.slopes) // 2, -1, 1)[:, None, None]
    for slopes in (push, game.slopes, push + game.slopes):
        decisions = plays(learner, x_1, replace(game, slopes=slopes).losses)
        outside = np.argwhere(~learner.domain.contains(decisions))
        where = f"round {outside[0, 0] + 1}, {decisions[tuple(outside[0])].round(6).tolist()}" if len(outside) else ""
        more = f"nor are those of {len(outside) - 1} more rounds and copies"
        demand(not len(outside), f"feasible: the play of {where}, is not in {learner.domain}; {more}")


def starts_as_told(learner: Learner, game: Game) -> None:
    """The first decision is the one that it is given, up to rounding."""
    first = np.asarray(learner.predict(learner.init(game.x_1)))
    apart = float(np.max(np.abs(first - game.x_1)))
    demand(apart <= 1e-6, f"starts_as_told: the first decision differs by {apart:g} from the x_1 that init was given")


def moves(learner: Learner, game: Game) -> None:
    """A learner that learns is moved by losses of every size, one that does not learn by none."""
    centre = learner.domain.project(0.0 * game.x_1)
    x_1 = learner.domain.project(0.5 * (game.x_1 + centre))  # inside, so that every direction is open
    for size in (size for size in SIZES if size <= learner.largest_gradient):
        slope = size * game.slopes[0] / np.linalg.norm(game.slopes[0], axis=-1, keepdims=True)
        alike = [learner.init(x_1), learner.init(x_1)]
        moved = np.zeros(x_1.shape[:-1], dtype=bool)
        for _ in range(PATIENCE if learner.learns else len(game.slopes)):
            with_slope, without = (np.asarray(learner.predict(state)) for state in alike)
            moved |= np.any(with_slope != without, axis=-1)
            if np.all(moved):
                break
            alike = [learner.update(state, Linear(one)) for state, one in zip(alike, (slope, 0.0 * slope), strict=True)]
        demand(learner.learns or not np.any(moved), "moves: learns is False, but losses change what is played")
        demand(
            np.all(moved) or not learner.learns,
            f"moves: {PATIENCE} gradients of norm {size:g} in d = {x_1.shape[-1]} change no play; a learner that is "
            "not to learn says learns = False",
        )


def gradients_counted(learner: Learner, game: Game) -> None:
    """A round asks for at most ``gradients_per_round`` gradients: what a user pays for."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        counted = Counted(loss_t, copies=len(game.x_1))
        learner.predict(state)
        state = learner.update(state, counted)
        demand(
            counted.queries <= learner.gradients_per_round,
            f"gradients_counted: {counted.queries:g} gradients in a round, {learner.gradients_per_round} declared as "
            "gradients_per_round",
        )


def hint_taken(learner: Learner, game: Game) -> None:
    """A learner that declares ``takes_hints`` plays by an outside hint, and asks for its gradient where it played."""
    state, taken = learner.init(game.x_1), False
    for loss_t in game.losses:
        for hint in (np.ones_like(game.x_1), np.roll(game.slopes[0], 1, axis=-1)):
            taken = taken or bool(np.any(learner.predict(state, hint) != learner.predict(state)))
            as_played, as_usual = (_asks_where_it_plays(learner, state, loss_t, given) for given in (hint, None))
            demand(
                as_played or not as_usual,
                "hint_taken: update asks for the gradient at another point than predict played by the outside hint; "
                "pass it on in update, too",
            )
        state = learner.update(state, loss_t)
    demand(taken, "hint_taken: takes_hints is True, but no outside hint changes a play")


def _asks_where_it_plays(learner: Learner, state: State, loss_t: Loss, hint: np.ndarray | None) -> bool:
    asked = Asked(loss_t)
    learner.update(state, asked, hint)
    x_t = learner.predict(state, hint)
    return any(np.array_equal(point, x_t) for point in asked.points)


class Asked(Counted):
    """A loss that remembers where it was asked for its gradient."""

    def __init__(self, loss: Loss):
        super().__init__(loss)
        self.points: list[np.ndarray] = []

    def _count(self, x: np.ndarray) -> None:
        self.points.append(np.array(x))


def hint_optional(learner: Learner, game: Game) -> None:
    """Passing the learner's own hint changes nothing, and only one that ``takes_hints`` is moved by another."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        hint = learner.own_hint(state)
        own = learner.predict(state)
        uses = not np.array_equal(learner.predict(state, np.ones_like(game.x_1)), own)
        demand(
            learner.takes_hints or not uses,
            "hint_optional: predict uses an outside hint, but takes_hints is False; the class must declare it",
        )
        same = np.array_equal(learner.predict(state, hint), own)
        demand(same, "hint_optional: predict with the learner's own hint differs from predict without")
        following = learner.update(state, loss_t)
        same = honesty.identical(learner.update(state, loss_t, hint), following)
        demand(same, "hint_optional: update with the learner's own hint differs from update without")
        state = following


def within_bound(learner: Learner, game: Game) -> None:
    """Regret at most the data-dependent bound the learner claims, with A_T = D² + 2·D·P_T, after every round.

    On the game and on its first loss for ever. Comparators: the best with 1, 2 and 5 segments; only the
    first for a learner whose bound is ``static``.
    """
    diameter = learner.domain.diameter(game.x_1.shape[-1])
    constant = replace(game, slopes=np.repeat(game.slopes[:1], len(game.slopes), axis=0))
    for copy, both in product(range(len(game.x_1)), (game, constant)):
        one = replace(both, x_1=both.x_1[copy], slopes=both.slopes[:, copy])
        for segments in (1,) if learner.static else (1, 2, 5):
            u = best_piecewise(one.slopes, learner.domain, min(segments, len(one.slopes)), game.kind)
            _assert_within_bound(learner, one, u, comparator_energy(diameter, measured_path_length(u)))


def _assert_within_bound(learner: Learner, game: Game, comparators: np.ndarray, energy: np.ndarray) -> None:
    state, losses, compared, limits = learner.init(game.x_1), [], [], []
    for t, loss_t in enumerate(game.losses):
        losses.append(loss_t.value(learner.predict(state)))
        compared.append(loss_t.value(comparators[t]))
        state = learner.update(state, loss_t)
        limits.append(learner.bound(state, energy[t]))
    if limits[0] is None:
        return
    excess = dynamic_regret(np.array(losses), np.array(compared)) - np.array(limits)
    worst = int(np.argmax(excess))
    rounding = ROUNDING * (1 + abs(limits[worst]))
    within = np.all(excess <= rounding)
    demand(within, f"within_bound: regret exceeds the bound by {excess[worst]} in round {worst + 1}")


# Which laws are whose


def _bounded(learner: Learner, dimension: int) -> str | None:
    x_1 = learner.domain.project(np.full(dimension, 1 / dimension))
    try:
        claimed = learner.bound(learner.init(x_1), np.array(4.0)) is not None
    except Exception:  # the law will tell
        claimed = True
    if not claimed:
        return "the learner claims no bound"
    bounded = isfinite(learner.domain.diameter(dimension))
    return None if bounded else "the domain has no diameter, so that the bound has no value"


def _declared(name: str) -> Callable[[Learner, int], str | None]:
    return lambda learner, dimension: None if name in learner.laws else f"{name!r} is not among its laws"


def _always(learner: Learner, dimension: int) -> str | None:
    return None


LAWS: dict[Law, Callable[[Learner, int], str | None]] = {
    feasible: _always,
    honesty.causal: _always,
    honesty.pure: _always,
    honesty.repeatable: _always,
    honesty.settled: _always,
    honesty.without_side_effects: _always,
    starts_as_told: _always,
    moves: _always,
    gradients_counted: _always,
    hint_optional: _always,
    hint_taken: lambda learner, dimension: None if learner.takes_hints else "takes_hints is False",
    sameness.independent_copies: _always,
    sameness.disguised: _always,
    sameness.dtype_kept: _always,
    sameness.any_library: lambda learner, dimension: sameness.no_other_library(),
    sameness.traceable: lambda learner, dimension: None if learner.traceable else "traceable is False",
    sameness.permutation: _declared("permutation"),
    sameness.translation: _declared("translation"),
    sameness.scaling: _declared("scaling"),
    within_bound: _bounded,
}
"""Every law, and why it is not for a learner; None where it is."""


def checks(
    learner: Learner, dimension: int = 4, rounds: int = 12, seed: int = 0, dimensions: tuple[int, ...] = DIMENSIONS
) -> Iterator[tuple[str, partial[None]]]:
    """(name, check) for every law that must hold for ``learner``; a check raises AssertionError if it does not.

    Args:
        learner: any ``Learner``; its domain decides the games.
        dimension: d, at least 2; for an expert learner the number of experts.
        rounds: T, at least 4.
        seed: of the random games.
        dimensions: more of them.
    """
    known = [d for d in dict.fromkeys((dimension, *dimensions)) if d > 1 or not _experts(learner)]
    for law, reason in LAWS.items():
        for d in known:
            if reason(learner, d) is None:
                for number, game in enumerate(_games(learner, d, rounds, seed)):
                    kind = "quadratic" if number else "linear"
                    where = kind if d == dimension else f"{kind}, d = {d}"
                    yield f"{law.__name__}[{where}]", partial(law, learner, game)


def untried(learner: Learner, dimension: int = 4) -> dict[str, str]:
    """Every law that is not for this learner, and why."""
    reasons = {law.__name__: reason(learner, dimension) for law, reason in LAWS.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _experts(learner: Learner) -> bool:
    return isinstance(learner.domain, Simplex)


def _games(learner: Learner, dimension: int, rounds: int, seed: int) -> list[Game]:
    """A linear game, and a quadratic one where decisions are not weights."""
    rng = np.random.default_rng(seed)
    simplex = _experts(learner)
    x_1 = rng.dirichlet(np.ones(dimension), COPIES) if simplex else rng.normal(size=(COPIES, dimension))
    game = Game(learner.domain.project(x_1), rng.normal(size=(rounds, COPIES, dimension)))
    return [game] if simplex else [game, replace(game, quadratic=True)]
