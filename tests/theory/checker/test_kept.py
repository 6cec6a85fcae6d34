"""A game that breaks a claim is written as a file without code and as a test, and both play it again elsewhere."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import theory
from theory import bounds
from theory.checker import kept
from theory.domain import Ball, Box, Simplex
from theory.hints import MovingAverage
from theory.learners import OGD, AdaHedge, Ensemble, OptimisticOGD
from theory.problem import Problem
from theory.step_size import AdaGradNorm

ROOT = Path(__file__).parents[3]
MINE = """
from dataclasses import dataclass
from theory import bounds
from theory.learners.ogd import OGD

@dataclass(frozen=True)
class ShortStep(OGD):
    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, 1.3 * self.step_size, 1.3 * state.stability[..., 0])

@dataclass(frozen=True)
class Asking(OGD):
    def update(self, state, loss_t, hint=None):
        loss_t.grad(state.x)
        return super().update(state, loss_t, hint)

def half(played):
    return 0.5 * bounds.ogd(played.comparator_energy, played.learner.step_size, played.gradient_energy)
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Broken claims, saved: a learner of the table under a bound of a file, and a learner of a file; a broken law."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "my.py").write_text(MINE)
    for name, out, more in (
        ("ogd", "ogd", ["--bound", "my.py:half"]),
        ("my.py:ShortStep", "mine", []),
        ("my.py:Asking", "law", []),
    ):
        result = run("theory", "check", name, *more, "--games", "5000", "--out", out, cwd=folder)
        assert result.returncode == 1, result.stdout + result.stderr
    return folder


@pytest.mark.parametrize("which", ["ogd", "mine"])
def test_a_file_is_played_again_in_a_fresh_process(saved, which):
    file = f"{which}/counterexample-1.json"
    refused = run("theory", "replay", file, cwd=saved)
    assert refused.returncode == 2
    assert "trust the file to allow that" in " ".join(refused.stderr.split())
    result = run("theory", "replay", file, "--trust", cwd=saved)
    assert result.returncode == 1, result.stderr
    assert "still broken" in result.stdout
    told = json.loads((saved / file).read_text())
    assert float(re.search(r"regret: (\S+)", result.stdout)[1]) == pytest.approx(told["regret"], rel=1e-8)
    assert float(re.search(r"bound: (\S+)", result.stdout)[1]) == pytest.approx(told["limit"], rel=1e-8)
    assert told["regret"] > told["limit"]


@pytest.mark.parametrize("which", ["ogd", "mine"])
def test_a_test_fails_until_the_claim_holds(saved, which):
    test = saved / which / "test_counterexample_1.py"
    broken = run("pytest", "-q", "-p", "no:cacheprovider", str(test), cwd=saved)
    assert broken.returncode == 1
    assert "1 failed" in broken.stdout
    whole = (saved / "my.py").read_text()
    try:
        (saved / "my.py").write_text(whole.replace("1.3 * ", "").replace("0.5 * ", ""))
        assert run("pytest", "-q", "-p", "no:cacheprovider", str(test), cwd=saved).returncode == 0
        held = run("theory", "replay", f"{which}/counterexample-1.json", "--trust", cwd=saved)
        assert held.returncode == 0
        assert "holds now" in held.stdout
    finally:
        (saved / "my.py").write_text(whole)


def test_a_broken_law_is_a_file_and_a_test_too(saved):
    result = run("theory", "replay", "law/counterexample-1.json", "--trust", cwd=saved)
    assert result.returncode == 1, result.stderr
    assert "rounds: 1\n" in result.stdout
    assert "2 gradients in a round, 1 declared" in result.stdout
    assert "gradients_counted: still broken" in result.stdout
    test = run("pytest", "-q", "-p", "no:cacheprovider", "law/test_counterexample_1.py", cwd=saved)
    assert test.returncode == 1
    assert "2 gradients in a round" in test.stdout
    assert not (saved / "law" / "counterexample-2.json").exists()


def test_learners_of_ours_need_no_trust(tmp_path):
    report = theory.check(AdaHedge(), bound=quarter, games=3_000)
    assert report.broken[0].kept["learner"]["class"] == "theory.learners.adahedge:AdaHedge"
    kept.save(tmp_path / "one.json", report.broken[0].kept | {"claim": "bound", "bound": None})
    found = kept.replayed(tmp_path / "one.json")
    assert not found.broken  # the learner's own bound holds in the game that breaks the other one
    assert float(found.played.regret) == pytest.approx(report.broken[0].kept["regret"])
    kept.save(tmp_path / "two.json", report.broken[0].kept | {"bound": "theory.bounds:hedge"})
    with pytest.raises(ValueError, match=r"is no dataclass of theory.bounds.*trust the file to allow that"):
        kept.replayed(tmp_path / "two.json")


EVIL = {"choice": "evil.py:made", "argument": "a"}


@pytest.mark.parametrize(
    ("name", "settings", "place"),
    [
        ("theory.runs.users_file:load", EVIL, "learner"),
        ("theory.runs.users_file:load", EVIL, "inside"),
        ("theory.runs.users_file:load", EVIL, "bound"),
        ("theory.lazy:import_module", {"name": "evil"}, "learner"),
        ("theory.py:made", {}, "learner"),
        ("theory.evil.py:made", {}, "learner"),
        ("theory.checker.certificate:Recorder", {"learner": None, "candidates": {"tuple": []}}, "learner"),
        ("theory.learners:OGD", {"step_size": 0.1}, "learner"),
    ],
)
def test_a_file_that_is_not_trusted_runs_nothing_but_dataclasses_of_ours(name, settings, place, tmp_path, monkeypatch):
    for file in ("evil.py", "theory.py", "theory.evil.py"):
        (tmp_path / file).write_text("from pathlib import Path\nPath('ran').touch()\nmade = dict\n")
    described = {"class": name, "settings": settings}
    ours = kept.described(OGD(0.1, Ball(1.0)))
    inside = {"class": ours["class"], "settings": {"step_size": 0.1, "domain": described}}
    told = {"learner": {"learner": described, "inside": inside, "bound": ours}[place], "claim": "made", "within": False}
    told |= {"problem": kept.described(Problem(Ball(1.0), 1, 1, 1.0)), "bound": name, "quadratic": False}
    kept.save(tmp_path / "one.json", told | {"x_1": [0.0], "slopes": [[1.0]], "comparators": [[0.0]]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="trust the file to allow that"):
        kept.replayed(tmp_path / "one.json")
    assert not (tmp_path / "ran").exists()


def quarter(played):
    return 0.1 * played.learner.bound(played.state, 1.0) if played.state is not None else 0.0


@pytest.mark.parametrize(
    "value",
    [
        OGD(0.1, Ball(2.0)),
        OptimisticOGD((0.1, 0.2), MovingAverage(0.3), Box(-1.0, 0.5)),
        Ensemble(OGD((0.1, 0.5), Ball(1.0))),
        OGD(AdaGradNorm(2.0), Simplex()),
        Problem(Ball(1.0), 3, 64, 1.0, path_length=float("inf")),
    ],
    ids=str,
)
def test_a_value_is_what_was_described(value):
    told = json.loads(json.dumps(kept.described(value)))
    assert kept.rebuilt(told) == value


@dataclass(frozen=True)
class Local(OGD):
    def bound(self, state, comparator_energy):
        return 0.5 * bounds.proximal(comparator_energy, self.step_size, state.stability[..., 0])


def test_what_no_file_can_tell_is_said(tmp_path):
    with pytest.raises(ValueError, match="neither a number, a text, a tuple nor a dataclass"):
        kept.described([1, 2])
    report = theory.check(OGD(0.5, Ball(1.0)), bound=lambda game: 0.1, games=3_000)
    assert report.broken[0].kept is None
    told = kept.described(Local(0.5, Ball(1.0)))
    with pytest.raises(ValueError, match="trust the file to allow that"):
        kept.rebuilt(told)
    assert kept.rebuilt(told, trust=True) == Local(0.5, Ball(1.0))
    with pytest.raises(ValueError, match="no longer takes the settings"):
        kept.rebuilt({"class": "theory.learners.ogd:OGD", "settings": {"speed": 1.0}})
    with pytest.raises(ValueError, match="is not there"):
        kept.rebuilt({"class": "theory.learners.ogd:ODG", "settings": {}})
    with pytest.raises(FileNotFoundError):
        kept.replayed(tmp_path / "none.json")
