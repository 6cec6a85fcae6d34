"""What a learner claims about its regret, and a game to hold the claim against.

    played = replay(OGD(0.1, Ball(1.0)), x_1=[1, 0], slopes=[[1, 0]] * 9, comparators=[[-1, 0]] * 9)
    print(played.regret, bounds.ogd(played.comparator_energy, 0.1, played.gradient_energy))

A bound may give ``inf`` where its conditions do not hold: nothing is claimed there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite
from typing import Any, cast

import numpy as np

from theory import bounds, regret
from theory.checker.games import Game
from theory.domain import Simplex
from theory.learner import Learner, State
from theory.problem import Problem
from theory.runs.users_file import load

ROUNDING = 1e-9
"""A bound counts as broken when it is passed by more than this, relative to all that was summed up."""


@dataclass(frozen=True)
class Played:
    """A game as it was played. Every array is ``[T, d]`` or ``[T]``; inside the search there are copies after T.

    What a bound may read: ``horizon``, ``gradients``, ``decisions``, ``losses``, ``comparators``, ``anchors``,
    ``comparator_losses``, ``path_length`` P_T, ``diameter`` D, ``comparator_energy`` D² + 2·D·P_T, ``gradient_energy``
    Σ‖grad_t‖², ``gradient_bound`` max ‖grad_t‖, ``learner``.
    """

    learner: Learner
    game: Game
    comparators: np.ndarray
    decisions: np.ndarray
    losses: np.ndarray  # f_t(x_t)
    anchors: np.ndarray  # where each update starts from: x_t, or x̂_t of optimistic learners
    state: State  # after the last round; None for one copy taken out of many
    inside: Any  # []: whether all decisions are in the domain

    @property
    def horizon(self) -> int:
        """T."""
        return len(self.decisions)

    @cached_property
    def gradients(self) -> np.ndarray:
        """∇f_t(x_t)."""
        return self.game.loss.grad(self.decisions)

    @cached_property
    def comparator_losses(self) -> np.ndarray:
        """f_t(u_t)."""
        return self.game.loss.value(self.comparators)

    @cached_property
    def regret(self) -> Any:
        """Σ f_t(x_t) − f_t(u_t)."""
        return np.sum(self.losses - self.comparator_losses, axis=0)

    @cached_property
    def path_length(self) -> Any:
        """P_T of the comparators."""
        return regret.path_length(self.comparators)[-1]

    @property
    def diameter(self) -> float:
        """D of the learner's domain."""
        return self.learner.domain.diameter(self.decisions.shape[-1])

    @property
    def comparator_energy(self) -> Any:
        """A_T = D² + 2·D·P_T."""
        if not isfinite(self.diameter):
            return inf + self.path_length
        return bounds.comparator_energy(self.diameter, self.path_length)

    @cached_property
    def gradient_energy(self) -> Any:
        """Σ ‖grad_t‖²."""
        return np.sum(self.gradients**2, axis=(0, -1))

    @property
    def gradient_bound(self) -> Any:
        """max ‖grad_t‖."""
        return np.max(np.linalg.norm(self.gradients, axis=-1), axis=0)

    def copy(self, index: int) -> "Played":
        """One copy alone."""
        arrays = {name: getattr(self, name)[:, index] for name in ("comparators", "decisions", "losses", "anchors")}
        return replace(self, game=self.game.copy(index), state=None, inside=self.inside[index], **arrays)


def play(learner: Learner, game: Game) -> Played:
    """Play a game; the comparators are x_1 for ever until ``replace`` gives others."""
    state, decisions, anchors = learner.init(game.x_1), [], []
    for loss_t in game.losses:
        x_t = learner.predict(state)
        decisions.append(np.array(x_t, dtype=float))
        anchor = learner.anchor(state) if learner.bases is None else None  # bases have anchors of their own
        anchors.append(np.array(x_t if anchor is None else anchor, dtype=float))
        state = learner.update(state, loss_t)
    still = np.broadcast_to(game.x_1, game.slopes.shape)
    x = np.stack(decisions)
    inside = np.all(learner.domain.contains(x, 1e-6), axis=0)
    return Played(learner, game, still, x, game.loss.value(x), np.stack(anchors), state, inside)


def replay(learner: Learner, x_1: Any, slopes: Any, comparators: Any, quadratic: bool = False) -> Played:
    """One game from lists of numbers ``[d]``, ``[T, d]``, ``[T, d]``: what a counterexample prints."""
    x_1, slopes, comparators = (np.asarray(a, dtype=float) for a in (x_1, slopes, comparators))
    return replace(play(learner, Game(x_1, slopes, quadratic)), comparators=comparators)


# What is claimed


@dataclass(frozen=True)
class Claim:
    """An upper bound on the regret.

    Attributes:
        name: what it is called.
        limit: its value for every copy played ``[copies]``.
        expression: Python that gives it for the game ``played``; None where there is none.
        places: the module of every name in ``expression`` that must be imported.
        within: whether it is made for gradients up to G alone.
        anywhere: whether it is made in every dimension.
    """

    name: str
    limit: Callable[[Played], Any]
    expression: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    within: bool = False
    anywhere: bool = False


def own_bound(played: Played) -> Any:
    """``learner.bound`` with A_T = D² + 2·D·P_T."""
    return played.learner.bound(played.state, played.comparator_energy)


def sharp_bound(played: Played) -> Any:
    """``learner.bound`` with the sharp comparator energy, for constant steps.

    That is a small difference of large squares where the learner hardly moves; it is given what they lose by rounding.
    """
    sizes = np.linalg.norm(played.anchors, axis=-1) + np.linalg.norm(played.comparators, axis=-1)
    lost = 8 * np.finfo(float).eps * np.sum(sizes**2, axis=0)
    energy = bounds.comparator_energy_sharp(played.anchors, played.comparators)[-1]
    return played.learner.bound(played.state, energy + lost)


def guarantee(problem: Problem) -> Callable[[Played], Any]:
    """``learner.guarantee`` at the game's own horizon and path length, where its gradients stay within G."""

    def limit(played: Played) -> Any:
        path = np.asarray(played.path_length)
        known = {p: _promise(played, replace(problem, horizon=played.horizon, path_length=p)) for p in set(path.flat)}
        limits = np.array([known[p] for p in path.flat]).reshape(path.shape)
        fits = np.all(np.linalg.norm(played.game.slopes, axis=-1) <= problem.gradient_bound * (1 + 1e-9), axis=0)
        if isinstance(problem.domain, Simplex):  # a priori bounds of experts are for the uniform prior
            fits = fits & (np.ptp(played.game.x_1, axis=-1) < 1e-9)
        return np.where(fits & (not played.game.quadratic), limits, inf)

    return limit


def _promise(played: Played, problem: Problem) -> float:
    promised = played.learner.guarantee(problem)
    return inf if promised is None else promised


def written(problem: Problem) -> str:
    """The constants that every problem has, as Python."""
    return f"Problem({problem.domain}, {problem.dimension}, {problem.horizon}, {problem.gradient_bound})"


Bound = Callable[[Played], float]
"""A user's bound on the regret of the game it is given, one copy; inf where its conditions do not hold."""


class BoundRaised(ValueError):
    """A user's bound did not give a number."""


def load_bound(spec: str) -> Bound:
    """The function behind ``path/file.py:function``.

    Raises:
        ValueError: for a missing file or function, or a file that cannot be run.
    """
    found = load(spec, "bound")
    if not callable(found):
        raise ValueError(f"bound={spec!r}: it must be a function of a theory.checker.claims.Played, but is {found!r}")
    return cast("Bound", found)


def claims(learner: Learner, problem: Problem, bound: Bound | None = None, spec: str | None = None) -> list[Claim]:
    """What there is to break: the user's ``bound`` if there is one, else all that the learner claims.

    Args:
        learner: who claims.
        problem: the constants that its guarantee is asked for.
        bound: a user's own.
        spec: ``file.py:function``, where the bound comes from a file.
    """
    if bound is not None:
        name = bound.__name__ if getattr(bound, "__name__", "").isidentifier() else "bound"  # not so a lambda

        def one(played: Played) -> float:
            try:
                return float(bound(played))
            except (Exception, SystemExit) as error:
                raise BoundRaised(
                    f"{name} raised {type(error).__name__}: {error}; a bound takes a theory.checker.claims.Played of "
                    f"{played.horizon} rounds here, from 1 to 1024 in all, and gives one number"
                ) from error

        def limit(played: Played) -> Any:
            if played.decisions.ndim == 2:
                return one(played)
            return np.array([one(played.copy(i)) for i in range(played.decisions.shape[1])])

        return [Claim(name, limit, *_where(bound, spec))]
    found = []
    x_1 = problem.domain.project(np.full(problem.dimension, 1 / problem.dimension))
    if learner.bound(learner.init(x_1), np.array(problem.comparator_energy)) is not None:
        if isfinite(problem.diameter):
            found.append(Claim("bound", own_bound, "own_bound(played)", {"own_bound": __name__}, anywhere=True))
        if learner.constant_steps and learner.bases is None:
            place = {"sharp_bound": __name__}
            found.append(Claim("bound, sharp energy", sharp_bound, "sharp_bound(played)", place, anywhere=True))
    if learner.guarantee(problem) is not None:
        domain = type(problem.domain)
        places = {"guarantee": __name__, "Problem": Problem.__module__, domain.__name__: domain.__module__}
        found.append(Claim("guarantee", guarantee(problem), f"guarantee({written(problem)})(played)", places))
    return found


def _where(bound: Bound, spec: str | None) -> tuple[str | None, dict[str, str]]:
    """How to write a user's bound in Python, and where its name comes from; nothing for a function without a name."""
    if spec is not None:
        return f"load_bound({spec!r})(played)", {"load_bound": __name__}
    name = getattr(bound, "__qualname__", "")
    if not name.isidentifier():
        return None, {}
    return f"{name}(played)", {} if bound.__module__ == "__main__" else {name: bound.__module__}


def within(claim: Claim, gradient_bound: float) -> Claim:
    """The claim for games whose gradients stay within G; of others nothing is claimed."""

    def limit(played: Played) -> Any:
        return np.where(played.gradient_bound <= gradient_bound * (1 + 1e-9), claim.limit(played), inf)

    return replace(claim, limit=limit, within=True)


# What was found


@dataclass(frozen=True)
class Finding:
    """A game of one copy in which a claim fails, or is nearest to failing."""

    claim: Claim
    family: str
    played: Played

    @property
    def limit(self) -> float:
        """The claim's value."""
        return float(self.claim.limit(self.played))

    @property
    def ratio(self) -> float:
        """Regret over bound."""
        return float(score(self.played, self.limit))

    @property
    def outside(self) -> list[int]:
        """Rounds, from 1, whose decision is not in the domain."""
        inside = self.played.learner.domain.contains(self.played.decisions, 1e-6)
        return (np.flatnonzero(~np.asarray(inside)) + 1).tolist()

    @property
    def broken(self) -> bool:
        """Whether regret exceeds the bound by more than rounding."""
        return bool(broken(self.played, self.limit))


def broken(played: Played, limit: Any) -> Any:
    """Where regret exceeds ``limit`` by more than rounding, or is no number, or the play leaves the domain."""
    summed = np.sum(np.abs(played.losses), axis=0) + np.sum(np.abs(played.comparator_losses), axis=0)
    limit = np.asarray(limit, dtype=float)
    within = played.regret <= limit + ROUNDING * (summed + np.where(np.isfinite(limit), np.abs(limit), 0.0))
    return ~(within & played.inside)


def score(played: Played, limit: Any) -> Any:
    """Regret/bound; infinite where it is broken and there is no such quotient."""
    limit = np.asarray(limit, dtype=float)
    sensible = np.isfinite(limit) & (limit > 1e-300)
    quotient = np.where(sensible, played.regret / np.where(sensible, limit, 1.0), 0.0)
    failed = broken(played, limit)
    return np.where(failed, np.where(quotient > 1, quotient, inf), np.minimum(np.nan_to_num(quotient), 1.0))
