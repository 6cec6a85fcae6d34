"""Every experiment of the simulator: immutable named matches, ``<family>/<stream>/<learner>``; and ``play``, for any.

A learner is tuned by its theorem for the row's problem. The seed is the family's, so all learners of a stream meet the
same draw of the truth.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sim.environments.adversarial import Adversarial, Alternating
from sim.environments.base import Environment
from sim.environments.drafts import Drafts, SureTokens
from sim.environments.drift import Drift, Periodic
from sim.environments.experts import Experts
from sim.environments.switching import Switching
from sim.environments.tokens import Tokens
from sim.environments.tracking import Tracking
from sim.simulator import LOGGED, simulate
from theory.learner import Learner
from theory.learners import LEARNERS
from theory.runs.choose import Choice, make_learner
from theory.runs.trace import Trace
from theory.runs.users_file import file_in, source, unknown, users_own


@dataclass(frozen=True)
class Match:
    """One learner against one environment.

    Attributes:
        environment: the stream.
        learner: a name of ``LEARNERS``, ``file.py:Class``, a class or an object.
        overrides: settings of the learner, pairs of key and value, on top of the theorem's tuning.
        seeds: independent copies.
        seed: of the generator that draws the truth.
        demo: whether ``make demo`` runs it.
        kept: whether its result file is among those of ``results/sim``.
    """

    environment: Environment
    learner: Choice
    overrides: tuple[tuple[str, Any], ...] = ()
    seeds: int = 16
    seed: int = 0
    demo: bool = False
    kept: bool = True

    def build(self) -> Learner:
        """The learner, tuned for the environment's problem.

        Raises:
            ValueError: for an unknown learner or setting, or a learner that does not fit the domain.
        """
        return make_learner(self.learner, dict(self.overrides), self.environment.problem)

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines the result, the code of a learner from a file too."""
        made = {"learner": self.build(), "environment": self.environment}
        return made | {"seeds": self.seeds, "seed": self.seed} | source(self.learner)

    def play(self, logged: int = LOGGED, engine: str = "numpy") -> Trace:
        """Every round of every copy played and measured, at most ``logged`` of them kept."""
        rng = np.random.default_rng(self.seed)
        learner, settings = self.build(), self.settings
        with users_own(self.learner):
            return simulate(learner, self.environment, self.seeds, rng, settings, logged, engine)

    def run(self) -> Trace:
        """``play``; columns are kept to 5 significant digits, everything was checked before."""
        return self.play().rounded(5)

    def altered(self, learner: str | None, overrides: Mapping[str, Any], seeds: int | None) -> "Match":
        """The same stream with another learner, other settings of it, or more copies."""
        base = self if learner is None else replace(self, learner=learner, overrides=())
        merged = dict(base.overrides) | dict(overrides)
        return replace(base, overrides=tuple(merged.items()), seeds=self.seeds if seeds is None else seeds)


VECTOR = ("frozen", "ogd", "optimistic", "ensemble", "momentum", "adam")
SIMPLEX = ("frozen", "ogd", "optimistic", "hedge", "adahedge")
BOUNDED = ("ogd", "optimistic", "ensemble", "adam")
UNMOVED = ("hedge", "adahedge", "optimistic_hedge", "fixed_share")
"""Those with a theorem against the best fixed mixture; the last has one against a moving mixture too."""

STREAMS: dict[str, tuple[Environment, tuple[str, ...], tuple[str, ...]]] = {
    # name: environment, its learners, those of the demo
    "stationary/quadratic": (Tracking(), VECTOR, BOUNDED),
    "stationary/linear": (Tracking(loss="linear"), VECTOR, ()),
    "drift/P8": (Tracking(Drift(8.0)), VECTOR, BOUNDED),
    "drift/P64": (Tracking(Drift(64.0)), VECTOR, ()),
    "drift/P8-linear": (Tracking(Drift(8.0), loss="linear"), VECTOR, ()),
    "periodic/200": (Tracking(Periodic(200)), VECTOR, ()),
    "switching/S4": (Tracking(Switching(4), loss="linear"), VECTOR, BOUNDED),
    "switching/S16": (Tracking(Switching(16)), VECTOR, ()),
    "adversarial/K1": (Adversarial(), VECTOR, ("ogd",)),
    "adversarial/K8": (Adversarial(segments=8), VECTOR, BOUNDED),
    "experts/best": (Experts(), SIMPLEX, ("hedge", "adahedge")),
    "experts/noise": (Experts(gap=0.0), SIMPLEX, ("hedge", "adahedge")),
    "experts/S4": (Experts(switches=4), SIMPLEX, ()),
    "experts/alternating": (Alternating(), SIMPLEX, ("hedge", "adahedge")),
    "tokens/stationary": (Tokens(), VECTOR, ("ogd",)),
    "tokens/drift": (Tokens(Drift(16.0)), VECTOR, ("frozen", *BOUNDED)),
    "tokens/switch": (Tokens(Switching(1)), VECTOR, ("ogd", "optimistic", "ensemble", "adam")),
    "tokens/misfit": (Tokens(Switching(1), misfit=0.5), VECTOR, ()),
}

ENVIRONMENTS: dict[str, Environment] = {name: environment for name, (environment, _, _) in STREAMS.items()}
"""Every stream by name."""

MIXED: dict[str, Environment] = {
    "drafts/stationary": Drafts(),
    "drafts/S4": Drafts(moves=4),
    "drafts/S4-fixed": Drafts(moves=4, fixed=True),
    "drafts/drift": Drafts(moves=4, gradual=True),
    "drafts/sure-noise": SureTokens(Experts(gap=0.0)),
    "drafts/sure-S4": SureTokens(Experts(switches=4)),
    "drafts/sure-alternating": SureTokens(Alternating()),
}
"""Streams of several drafts, whose mixture is learned on acceptance."""
ENVIRONMENTS |= MIXED


def cells() -> Iterator[tuple[str, Environment]]:
    """Short streams of several drafts by name, one for every place that Theorem 7 speaks of."""
    short = 500
    for drafts, misfit in product((2, 4, 6), (0.0, 0.3)):
        name = f"drafts/N{drafts}-misfit{misfit:.0%}".removesuffix("%")
        setting = Drafts(short, drafts, misfit=misfit)
        yield f"{name}-still", setting
        for moves, gradual in ((1, False), (4, False), (16, False), (4, True)):
            moving = replace(setting, moves=moves, gradual=gradual)
            kind = f"{name}-{'drift' if gradual else 'S'}{moves}"
            yield kind, moving
            yield f"{kind}-fixed", replace(moving, fixed=True)
    for experts in (2, 4, 8):
        for gap in (0.0, 0.1, 0.3):
            yield f"drafts/sure-N{experts}-gap{100 * gap:.0f}", SureTokens(Experts(short, experts, gap))
        for switches in (1, 4, 16):
            yield f"drafts/sure-N{experts}-S{switches}", SureTokens(Experts(short, experts, switches=switches))
    for steady in (20, 50, 100):
        yield f"drafts/sure-alternating{steady}", SureTokens(Alternating(short, steady))


EXPERIMENTS: dict[str, Match] = (
    {
        f"{stream}/{learner}": Match(environment, learner, demo=learner in demo)
        for stream, (environment, learners, demo) in STREAMS.items()
        for learner in learners
    }
    | {
        f"{stream}/{learner}": Match(environment, learner, kept=False)
        for stream, environment in MIXED.items()
        for learner in ("frozen", *UNMOVED)
    }
    | {
        f"{stream}/{learner}": Match(environment, learner, kept=False)
        for stream, environment in cells()
        for learner in (UNMOVED if environment.problem.path_length == 0 else UNMOVED[-1:])
    }
)


def play(
    learner: Choice,
    environment: str | Environment,
    *,
    copies: int = 16,
    seed: int = 0,
    logged: int = 100,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Trace:
    """Play a learner against an environment, many copies at once, and hold every bound against the measured regret.

        >>> import sim
        >>> trace = sim.play("ogd", sim.Tracking(sim.Drift(2.0), horizon=200), copies=4)
        >>> trace.columns["dynamic_regret"].shape[1], trace.header["violations"]
        (4, 0)
        >>> slow = sim.play("ogd", sim.Tracking(sim.Drift(2.0), horizon=200), copies=4, step_size=0.01)
        >>> bool((slow.columns["dynamic_regret"][-1] > trace.columns["dynamic_regret"][-1]).all())
        True

    Args:
        learner: a name of ``theory.LEARNERS`` or a class, which its theorem tunes for the environment; an object, which
            is played as it is; or ``file.py:Class``.
        environment: a name of ``ENVIRONMENTS``, for example ``drift/P8``, or an ``Environment``.
        copies: how many independent draws are played.
        seed: of the generator that draws the truth.
        logged: rounds that the trace keeps at most, half of them spread evenly and half geometrically.
        settings: of the learner, on top of its theorem's tuning; a dotted key goes deeper, as ``{"base.domain": …}``.
        more: settings as keywords.

    Returns:
        A trace with one row a logged round. The columns, ``[rows]`` or ``[rows, copies]``, are sums up to that round
        and the bounds on them; the header counts ``violations`` over all rounds and copies.

    Raises:
        ValueError: for an unknown learner, environment or setting, a learner that does not fit the environment's domain
            or leaves it, or fewer than one copy.
    """
    stream = ENVIRONMENTS.get(environment) if isinstance(environment, str) else environment
    if not isinstance(stream, Environment):
        raise unknown("environment", str(environment), ENVIRONMENTS, "an Environment, for example sim.Tracking()")
    for name, value, least in (("copies", copies, 1), ("logged", logged, 2)):
        if value < least:
            raise ValueError(f"play({name}={value!r}): must be at least {least}")
    overrides = {**(settings or {}), **more}
    trace = Match(stream, learner, tuple(overrides.items()), copies, seed).play(logged)
    where = environment if isinstance(environment, str) else type(environment).__name__.lower()
    return Trace({"name": f"{where}/{file_name(called(learner), overrides)}", **trace.header}, trace.columns)


def called(learner: Choice) -> str:
    """What a learner is called: its name in ``LEARNERS``, its file and class, or its class alone."""
    if isinstance(learner, str):
        return learner
    cls = learner if isinstance(learner, type) else type(learner)
    return next((name for name, known in LEARNERS.items() if known is cls), cls.__name__)


def altered_name(row: str, learner: str | None, overrides: Mapping[str, Any], seeds: int | None) -> str:
    """The name of an altered row: another than the row's own, whose result file it must not meet.

    ``drift/P8/ogd`` → ``drift/P8/adam,step_size=0_1,seeds=4``; a learner from a file goes by file and class.
    """
    stream, _slash, name = row.rpartition("/")
    changes = dict(overrides) | ({} if seeds is None else {"seeds": seeds})
    return f"{stream}/{file_name(learner or name, changes)}"


def file_name(learner: str, changes: Mapping[str, Any]) -> str:
    """A file name of learner and settings: no slash, no dot."""
    file = file_in(learner)
    first = learner if file is None else f"{Path(file).stem}-{learner.rpartition(':')[2]}"
    parts = [first, *(f"{key}={value}" for key, value in changes.items())]
    return ",".join(re.sub(r"[^\w=+-]+", "_", part).strip("_") for part in parts)
