"""The public names of ``theory``: light to import, the same as in their modules; ``check`` as one function."""

import contextlib
import io
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import theory
from theory import bounds
from theory.checker import trial
from theory.checker.report import Report
from theory.checker.search import Search
from theory.checker.trial import NothingClaimed, assert_learner, default_problem
from theory.domain import Ball, Box, Domain, Free, Simplex
from theory.lazy import public
from theory.learners import OGD, Hedge, OptimisticOGD
from theory.problem import Problem
from theory.runs.trace import Trace
from theory.step_size import AdaGradNorm

ROOT = Path(__file__).parents[2]
PROBLEM = Problem(Ball(1.0), 2, 32, 1.0)


# Names


@pytest.mark.parametrize("package", ["theory", "sim"])
def test_every_public_name_is_what_its_module_has(package):
    module = import_module(package)
    places = public(Path(module.__file__).read_text("utf-8"))
    assert list(places) == module.__all__
    for name, (place, member) in places.items():
        expected = import_module(f"{place}.{member}") if place == package else getattr(import_module(place), member)
        assert getattr(module, name) is expected
        assert name in dir(module)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="module 'theory' has no attribute 'OGDD'"):
        _ = theory.OGDD
    assert not hasattr(theory, "__wrapped__")


def test_importing_the_packages_imports_nothing_else():
    heavy = ("numpy", "scipy", "matplotlib", "torch", "typer", "rich", "joblib")
    code = f"import sys, theory, sim, figures; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_public_reads_the_guarded_imports_alone():
    text = "import os\nfrom a import b\nif TYPE_CHECKING:\n    from c.d import e as e\n    from f import g as h, i\n"
    assert public(text) == {"e": ("c.d", "e"), "h": ("f", "g"), "i": ("f", "i")}


# check


def half(game):
    """Half of OGD's own bound."""
    return game.comparator_energy / (4 * game.learner.step_size) + 0.25 * game.learner.step_size * game.gradient_energy


def number(game):
    return game.nothing


@dataclass(frozen=True)
class Unprojected(OGD):
    """Leaves its domain."""

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint)._replace(x=state.x - self.step_size * loss_t.grad(state.x))


@dataclass(frozen=True)
class Peeking(OGD):
    """Moves what it has played."""

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        state.x[...] = following.x
        return following


@dataclass(frozen=True)
class Crashing(OGD):
    """Cannot play more than ten rounds of one game."""

    def bound(self, state, comparator_energy):
        raise IndexError("out of range")


def printed(code):
    """The numbers that Python prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(code, {})
    return [float(word) for word in shown.getvalue().split()]


@pytest.mark.parametrize("learner", ["ogd", OGD, OGD(0.5, Ball(1.0))], ids=["name", "class", "object"])
def test_a_learner_that_keeps_its_bounds_holds(learner):
    report = theory.check(learner, problem=PROBLEM, games=5_000)
    assert report.holds
    assert (report.failed, report.broken, report.counterexample, report.raised) == ({}, [], None, None)
    assert {"causal", "feasible", "within_bound"} <= set(report.laws)
    assert [finding.claim.name for finding in report.findings] == ["bound", "bound, sharp energy", "guarantee"]
    assert "within_bound          ok" in str(report)


@pytest.mark.parametrize("learner", ["ogd", OGD, OGD(0.5, Ball(1.0))], ids=["name", "class", "object"])
def test_a_false_bound_comes_with_a_game_as_python(learner):
    report = theory.check(learner, half, PROBLEM, games=10_000)
    assert not report.holds
    assert report.failed == {}
    (broken,) = report.broken
    suffered, limit = printed(report.counterexample)
    assert suffered == pytest.approx(float(broken.finding.played.regret))
    assert limit == pytest.approx(half(broken.finding.played))
    assert suffered > limit
    assert report.counterexample in str(report)
    assert "The learner breaks its half in this game:" in str(report)


def test_a_function_without_a_name_is_a_bound_too():
    report = theory.check(OGD(0.5, Ball(1.0)), lambda game: 0.1, PROBLEM, games=5_000)
    (suffered,) = printed(report.counterexample)
    assert suffered > 0.1
    assert report.findings[0].claim.name == "bound"


def test_a_bound_and_a_learner_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom theory import OGD\n\n@dataclass(frozen=True)\nclass Mine(OGD):\n"
        "    pass\n\ndef small(game):\n    return 0.1\n"
    )
    report = theory.check(f"{file}:Mine", f"{file}:small", PROBLEM, settings={"step_size": 0.25}, games=5_000)
    assert report.learner.step_size == 0.25
    suffered, limit = printed(report.counterexample)
    assert suffered > limit == 0.1


def test_a_law_that_is_broken_is_named_with_what_broke_it():
    report = theory.check(Peeking(0.5, Ball(1.0)), games=5_000)
    assert {"pure", "settled", "without_side_effects"} <= set(report.failed)
    assert "round 1" in report.failed["settled"]
    assert report.findings == []
    assert "before pure, settled, without_side_effects holds" in report.notes[0]
    assert re.search("settled +broken +update changes the decision already played", str(report))
    assert re.search("traceable +not tried +traceable is False", str(report))


def test_a_play_outside_the_domain_is_a_counterexample():
    report = theory.check(Unprojected(0.5, Ball(1.0)), games=5_000)
    assert "feasible" in report.failed
    assert "The learner leaves the domain in this game:" in str(report)
    assert "played.decisions" in report.counterexample


def test_a_search_that_a_learner_ends_does_not_hold():
    report = theory.check(Crashing(0.5, Ball(1.0)), games=5_000)
    assert not report.holds
    assert report.raised == "IndexError: out of range"
    assert "the search raised IndexError: out of range" in str(report)


def test_a_learner_without_a_claim_holds_by_its_laws_alone():
    report = theory.check("adam", games=5_000)
    assert report.holds
    assert report.notes == ["NO BOUND was tried: the learner claims no bound; give one as bound"]
    assert report.untried["within_bound"] == "the learner claims no bound"
    with pytest.warns(NothingClaimed, match="no bound was tried, laws alone"):
        assert_learner("adam", games=5_000)


def test_a_bound_without_a_value_is_not_called_none():
    report = theory.check(OGD(AdaGradNorm(2.0)), games=500)
    assert report.notes == [f"NO BOUND was tried: {report.untried['within_bound']}; give one as bound"]
    assert report.untried["within_bound"] == "the domain has no diameter, so that the bound has no value"
    report = theory.check(OGD(AdaGradNorm(2.0), Ball(1.0)), problem=Problem(Free(), 2, 32, 1.0), games=500)
    assert "NO BOUND was tried: the problem's domain has no diameter" in report.notes[0]


UNIT = Box(0.0, 1.0)


@dataclass(frozen=True)
class InTheUnitBox(OGD):
    domain: Domain = UNIT


def test_a_class_is_tried_on_its_own_domain(tmp_path):
    assert theory.check(InTheUnitBox, games=500).learner.domain == UNIT
    (tmp_path / "my.py").write_text("from tests.theory.test_api import InTheUnitBox\n")
    assert default_problem(f"{tmp_path}/my.py:InTheUnitBox").domain == UNIT
    assert default_problem(InTheUnitBox, Ball(2.0)).domain == Ball(2.0)
    assert default_problem(InTheUnitBox(0.1, Free())).domain == Free()  # an object is as it is
    for name, domain in (("ogd", Ball(1.0)), ("ensemble", Ball(1.0)), ("hedge", Simplex())):
        assert default_problem(name).domain == domain


def test_a_budget_is_of_games_and_what_it_ended_is_said():
    """The same games are played however slow the clock, and a short search says what it left out."""
    reports = [theory.check(OGD(0.5, Ball(1.0)), problem=PROBLEM, games=3_000) for _ in range(2)]
    assert str(reports[0]) == str(reports[1])
    assert "the budget of 3,000 games ended the search in: constructions, refining" in reports[0].notes[0]
    assert theory.check(Hedge(0.5)).notes == []
    quarters = [note for note in reports[0].notes if "the budget of 750 games ended the search in: " in note]
    assert [note.partition(":")[0] for note in quarters] == ["d = 1", "d = 2", "d = 9"]


@pytest.mark.parametrize("bound", [None, lambda game: 2.0 * game.horizon], ids=["own", "for small gradients"])
def test_a_report_counts_all_games_that_were_played(bound, monkeypatch):
    """Those in other dimensions too, and those of small gradients where large ones break a bound."""
    searches, played = set(), []

    class Counting(Search):
        def _play(self, game):
            searches.add(id(self))
            played.append(game.slopes.shape[1])
            return super()._play(game)

    monkeypatch.setattr(trial, "Search", Counting)
    report = theory.check(OGD(0.5, Ball(1.0)), bound, PROBLEM, games=3_000)
    assert len(searches) > 1
    assert report.games == sum(played) > 3_000
    assert f"{report.games:,} games played" in str(report)


def test_any_budget_will_do_but_none():
    report = theory.check(OGD(0.5, Ball(1.0)), games=3)
    assert report.holds
    assert report.raised is None
    with pytest.raises(ValueError, match="games=0: a search plays at least 1"):
        theory.check(OGD(0.5, Ball(1.0)), games=0)


def test_a_search_alone_tries_no_law():
    report = theory.check(Unprojected(0.5, Ball(1.0)), games=5_000, laws=False)
    assert report.laws == {}
    assert "The learner leaves the domain in this game:" in str(report)
    assert "feasible" not in str(report)


def test_a_bound_that_is_looser_than_asked_does_not_hold():
    def double(game):
        return 2 * bounds.ogd(game.comparator_energy, 0.5, game.gradient_energy)

    learner = OGD(0.5, Ball(1.0))
    assert theory.check(learner, double, PROBLEM, games=5_000, tightness_at_least=0.4).holds
    report = theory.check(learner, double, PROBLEM, games=5_000, tightness_at_least=0.6)
    assert not report.holds
    assert "loose: regret comes to 0.500 of the double at most, 0.6 is asked" in str(report)
    with pytest.raises(AssertionError, match="loose: "):
        assert_learner(learner, double, PROBLEM, games=5_000, tightness_at_least=0.6)
    for share, bound in ((1.5, double), (0.0, double), (0.5, None)):
        with pytest.raises(ValueError, match="tightness_at_least="):
            theory.check(learner, bound, PROBLEM, tightness_at_least=share)


def test_experts_are_checked_on_the_simplex():
    report = theory.check(Hedge(0.5), games=5_000)
    assert report.holds
    assert report.problem.domain == theory.Simplex()
    assert theory.check("hedge", games=5_000).problem.domain == theory.Simplex()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ogdd",), "learner='ogdd': no such learner; did you mean 'ogd'? give one of frozen, ogd"),
        ((int,), "learner=<class 'int'>: it must be a frozen dataclass derived from theory.learner.Learner"),
        ((3,), "learner=3: it must be a frozen dataclass"),
        (("none.py:Mine",), "learner='none.py:Mine': no file 'none.py'; give the path of a Python file that defines"),
        (("ogd", "none.py:mine"), "bound='none.py:mine': no file 'none.py'"),
        (("ogd", number), "number raised AttributeError"),
        ((Hedge(0.1), None, PROBLEM), "plays on the simplex, but this problem's decisions lie in Ball"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_checked_is_refused(arguments, words):
    with pytest.raises(ValueError) as refusal:
        theory.check(*arguments, games=5_000)
    assert words in str(refusal.value)
    assert "--" not in str(refusal.value)


def test_settings_of_an_object_are_laid_on_top():
    report = theory.check(OptimisticOGD(0.5, domain=Ball(1.0)), settings={"hint.scale": 0.5}, games=5_000)
    assert isinstance(report, Report)
    assert report.learner.hint.scale == 0.5


# Trace.to_frame


def test_a_frame_has_a_row_a_round_and_copy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda columns: ("frame", columns)))
    columns = {"bound": np.array([3.0, 4.0]), "round": np.array([1, 9]), "regret": np.array([[1.0, 2.0], [5.0, 6.0]])}
    kind, table = Trace({}, columns).to_frame()
    assert kind == "frame"
    assert {name: column.tolist() for name, column in table.items()} == {
        "round": [1, 1, 9, 9],
        "copy": [0, 1, 0, 1],
        "bound": [3.0, 3.0, 4.0, 4.0],
        "regret": [1.0, 2.0, 5.0, 6.0],
    }
    assert list(table) == ["round", "copy", "bound", "regret"]


def test_without_copies_a_frame_is_the_columns_as_they_are():
    table = Trace({}, {"prompt": np.array([0, 1]), "tokens": np.array([7, 8])}).tidy()
    assert {name: column.tolist() for name, column in table.items()} == {"prompt": [0, 1], "tokens": [7, 8]}


def test_pandas_itself_takes_it():
    pytest.importorskip("pandas")
    frame = Trace({}, {"round": np.array([1, 2]), "regret": np.ones((2, 3))}).to_frame()
    assert frame.shape == (6, 3)


def test_a_frame_that_cannot_be_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="to_frame needs pandas, which is not installed: pip install pandas"):
        Trace({}, {"round": np.array([1])}).to_frame()
    with pytest.raises(ValueError, match=r"differ in length: {'a': 1, 'b': 2}"):
        Trace({}, {"a": np.zeros(1), "b": np.zeros(2)}).tidy()
    with pytest.raises(ValueError, match=r"differ in number of copies: {'a': 2, 'b': 3}"):
        Trace({}, {"a": np.zeros((1, 2)), "b": np.zeros((1, 3))}).tidy()
