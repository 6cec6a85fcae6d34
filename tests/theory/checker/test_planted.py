"""Learners with a planted fault each, of the kinds that users make: the checker catches them and says what is wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

import theory
from theory.arrays import namespace
from theory.checker.checks import checks, untried
from theory.checker.trial import tried
from theory.domain import Ball
from theory.learners import OGD, Adam, Hedge, OptimisticOGD
from theory.learners.repeated import Repeated
from theory.loss import Linear, Quadratic, SoftmaxKL


@dataclass(frozen=True)
class FrozenOnKL(OGD):
    """Knows the losses of the simulator, and stands still on the decoder's."""

    def update(self, state, loss_t, hint=None):
        return state if isinstance(loss_t, SoftmaxKL) else super().update(state, loss_t, hint)


@dataclass(frozen=True)
class KnowsItsLosses(OGD):
    """Reads the slope of a loss in place of asking for its gradient."""

    def update(self, state, loss_t, hint=None):
        return super().update(state, Linear(loss_t.slope) if isinstance(loss_t, Linear) else loss_t, hint)


@dataclass(frozen=True)
class FrozenOnWhatItDoesNotKnow(OGD):
    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint) if isinstance(loss_t, Linear | Quadratic) else state


@dataclass(frozen=True)
class NumpyAlone(OGD):
    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(
            x=self.domain.project(np.asarray(state.x) - self.step_size * np.asarray(loss_t.grad(state.x)))
        )


@dataclass(frozen=True)
class MixesCopiesOnThreeAxes(OGD):
    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        x = following.x
        return following._replace(x=0.5 * (x + x.mean(axis=0, keepdims=True)) if x.ndim > 3 else x)


@dataclass(frozen=True)
class WrongFromFiveDimensionsOn(OGD):
    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=self.domain.project(2.0 * following.x)) if state.x.shape[-1] > 4 else following


@dataclass(frozen=True)
class FrozenInOneDimension(OGD):
    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=state.x) if state.x.shape[-1] == 1 else following


@dataclass(frozen=True)
class SkipsSmallGradients(OGD):
    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        xp = namespace(grad_t)
        return super().update(state, Linear(xp.where(xp.norm(grad_t) < 1e-3, 0.0 * grad_t, grad_t)), hint)


@dataclass(frozen=True)
class DeafToHints(OptimisticOGD):
    def predict(self, state, hint=None):
        return super().predict(state, None)

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, None)


@dataclass(frozen=True)
class Branching(OGD):
    """Says that it can be traced, and looks at a value."""

    traceable = True

    def update(self, state, loss_t, hint=None):
        if np.any(state.energy > 2.0):
            return super().update(state, loss_t, hint)
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class Counting(OGD):
    """Counts rounds in a Python int of its own."""

    traceable = True

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        return following._replace(x=state.x) if int(np.max(following.rounds)) % 3 == 0 else following


@dataclass(frozen=True)
class Greedy(OGD):
    """Eleven gradients a round, where one is declared."""

    def update(self, state, loss_t, hint=None):
        for _ in range(10):
            loss_t.grad(state.x)
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class ClaimsToStandStill(OGD):
    learns = False


@dataclass(frozen=True)
class StandsStill(Hedge):
    def update(self, state, loss_t, hint=None):
        return state


FAULTS = {
    FrozenOnKL(0.1, Ball(1.0)): "disguised",
    FrozenOnWhatItDoesNotKnow(0.1, Ball(1.0)): "disguised",
    NumpyAlone(0.1, Ball(1.0)): "any_library",
    MixesCopiesOnThreeAxes(0.1, Ball(1.0)): "independent_copies",
    FrozenInOneDimension(0.1, Ball(1.0)): "moves",
    SkipsSmallGradients(0.1, Ball(1.0)): "moves",
    DeafToHints(0.1, domain=Ball(1.0)): "hint_taken",
    Branching(0.1, Ball(1.0)): "traceable",
    Counting(0.1, Ball(1.0)): "traceable",
    Greedy(0.1, Ball(1.0)): "gradients_counted",
    Repeated(OGD(0.1, Ball(1.0)), 11): None,
    ClaimsToStandStill(0.1, Ball(1.0)): "moves",
    StandsStill(0.1): "moves",
    KnowsItsLosses(0.1, Ball(1.0)): None,  # the same play; what it may not know it does not use otherwise
    Adam(0.1, domain=Ball(1.0)): None,
    OGD(0.1, Ball(1.0)): None,
}


@pytest.mark.parametrize(("learner", "law"), FAULTS.items(), ids=lambda value: type(value).__name__)
def test_a_fault_is_caught_by_its_law_and_a_right_learner_by_none(learner, law):
    failed = {name: fault for name, fault in tried(learner, 3).items() if fault}
    assert (law in failed) if law else not failed, failed


def test_a_bound_that_breaks_in_another_dimension_is_found():
    report = theory.check(WrongFromFiveDimensionsOn(0.1, Ball(1.0)))
    assert not report.holds
    assert report.broken[0].finding.claim.name == "bound, d = 9"
    assert report.broken[0].finding.played.horizon <= 16
    assert theory.check(WrongFromFiveDimensionsOn(0.1, Ball(1.0)), dimensions=()).holds


def test_what_is_broken_is_said_with_its_remedy():
    faults = {type(learner): tried(learner, 3) for learner in FAULTS}
    assert "ask a loss for value and grad alone" in faults[FrozenOnKL]["disguised"]
    assert "SoftmaxKL" in faults[FrozenOnKL]["disguised"]
    assert "copies on 3 axes" in faults[MixesCopiesOnThreeAxes]["independent_copies"]
    assert "gradients of norm 1e-06 in d = 3 change no play" in faults[SkipsSmallGradients]["moves"]
    assert "in d = 1" in faults[FrozenInOneDimension]["moves"]
    assert "if np.any(state.energy > 2.0)" in faults[Branching]["traceable"]
    assert "11 gradients in a round, 1 declared" in faults[Greedy]["gradients_counted"]


def test_laws_that_were_not_tried_say_why(monkeypatch):
    assert untried(OGD(0.1), 3) == {
        "hint_taken": "takes_hints is False",
        "translation": "'translation' is not among its laws",
        "within_bound": "the domain has no diameter, so that the bound has no value",
    }
    monkeypatch.setattr("theory.checker.sameness.LIBRARY", "no_such_library")
    assert untried(OGD(0.1), 3)["any_library"] == "no_such_library is not installed"
    assert not [name for name, _ in checks(OGD(0.1), 3) if name.startswith("any_library")]
