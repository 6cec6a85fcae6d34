"""The replay held against the papers' pseudocode: the largest differences, column by column.

Both read one recording, for one copy and, where decoding is sampled, by the same uniform numbers. What they share is
the recording and arithmetic in float64; ``sim/pseudocode`` has nothing of ``theory``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.environments.recording import Recording
from sim.environments.replay import Replay
from sim.foretell import planned, player
from sim.pseudocode import learners as pseudocode
from sim.pseudocode.recorded import Recorded
from sim.pseudocode.run import Told, run
from theory.checker.columns import apart, bound, columns
from theory.domain import Free
from theory.hints import MovingAverage
from theory.learner import Learner
from theory.learners.adahedge import AdaHedge
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS
from theory.runs.workers import Tell

LIMIT = 1e-6
"""The largest relative difference that two runs in float64 may have."""
COUNTED = ("step_start", "examined", "accepted")
"""Columns that must be equal."""


@dataclass(frozen=True)
class Confirmed:
    """What two worlds say of one run.

    ``differences``: the largest of every column, relative to its largest entry; ``counted``: positions whose counts
    differ, ``positions`` of how many.
    """

    differences: dict[str, float]
    counted: int
    positions: int

    @property
    def holds(self) -> bool:
        """Whether all counts are equal, and no difference exceeds ``LIMIT``."""
        return self.counted == 0 and all(size <= LIMIT for size in self.differences.values())


def by_pseudocode(learner: Learner) -> Callable[[np.ndarray], pseudocode.Frozen]:
    """The same learner from the papers, as a function of its first decision.

    Raises:
        ValueError: for a learner that is not written there.
    """
    match learner:
        case Frozen():
            return pseudocode.Frozen
        case OGD(step_size=float(step), domain=Free()):
            return lambda x_1: pseudocode.GradientDescent(x_1, step)
        case OptimisticOGD(step_size=float(step), hint=MovingAverage(decay=decay), domain=Free()):
            return lambda x_1: pseudocode.OptimisticDescent(x_1, step, decay)
        case Ensemble(base=OGD(step_size=tuple(steps), domain=Free()), meta=AdaHedge(), surrogate=True, prior=None):
            return lambda x_1: pseudocode.Ensemble(x_1, steps)
        case Momentum(step_size=float(step), momentum=beta, domain=Free()):
            return lambda x_1: pseudocode.HeavyBall(x_1, step, beta)
        case Adam(step_size=float(step), domain=Free()):
            return lambda x_1: pseudocode.Adam(x_1, step, learner.beta_1, learner.beta_2, learner.epsilon)
    raise ValueError(
        f"learner={learner!r}: not written as pseudocode; it has frozen, ogd, optimistic with a moving average, an "
        "ensemble of ogd weighed by AdaHedge, momentum and adam, on the whole space, with one step size each"
    )


def replayed(recording: Recording, learner: Learner, gamma: int, seed: int) -> tuple[Told, np.ndarray]:
    """What the replay says of one copy, in the columns of ``Told``, and the uniform numbers it was decided by."""
    rng = np.random.default_rng(seed)
    replay, state = Replay(recording, learner, gamma, 1, rng), rng.bit_generator.state
    positions: dict[str, list[np.ndarray]] = {}
    losses = []
    for part, _, loss_t, decoded, margin, overlap in replay.run():
        told = {"step_start": decoded.first, "examined": decoded.examined, "accepted": decoded.accepted}
        for name, column in (told | {"overlap": overlap, "margin": margin}).items():
            positions.setdefault(name, []).append(column[:, 0])
        whole = part.stop - part.start == recording.nu
        if whole and part.start >= recording.header["burn_in_rounds"] * recording.nu:
            losses.append(loss_t)
    played = learner.init(recording.x_1)
    states = [played]
    for loss_t in losses:
        states.append(played := learner.update(played, loss_t))
    walk = replay.walk
    totals = {name: float(getattr(walk, name)[0]) for name in ("steps", "accepted", "recovered", "bonus")}
    if learner.certified and losses:
        totals["bound"] = bound(learner, states, losses)
    told = Told(
        {name: np.concatenate(parts).astype(float) for name, parts in positions.items()},
        columns(learner, recording.x_1, states, losses),
        totals,
        np.array(learner.predict(played)),
    )
    again = np.random.default_rng()
    again.bit_generator.state = state
    return told, again.random(len(recording.token))


def confirm(path: Path, learner: Learner, gamma: int, seed: int = 0) -> Confirmed:
    """Replay and pseudocode of one run.

    Raises:
        ValueError: for a recording or learner that one of them cannot read or play.
    """
    recording, made = Recording.load(path), by_pseudocode(learner)
    ours, uniforms = replayed(recording, learner, gamma, seed)
    theirs = run(Recorded(path), made, gamma, None if recording.decided else uniforms.tolist())
    return compared(ours, theirs)


def compared(ours: Told, theirs: Told) -> Confirmed:
    """The largest differences of two runs."""
    differ = np.zeros(len(ours.positions["accepted"]), bool)
    for name in COUNTED:
        differ |= ours.positions[name] != theirs.positions[name]
    pairs = {name: (ours.positions[name], theirs.positions[name]) for name in ("overlap", "margin")}
    pairs |= {name: (ours.rounds[name], theirs.rounds[name]) for name in theirs.rounds}
    pairs |= {name: (np.array([ours.totals[name]]), np.array([value])) for name, value in theirs.totals.items()}
    pairs |= {"x": (ours.x, theirs.x)}
    return Confirmed({name: apart(*pair) for name, pair in pairs.items()}, int(differ.sum()), len(differ))


def confirming(path: Path, learners: list[str], gammas: list[int], seed: int) -> list[tuple]:
    """What ``confirmed`` is called with: a recording, its runs, and the seed."""
    if path.suffix == ".json":
        return [(one, [(run.learner, run.gamma) for run in runs], seed) for one, runs in planned(path).items()]
    recorded = Recording.load(path)
    known = learners or [*(ADAPTER_LEARNERS if len(recorded.weights) == 1 else HEADS_LEARNERS)]
    return [(path, [(name, length) for name in known for length in gammas or [int(recorded.header["gamma"])]], seed)]


def confirmed(path: Path, runs: list[tuple[str, int]], seed: int, tell: Tell = print) -> list[dict[str, Any]]:
    """A row for every run of a recording, by learner and draft length."""
    recorded, rows = Recording.load(path), []
    for name, length in runs:
        found = confirm(path, player(recorded, name, {}), length, seed)
        rows.append({"recording": recorded.digest, "name": path.stem, "learner": name, "gamma": length}
                    | {"counted": found.counted, "positions": found.positions, "holds": found.holds}
                    | {"differences": found.differences})  # fmt: skip
    return rows
