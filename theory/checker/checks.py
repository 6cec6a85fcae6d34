"""The laws of a learner as checks for any learner object, a user's own included.

    for name, check in checks(MyLearner(step_size=0.1, domain=Ball(1.0))):
        check()                                   # AssertionError says what broke

Every learner: plays feasible, causal, predict pure, update without side effects, copies independent, dtype kept, own
hint = no hint, regret within the bound it claims. Only where ``learner.laws`` declares them: "permutation" of the
coordinates, "translation" of losses on the simplex by c·1, "scaling" (losses times c, step sizes over c).
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from itertools import product
from math import isfinite
from typing import Any

import numpy as np

from theory.bounds import comparator_energy
from theory.checker.counterexample import numbers
from theory.checker.games import Game, plays
from theory.domain import Simplex
from theory.hindsight import best_piecewise
from theory.learner import Learner
from theory.regret import dynamic_regret
from theory.regret import path_length as measured_path_length

COPIES = 3
ROUNDING = 1e-9


def checks(
    learner: Learner, dimension: int = 4, rounds: int = 12, seed: int = 0
) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, check) for every law that must hold for ``learner``; a check raises AssertionError if it does not.

    Args:
        learner: any ``Learner``; its domain decides the games.
        dimension: d, at least 2; for an expert learner the number of experts.
        rounds: T, at least 4.
        seed: of the random games.
    """
    rng = np.random.default_rng(seed)
    simplex = isinstance(learner.domain, Simplex)
    x_1 = rng.dirichlet(np.ones(dimension), COPIES) if simplex else rng.normal(size=(COPIES, dimension))
    game = Game(learner.domain.project(x_1), rng.normal(size=(rounds, COPIES, dimension)))
    games = [game] if simplex else [game, replace(game, quadratic=True)]
    laws = [feasible, causal, pure, repeatable, settled, without_side_effects, independent_copies, dtype_kept]
    laws.append(hint_optional)
    laws += [law for name, law in DECLARED.items() if name in learner.laws]
    if isfinite(learner.domain.diameter(dimension)):
        laws.append(within_bound)
    for law in laws:
        for number, one in enumerate(games):
            yield f"{law.__name__}[{'quadratic' if number else 'linear'}]", partial(law, learner, one)


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
        assert not len(outside), f"feasible: the play of {where}, is not in {learner.domain}; {more}"


def causal(learner: Learner, game: Game) -> None:
    """Changing f_t leaves x_1 … x_t bit-identical; if not, two short games that show it."""
    for t in range(len(game.slopes)):
        if _parting(learner, game, t) is not None:
            raise AssertionError(_peek(learner, game, t))


def _parting(learner: Learner, game: Game, t: int) -> tuple[int, Game, np.ndarray] | None:
    """(round from 0, the game with other losses from round t on, both plays) where plays up to x_t differ first."""
    other = replace(game, slopes=np.where(np.arange(len(game.slopes))[:, None, None] < t, game.slopes, 7.5))
    both = np.stack([plays(learner, game.x_1, one.losses)[: t + 1] for one in (game, other)])
    rounds = np.flatnonzero(np.any(both[0] != both[1], axis=(1, 2)))
    return (int(rounds[0]), other, both[:, rounds[0]]) if len(rounds) else None


def _peek(learner: Learner, game: Game, t: int) -> str:
    """What ``causal`` says: one copy, as few rounds and digits as still show that the plays differ."""
    for rounds, copy, digits in product((t + 1, len(game.slopes)), range(len(game.x_1)), (0, 1, 17)):
        x_1, slopes = game.x_1[copy : copy + 1].round(digits), game.slopes[:rounds, copy : copy + 1].round(digits)
        small = replace(game, x_1=learner.domain.project(x_1), slopes=slopes)
        found = _parting(learner, small, t)
        if found is not None:
            s, other, both = found
            kind = "centers" if game.quadratic else "slopes"
            shown = zip((small, other), _told_apart(*both[:, 0]), strict=True)
            played = [f"{kind} {numbers(one.slopes[:, 0])} → x_{s + 1} = {play}" for one, play in shown]
            first = f"causal: x_{s + 1} depends on the loss of round {t + 1} or later; from x_1 {numbers(small.x_1[0])}"
            return "\n".join([first, *played])
    return f"causal: decisions up to round {t + 1} change with the loss of round {t + 1} or later, in large games only"


def pure(learner: Learner, game: Game) -> None:
    """predict and update give the same result when called again with the same state."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        first, again = learner.predict(state), learner.predict(state)
        assert np.array_equal(first, again), "pure: predict gives another decision when asked twice"
        following, repeated = learner.update(state, loss_t), learner.update(state, loss_t)
        assert _identical(following, repeated), "pure: update gives another state when called twice on one state"
        state = following


def repeatable(learner: Learner, game: Game) -> None:
    """A game played again, after another one, gives the same decisions: nothing is remembered outside the state."""
    first = plays(learner, game.x_1, game.losses)
    plays(learner, game.x_1, replace(game, slopes=game.slopes[::-1]).losses)
    again = plays(learner, game.x_1, game.losses)
    different = np.flatnonzero(np.any(first != again, axis=(1, 2)))
    assert not len(different), (
        f"repeatable: the same game played again differs from round {different[0] + 1} on; the learner remembers an "
        "earlier game outside its state"
    )


def settled(learner: Learner, game: Game) -> None:
    """What was played stays played: neither x_t nor predict(old state) changes once loss_t is known."""
    state = learner.init(game.x_1)
    for t, loss_t in enumerate(game.losses):
        x_t = learner.predict(state)
        kept = np.array(x_t)
        following = learner.update(state, loss_t)
        _same_play(f"settled: update changes the decision already played in round {t + 1}", kept, x_t)
        again = learner.predict(state)
        _same_play(f"settled: predict gives another decision for round {t + 1} once its loss is known", kept, again)
        state = following


def _same_play(fault: str, kept: np.ndarray, now: np.ndarray) -> None:
    different = np.flatnonzero(np.any(kept != now, axis=-1))
    if len(different):
        played, afterwards = _told_apart(kept[different[0]], np.asarray(now)[different[0]])
        raise AssertionError(f"{fault}\nplayed {played}, afterwards {afterwards}")


def _told_apart(one: np.ndarray, other: np.ndarray) -> list[str]:
    """Two decisions in print, with four decimals where these differ."""
    short = one.round(4), other.round(4)
    return [numbers(play) for play in (short if np.any(short[0] != short[1]) else (one, other))]


def without_side_effects(learner: Learner, game: Game) -> None:
    """Neither predict nor update changes the state, the first decision or the loss it was given."""
    x_1, state = game.x_1.copy(), learner.init(game.x_1)
    for loss_t in game.losses:
        kept, kept_loss = deepcopy(state), deepcopy(vars(loss_t))
        learner.predict(state)
        following = learner.update(state, loss_t)
        assert _identical(state, kept), "without_side_effects: the old state changed"
        assert _identical(tuple(vars(loss_t).values()), tuple(kept_loss.values())), "without_side_effects: loss changed"
        state = following
    assert np.array_equal(x_1, game.x_1), "without_side_effects: x_1 changed"


def independent_copies(learner: Learner, game: Game) -> None:
    """Every copy of a batch plays, and is bounded, as it would be alone."""
    together, bounds = plays(learner, game.x_1, game.losses), _bound_after(learner, game)
    for copy in range(len(game.x_1)):
        alone = replace(game, x_1=game.x_1[copy], slopes=game.slopes[:, copy])
        _close("independent_copies", together[:, copy], plays(learner, alone.x_1, alone.losses))
        if bounds is not None:
            _close("independent_copies: bound", np.asarray(bounds)[copy, ...], np.asarray(_bound_after(learner, alone)))


def _bound_after(learner: Learner, game: Game) -> Any:
    """The learner's bound once the game is over, at A_T = 4."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        state = learner.update(state, loss_t)
    return learner.bound(state, np.full(game.x_1.shape[:-1], 4.0))


def dtype_kept(learner: Learner, game: Game) -> None:
    """float32 first decisions and losses give float32 decisions."""
    narrow = game.each(lambda a: a.astype(np.float32))
    dtype = plays(learner, narrow.x_1, narrow.losses).dtype
    assert dtype == np.float32, f"dtype_kept: float32 in, {dtype} out"


def hint_optional(learner: Learner, game: Game) -> None:
    """Passing the learner's own hint changes nothing, and only one that ``takes_hints`` is moved by another."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        hint = learner.own_hint(state)
        own = learner.predict(state)
        uses = not np.array_equal(learner.predict(state, np.ones_like(game.x_1)), own)
        assert learner.takes_hints or not uses, (
            "hint_optional: predict uses an outside hint, but takes_hints is False; the class must declare it"
        )
        same = np.array_equal(learner.predict(state, hint), own)
        assert same, "hint_optional: predict with the learner's own hint differs from predict without"
        following = learner.update(state, loss_t)
        same = _identical(learner.update(state, loss_t, hint), following)
        assert same, "hint_optional: update with the learner's own hint differs from update without"
        state = following


def permutation(learner: Learner, game: Game) -> None:
    """Permuted coordinates give permuted decisions: no coordinate is special."""
    order = np.roll(np.arange(game.x_1.shape[-1]), 1)
    permuted = game.each(lambda a: a[..., order])
    original = plays(learner, game.x_1, game.losses)
    _close("permutation", original[..., order], plays(learner, permuted.x_1, permuted.losses))


def translation(learner: Learner, game: Game) -> None:
    """On the simplex, adding one number to all losses of a round changes nothing."""
    offsets = np.linspace(-5, 5, len(game.slopes))[:, None, None]
    moved = replace(game, slopes=game.slopes + offsets)
    _close("translation", plays(learner, game.x_1, game.losses), plays(learner, game.x_1, moved.losses))


def scaling(learner: Learner, game: Game, factor: float = 4.0) -> None:
    """Losses times c and step sizes over c give the same decisions."""
    linear = replace(game, quadratic=False)
    scaled = replace(linear, slopes=factor * linear.slopes)
    slower = with_scaled_steps(learner, factor)
    _close("scaling", plays(learner, linear.x_1, linear.losses), plays(slower, scaled.x_1, scaled.losses))


DECLARED = {"permutation": permutation, "translation": translation, "scaling": scaling}


def within_bound(learner: Learner, game: Game) -> None:
    """Regret at most the data-dependent bound the learner claims, with A_T = D² + 2·D·P_T, after every round.

    On the game and on its first loss for ever. Comparators: the best with 1, 2 and 5 segments; only the
    first for a learner whose bound is ``static``.
    """
    diameter, kind = learner.domain.diameter(game.x_1.shape[-1]), "quadratic" if game.quadratic else "linear"
    constant = replace(game, slopes=np.repeat(game.slopes[:1], len(game.slopes), axis=0))
    for copy, both in product(range(len(game.x_1)), (game, constant)):
        one = replace(both, x_1=both.x_1[copy], slopes=both.slopes[:, copy])
        for segments in (1,) if learner.static else (1, 2, 5):
            u = best_piecewise(one.slopes, learner.domain, min(segments, len(one.slopes)), kind)
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
    assert np.all(excess <= rounding), f"within_bound: regret exceeds the bound by {excess[worst]} in round {worst + 1}"


def with_scaled_steps(learner: Any, factor: float) -> Any:
    """The learner with every step size divided by ``factor``, in nested dataclasses too."""
    changes = {}
    for field in fields(learner):
        value = getattr(learner, field.name)
        if field.name in ("step_size", "meta_step_size") and isinstance(value, int | float):
            changes[field.name] = value / factor
        elif field.name == "step_size" and isinstance(value, tuple):
            changes[field.name] = tuple(step / factor for step in value)
        elif hasattr(value, "gradient_bound"):  # a schedule that knows G
            changes[field.name] = replace(value, gradient_bound=value.gradient_bound * factor)
        elif isinstance(value, Learner) and is_dataclass(value):
            changes[field.name] = with_scaled_steps(value, factor)
    return replace(learner, **changes)


def _identical(one: tuple, other: tuple) -> bool:
    """Bit-identical nested tuples of arrays and scalars."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(_identical(a, b) for a, b in zip(one, other, strict=True))
    if one is other:
        return True
    assert np.asarray(one).dtype != object, f"the state must be a NamedTuple of arrays, but has a {type(one).__name__}"
    return np.array_equal(one, other)


def _close(law: str, one: np.ndarray, other: np.ndarray, tolerance: float = 1e-10) -> None:
    apart = np.subtract(one, other, out=np.zeros(np.shape(one)), where=one != other)  # both may be infinite
    worst = float(np.max(np.abs(apart) / (1 + np.abs(np.where(apart, one, 0.0)))))
    assert worst <= tolerance, f"{law}: what is compared differs by {worst}"
