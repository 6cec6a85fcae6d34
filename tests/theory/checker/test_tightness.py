"""Bounds are attained, or nearly; what no learner can beat is beaten by none; exact worst cases agree."""

import csv
import json
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from theory import bounds
from theory.__main__ import app
from theory.checker import exact, tightness
from theory.checker.claims import Claim
from theory.checker.games import Adversary
from theory.checker.search import Search
from theory.domain import Ball
from theory.learners import LEARNERS, OGD, OptimisticOGD
from theory.loss import Linear
from theory.problem import Problem

DATA = Path(__file__).parents[2] / "data"
EXACT = list(csv.DictReader((DATA / "pepit.csv").read_text().splitlines()))


# The table


HORIZONS = (1, 2, 3, 4, 8, 32, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "least"),
    [
        ("ogd", {"ogd: bound": 0.999, "ogd: bound, sharp energy": 0.999, "ogd: guarantee": 0.999}),
        ("optimistic", {"optimistic: bound": 0.9}),
        ("optimistic, constant step", {"optimistic, constant step: bound, sharp energy": 0.999}),
        ("bounds.ogd_oracle, P_T = 0", {"bounds.ogd_oracle, P_T = 0": 0.99}),
        ("bounds.ogd_realisable", {"bounds.ogd_realisable": 0.33}),
    ],
)
def test_bounds_are_attained_as_the_table_says(row, least):
    found = {line.bound: line for line in tightness.measure(row, horizons=HORIZONS)}
    for name, ratio in least.items():
        assert found[name].ratio >= ratio
    assert all(not line.broken and line.ratio <= 1 + 1e-9 for line in found.values())
    assert all("comparators [" in line.instance for line in found.values())


def test_hedge_is_attained():
    lines = {line.bound: line.ratio for line in tightness.measure("hedge", horizons=(1, 1024))}
    assert lines["hedge: bound"] >= 0.99
    assert lines["hedge: guarantee"] >= 0.9


def test_every_learner_that_claims_something_has_a_row_and_loose_bounds_a_note():
    rows = tightness.rows()
    assert set(LEARNERS) <= set(rows)
    assert tightness.measure("frozen") == []
    loose = tightness.measure("bounds.ogd_small_loss", horizons=(1, 4))[0]
    assert loose.ratio < 0.9
    assert loose.note
    assert set(tightness.chosen(["ogd"])) == {"ogd"}
    with pytest.raises(ValueError, match="no row matches"):
        tightness.chosen(["nothing"])


def test_a_false_row_is_broken(monkeypatch, tmp_path):
    def half(problem, played):
        return 0.5 * tightness.oracle(problem, played)

    row = tightness.Row(OGD.tuned, tightness.BALL, half, (64,))
    monkeypatch.setitem(tightness.NAMED, "half", row)
    result = CliRunner().invoke(app, ["tightness", "half", "frozen", "--csv", str(tmp_path / "table.csv")])
    assert result.exit_code == 1
    assert "broken: ['half']" in result.output
    lines = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [line["bound"] for line in lines] == ["half"]
    assert float(lines[0]["ratio"]) == pytest.approx(2.0, rel=0.02)
    assert lines[0]["instance"].startswith("rounds 64; x_1 [")
    assert CliRunner().invoke(app, ["tightness", "nothing"]).exit_code == 2


def test_what_counts_is_the_tightest_row_of_a_bound():
    shown = CliRunner().invoke(app, ["tightness", "worst of ogd_oracle", "worst of ogd_realisable"])
    assert shown.exit_code == 0
    assert "the tightest row of each of 2 bounds: median 0.749, least 0.498" in shown.output
    assert "worst of ogd_realisable: never above 1/2" in shown.output
    lines = tightness.measure("worst of ogd_oracle")
    looser = [lines[0]._replace(ratio=0.3), lines[0]._replace(ratio=0.2, function="ader")]
    assert tightness.tightest(lines + looser) == {"ogd_oracle": pytest.approx(1.0), "ader": 0.2}


@pytest.mark.parametrize("rounds", [2, 4, 9])
def test_orthogonal_gradients_attain_the_oracle_bound_exactly(rounds):
    """G·D·√T by T orthogonal steps from one end of a diameter to the other: every iterate sees it at a right angle."""
    x_1 = np.ones(rounds) / rounds**0.5
    learner = OGD(2 / rounds**0.5, Ball(1.0))
    state, lost = learner.init(x_1), 0.0
    for slope in np.eye(rounds):
        lost += float(slope @ (learner.predict(state) + x_1))
        state = learner.update(state, Linear(slope))
    np.testing.assert_allclose(state.x, -x_1, atol=1e-12)
    assert lost == pytest.approx(bounds.ogd_oracle(1.0, rounds, 4.0), rel=1e-12)


# The lower bound


ON_A_BALL = [name for name, learner in LEARNERS.items() if not learner.weighs_experts()]


@pytest.mark.parametrize(("rounds", "segments", "dimension"), [(7, 1, 3), (60, 4, 3), (60, 60, 5), (200, 10, 8)])
@pytest.mark.parametrize("name", ON_A_BALL)
def test_the_adversary_forces_its_value_on_every_learner(name, rounds, segments, dimension):
    g, diameter = 0.7, 3.0
    problem = Problem(Ball(1.5), dimension, rounds, g, path_length=diameter * (segments - 1))
    learner = LEARNERS[name].tuned(problem)
    rng = np.random.default_rng(rounds)
    raw = rng.standard_normal((rounds, 2, dimension))
    adversary = Adversary(raw, segments, g)
    state = learner.init(problem.domain.project(rng.standard_normal((2, dimension))))
    lost = 0.0
    for t in range(rounds):
        x_t = learner.predict(state)
        slope = adversary.slope(t, x_t)
        lost = lost + np.sum(slope * x_t, axis=-1)
        state = learner.update(state, Linear(slope))
    u = adversary.comparators(diameter)
    assert np.all(problem.domain.contains(u))
    assert np.all(np.sum(np.linalg.norm(np.diff(u, axis=0), axis=-1), axis=0) <= problem.path_length + 1e-9)
    forced = lost - np.sum(adversary.slopes * u, axis=(0, -1))
    np.testing.assert_allclose(forced, bounds.adversary_value(g, diameter, rounds, segments), rtol=1e-9)


def test_the_adversary_plays_a_whole_game_alike():
    raw = np.random.default_rng(0).standard_normal((12, 3))
    learner = OGD(0.3, Ball(1.0))
    slopes = Adversary(raw, 3).against(learner, np.zeros(3))
    state = learner.init(np.zeros(3))
    for slope in slopes:
        assert abs(slope @ learner.predict(state)) < 1e-14
        state = learner.update(state, Linear(slope))
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=-1), 1.0)


@pytest.mark.parametrize(("shape", "segments"), [((10, 2), 1), ((10, 3), 3), ((10, 3), 0)])
def test_the_adversary_refuses_what_it_cannot_play(shape, segments):
    with pytest.raises(ValueError, match=r"Adversary\("):
        Adversary(np.ones(shape), segments)


# Exact worst cases, computed once


def largest_found(row):
    """The search's largest regret at D = G = 1 on a disc: more dimensions have found no more."""
    step, rounds = float(row["step_size"]), int(row["horizon"])
    ball = Ball(0.5)
    learner = OGD(step, ball) if row["learner"] == "ogd" else OptimisticOGD(step, domain=ball)

    def unit(problem, played):
        """4 for fixed comparators, linear losses and gradients within G: above every regret here."""
        return tightness.at_horizon(problem, played, 4.0)

    problem = Problem(ball, 2, rounds, 1.0)
    claim = Claim("guarantee", partial(unit, problem))
    return 4.0 * Search(learner, problem, [claim], scales=False, horizons=(rounds,)).run()[0].ratio


def factor(row):
    return round(float(row["step_size"]) * int(row["horizon"]) ** 0.5, 6)


def test_the_recorded_table_is_complete():
    assert len(EXACT) == len(exact.LEARNERS) * 4 * len(exact.FACTORS)
    assert {factor(row) for row in EXACT} == set(exact.FACTORS)
    assert {float(row["regret"]) for row in EXACT if row["horizon"] == "1"} == {1.0}  # G·D, whatever the step
    assert {"content", "command", "versions", "date"} <= set(json.loads((DATA / "pepit.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [row for row in EXACT if row["horizon"] != "1"],
    ids=lambda row: f"{row['learner']}, T={row['horizon']}, {factor(row)}",
)
def test_search_and_bound_agree_with_the_exact_worst_case(row):
    """search ≤ exact ≤ bound. Equal where the step is D/(2G√T), and for OGD also at D/(G√T), where exact = bound too.

    Larger steps are worst on sets that are no ball, which the search does not play on; there it reaches 70 % and more.
    """
    worst, step, rounds = float(row["regret"]), float(row["step_size"]), int(row["horizon"])
    found = largest_found(row)
    assert found <= worst * (1 + 1e-6)
    problem = replace(tightness.BALL, domain=Ball(0.5), horizon=rounds)
    learner = OGD(step, Ball(0.5)) if row["learner"] == "ogd" else OptimisticOGD(step, domain=Ball(0.5))
    promised = learner.guarantee(problem)
    assert promised is not None
    assert worst <= promised * (1 + 1e-6)
    if factor(row) == 0.5 or (row["learner"] == "ogd" and factor(row) == 1.0):
        assert found >= 0.999 * worst
    assert found >= 0.7 * worst
    if row["learner"] == "ogd" and factor(row) == 1.0:
        assert worst == pytest.approx(promised, rel=1e-6)


def test_a_wrong_exact_value_would_be_noticed():
    """A recorded value 1 % too small is exceeded by the search."""
    row = next(row for row in EXACT if (row["learner"], row["horizon"], factor(row)) == ("ogd", "3", 1.0))
    assert largest_found(row) > 0.99 * float(row["regret"])


def test_exact_worst_cases_name_their_extra_and_refuse_what_they_do_not_know():
    for arguments in (("hedge", 2), ("ogd", 0)):
        with pytest.raises(ValueError, match=r"worst_regret\("):
            exact.worst_regret(*arguments, 0.5)
    try:
        import PEPit  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[pep\]'"):
            exact.worst_regret("ogd", 1, 1.0)
    else:
        assert exact.worst_regret("ogd", 2, 2**-0.5) == pytest.approx(2**0.5, rel=1e-5)


def test_at_horizon_claims_nothing_elsewhere():
    from theory.checker.claims import replay

    problem = replace(tightness.BALL, horizon=2, path_length=1.0)

    def limit(slopes, comparators, quadratic=False):
        played = replay(OGD(0.1, Ball(1.0)), [0, 0, 0], slopes, comparators, quadratic)
        return float(tightness.at_horizon(problem, played, 7.0))

    unit, still = [[1, 0, 0]] * 2, [[0, 0, 0]] * 2
    assert limit(unit, still) == 7.0
    assert limit(unit, [[0, 0, 0], [1, 0, 0]]) == 7.0
    for case in (
        limit([[2, 0, 0]] * 2, still),
        limit([[1, 0, 0]] * 3, [[0, 0, 0]] * 3),
        limit(unit, [[-1, 0, 0], [1, 0, 0]]),
        limit(unit, still, quadratic=True),
    ):
        assert case == inf
