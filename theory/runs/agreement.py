"""How far two runs of one learner disagree, and whether arithmetic, rather than a mistake, accounts for it.

numpy and torch arrays alike: the caller says how a loss and a start look in either precision.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theory.arrays import Array, namespace
from theory.learner import Learner
from theory.loss import Loss


class Drift(NamedTuple):
    """Largest relative difference over the rounds of a free run; ``sensitive``: float64 itself spread as far."""

    difference: float
    spread: float
    sensitive: bool


def difference(x: Array, y: Array) -> float:
    """max|x − y| / max(1, max|y|): absolute for small decisions, relative for large ones."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return float(np.abs(x - y).max() / max(1.0, np.abs(y).max()))


def like(state: Any, example: Array) -> Any:
    """A learner's state (nested NamedTuples) with every array in the precision and library of ``example``."""
    if hasattr(state, "_fields"):
        return type(state)(*(like(part, example) for part in state))
    return namespace(example).asarray(state, like=example)


def one_step(learner: Learner, exact: Sequence[Loss], rounded: Sequence[Loss], x_1: Array, low: Array) -> float:
    """Largest ``difference`` after one update in low precision from every decision of the exact run.

    ``exact`` and ``rounded`` are the same losses in either precision, ``x_1`` and ``low`` the same first decision.
    """
    state, worst = learner.init(x_1), 0.0
    for loss, loss_low in zip(exact, rounded, strict=True):
        stepped = learner.predict(learner.update(like(state, low), loss_low))
        state = learner.update(state, loss)
        worst = max(worst, difference(stepped, learner.predict(state)))
    return worst


def free_run(
    learner: Learner,
    exact: Sequence[Loss],
    rounded: Sequence[Loss],
    x_1: Array,
    low: Array,
    nearby: Array,
    limit: float,
) -> Drift:
    """Low precision against exact over a whole run, beside an exact run from ``nearby`` (x_1 moved by 1e-7).

    The run is ``sensitive`` if the two exact ones come more than ``limit`` apart: then no rounding could stay within.
    """
    states = [learner.init(start) for start in (x_1, low, nearby)]
    worst = spread = 0.0
    for loss, loss_low in zip(exact, rounded, strict=True):
        losses = (loss, loss_low, loss)
        states = [learner.update(state, each) for state, each in zip(states, losses, strict=True)]
        true, ours, moved = (learner.predict(state) for state in states)
        worst, spread = max(worst, difference(ours, true)), max(spread, difference(moved, true))
    return Drift(worst, spread, spread > limit)
