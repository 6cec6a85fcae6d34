"""One learner over a grid: settings, horizons and copies of an environment, every game on the same draws."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

import numpy as np

from sim.environments.base import Environment
from sim.experiments import ENVIRONMENTS, called, file_name
from sim.simulator import simulate_each
from sim.tidy import Tidy
from theory.runs.choose import Choice, make_learner
from theory.runs.trace import Trace
from theory.runs.users_file import file_in, load, unknown, users_own

LOGGED = 2


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
        seed: of the generator that draws the truth.
        engine: "numpy" or "jax".
        settings: of the learner, the same in all games.

    Raises:
        ValueError: for an unknown learner, environment, setting or engine, values out of range, or no copy.
    """
    if copies < 1:
        raise ValueError(f"grid(copies={copies!r}): must be at least 1")
    stream = chosen(environment)
    games = played(learner, stream, dict(sweep or {}), [int(t) for t in horizons], copies, seed, engine, settings or {})
    where = environment if isinstance(environment, str) else type(stream).__name__.lower()
    told = {"environment": where, "learner": file_name(called(learner), {})}
    return Tidy.of((told | setting, trace) for setting, trace in games)


def played(
    learner: Choice,
    stream: Environment,
    sweep: Mapping[str, Sequence[Any]],
    horizons: Sequence[int],
    copies: int,
    seed: int,
    engine: str,
    settings: Mapping[str, Any],
) -> Iterator[tuple[dict[str, Any], Trace]]:
    """Every game of the grid: the settings swept, and its trace."""
    values = [dict(zip(sweep, point, strict=True)) for point in product(*sweep.values())]
    for environment in [at_horizon(stream, horizon) for horizon in horizons] or [stream]:
        with users_own(learner):
            players = [make_learner(learner, {**settings, **point}, environment.problem) for point in values]
            told = [{"learner": player, "environment": environment, "seed": seed} for player in players]
            traces = simulate_each(players, environment, copies, np.random.default_rng(seed), told, LOGGED, engine)
        yield from zip(values, traces, strict=True)


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
    """``step_size=1e-3:1:50log`` → the key and its values: evenly between, in the logarithm with ``log``; or ``0.1,0.2``.

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
