"""Laws without which a game played twice is not the same game: what is decided when, and what may be remembered."""

from copy import deepcopy
from dataclasses import replace
from itertools import product

import numpy as np

from theory.checker.counterexample import numbers
from theory.checker.demand import demand
from theory.checker.games import Game, plays
from theory.learner import Learner


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
        demand(np.array_equal(first, again), "pure: predict gives another decision when asked twice")
        following, repeated = learner.update(state, loss_t), learner.update(state, loss_t)
        demand(identical(following, repeated), "pure: update gives another state when called twice on one state")
        state = following


def repeatable(learner: Learner, game: Game) -> None:
    """A game played again, after another one, gives the same decisions: nothing is remembered outside the state."""
    first = plays(learner, game.x_1, game.losses)
    plays(learner, game.x_1, replace(game, slopes=game.slopes[::-1]).losses)
    again = plays(learner, game.x_1, game.losses)
    different = np.flatnonzero(np.any(first != again, axis=(1, 2)))
    if len(different):
        raise AssertionError(
            f"repeatable: the same game played again differs from round {different[0] + 1} on; the learner remembers "
            "an earlier game outside its state"
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
        demand(identical(state, kept), "without_side_effects: the old state changed")
        demand(identical(tuple(vars(loss_t).values()), tuple(kept_loss.values())), "without_side_effects: loss changed")
        state = following
    demand(np.array_equal(x_1, game.x_1), "without_side_effects: x_1 changed")


def identical(one: tuple, other: tuple) -> bool:
    """Bit-identical nested tuples of arrays and scalars; NaN, as a state may have for what it has not seen, is NaN."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(identical(a, b) for a, b in zip(one, other, strict=True))
    if one is other:
        return True
    kind = np.asarray(one).dtype.kind
    demand(kind != "O", f"the state must be a NamedTuple of arrays, but has a {type(one).__name__}")
    return np.array_equal(one, other, equal_nan=kind in "fc")
