"""A learner plays an environment, the truth is measured, every statement is checked in every round."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from sim.engine import CHUNK, Chunk, Game, play
from sim.environments.base import Environment, Episode, Statement
from sim.together import Spread, together
from theory.learner import Learner
from theory.loss import Linear
from theory.problem import Problem
from theory.runs.trace import Trace, plain, provenance

ON_REGRET = ("bound", "certificate", "guarantee")
LOGGED = 20
"""Rounds kept in a result file at most, half spread evenly, half geometrically; the last is among them."""
AGREEMENT = 1e-12
"""Copies agree when no further apart than this, absolutely and relatively: sums in float64 of what is the same."""
ROUNDING = 1e-9
"""A bound counts as violated when it is passed by more than this, relative to 1 + |bound|: float64 sums, no slack."""


def simulate(
    learner: Learner,
    environment: Environment,
    seeds: int,
    rng: np.random.Generator,
    settings: dict[str, Any] | None = None,
    logged: int = LOGGED,
    engine: str = "numpy",
) -> Trace:
    """Play all rounds for ``seeds`` copies at once and measure them, in chunks: memory does not depend on the horizon.

    Against an adaptive adversary the game is played twice: learners are deterministic, so the second time the losses
    are the same and the comparators known.

    Returns:
        A trace of at most ``logged`` rounds: cumulative columns ``[rows, seeds]`` and each claimed bound beside what it
        bounds; ``violations`` counts how often bounds were broken so far. The header counts them over *all* rounds and
        copies, and has the ``tightness``: regret over its sharpest bound at the horizon, the largest over the copies;
        ``tightness_of`` has every statement's.

    Raises:
        ValueError: for a play outside the problem's domain, where no comparator may go.
    """
    return simulate_each([learner], environment, seeds, rng, [settings], logged, engine)[0]


def simulate_each(
    learners: Sequence[Learner],
    environment: Environment,
    seeds: int,
    rng: np.random.Generator,
    settings: Sequence[dict[str, Any] | None],
    logged: int = LOGGED,
    engine: str = "numpy",
) -> list[Trace]:
    """The same for several settings of one learner, on the same draws: at once where they can be played together."""
    problem, before = environment.problem, deepcopy(rng)
    episode, many = environment.start(seeds, rng), len(learners) > 1
    one = learners[0] if not many else None if episode.adaptive else together(learners, problem)
    if one is None:
        return [
            simulate(learner, environment, seeds, deepcopy(before), setting, logged, engine)
            for learner, setting in zip(learners, settings, strict=True)
        ]
    x_1 = problem.domain.project(np.zeros((seeds, problem.dimension)))
    size = max(1, CHUNK // (seeds * (environment.width + len(learners) * (problem.dimension + 8))))
    known = covered(learners[0], episode)
    claims = known and (problem.path_length == 0 or not learners[0].static)
    if episode.adaptive:
        first = play(Game(one, episode, problem), x_1, size, engine)
        episode = episode.in_hindsight(chunk.revealed for chunk in first)
    game = Game(one, Spread(episode) if many else episode, problem, claims, claims and learners[0].constant_steps)
    x_1 = np.stack([x_1] * len(learners)) if many else x_1
    runs = [Run(learner, problem, episode, known, logged) for learner in learners]
    for chunk in play(game, x_1, size, engine):
        for place, run in enumerate(runs):
            run.add(chunk.of_setting(place) if many else chunk)
    return [
        run.written.trace({"settings": setting, "problem": problem, "seeds": seeds})
        for run, setting in zip(runs, settings, strict=True)
    ]


class Run:
    """What is known of one learner's game so far.

    Args:
        known: whether the learner's claims are about such losses.
    """

    def __init__(self, learner: Learner, problem: Problem, episode: Episode, known: bool, logged: int):
        self.learner, self.problem, self.episode = learner, problem, episode
        self.guarantee = learner.guarantee(problem) if known else None
        self.written = Log(problem.horizon, logged)
        self._watched: Any = None
        self._sums = dict[str, np.ndarray]()

    def add(self, chunk: Chunk) -> None:
        """Measure and hold to its bounds a further chunk."""
        inside(self.learner, self.problem, chunk)
        columns = cumulative(chunk, self._sums)
        self._watched, watched = self.episode.watch(self._watched, chunk.revealed, chunk.played.x)
        columns |= watched
        claimed = claims_on_regret(chunk, columns["dynamic_regret"], self.guarantee)
        claimed += self.episode.statements(chunk.rounds, columns, self.guarantee)
        self.written.add(chunk.rounds, columns, claimed)


def covered(learner: Learner, episode: Episode) -> bool:
    """Whether the learner's claims are about the episode's losses: some are about linear ones alone."""
    return not learner.experts_only or isinstance(episode.loss(next(episode.chunks(1))), Linear)


def inside(learner: Learner, problem: Problem, chunk: Chunk) -> None:
    """ValueError for a play outside the problem's domain."""
    outside = np.argwhere(~chunk.measured.inside)
    if len(outside):
        place, x = tuple(outside[0]), chunk.played.x
        where = "" if x is None else f" {x[place].tolist()}"
        raise ValueError(
            f"{learner!r} plays{where} in round {chunk.rounds[place[0]]}: not in {problem.domain}, to which its regret "
            "is measured; project in update"
        )


def cumulative(chunk: Chunk, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sums up to every round of a chunk, ``[rounds, seeds]``; ``sums`` are those before it, and are moved on."""
    measured, found = chunk.measured, dict[str, np.ndarray]()
    rows: dict[str, Any] = {"dynamic_regret": measured.regret, "gradient_energy": measured.gradient_energy}
    rows |= {"comparator_loss": measured.comparator_loss, "hint_error": measured.hint_error}
    for name, row in rows.items():
        if row is not None:
            before = sums[name] if name in sums else np.zeros_like(row[:1])
            found[name] = np.cumsum(np.concatenate([before, row]), axis=0)[1:]
            sums[name] = found[name][-1:]
    found["path_length"] = chunk.played.path_length
    if "hint_error" in found:
        energy = found["gradient_energy"]
        found["hint_gain"] = np.divide(found["hint_error"], energy, where=energy > 0, out=np.ones_like(energy))
    return found


def claims_on_regret(chunk: Chunk, regret: np.ndarray, guarantee: float | None) -> list[Statement]:
    """The learner's upper bounds on the dynamic regret; the a priori one is a statement about the horizon."""
    limits = {"bound": chunk.played.bound, "certificate": chunk.played.certificate}
    limits["guarantee"] = None if guarantee is None else np.full_like(regret, guarantee)
    return [Statement(name, regret, limit) for name, limit in limits.items() if limit is not None]


class Log:
    """What is kept of a run: a few rounds, violations over all rounds, and how tight every statement is at the end."""

    def __init__(self, horizon: int, logged: int):
        self.horizon = horizon
        spaced = [space(1, horizon, logged // 2) for space in (np.linspace, np.geomspace)]
        self.shown = np.unique(np.concatenate([*spaced, [horizon]]).round().astype(int))
        self.rows: dict[str, list[np.ndarray]] = {}
        self.failed: dict[str, int] = {}
        self.broken: Any = 0
        self.tight: dict[str, float] = {}

    def add(self, rounds: np.ndarray, columns: dict[str, np.ndarray], statements: list[Statement]) -> None:
        """A chunk: its columns ``[rounds, seeds]``, and what must hold of them."""
        here, failed = np.isin(rounds, self.shown), np.zeros_like(columns["dynamic_regret"], dtype=int)
        for statement in statements:
            if not statement.in_expectation:
                broken = violated(statement)
                self.failed[statement.name] = self.failed.get(statement.name, 0) + int(broken.sum())
                failed += broken
            if rounds[-1] == self.horizon:
                self.tight[statement.name] = tightness(statement)
        self.broken = self.broken + np.cumsum(failed, axis=0)
        shown = columns | {statement.name: statement.limit for statement in statements} | {"violations": self.broken}
        for name, column in shown.items():
            self.rows.setdefault(name, []).append(column[here])
        self.broken = self.broken[-1:]

    def trace(self, header: dict[str, Any]) -> Trace:
        """The whole run."""
        kept = {name: np.concatenate(parts) for name, parts in self.rows.items()}
        results = {
            "rounds": self.horizon,
            "checked": list(self.failed),
            "violations": sum(self.failed.values()),
            "violations_of": self.failed,
            "tightness": max((self.tight[name] for name in ON_REGRET if name in self.tight), default=None),
            "tightness_of": self.tight,
            "final": {name: float(np.mean(column[-1])) for name, column in kept.items()},
        }
        columns = {name: _narrow(column) for name, column in kept.items()}
        return Trace(plain(header | results | {"provenance": provenance()}), {"round": self.shown, **columns})


def violated(statement: Statement) -> np.ndarray:
    """Where the statement fails by more than rounding, bool ``[rounds, seeds]``."""
    excess = statement.limit - statement.measured if statement.at_least else statement.measured - statement.limit
    return ~(excess <= ROUNDING * (1 + np.abs(statement.limit)))


def tightness(statement: Statement) -> float:
    """Measurement over bound at the horizon (bound over measurement for a lower bound), the largest over the copies."""
    measured, limit = statement.measured[-1], statement.limit[-1]
    return float(np.max(limit / measured if statement.at_least else measured / limit))


def _narrow(column: np.ndarray) -> np.ndarray:
    """One entry a row where all copies agree but for rounding."""
    agree = column.shape[1] > 1 and np.allclose(column, column[:, :1], AGREEMENT, AGREEMENT)
    return column[:, 0] if agree else column
