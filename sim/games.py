"""One learner over a grid: settings, horizons and copies of an environment, every game on the same draws."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from sim.environments.base import Environment
from sim.experiments import ENVIRONMENTS, called, file_name
from sim.simulator import simulate_each
from sim.tidy import Tidy
from theory.runs.choose import Choice, make_learner
from theory.runs.cluster import on_cluster
from theory.runs.trace import Trace
from theory.runs.users_file import file_in, load, unknown, users_own
from theory.runs.workers import Tell, at_once

LOGGED = 2
"""Rounds kept of a game: the table has the last one."""


class Games(NamedTuple):
    """One task of a grid: every setting at one horizon, for a batch of copies.

    ``learner`` and ``environment`` may be ``file.py:Class``, which is read where the task is done.
    """

    learner: Choice
    environment: str | Environment
    values: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    horizon: int | None
    copies: int
    seed: tuple[int, ...]
    engine: str

    def play(self) -> list[Trace]:
        """A trace for each setting."""
        stream = chosen(self.environment)
        stream = stream if self.horizon is None else at_horizon(stream, self.horizon)
        with users_own(self.learner):
            players = [make_learner(self.learner, {**self.settings, **point}, stream.problem) for point in self.values]
            told = [{"learner": player, "environment": stream, "seed": self.seed} for player in players]
            rng = np.random.default_rng(self.seed)
            return simulate_each(players, stream, self.copies, rng, told, LOGGED, self.engine)


def grid(
    learner: Choice,
    environment: str | Environment,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    *,
    horizons: Sequence[int] = (),
    copies: int = 16,
    seed: int = 0,
    engine: str = "numpy",
    settings: Mapping[str, Any] | None = None,
    batch: int | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    tell: Tell | None = None,
) -> Tidy:
    """Play every setting at every horizon → one row a setting, horizon and copy.

        >>> import sim
        >>> table = sim.grid("ogd", "drift/P8", {"step_size": [0.01, 0.1]}, horizons=[100, 400], copies=3)
        >>> len(table), int(table.columns["violations"].sum())
        (12, 0)

    Args:
        learner: as in ``play``; its theorem tunes it anew for every horizon, but for what is set or swept.
        environment: a name of ``ENVIRONMENTS``, ``file.py:Class``, or an ``Environment``.
        sweep: setting → its values; several make a grid. Numbers are played at once, side by side.
        horizons: T of each game, in place of the environment's own.
        copies: independent draws, the same for every setting.
        seed: of the generators that draw the truth.
        engine: "numpy" or "jax".
        settings: of the learner, the same in all games.
        batch: copies of a task, each batch with a generator of its own; all of them if left out.
        jobs: tasks at a time, in processes of this machine. The table does not depend on it.
        cluster: "local", or the address of a Dask scheduler, whose workers do the tasks. Nor on that.
        tell: told how many tasks are done, and of how many.

    Raises:
        ValueError: for an unknown learner, environment, setting or engine, values out of range, or no copy.
        ModuleNotFoundError: for a cluster without ``distributed``, or the engine jax without jax.
    """
    for name, value in (("copies", copies), ("batch", 1 if batch is None else batch), ("jobs", jobs)):
        if value < 1:
            raise ValueError(f"grid({name}={value!r}): must be at least 1")
    over = dict(sweep or {})
    values = tuple(dict(zip(over, point, strict=True)) for point in product(*over.values()))
    most, more = batch or copies, dict(settings or {})
    parts = [*product([int(t) for t in horizons] or [None], range(0, copies, most))]
    tasks = []
    for number, (horizon, first) in enumerate(parts):
        seeds = (seed,) if most >= copies else (seed, first)
        count = min(most, copies - first)
        tasks.append((number, Games(learner, environment, values, more, horizon, count, seeds, engine)))
    for horizon in {games.horizon for _, games in tasks}:  # refuse what cannot be, before anything runs
        stream = chosen(environment) if horizon is None else at_horizon(chosen(environment), horizon)
        for point in values:
            make_learner(learner, {**more, **point}, stream.problem)
    done: dict[int, list[Trace]] = {}
    running = on_cluster(_task, tasks, cluster, jobs) if cluster else at_once(_task, tasks, jobs, tell=print)
    for number, traces in running:
        done[number] = traces
        if tell is not None:
            tell(len(done), len(tasks))
    where = environment if isinstance(environment, str) else type(environment).__name__.lower()
    told = {"environment": where, "learner": file_name(called(learner), {})}
    return Tidy.of(
        (told | point | {"copy": parts[number][1]}, trace)
        for number in sorted(done)
        for point, trace in zip(values, done[number], strict=True)
    )


def _task(number: int, games: Games, tell: Tell = print) -> tuple[int, list[Trace]]:
    return number, games.play()


def chosen(environment: str | Environment) -> Environment:
    """The environment that is meant.

    Raises:
        ValueError: for an unknown name, a file without it, or what is no environment.
    """
    found: Any = environment
    if isinstance(environment, str):
        found = ENVIRONMENTS.get(environment)
        if found is None and file_in(environment) is not None:
            found = load(environment, "environment")
            with users_own(environment):
                found = found() if isinstance(found, type) and issubclass(found, Environment) else found
    if not isinstance(found, Environment):
        raise unknown("environment", str(environment), ENVIRONMENTS, "file.py:Class, or an Environment")
    return found


def at_horizon(environment: Environment, horizon: int) -> Environment:
    """The same for another number of rounds.

    Raises:
        ValueError: if the environment has no field ``horizon``.
    """
    if "horizon" not in {field.name for field in fields(environment)}:
        raise ValueError(f"horizons: {environment!r} has no field horizon; give environments of their own horizons")
    return replace(environment, horizon=horizon)  # pyright: ignore[reportCallIssue]


def values_of(text: str) -> tuple[str, list[float]]:
    """``step_size=1e-3:1:50log`` → the key and its values: evenly between, with ``log`` in the logarithm; or ``0.1,1``.

    Raises:
        ValueError: for anything else.
    """
    key, equals, told = text.partition("=")
    try:
        if not equals:
            raise ValueError
        if ":" not in told:
            return key, [float(one) for one in told.split(",")]
        low, high, count = told.split(":")
        space = np.geomspace if count.endswith("log") else np.linspace
        return key, [float(one) for one in space(float(low), float(high), int(count.removesuffix("log")))]
    except ValueError:
        raise ValueError(
            f"sweep={text!r}: write key=low:high:count, key=low:high:countlog for logarithmic steps, or key=a,b,c"
        ) from None
