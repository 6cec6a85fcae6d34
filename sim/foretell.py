"""What a live run has for columns, foretold from a recording: every round's loss, energy and hint error, and the bound.

They do not depend on the draft length. A plan, which ``python -m real matrix --plan`` writes, says which runs will be
made of which recording.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sim.environments.recording import Recording
from sim.environments.replay import Replay, predict
from theory.checker.columns import apart, bound, columns
from theory.learner import Learner
from theory.loss import Blocks
from theory.runs.experiment import result_path
from theory.runs.files import atomic, owned
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS, in_practice
from theory.runs.result import load_result
from theory.runs.trace import done, plain

ROUNDING = 2.0**-20
"""Of a hidden state in float32, relative: a few units in the last place, as forwards of other lengths have it."""
COPIES = 32
"""Draws of the acceptance, where it is not decided by the text."""


class Planned(NamedTuple):
    """A run that will be made: the recording that foretells it, beside the plan, the learner and the draft length."""

    recording: str
    learner: str
    gamma: int


def planned(plan: Path) -> dict[Path, list[Planned]]:
    """Recording → the runs to foretell from it.

    Raises:
        FileNotFoundError: if there is no plan.
        ValueError: if it is none.
    """
    found: dict[Path, list[Planned]] = {}
    for run in load_result(plan, "plan")["runs"]:
        one = Planned(**run)
        found.setdefault(plan.parent / f"{one.recording}.npz", []).append(one)
    return found


def player(recorded: Recording, name: Any, overrides: Mapping[str, Any]) -> Learner:
    """The learner as the decoder has it."""
    known = ADAPTER_LEARNERS if len(recorded.weights) == 1 else HEADS_LEARNERS
    return in_practice(name, overrides, recorded.problem, known)


def rounds(recorded: Recording, learner: Learner) -> dict[str, Any]:
    """``rounds``: ``theory.checker.columns`` of the learner on the recorded losses. ``bound`` of its certificate.
    ``spread``: by how much each of them differs where every feature is moved by a rounding.
    """
    signs = np.where(np.random.default_rng(0).random(recorded.features.shape) < 0.5, -1.0, 1.0)
    moved = replace(recorded, features=recorded.features * (1 + ROUNDING * signs))
    found, beside = _played(recorded, learner), _played(moved, learner)
    spread = {name: apart(beside[name], found[name]) for name in found}
    proven = {"bound": float(found.pop("bound"))} if "bound" in found else {}
    return {"rounds": found, "spread": spread} | proven


def _played(recorded: Recording, learner: Learner) -> dict[str, np.ndarray]:
    """The columns of the learner's rounds, and the bound if it has a certificate."""
    replay, nu = Replay(recorded, learner, 1, 1, np.random.default_rng()), recorded.nu
    first, count = int(recorded.header["burn_in_rounds"]), len(recorded.token) // nu
    heads = [replay.losses(slice(i * nu, (i + 1) * nu)) for i in range(first, count)]
    losses = [one[0] if len(one) == 1 else Blocks(one, recorded.weights) for one in heads]
    states = [learner.init(recorded.x_1)]
    for loss_t in losses:
        states.append(learner.update(states[-1], loss_t))
    found = columns(learner, recorded.x_1, states, losses)
    return found | ({"bound": np.array(bound(learner, states, losses))} if learner.certified and losses else {})


def foretell(path: Path, runs: Sequence[Planned], out: Path, tell: Callable[[str], Any]) -> int:
    """Foretell every run of one recording, unless it is there → how many; told the name of each."""
    recorded, known = Recording.load(path), dict[str, dict[str, Any]]()
    for run in runs:
        learner, copies = player(recorded, run.learner, {}), 1 if recorded.decided else COPIES
        settings = settings_of(recorded, learner, run.gamma, copies, 0)
        place = result_path(out, f"{path.stem}/{run.learner}-gamma{run.gamma}")
        with owned(place):
            if not done(place, settings):
                if run.learner not in known:
                    known[run.learner] = rounds(recorded, learner)
                write(recorded, learner, settings, place, known[run.learner])
        tell(f"{path.stem}, {run.learner}, gamma {run.gamma}")
    return len(runs)


def settings_of(recorded: Recording, learner: Learner, gamma: int, copies: int, seed: int) -> dict[str, Any]:
    """What identifies a prediction."""
    return {"recording": recorded.digest, "learner": learner, "gamma": gamma, "copies": copies, "seed": seed}


def write(recorded: Recording, learner: Learner, settings: dict[str, Any], place: Path, told: dict[str, Any]) -> None:
    """Predict and keep one run, its rounds in the header, the last decision beside it."""
    trace, x_t = predict(recorded, learner, settings["gamma"], settings["copies"], settings["seed"], settings)
    trace.header.update(plain(told))
    with atomic(place.with_name(place.name + "-x.npy")) as partial, partial.open("wb") as file:
        np.save(file, x_t)
    trace.save(place)
