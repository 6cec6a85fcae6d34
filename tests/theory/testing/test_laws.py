"""``theory.testing`` as its users have it: a decorator and a plugin, in a suite of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from theory.checker.checks import LAWS, untried
from theory.domain import Ball
from theory.learners import OGD, AdaHedge
from theory.testing import parametrize_with_laws
from theory.testing.laws import laws

ROOT = Path(__file__).parents[3]
MINE = """
from dataclasses import dataclass
from theory.learners.ogd import OGD

@dataclass(frozen=True)
class Peeking(OGD):
    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint)._replace(x=state.x - self.step_size * loss_t.grad(state.x))
"""
SUITE = """
from theory.domain import Ball
from theory.learners import OGD
from theory.testing import parametrize_with_laws
from my import Peeking

@parametrize_with_laws([OGD(0.1, Ball(1.0))])
def test_ours(law):
    law()

@parametrize_with_laws([Peeking(0.1, Ball(1.0))], expected_failed_laws={"feasible": "it never projects"})
def test_mine(law):
    law()

@parametrize_with_laws([OGD(0.1, Ball(1.0))], expected_failed_laws={"causal": "so one thought"})
def test_wrongly_expected(law):
    law()
"""


def run(folder, *arguments):
    (folder / "my.py").write_text(MINE)
    (folder / "test_suite.py").write_text(SUITE)
    flags = ["-p", "theory.testing.plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    alone = {"PYTHONPATH": f"{ROOT}:{folder}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", *flags, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=alone)
    return done.returncode, done.stdout + done.stderr


def test_a_suite_of_ones_own_has_a_test_a_law(tmp_path):
    status, said = run(tmp_path, "test_suite.py", "-q", "-rA")
    assert status == 1
    assert "PASSED test_suite.py::test_ours[OGD-causal]" in said
    assert "XFAIL test_suite.py::test_mine[Peeking-feasible] - it never projects" in said
    assert "FAILED test_suite.py::test_wrongly_expected[OGD-causal]" in said
    assert "[XPASS(strict)] so one thought" in said


def test_the_plugin_holds_a_file_to_its_laws_and_claims(tmp_path):
    status, said = run(tmp_path, "my.py", "--learner", "my.py:Peeking", "--learner", "adahedge", "-rA")
    assert status == 1
    assert "my.py:Peeking::feasible" in said
    assert "feasible: the play of round 2" in said
    assert "The learner leaves the domain in this game" in said  # of the claims
    assert "Traceback" not in said
    assert "PASSED" in said
    assert "adahedge::claims" in said
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert {"my.py:Peeking::feasible", "my.py:Peeking::claims"} <= {line.split()[1].split(" - ")[0] for line in failed}
    assert not [line for line in failed if "adahedge" in line]


def test_a_learner_that_is_not_there_is_a_usage_error(tmp_path):
    status, said = run(tmp_path, "my.py", "--learner", "my.py:Nobody")
    assert status == 4
    assert "my.py defines no 'Nobody'" in said


def test_laws_are_those_of_the_checker():
    for learner in (OGD(0.1, Ball(1.0)), AdaHedge()):
        named = [law.name for law in laws(learner)]
        assert sorted(named) == sorted({law.__name__ for law in LAWS} - set(untried(learner)))
    with pytest.raises(ValueError, match="expected_failed_laws='speed': no such law"):
        parametrize_with_laws([OGD(0.1)], expected_failed_laws={"speed": ""})
