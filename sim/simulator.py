"""The one loop: a learner plays an environment, the truth is measured, every statement is checked in every round."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sim.environments.base import Environment, Episode, Statement
from theory import bounds
from theory.learner import Learner, State, one_decision
from theory.loss import Linear, Loss
from theory.problem import Problem
from theory.regret import dynamic_regret
from theory.runs.trace import Trace, plain, provenance

ON_REGRET = ("bound", "certificate", "guarantee")
LOGGED = 20
"""Rounds kept in a result file at most, half spread evenly, half geometrically; the last is among them."""
AGREEMENT = 1e-12
"""Copies agree when no further apart than this, absolutely and relatively: sums in float64 of what is the same."""
ROUNDING = 1e-9
"""A bound counts as violated when it is passed by more than this, relative to 1 + |bound|: float64 sums, no slack."""

FEASIBLE = 1e-6
"""How far outside its domain a play may be by rounding."""


class Round(NamedTuple):
    """One round as the simulator sees it."""

    t: int
    x_t: np.ndarray
    loss_t: Loss
    before: State
    after: State


def game(learner: Learner, episode: Episode, x_1: np.ndarray, horizon: int) -> Iterator[Round]:
    """Predict, reveal, update: the learner sees losses only, each after it has played."""
    state = learner.init(x_1)
    for t in range(horizon):
        x_t = np.array(learner.predict(state))  # what is played stays played, whatever update writes
        one_decision(learner, x_t.shape, x_1.shape)
        loss_t = episode.loss(t, x_t)
        after = learner.update(state, loss_t)
        yield Round(t, x_t, loss_t, state, after)
        state = after


def simulate(
    learner: Learner,
    environment: Environment,
    seeds: int,
    rng: np.random.Generator,
    settings: dict[str, Any] | None = None,
    logged: int = LOGGED,
) -> Trace:
    """Play all rounds for ``seeds`` copies at once and measure them.

    Against an adaptive adversary the game is played twice: learners are deterministic, so the second time the losses
    are the same and the comparators known.

    Returns:
        A trace of at most ``logged`` rounds: cumulative columns ``[rows, seeds]`` and each claimed bound beside what it
        bounds. The header counts ``violations`` over *all* rounds and copies, and has the ``tightness``: regret over
        its sharpest bound at the horizon, the largest over the copies; ``tightness_of`` has every statement's.
    """
    problem = environment.problem
    x_1 = problem.domain.project(np.zeros((seeds, problem.dimension)))
    episode = environment.start(seeds, rng)
    if episode.adaptive:
        deque(game(learner, episode, x_1, problem.horizon), maxlen=0)
        episode = episode.in_hindsight()
    written = Measurements(learner, problem)
    for played in game(learner, episode, x_1, problem.horizon):
        written.record(played, episode)
    columns = written.columns() | episode.columns()
    statements = written.statements(columns) + episode.statements(columns, written.guarantee)
    return _trace(columns, statements, {"settings": settings, "problem": problem, "seeds": seeds}, logged)


class Measurements:
    """What the loop writes down, and the bounds that the learner states of it."""

    def __init__(self, learner: Learner, problem: Problem):
        self.learner, self.problem = learner, problem
        self.guarantee = learner.guarantee(problem)
        self.claims_bound = problem.path_length == 0 or not learner.static
        self.rows: dict[str, list[np.ndarray]] = {}
        self.path_length: Any = 0.0
        self.energy: Any = 0.0
        self.last: np.ndarray | None = None

    def record(self, played: Round, episode: Episode) -> None:
        """Values, gradients, hint errors and bounds of one round.

        Raises:
            ValueError: for a play outside the problem's domain, where no comparator may go.
        """
        if self.learner.experts_only and not isinstance(played.loss_t, Linear):
            self.guarantee, self.claims_bound = None, False  # which are not about mixtures, as comparators may be
        outside = np.argwhere(~self.problem.domain.contains(played.x_t, FEASIBLE))
        if len(outside):
            raise ValueError(
                f"{self.learner!r} plays {played.x_t[tuple(outside[0])].tolist()} in round {played.t + 1}: not in "
                f"{self.problem.domain}, to which its regret is measured; project in update"
            )
        u_t = episode.comparator(played.t)
        value, grad = played.loss_t.value_and_grad(played.x_t)
        compared = played.loss_t.value(u_t)
        row = {"loss": value, "compared": compared, "gradient_energy": np.sum(grad**2, axis=-1)}
        floor = episode.floor(played.t)
        if floor is not None:
            row["comparator_loss"] = compared - floor
        hint = self.learner.own_hint(played.before)
        if hint is not None:
            row["hint_error"] = np.sum((grad - hint) ** 2, axis=-1)
        row["path_length"] = np.linalg.norm(u_t - (u_t if self.last is None else self.last), axis=-1)
        self.path_length = self.path_length + row["path_length"]
        row |= self._bounds(played, u_t)
        self.last = u_t
        for name, entry in row.items():
            self.rows.setdefault(name, []).append(entry)

    def _bounds(self, played: Round, u_t: np.ndarray) -> dict[str, np.ndarray]:
        """The data-dependent bound with A_t = D² + 2·D·P_t, and with its sharp form where the step size is constant.

        The sharp form grows by ‖x_t−u_t‖² − ‖x_t−u_{t−1}‖² a round (``bounds.comparator_energy_sharp``).
        """
        energy = bounds.comparator_energy(self.problem.diameter, self.path_length)
        limit = self.learner.bound(played.after, energy) if self.claims_bound else None
        if limit is None:
            return {}
        if not self.learner.constant_steps:
            return {"bound": limit}
        anchor = self.learner.anchor(played.before)
        anchor = played.x_t if anchor is None else anchor
        gap = np.sum((anchor - u_t) ** 2, axis=-1)
        self.energy = self.energy + (gap if self.last is None else gap - np.sum((anchor - self.last) ** 2, axis=-1))
        sharp = self.learner.bound(played.after, self.energy)
        return {"bound": limit} if sharp is None else {"bound": limit, "certificate": sharp}

    def columns(self) -> dict[str, np.ndarray]:
        """Cumulative measurements ``[T, seeds]``."""
        row = {name: np.stack(rows) for name, rows in self.rows.items() if name not in ON_REGRET}
        total = {"dynamic_regret": dynamic_regret(row.pop("loss"), row.pop("compared"))}
        total |= {name: np.cumsum(rows, axis=0) for name, rows in row.items()}
        if "hint_error" in total:
            energy = total["gradient_energy"]
            total["hint_gain"] = np.divide(total["hint_error"], energy, where=energy > 0, out=np.ones_like(energy))
        return total

    def statements(self, columns: dict[str, np.ndarray]) -> list[Statement]:
        """The learner's upper bounds on the dynamic regret; the a priori one is a statement about the horizon."""
        regret = columns["dynamic_regret"]
        names = [name for name in ("bound", "certificate") if name in self.rows]
        statements = [Statement(name, regret, np.stack(self.rows[name])) for name in names]
        if self.guarantee is not None:
            statements.append(Statement("guarantee", regret, np.full_like(regret, self.guarantee)))
        return statements


def violations(statement: Statement) -> int:
    """Rounds and copies in which the statement fails by more than rounding."""
    excess = statement.limit - statement.measured if statement.at_least else statement.measured - statement.limit
    return int(np.sum(~(excess <= ROUNDING * (1 + np.abs(statement.limit)))))


def tightness(statement: Statement) -> float:
    """Measurement over bound at the horizon (bound over measurement for a lower bound), the largest over the copies."""
    measured, limit = statement.measured[-1], statement.limit[-1]
    return float(np.max(limit / measured if statement.at_least else measured / limit))


def _trace(columns: dict[str, np.ndarray], statements: list[Statement], header: dict[str, Any], logged: int) -> Trace:
    horizon = len(columns["dynamic_regret"])
    spaced = [space(1, horizon, logged // 2) for space in (np.linspace, np.geomspace)]
    shown = np.unique(np.concatenate(spaced).round().astype(int)) - 1
    everything = columns | {statement.name: statement.limit for statement in statements}
    kept = {name: _narrow(column[shown]) for name, column in everything.items()}
    failed = {statement.name: violations(statement) for statement in statements if not statement.in_expectation}
    tight = {statement.name: tightness(statement) for statement in statements}
    results = {
        "rounds": horizon,
        "checked": list(failed),
        "violations": sum(failed.values()),
        "violations_of": failed,
        "tightness": max((tight[name] for name in ON_REGRET if name in tight), default=None),
        "tightness_of": tight,
        "final": {name: float(np.mean(column[-1])) for name, column in everything.items()},
    }
    return Trace(plain(header | results | {"provenance": provenance()}), {"round": shown + 1, **kept})


def _narrow(column: np.ndarray) -> np.ndarray:
    """One entry a row where all copies agree but for rounding."""
    agree = column.shape[1] > 1 and np.allclose(column, column[:, :1], AGREEMENT, AGREEMENT)
    return column[:, 0] if agree else column
