"""Every bound has a worst game; where a row comes within 5 %, the bound tightened by 10 % is broken by that game."""

import csv
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from theory import bounds
from theory.catalogue import BOUNDS
from theory.checker import tightness
from theory.checker.claims import play
from theory.checker.constructed import Bowl
from theory.checker.games import Game
from theory.checker.worst import WORST

TABLE = Path(__file__).parents[3] / "results/theory/tightness.csv"
LINES = list(csv.DictReader(TABLE.read_text("utf-8").splitlines()))
BEST = {name: max(float(line["ratio"]) for line in LINES if line["function"] == name) for name in BOUNDS}


def scaled(monkeypatch, name, factor):
    """Put ``factor`` × the bound in the bound's place."""
    original = getattr(bounds, name)
    monkeypatch.setattr(bounds, name, lambda *arguments, **settings: factor * original(*arguments, **settings))


@pytest.mark.parametrize("name", BOUNDS)
def test_a_tight_bound_cannot_be_tightened(name, monkeypatch):
    worst = WORST[name]
    played = worst.played()
    assert not worst.broken(played)
    (line,) = (line for line in LINES if line["bound"] == f"worst of {name}")
    assert worst.ratio(played) == pytest.approx(float(line["ratio"]), rel=1e-6)
    assert np.all(played.learner.domain.contains(played.comparators))
    if BEST[name] < 0.95:
        assert BOUNDS[name].slack, "why no game comes nearer"
        return
    scaled(monkeypatch, name, 1.1 if worst.lower else 0.9)
    assert worst.broken(played)


def test_every_bound_has_a_worst_game_and_half_of_them_come_near():
    assert set(WORST) == set(BOUNDS) == {line["function"] for line in LINES}
    assert not any(line["broken"] == "True" for line in LINES)
    assert median(BEST.values()) >= 0.5


def finite_limits(claim, learner, problem):
    """The claim's value in two plain games: linear losses, and quadratics whose centers are the comparators."""
    game = Game(problem.domain.project(np.full(problem.dimension, 1 / problem.dimension)), np.empty(0))
    slope = problem.gradient_bound * np.eye(problem.dimension)[0]
    for center, quadratic in ((slope, False), (0.5 * np.eye(problem.dimension)[-1], True)):
        row = replace(game, slopes=np.tile(center, (problem.horizon, 1)), quadratic=quadratic)
        played = play(learner, row)
        if quadratic:
            played = replace(played, comparators=row.slopes)
        limit = float(claim.limit(played))
        if np.isfinite(limit):
            yield played, limit


@pytest.mark.parametrize("name", tightness.rows())
def test_a_row_is_about_the_function_that_it_names(name, monkeypatch):
    row = tightness.rows()[name]
    learner = row.learner(row.problem)
    for claim in tightness.held(name, row):
        (played, limit), *_ = finite_limits(claim, learner, row.problem)
        with monkeypatch.context() as patch:
            scaled(patch, tightness.states(claim.name), 0.5)
            assert float(claim.limit(played)) != pytest.approx(limit)


def test_a_bowl_is_convex_and_smooth_with_its_infimum_at_the_center():
    rng = np.random.default_rng(0)
    bowl = Bowl(rng.standard_normal(3), 0.4)
    x, y = rng.standard_normal((2, 500, 3))
    value, slope = bowl.value_and_grad(x)
    apart = slope - bowl.grad(y)
    below = value + np.sum(slope * (y - x), axis=-1) + 0.5 * np.sum(apart**2, axis=-1)  # Nesterov 2004, Theorem 2.1.5
    assert np.all(bowl.value(y) >= below - 1e-12)
    assert bowl.value(bowl.center) == 0
    moved = [(bowl.value(x + 1e-6 * e) - bowl.value(x - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    np.testing.assert_allclose(np.stack(moved, axis=-1), slope, atol=1e-6)


def test_a_lower_bound_too_high_is_broken():
    worst = WORST["adversary_value"]
    played = worst.played()
    assert worst.ratio(played) == pytest.approx(1.0, rel=1e-9)
    assert replace(worst, limit=lambda game: 1.01 * worst.limit(game)).broken(played)
    assert not replace(worst, limit=lambda game: 0.99 * worst.limit(game)).broken(played)
