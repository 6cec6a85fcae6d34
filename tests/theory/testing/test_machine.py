"""Learners under every order of calls: ours pass, and every planted fault of memory is caught for what it is."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from theory.arrays import Array
from theory.domain import Ball, Domain
from theory.hints import MovingAverage
from theory.learner import Learner
from theory.learners import OGD, AdaHedge, Adam, Ensemble, FixedShare, OptimisticHedge, OptimisticOGD, Sword
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.step_size import SelfConfident
from theory.testing import learner_machine

BALL = Ball(1.0)
SHORT = settings(stateful_step_count=20)
UNSHRUNK = settings(SHORT, max_examples=100, phases=[Phase.generate])
"""For faults: that they are found is the test, not how short."""
OURS = {
    "OGD": OGD(0.3, BALL),
    "Adam": Adam(0.1, domain=BALL),
    "optimistic": OptimisticOGD(SelfConfident(2.0, 1.0), MovingAverage(0.7), BALL),
    "ensemble": Ensemble(OGD((0.02, 0.1), BALL), FixedShare(0.3, 0.1)),
    "sword": Sword(OptimisticOGD((0.02, 0.1), domain=BALL), OptimisticHedge(0.1, adaptive=False), 1.0),
    "AdaHedge": AdaHedge(),
    "delayed": Delayed(OptimisticOGD(0.3, domain=BALL), 2),
    "chunked": Chunked(OGD(0.3, BALL), 3),
}


def run(learner, settings_=SHORT, **arguments):
    run_state_machine_as_test(learner_machine(learner, **arguments), settings=settings_)


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", OURS)
def test_our_learners_are_the_same_in_any_order_of_calls(name):
    run(OURS[name])


@pytest.mark.hypothesis
@pytest.mark.parametrize(("dimension", "copies"), [(1, ()), (2, (2, 1, 2))])
def test_in_any_dimension_with_copies_on_any_axes(dimension, copies):
    run(OURS["optimistic"], dimension=dimension, copies=copies)


def through_a_file(state):
    """As the decoder keeps a learner's state: named tensors in a file."""
    from real.models.state import flatten, load, rebuild, save

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state")
        save(path, {name: tensor.contiguous().clone() for name, tensor in flatten("learner", state)}, {})
        return rebuild("learner", state, load(path)[0])


@pytest.mark.hypothesis
def test_on_tensors_kept_as_the_decoder_keeps_them():
    pytest.importorskip("safetensors")
    run(OURS["ensemble"], library="torch", saved=through_a_file)


class TestAsInASuite(learner_machine(OGD(0.1, BALL)).TestCase):
    """How a user has it."""

    settings = SHORT


# Planted faults


class State(NamedTuple):
    x: Array


@dataclass(frozen=True)
class Descent(Learner):
    """OGD in three lines; every fault is planted in it."""

    domain: Domain = BALL
    memory: dict[str, Any] = field(default_factory=dict)

    def init(self, x_1):
        return State(x_1)

    def predict(self, state, hint=None):
        return state.x

    def update(self, state, loss_t, hint=None):
        return State(self.domain.project(state.x - 0.1 * loss_t.grad(state.x)))


class CountsItsPredictions(Descent):
    """An attribute changes in ``predict``."""

    def predict(self, state, hint=None):
        self.memory["asked"] = self.memory.get("asked", 0) + 1
        return self.domain.project(state.x / self.memory["asked"])


class Counted(NamedTuple):
    x: Array
    asked: Array


class CountsInTheState(Descent):
    """``predict`` writes into an array of the state that no play depends on."""

    def init(self, x_1):
        return Counted(x_1, 0.0 * x_1)

    def predict(self, state, hint=None):
        state.asked[...] += 1.0
        return state.x

    def update(self, state, loss_t, hint=None):
        return state._replace(x=super().update(State(state.x), loss_t).x)


class UpdatesInPlace(Descent):
    """Two forks share one array."""

    def update(self, state, loss_t, hint=None):
        state.x[...] = super().update(state, loss_t).x
        return state


class LastForkWins(Descent):
    """A velocity that belongs to a line of play is kept by the learner, which several lines share."""

    def update(self, state, loss_t, hint=None):
        self.memory["velocity"] = 0.5 * self.memory.get("velocity", 0.0) + loss_t.grad(state.x)
        return State(self.domain.project(state.x - 0.1 * self.memory["velocity"]))


class Numbered(NamedTuple):
    x: Array
    rounds: int


class RemembersRounds(Descent):
    """A cache of steps by the number of their round: right on one line of play, wrong on two."""

    def init(self, x_1):
        return Numbered(x_1, 0)

    def update(self, state, loss_t, hint=None):
        step = self.memory.setdefault(state.rounds, 0.1 * loss_t.grad(state.x))
        return Numbered(self.domain.project(state.x - step), state.rounds + 1)


class Loose(State):
    """A state with room for attributes, which no file keeps."""

    velocity: Array


class ForgottenBySaving(Descent):
    """A velocity beside the fields of the state."""

    def init(self, x_1):
        return self.with_velocity(x_1, 0.0 * x_1)

    def with_velocity(self, x, velocity):
        state = Loose(x)
        state.velocity = velocity
        return state

    def update(self, state, loss_t, hint=None):
        velocity = 0.5 * getattr(state, "velocity", 0.0) + loss_t.grad(state.x)
        return self.with_velocity(self.domain.project(state.x - 0.1 * velocity), velocity)


class KeepsAnObject(Descent):
    """An entry that is no array."""

    def init(self, x_1):
        return (x_1, {"rounds": 0})

    def predict(self, state, hint=None):
        return state[0]

    def update(self, state, loss_t, hint=None):
        return (super().update(State(state[0]), loss_t).x, state[1])


class RemembersHints(Descent):
    """The last hint goes on when none is given."""

    takes_hints = True

    def predict(self, state, hint=None):
        if hint is not None:
            self.memory["hint"] = hint
        return self.domain.project(state.x - 0.1 * self.memory.get("hint", 0.0))


class TakesHintsInSecret(Descent):
    """``takes_hints`` is False."""

    def predict(self, state, hint=None):
        return state.x if hint is None else self.domain.project(state.x - hint)


class LearnsHintsInSecret(Descent):
    """``takes_hints`` is False, but ``update`` follows one."""

    def update(self, state, loss_t, hint=None):
        moved = super().update(state, loss_t)
        return moved if hint is None else State(self.domain.project(moved.x - hint))


class CachesItsPlay(Descent):
    """``update`` takes the decision that was predicted last for the one of its own round."""

    def predict(self, state, hint=None):
        self.memory["x"] = state.x
        return state.x

    def update(self, state, loss_t, hint=None):
        x = self.memory.get("x", state.x)
        return State(self.domain.project(state.x - 0.1 * (loss_t.grad(x) + x)))


PLANTED = {
    CountsItsPredictions: "another decision when asked twice|differs from the same losses shown plainly",
    CountsInTheState: "predict changes the state that it was given",
    UpdatesInPlace: "update changes the state that it was given",
    LastForkWins: "differs from the same losses shown plainly",
    RemembersRounds: "differs from the same losses shown plainly",
    ForgottenBySaving: "differs from the same losses shown plainly",
    KeepsAnObject: "must be a NamedTuple of arrays, but has a dict",
    RemembersHints: "remembers the last one|differs from the same losses shown plainly",
    TakesHintsInSecret: "takes_hints is False, but predict uses a hint",
    LearnsHintsInSecret: "differs from the same losses shown plainly",
    CachesItsPlay: "differs from the same losses shown plainly",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(fault):
    with pytest.raises(AssertionError, match=PLANTED[fault]):
        run(fault(), UNSHRUNK)


def test_saving_that_loses_something_is_caught():
    """Of OGD at a constant step, what only its bound depends on."""
    with pytest.raises(AssertionError, match="the state that was loaded is not the one that was saved"):
        run(OGD(0.3, BALL), UNSHRUNK, saved=lambda state: state._replace(energy=0.0 * state.energy))


def test_a_hint_that_is_remembered_is_called_that():
    machine = learner_machine(RemembersHints())()
    line = machine.starts(np.zeros((2, 3)), np.ones((4, 2, 3)))
    with pytest.raises(AssertionError, match="predict without a hint remembers the last one"):
        machine.is_given_a_hint_and_then_none(line, 0)


def test_what_the_faults_are_planted_in_has_none():
    run(Descent())


class MarksWhatItHasNotSeen(Descent):
    """An entry of the state is NaN until there is a gradient."""

    def init(self, x_1):
        return Counted(x_1, float("nan") * x_1)

    def update(self, state, loss_t, hint=None):
        return Counted(super().update(State(state.x), loss_t).x, loss_t.grad(state.x))


def test_a_number_that_is_none_is_the_same_number():
    run(MarksWhatItHasNotSeen())
