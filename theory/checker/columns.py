"""What every round of a run was like, as columns that two worlds can compare, and the certificate of the whole.

The arrays are numpy's or torch's, whatever states and losses hold; what is summed up is in float64.
"""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from theory.arrays import Array, namespace
from theory.checker.certificate import Recorder, certificate, number
from theory.learner import Learner
from theory.loss import Loss

COLUMNS = ("loss", "frozen_loss", "last_loss", "energy", "hint_error")


def columns(learner: Learner, x_1: Array, states: Sequence[Any], losses: Sequence[Loss]) -> dict[str, np.ndarray]:
    """loss f_t(x_t), frozen_loss f_t(x_1), last_loss f_t(x_T), energy ‖g_t‖², hint_error ‖g_t − hint_t‖², all ``[T]``.

    And regret, Σ f_t(x_t) − f_t(x_T) up to every round.

    ``x_1`` is the decision at rest ``[d]``. Of the T + 1 ``states`` the first is before round 1, the others after every
    round; x_T is what is played after the last.
    """
    last, rows = learner.predict(states[-1]), []
    for state, loss_t in zip(states, losses, strict=False):
        x_t, hint = learner.predict(state), learner.own_hint(state)
        grad_t = loss_t.grad(x_t)
        errors = [grad_t, grad_t if hint is None else grad_t - hint]
        rows.append([*(number(loss_t.value(x)) for x in (x_t, x_1, last)), *map(_squared, errors)])
    found = dict(zip(COLUMNS, np.array(rows).reshape(-1, len(COLUMNS)).T, strict=True))
    return found | {"regret": np.cumsum(found["loss"] - found["last_loss"])}


def bound(learner: Learner, states: Sequence[Any], losses: Sequence[Loss]) -> float:
    """The certificate's bound of the regret against the last decision; of a learner that is ``certified``."""
    expert = None if learner.bases is None else learner.leader(states[-1])
    recorder = Recorder(learner, [learner.predict(states[-1])], expert)
    for before, loss_t, after in zip(states, losses, states[1:], strict=False):
        recorder.add(before, loss_t, after)
    return certificate(recorder.trace(), np.zeros(len(losses), dtype=int)).bound


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a column, relative to its largest entry; inf where one is longer."""
    if ours.shape != theirs.shape:
        return inf
    size = np.max(np.abs(theirs), initial=0.0)
    return float(np.max(np.abs(ours - theirs), initial=0.0) / (size or 1.0))


def _squared(vector: Array) -> float:
    xp = namespace(vector)
    return float(xp.sum(xp.double(vector) ** 2))
