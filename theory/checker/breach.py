"""A game in which a learner breaks a law: found, made short, and told as a test."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from theory.checker.checks import DIMENSIONS, Law, checks
from theory.checker.counterexample import imports, numbers, significant
from theory.checker.games import Game
from theory.domain import Simplex
from theory.learner import Learner


@dataclass(frozen=True)
class Breach:
    """A law held against a learner in one game.

    Attributes:
        law: one of ``checks.LAWS``. learner: who is to keep it.
        game: copies ``[copies, d]`` and slopes ``[T, copies, d]``.
        fault: what the law says of it; None where it holds.
    """

    law: Law
    learner: Learner
    game: Game
    fault: str | None

    @property
    def broken(self) -> bool:
        """Whether the law is broken in this game."""
        return self.fault is not None

    @property
    def raised(self) -> str | None:
        """The class of an exception that is not the law's own; None where it says itself what broke."""
        return self.fault.partition(":")[0] if self.fault and self.fault.startswith("raised ") else None


def hold(law: Law, learner: Learner, game: Game) -> None:
    """Hold the law against the learner in a copy of the game, into which it may write; numpy warns of nothing."""
    with np.errstate(all="ignore"):
        law(learner, game.each(np.copy))


def attempt(law: Law, learner: Learner, game: Game) -> Breach:
    """The law held against the learner in this game, and what came of it."""
    fault = None
    try:
        hold(law, learner, game)
    except AssertionError as error:
        fault = str(error).removeprefix(f"{law.__name__}: ")
    except (Exception, SystemExit) as error:
        fault = f"raised {type(error).__name__}: {error}"
    return Breach(law, learner, game, fault)


def attempts(
    learner: Learner, dimension: int, dimensions: Sequence[int] = DIMENSIONS, seed: int = 0
) -> dict[str, Breach]:
    """Every law by its name → its first game that breaks it, else its last game; arguments as of ``checks``."""
    found: dict[str, Breach] = {}
    for _, one in checks(learner, dimension, seed=seed, dimensions=tuple(dimensions)):
        law, (_, game) = one.func, one.args
        if law.__name__ not in found or not found[law.__name__].broken:
            found[law.__name__] = attempt(law, learner, game)
    return found


# Made short


def shrink(breach: Breach) -> Breach:
    """The same law broken in the same way by fewer rounds, then coordinates, then copies, then digits."""
    for simpler in (_fewer_rounds, _fewer_coordinates, _fewer_copies, _rounded_slopes, _rounded_start):
        for game in simpler(breach):
            again = attempt(breach.law, breach.learner, game)
            if again.broken and again.raised == breach.raised:
                breach = again
                break
    return breach


def _fewer_rounds(breach: Breach) -> Iterator[Game]:
    for rounds in range(1, len(breach.game.slopes)):
        yield replace(breach.game, slopes=breach.game.slopes[:rounds])


def _fewer_coordinates(breach: Breach) -> Iterator[Game]:
    least = 2 if isinstance(breach.learner.domain, Simplex) else 1
    for d in range(least, breach.game.x_1.shape[-1]):
        yield _feasible(breach, breach.game.each(lambda a, d=d: a[..., :d]))


def _fewer_copies(breach: Breach) -> Iterator[Game]:
    for copies in range(1, len(breach.game.x_1)):
        yield breach.game.each(lambda a, copies=copies: a[..., :copies, :])


def _rounded_slopes(breach: Breach) -> Iterator[Game]:
    for digits in range(1, 4):
        yield replace(breach.game, slopes=significant(breach.game.slopes, digits))


def _rounded_start(breach: Breach) -> Iterator[Game]:
    for digits in range(1, 4):
        yield _feasible(breach, replace(breach.game, x_1=significant(breach.game.x_1, digits)))


def _feasible(breach: Breach, game: Game) -> Game:
    """First decisions in the domain, and on a simplex none of them 0."""
    inside = breach.learner.domain.project(game.x_1)
    if isinstance(breach.learner.domain, Simplex):
        inside = (inside + 0.01) / np.sum(inside + 0.01, axis=-1, keepdims=True)
    return replace(game, x_1=inside)


# In print


def as_test(breach: Breach, learner: str, places: Mapping[str, str]) -> str:
    """The game as a test that fails until the law holds in it.

    Args:
        breach: the breach.
        learner: an expression that makes the learner.
        places: the module of every name in it that must be imported.
    """
    name, game = breach.law.__name__, breach.game
    lines = imports({**places, name: breach.law.__module__, "Game": Game.__module__})
    called = f"test_{type(breach.learner).__name__.lower()}_keeps_{name}"
    kind = ", quadratic=True" if game.quadratic else ""
    played = f"Game(np.array({numbers(game.x_1)}, float), np.array({numbers(game.slopes)}, float){kind})"
    return "\n".join(["import numpy as np", *lines, "", "", f"def {called}():", f"    {name}({learner}, {played})", ""])


def summary(breach: Breach) -> dict[str, Any]:
    """What is printed when the game is played again."""
    game = breach.game
    shown = {
        "rounds": len(game.slopes),
        "x_1": numbers(game.x_1),
        "centers" if game.quadratic else "slopes": numbers(game.slopes),
    }
    return shown if breach.fault is None else {**shown, "fault": breach.fault}
