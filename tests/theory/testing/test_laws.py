"""``theory.testing`` as its users have it: a decorator and a plugin, in a suite of their own."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from theory.checker.checks import LAWS, untried
from theory.checker.games import Game
from theory.domain import Ball
from theory.learners import OGD, AdaHedge
from theory.testing import parametrize_with_laws
from theory.testing.laws import Law, laws

ROOT = Path(__file__).parents[3]
MINE = """
from dataclasses import dataclass
import numpy as np
from theory.domain import Ball, Domain
from theory.learner import Learner
from theory.learners.ogd import OGD

@dataclass(frozen=True)
class Peeking(OGD):
    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint)._replace(x=state.x - self.step_size * loss_t.grad(state.x))

@dataclass(frozen=True)
class Noisy(OGD):
    def predict(self, state, hint=None):
        return self.domain.project(state.x + 0.01 * np.random.default_rng().normal(size=state.x.shape))

@dataclass(frozen=True)
class Dividing(OGD):
    def update(self, state, loss_t, hint=None):
        grad_t = loss_t.grad(state.x)
        unit = np.nan_to_num(grad_t / np.linalg.norm(grad_t, axis=-1, keepdims=True))
        return state._replace(x=self.domain.project(state.x - self.step_size * unit))

@dataclass(frozen=True)
class Plain(Learner):
    step_size: float
    domain: Domain = Ball(1.0)

    def init(self, x_1): return x_1
    def predict(self, state, hint=None): return state
    def update(self, state, loss_t, hint=None): return self.domain.project(state - self.step_size * loss_t.grad(state))
"""
SUITE = """
from theory.domain import Ball
from theory.learners import OGD
from theory.testing import parametrize_with_laws
from my import Dividing, Peeking

@parametrize_with_laws([OGD(0.1, Ball(1.0)), OGD(0.2, Ball(1.0))])
def test_ours(law):
    law()

@parametrize_with_laws([Peeking(0.1, Ball(1.0))], expected_failed_laws={"feasible": "it never projects"})
def test_mine(law):
    law()

def known(learner):
    return {"feasible": "it never projects"} if isinstance(learner, Peeking) else {}

@parametrize_with_laws([Peeking(0.1, Ball(1.0)), OGD(0.1, Ball(1.0))], expected_failed_laws=known)
def test_both(law):
    law()

@parametrize_with_laws([OGD(0.1, Ball(1.0))], expected_failed_laws={"causal": "so one thought"})
def test_wrongly_expected(law):
    law()

@parametrize_with_laws([Dividing(0.1, Ball(1.0))])
def test_dividing(law):
    law()
"""
OTHERS = """
def pytest_addoption(parser):
    parser.addoption("--learner")
    parser.addoption("--set")
"""


def run(folder, *arguments):
    (folder / "my.py").write_text(MINE)
    (folder / "test_suite.py").write_text(SUITE)
    flags = ["-p", "theory.testing.plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    alone = {"PYTHONPATH": f"{ROOT}:{folder}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", *flags, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=alone)
    return done.returncode, done.stdout + done.stderr


def asked(*learners):
    return [word for learner in learners for word in ("--onlinespec-learner", learner)]


# The decorator


@pytest.mark.slow
def test_a_suite_of_ones_own_has_a_test_a_law(tmp_path):
    status, said = run(tmp_path, "test_suite.py", "-q", "-rA", "-k", "not dividing")
    assert status == 1
    for step in (0.1, 0.2):
        assert f"PASSED test_suite.py::test_ours[OGD(step_size={step},domain=Ball(radius=1.0))-causal]" in said
    assert "SKIPPED" in said
    assert "hint_taken was not tried: takes_hints is False" in said
    peeking = "[Peeking(step_size=0.1,domain=Ball(radius=1.0))-feasible]"
    assert f"XFAIL test_suite.py::test_mine{peeking} - it never projects" in said
    assert f"XFAIL test_suite.py::test_both{peeking} - it never projects" in said
    assert "PASSED test_suite.py::test_both[OGD(step_size=0.1,domain=Ball(radius=1.0))-feasible]" in said
    assert re.search(r"FAILED test_suite.py::test_wrongly_expected\[OGD\(.*\)-causal\]", said)
    assert "[XPASS(strict)] so one thought" in said


def test_warnings_of_numpy_that_are_errors_break_no_law(tmp_path):
    """0/0 in a learner that knows what to do with it."""
    status, said = run(tmp_path, "test_suite.py", "-q", "-W", "error", "-k", "dividing and moves")
    assert status == 0, said
    assert "1 passed" in said


def test_laws_are_those_of_the_checker():
    for learner in (OGD(0.1, Ball(1.0)), AdaHedge()):
        named = {law.name: law.untried for law in laws(learner)}
        assert list(named) == [law.__name__ for law in LAWS]
        assert {name: why for name, why in named.items() if why} == untried(learner)


def test_the_name_of_a_law_is_the_same_in_every_process():
    """Where an object lies in memory is not."""
    assert repr(Law(object(), "causal", [])) == "<objectobject>-causal"


def test_a_law_is_tried_once():
    tried = []
    game = Game(np.zeros((1, 1)), np.zeros((1, 1, 1)))
    law = Law(AdaHedge(), "causal", [partial(lambda learner, game: tried.append(game), AdaHedge(), game)])
    law()
    law()
    assert law.fault is None
    assert len(tried) == 1


BOTH = [OGD(0.1), AdaHedge()]


@pytest.mark.parametrize(
    ("learners", "expected", "message"),
    [
        (BOTH, {"speed": ""}, "expected_failed_laws='speed': no such law"),
        (BOTH, lambda learner: {"speed": ""}, "expected_failed_laws='speed': no such law"),
        (BOTH[:1], {"translation": ""}, "is not tried, as 'translation' is not among its laws; leave it out"),
        (BOTH, lambda one: {"translation": ""} if isinstance(one, OGD) else {}, "'translation': is not tried"),
    ],
)
def test_what_nothing_is_held_against_cannot_be_expected(learners, expected, message):
    with pytest.raises(ValueError, match=message):
        parametrize_with_laws(learners, expected_failed_laws=expected)


def test_what_some_learner_or_another_environment_is_held_to_can_be_expected(monkeypatch):
    parametrize_with_laws(BOTH, expected_failed_laws={"translation": ""})
    monkeypatch.setattr("theory.checker.sameness.LIBRARY", "no_such_library")
    parametrize_with_laws(BOTH, expected_failed_laws={"any_library": "numpy's alone"})


# The plugin


@pytest.mark.slow
def test_the_plugin_holds_a_file_to_its_laws_and_claims(tmp_path):
    status, said = run(tmp_path, "my.py", *asked("my.py:Peeking", "adahedge"), "-rA")
    assert status == 1
    assert "my.py:Peeking::feasible" in said
    assert "feasible: the play of round 2" in said
    assert "The learner leaves the domain in this game" in said  # of the claims
    assert not re.search(r"^feasible +broken", said, re.MULTILINE)  # whose test does not try the laws again
    assert "Traceback" not in said
    assert "PASSED" in said
    assert "adahedge::claims" in said
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert {"my.py:Peeking::feasible", "my.py:Peeking::claims"} <= {line.split()[1].split(" - ")[0] for line in failed}
    assert not [line for line in failed if "adahedge" in line]


def test_claims_are_skipped_where_none_is_made_or_a_search_would_mean_nothing(tmp_path):
    status, said = run(tmp_path, "my.py", *asked("frozen", "my.py:Noisy"), "-rA")
    assert status == 1
    assert "NO BOUND was tried: the learner claims no bound; give one as bound" in said
    assert "within_bound was not tried: the learner claims no bound" in said
    assert "FAILED my.py:Noisy::pure" in said
    assert re.search(r"no search for a game that breaks its bound before .*pure.* holds: repair that first", said)
    assert "::claims" not in "".join(line for line in said.splitlines() if line.startswith("FAILED"))


def test_settings_make_a_learner_that_has_no_defaults(tmp_path):
    status, said = run(tmp_path, "my.py", *asked("my.py:Plain"))
    assert status == 4
    assert "missing 1 required positional argument: 'step_size'" in said
    status, said = run(tmp_path, "my.py", *asked("my.py:Plain"), "--onlinespec-set", "step_size=0.1", "-rA")
    assert status == 0, said
    assert "PASSED my.py:Plain::moves" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (asked("my.py:Nobody"), "my.py defines no 'Nobody'"),
        ([*asked("ogd"), "--onlinespec-set", "step_size"], "setting 'step_size': write key=value"),
        ([*asked("ogd"), "--onlinespec-set", "steps=1"], "has no setting 'steps'"),
        (["--onlinespec-set", "step_size=1"], "is of no learner; give one by --onlinespec-learner"),
    ],
)
def test_what_cannot_be_tried_is_a_usage_error(tmp_path, arguments, message):
    status, said = run(tmp_path, "my.py", *arguments)
    assert status == 4
    assert message in said


def test_options_of_other_names_are_left_to_others(tmp_path):
    (tmp_path / "conftest.py").write_text(OTHERS)
    status, said = run(tmp_path, "test_suite.py", "-q", "-k", "test_ours and causal", "--learner", "x", "--set", "y")
    assert status == 0, said
