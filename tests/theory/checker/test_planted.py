"""Learners with a planted fault each, of the kinds that users make: the checker catches them and says what is wrong."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

import theory
from tests import faults
from tests.theory.checker.planted.arrays import Branching, MixesCopiesOnThreeAxes
from tests.theory.checker.planted.games import (
    FrozenInOneDimension,
    FrozenOnKL,
    SkipsSmallGradients,
    WrongFromFiveDimensionsOn,
)
from tests.theory.checker.planted.hints import DeafUpdate
from tests.theory.checker.planted.protocol import Greedy, StartsInTheMiddle
from tests.theory.checker.planted.steps import TooSlow
from theory.arrays import Array
from theory.checker import breach, kept
from theory.checker.checks import LAWS, checks, untried
from theory.checker.trial import tried
from theory.domain import Ball, Domain
from theory.learner import Learner
from theory.learners import OGD, AdaHedge, Adam, Hedge
from theory.learners.repeated import Repeated
from theory.loss import Linear, Quadratic

ROOT = Path(__file__).parents[3]
GAMES = 10_000
"""For a claim; a law needs none."""


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
class ClaimsToStandStill(OGD):
    learns = False


@dataclass(frozen=True)
class StandsStill(Hedge):
    def update(self, state, loss_t, hint=None):
        return state


BALL = Ball(1.0)


class Kept(NamedTuple):
    x: Array
    last: Array


@dataclass(frozen=True)
class MarksWhatItHasNotSeen(Learner):
    """Its last gradient is NaN until there is one."""

    domain: Domain = BALL

    def init(self, x_1):
        return Kept(x_1, float("nan") * x_1)

    def predict(self, state, hint=None):
        return state.x

    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        return Kept(self.domain.project(state.x - 0.1 * grad_t), grad_t)


MORE = {
    FrozenOnWhatItDoesNotKnow(0.1, Ball(1.0)): "disguised",
    Repeated(OGD(0.1, Ball(1.0)), 11): None,
    MarksWhatItHasNotSeen(): None,
    ClaimsToStandStill(0.1, Ball(1.0)): "moves",
    StandsStill(0.1): "moves",
    KnowsItsLosses(0.1, Ball(1.0)): None,  # the same play; what it may not know it does not use otherwise
    Adam(0.1, domain=Ball(1.0)): None,
    OGD(0.1, Ball(1.0)): None,
}


@pytest.mark.parametrize(("learner", "law"), MORE.items(), ids=lambda value: type(value).__name__)
def test_a_fault_is_caught_by_its_law_and_a_right_learner_by_none(learner, law):
    failed = {name: fault for name, fault in tried(learner, 3).items() if fault}
    assert (law in failed) if law else not failed, failed


# The table of tests/faults.py, which tries all of it with the whole budget


def test_there_are_sixty_faults_each_with_a_line_that_says_it():
    assert len(faults.FAULTS) == len({one.name for one in faults.FAULTS}) == 60
    assert sum(one.kind == "held_out" for one in faults.FAULTS) == 10
    for one in faults.FAULTS:
        said = type(one.learner).__doc__ or ""
        assert "(" not in said.partition(" ")[0], f"{one.name}: {said}"  # a dataclass without one is given its fields
        assert len(said.splitlines()) == 1


LONG = ("CorrectsFromThePlay", "StartsAnew")
"""Faults that show in longer games than so few."""
QUICK = [one for one in faults.FAULTS if one.name not in LONG]


@pytest.mark.parametrize("planted", QUICK, ids=lambda planted: planted.name)
def test_a_planted_fault_is_caught_in_a_game_that_breaks_it_again(planted, tmp_path):
    lawless = planted.breaks in [law.__name__ for law in LAWS]
    report = theory.check(planted.learner, games=500 if lawless else GAMES)
    assert not report.holds
    assert planted.breaks in [faults.called(one) for one in [*report.broken, *report.unlawful]]
    game = faults.shown(report)
    kept.save(tmp_path / "one.json", game.kept)
    assert kept.replayed(tmp_path / "one.json", trust=True).broken


def test_the_table_counts_what_it_shows(monkeypatch, capsys, tmp_path):
    """One fault and no seed, the rest of the command as it is; and status 1 where a game does not play again."""
    arguments = ["Greedy", "--games", "2000", "--seeds", "0", "--out", str(tmp_path / "faults.json")]
    assert faults.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "gradients_counted" in printed
    assert "caught: 1" in printed
    told = theory.runs.result.load_result(tmp_path / "faults.json", faults.KIND)
    assert told["faults"][0]["rounds"] == told["median rounds"] == 1
    assert "commit" in told["provenance"]
    monkeypatch.setattr(faults, "plays_again", lambda game: False)
    assert faults.main(arguments[:5]) == 1
    monkeypatch.undo()
    monkeypatch.setattr(faults, "trials", lambda chosen, budget: told["faults"])
    for what in ("false_alarms", "in_full"):
        monkeypatch.setattr(faults, what, lambda learner, more: [])
    seeded = [*arguments[:3], "--seeds", "1"]
    assert faults.main(seeded) == 0
    for what in ("false_alarms", "in_full"):
        with monkeypatch.context() as patch:
            patch.setattr(faults, what, lambda learner, more: ["feasible"])
            assert faults.main(seeded) == 1
    for limit in ("ROUNDS", "SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr(faults, limit, 0)
            assert faults.main(arguments[:5]) == 1


def test_the_limits_of_the_command_are_those_that_it_names():
    said = " ".join((faults.__doc__ or "").split())
    assert f"fewer than {faults.WANTED} faults" in said
    assert f"more than {faults.ROUNDS} rounds in the median" in said
    assert f"more than {faults.SECONDS} s of a processor" in said


@pytest.mark.parametrize("learner", faults.CORRECT[4:7], ids=str)
def test_a_correct_learner_is_not_called_broken(learner):
    assert faults.false_alarms(learner, seed=1) == []


def test_a_correct_learner_is_tried_as_a_faulty_one_is():
    assert faults.in_full(AdaHedge(), 2_000) == []
    assert "gradients_counted" in faults.in_full(Greedy(0.1, Ball(1.0)), 500)
    assert "bound" in faults.in_full(TooSlow(0.25, Ball(1.0)), GAMES)


# Words, tests and files


def test_a_bound_that_breaks_in_another_dimension_is_found_and_shown_in_the_smallest():
    learner = WrongFromFiveDimensionsOn(0.1, Ball(1.0))
    report = theory.check(learner, games=GAMES)
    assert not report.holds
    assert "bound, d = 9" in [one.claim.name for one in report.findings]
    assert report.broken[0].finding.claim.name == "bound, d = 5"
    assert report.broken[0].finding.played.game.x_1.shape == (5,)
    assert report.broken[0].finding.played.horizon <= 4
    assert theory.check(learner, games=GAMES, dimensions=()).holds


def test_what_is_broken_is_said_with_its_remedy():
    for cls, law, words in (
        (FrozenOnKL, "disguised", "ask a loss for value and grad alone"),
        (FrozenOnKL, "disguised", "SoftmaxKL"),
        (MixesCopiesOnThreeAxes, "independent_copies", "copies on 3 axes"),
        (SkipsSmallGradients, "moves", "gradients of norm 1e-06 in d = 3 change no play"),
        (FrozenInOneDimension, "moves", "in d = 1"),
        (Branching, "traceable", "if np.any(state.energy > 2.0)"),
        (Greedy, "gradients_counted", "11 gradients in a round, 1 declared"),
        (StartsInTheMiddle, "starts_as_told", "from the x_1 that init was given"),
    ):
        assert words in tried(cls(0.1, Ball(1.0)), 3)[law]
    assert "pass it on in update" in tried(DeafUpdate(0.1, domain=Ball(1.0)), 3)["hint_taken"]


def test_a_broken_law_is_told_as_a_short_game_a_test_and_a_file():
    """Greedy: one round, one coordinate, one copy, one digit."""
    (one,) = theory.check(Greedy(0.1, Ball(1.0)), games=1_000).unlawful
    assert one.breach.game.slopes.shape == (1, 1, 1)
    assert one.breach.game.slopes.item() == round(one.breach.game.slopes.item(), 1)
    assert one.kept["law"] == "gradients_counted"
    space = {}
    exec(one.test, space)
    with pytest.raises(AssertionError, match="11 gradients in a round"):
        space["test_greedy_keeps_gradients_counted"]()
    held = one.test.replace("Greedy", "OGD").replace("tests.theory.checker.planted.protocol", "theory.learners.ogd")
    exec(held, space)
    space["test_greedy_keeps_gradients_counted"]()


def test_shrinking_keeps_a_fault_that_needs_its_copies():
    learner = MixesCopiesOnThreeAxes(0.1, Ball(1.0))
    whole = breach.attempts(learner, 3)["independent_copies"]
    small = breach.shrink(whole)
    assert small.broken
    assert small.game.x_1.shape == (2, 1)
    assert len(small.game.slopes) == 2


def test_a_file_of_a_law_that_is_none_is_refused(tmp_path):
    told = kept.content_of_breach(breach.attempts(Greedy(0.1, Ball(1.0)), 3)["gradients_counted"])
    kept.save(tmp_path / "one.json", told | {"law": "speed"})
    with pytest.raises(ValueError, match="describes no learner and law"):
        kept.replayed(tmp_path / "one.json", trust=True)


def test_laws_that_were_not_tried_say_why(monkeypatch):
    assert untried(OGD(0.1), 3) == {
        "hint_taken": "takes_hints is False",
        "translation": "'translation' is not among its laws",
        "within_bound": "the domain has no diameter, so that the bound has no value",
    }
    monkeypatch.setattr("theory.checker.sameness.LIBRARY", "no_such_library")
    assert untried(OGD(0.1), 3)["any_library"] == "no_such_library is not installed"
    assert not [name for name, _ in checks(OGD(0.1), 3) if name.startswith("any_library")]


def test_a_reason_is_the_learners_own():
    """One that claims no bound claims none on a domain without a diameter either."""
    assert untried(Adam(0.1), 3)["within_bound"] == "the learner claims no bound"


# Without assertions

UNDER_O = """
from tests import faults
from theory.checker.breach import attempt
from theory.checker.checks import LAWS, checks

assert False, "is left out"
laws = {law.__name__ for law in LAWS}
for one in faults.FAULTS:
    tries = [check for name, check in checks(one.learner, 3) if name.partition("[")[0] == one.breaks in laws]
    if tries and not any(attempt(check.func, *check.args).broken for check in tries):
        print(one.name, "keeps", one.breaks)
print("tried")
"""


@pytest.mark.slow
def test_laws_are_laws_under_python_o():
    done = subprocess.run([sys.executable, "-O", "-c", UNDER_O], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tried\n"


WITH_LAWS = ("checker/checks", "checker/sameness", "checker/honesty", "testing/strategies/machine")


@pytest.mark.parametrize("name", WITH_LAWS)
def test_no_law_is_an_assert_statement(name):
    tree = ast.parse((ROOT / f"theory/{name}.py").read_text("utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []
