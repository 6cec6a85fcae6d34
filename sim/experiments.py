"""Every experiment of the simulator: immutable named rows, ``<family>/<stream>/<learner>``.

A learner is tuned by its theorem for the row's problem. The seed is the family's, so all learners of a stream meet the
same draw of the truth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.environments.adversarial import Adversarial, Alternating
from sim.environments.base import Environment
from sim.environments.drift import Drift, Periodic
from sim.environments.experts import Experts
from sim.environments.switching import Switching
from sim.environments.tokens import Tokens
from sim.environments.tracking import Tracking
from sim.simulator import play
from theory.learner import Learner
from theory.runs.choose import make_learner, source, users_own
from theory.runs.trace import Trace


@dataclass(frozen=True)
class Experiment:
    """One row: who plays what, how often.

    Attributes:
        environment: the stream.
        learner: a name of ``LEARNERS`` or ``file.py:Class``.
        overrides: settings of the learner, pairs of key and value, on top of the theorem's tuning.
        seeds: independent copies.
        seed: of the generator that draws the truth.
        demo: whether ``make demo`` runs it.
    """

    environment: Environment
    learner: str
    overrides: tuple[tuple[str, Any], ...] = ()
    seeds: int = 16
    seed: int = 0
    demo: bool = False

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

    def run(self) -> Trace:
        """Play it; columns are kept to 5 significant digits, everything was checked before."""
        rng = np.random.default_rng(self.seed)
        learner, settings = self.build(), self.settings
        with users_own(self.learner):
            trace = play(learner, self.environment, self.seeds, rng, settings)
        return trace.rounded(5)

    def altered(self, learner: str | None, overrides: Mapping[str, Any], seeds: int | None) -> "Experiment":
        """The same stream with another learner, other settings of it, or more copies."""
        base = self if learner is None else replace(self, learner=learner, overrides=())
        merged = dict(base.overrides) | dict(overrides)
        return replace(base, overrides=tuple(merged.items()), seeds=self.seeds if seeds is None else seeds)


VECTOR = ("frozen", "ogd", "optimistic", "ensemble", "momentum", "adam")
SIMPLEX = ("frozen", "ogd", "optimistic", "hedge", "adahedge")
BOUNDED = ("ogd", "optimistic", "ensemble", "adam")

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

EXPERIMENTS: dict[str, Experiment] = {
    f"{stream}/{learner}": Experiment(environment, learner, demo=learner in demo)
    for stream, (environment, learners, demo) in STREAMS.items()
    for learner in learners
}


def altered_name(row: str, learner: str | None, overrides: Mapping[str, Any], seeds: int | None) -> str:
    """Name of a row altered on the command line, so that it never meets the row's own result file.

    ``drift/P8/ogd`` → ``drift/P8/adam,step_size=0_1,seeds=4``; a learner from a file goes by file and class.
    """
    stream, _slash, name = row.rpartition("/")
    changes = dict(overrides) | ({} if seeds is None else {"seeds": seeds})
    return f"{stream}/{file_name(learner or name, changes)}"


def file_name(learner: str, changes: Mapping[str, Any]) -> str:
    """A file name of learner and settings: no slash, no dot."""
    file, colon, cls = learner.rpartition(":")
    parts = [f"{Path(file).stem}-{cls}" if colon else learner, *(f"{key}={value}" for key, value in changes.items())]
    return ",".join(re.sub(r"[^\w=+-]+", "_", part).strip("_") for part in parts)
