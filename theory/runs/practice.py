"""Hyper-parameters that measurement fixed for the convex adapter, where theory's worst-case tuning is far too cautious.

Shared by the decoder and by the simulator's replay, so that a name means the same learner in both. Step sizes are in
units of the decision of ``theory/speculation/adapter.py``: whitened features have mean squared norm 1, so the
worst-case step 1/(2L) is 1 at temperature 1. They were read from the table that ``python -m real tune`` prints, on a
stream whose shifted domain no reported result uses.
"""

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from theory.hints import MovingAverage
from theory.learner import Learner
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.hedge import Hedge
from theory.learners.mixture import Mixture
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.problem import Problem
from theory.runs.choose import Choice, altered, learner_class, make_learner, parse_value
from theory.step_size import geometric

GRID = geometric(4.0, 6)
"""Step sizes of the ensemble's experts: 4, 8, … 128 times the worst-case step."""

ADAPTER_LEARNERS: dict[str, Learner] = {
    "frozen": Frozen(),
    "ogd": OGD(32.0),
    "optimistic": OptimisticOGD(32.0, MovingAverage(0.9)),
    "ensemble": Ensemble(OGD(GRID)),
    "momentum": Momentum(0.8, 0.9),
    "adam": Adam(0.005, beta_2=0.99, epsilon=1e-4),
}
"""Learners of a convex adapter."""

HEADS_STEP, HEADS_GRID = 256.0, geometric(64.0, 5)
"""OGD's step on linear heads and the ensemble's grid around it, from ``python -m real tune --drafter heads``."""

HEADS_LEARNERS: dict[str, Learner] = {
    "frozen": Frozen(),
    "ogd": OGD(HEADS_STEP),
    "optimistic": OptimisticOGD(HEADS_STEP, MovingAverage(0.9)),
    "ensemble": Ensemble(OGD(HEADS_GRID)),
}
"""Learners of linear heads."""

DEEP_LEARNERS: dict[str, Learner] = {"adam": Adam(1e-3), "frozen": Frozen()}
"""Learners of deep drafters: customary values, not tuned; not convex, no bound."""

EXPERT_LEARNERS: dict[str, Learner] = {
    "hedge": Hedge(0.3),
    "mixture": Mixture(),
    "ensemble": Mixture(),
    "frozen": Frozen(),
}
"""Learners of the weights of several drafters."""


def in_practice(
    choice: Choice, settings: Mapping[str, Any], problem: Problem, learners: Mapping[str, Learner] = ADAPTER_LEARNERS
) -> Learner:
    """The learner with the hyper-parameters above, or a user's own; ``settings`` on top (dotted for nested).

    Raises:
        ValueError: for an unknown learner or setting, a learner that does not fit, or one that has no step size here.
    """
    if isinstance(choice, Learner):
        return make_learner(choice, settings, problem)
    learner = learners.get(choice) if isinstance(choice, str) else None
    if learner is None:
        step_size = learner_class(choice).__dataclass_fields__.get("step_size")  # type: ignore (a dataclass, checked)
        if step_size is not None and step_size.default is MISSING and "step_size" not in settings:
            raise ValueError(
                f"learner={choice!r}: has no default step size here; give the setting step_size, or choose one of "
                f"{', '.join(learners)}"
            )
        return make_learner(choice, settings, problem)
    for key, value in settings.items():
        learner = altered(learner, key, parse_value(key, value))
    return learner
