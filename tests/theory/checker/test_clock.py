"""A verdict is the same on a machine that is slowed by half, or twice as fast: budgets are games, never seconds."""

import time
from pathlib import Path

import pytest

import theory
from tests.test_imports import imported
from tests.theory.checker.planted.steps import TooSlow
from theory.checker import trial
from theory.checker.search import Search
from theory.domain import Ball
from theory.learners import AdaHedge

CHECKER = Path(trial.__file__).parent
CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


class Clock:
    """All of Python's clocks as ones that pass ``seconds`` whenever somebody reads one."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds = 1e6, seconds
        for name in CLOCKS:
            monkeypatch.setattr(time, name, self.tell)
            monkeypatch.setattr(time, f"{name}_ns", lambda: int(1e9 * self.tell()), raising=False)

    def tell(self):
        self.now += self.seconds
        return self.now


class Short(Search):
    """The search with short constructions, so that few games reach all of its stages."""

    def __post_init__(self):
        super().__post_init__()
        self.horizons = (1, 2, 4)


class Hasty(Short):
    """The same with a budget in seconds."""

    def __post_init__(self):
        super().__post_init__()
        self.ends = time.perf_counter() + 4e-3

    @property
    def over(self):
        return super().over or time.perf_counter() > self.ends


def verdict(learner, seconds, search=Short):
    """The report, with every game that it shows, where a look at the clock costs so many seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "Search", search)
        Clock(patch, seconds)
        report = theory.check(learner, games=12_000)
    games = [(one.test, one.kept) for one in [*report.broken, *report.unlawful]]
    return report.holds, str(report), games


LEARNERS = [TooSlow(0.25, Ball(1.0)), AdaHedge()]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda one: type(one).__name__)
def test_a_machine_slowed_by_half_gives_the_same_verdict(learner):
    usual = verdict(learner, 1e-3)
    assert verdict(learner, 2e-3) == usual
    assert verdict(learner, 0.5e-3) == usual
    assert "Hypothesis" not in usual[1]  # no stage was left out, nor ended by the budget before it


def test_a_budget_in_seconds_would_be_noticed():
    """The same comparison, of a search that stops by the clock."""
    assert verdict(AdaHedge(), 1e-3, Hasty) != verdict(AdaHedge(), 2e-3, Hasty)


# A clock that was imported by its own name would go on as ever


def clocks(source):
    """Modules with a clock that a source imports."""
    return {name for name in imported(source) if name.partition(".")[0] in ("time", "timeit", "datetime")}


@pytest.mark.parametrize("path", sorted(CHECKER.glob("*.py")), ids=lambda path: path.stem)
def test_the_checker_imports_no_clock(path):
    assert not clocks(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "source",
    ["import time", "from time import monotonic", "def f():\n    import timeit", "import_module('datetime')"],
)
def test_an_imported_clock_would_be_noticed(source):
    assert clocks(source)
