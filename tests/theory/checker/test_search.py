"""The search finds planted faults, keeps quiet about true bounds, and shows games that reproduce."""

import sys
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
import pytest

from tests.theory.checker.planted.bounds import Overconfident
from tests.theory.checker.planted.experts import ForgetfulHedge
from tests.theory.checker.planted.steps import TooFast, TooSlow
from theory import bounds
from theory.checker import claims, counterexample
from theory.checker.claims import Claim, Finding, replay
from theory.checker.games import basis, families
from theory.checker.search import GAMES, Search, segment_best
from theory.checker.trial import assert_learner
from theory.domain import Ball, Box, Free, Simplex
from theory.hints import Zero
from theory.learners import LEARNERS, OGD, AdaHedge, Hedge, Momentum, OptimisticOGD
from theory.problem import Problem

PROBLEM = Problem(Ball(1.0), 3, 64, 1.0)
EXPERTS = Problem(Simplex(), 2, 64, sqrt(2))


SHORT = (1, 2, 3, 4, 8)


def search(learner, problem=PROBLEM, bound=None, games=GAMES, horizons=SHORT, **settings):
    found = Search(learner, problem, claims.claims(learner, problem, bound), games, horizons=horizons, **settings).run()
    return {one.claim.name: one for one in found}


# Planted faults


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "problem", "claim", "least"),
    [
        (TooFast(0.25, Ball(1.0)), PROBLEM, "bound", 1.1),
        (TooFast(0.01, Ball(1.0)), PROBLEM, "bound", 1.1),
        (TooSlow(0.25, Ball(1.0)), PROBLEM, "bound", 1.1),
        (TooSlow(0.25, Ball(1.0)), PROBLEM, "bound, sharp energy", 1.29),
        (Overconfident(0.25, Ball(1.0)), PROBLEM, "guarantee", 1.1),
        (TooFast(0.25, Box(-1.0, 1.0)), replace(PROBLEM, domain=Box(-1.0, 1.0)), "bound", 1.1),
        (ForgetfulHedge(0.5), EXPERTS, "bound", 1.1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OGD | Hedge) else None,
)
def test_a_false_claim_of_a_learner_is_broken(learner, problem, claim, least):
    found = search(learner, problem)[claim]
    assert found.broken
    assert found.ratio > least


def sharp_energy_with_changing_steps(game):
    """The certificate in the plain sharp form, which telescopes for constant steps only."""
    squares = np.sum(game.gradients**2, axis=-1)
    eta = 2 / np.sqrt(4 + np.concatenate([[0.0], np.cumsum(squares)[:-1]]))
    energy = bounds.comparator_energy_sharp(game.anchors, game.comparators)[-1]
    return energy / (2 * eta[-1]) + 0.5 * np.sum(eta * squares)


def weighted_sharp_energy(game):
    """The same with the step sizes in it: true."""
    squares = np.sum(game.gradients**2, axis=-1)
    eta = 2 / np.sqrt(4 + np.concatenate([[0.0], np.cumsum(squares)[:-1]]))
    energy = bounds.comparator_energy_sharp(game.anchors, game.comparators, eta)[-1]
    return energy / (2 * eta[-1]) + 0.5 * np.sum(eta * squares)


def half_the_energy(game):
    return game.comparator_energy / (4 * 0.25) + 0.5 * 0.25 * game.gradient_energy


def path_at(charge):
    """D² + charge·D·P_T for the energy. On a ball D·P_T suffices: with c its centre, what the moves of u_t cost is
    ‖u_T−c‖² − ‖u_1−c‖² + 2Σ⟨u_{t−1}−u_t, x_t−c⟩, and ‖x_t−c‖ ≤ D/2. Sweeps across the ball attain it."""

    def bound(game):
        energy = game.diameter**2 + charge * game.diameter * game.path_length
        return energy / (2 * 0.25) + 0.125 * game.gradient_energy

    return bound


def barely(game):
    """A true and attained bound, less one part in ten thousand."""
    return 0.9999 * bounds.ogd(game.comparator_energy, 0.25, game.gradient_energy)


def root(game):
    """True for G = 1 only: it claims nothing elsewhere."""
    return bounds.ogd(game.comparator_energy, 0.25, game.horizon) if game.gradient_bound <= 1 else inf


def rooted(game):
    """The same, forgetting to say so."""
    return bounds.ogd(game.comparator_energy, 0.25, game.horizon)


SELF_CONFIDENT = OptimisticOGD.tuned(PROBLEM, hint=Zero())
"""OGD with changing steps."""


@pytest.mark.parametrize(
    ("bound", "learner"),
    [
        (sharp_energy_with_changing_steps, SELF_CONFIDENT),
        (half_the_energy, OGD(0.25, Ball(1.0))),
        (path_at(0.9), OGD(0.25, Ball(1.0))),
        (rooted, OGD(0.25, Ball(1.0))),
        (barely, OGD(0.25, Ball(1.0))),
        (lambda game: float("nan"), OGD(0.25, Ball(1.0))),
    ],
)
def test_a_false_bound_is_broken_and_its_game_reproduces(bound, learner):
    found = counterexample.shrink(next(iter(search(learner, bound=bound).values())))
    assert found.broken
    game, u = found.played.game, found.played.comparators
    again = replay(learner, game.x_1.tolist(), game.slopes.tolist(), u.tolist(), game.quadratic)
    assert again.regret == pytest.approx(found.played.regret, rel=1e-12)
    assert not again.regret <= bound(again) * (1 + 1e-9)
    assert again.horizon <= 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "learner"),
    [(weighted_sharp_energy, SELF_CONFIDENT), (root, OGD(0.25, Ball(1.0))), (path_at(1.0), OGD(0.25, Ball(1.0)))],
)
def test_a_true_bound_is_not(bound, learner):
    found = search(learner, bound=bound)
    assert not any(one.broken for one in found.values())
    assert max(one.ratio for one in found.values()) > 0.9


def test_the_search_needs_more_than_chance():
    """Hedge's worst games are built, not met by chance."""
    learner = Hedge.tuned(EXPERTS)
    built = search(learner, EXPERTS, horizons=(64,))["guarantee"].ratio
    chance = Search(learner, EXPERTS, claims.claims(learner, EXPERTS), horizons=())
    chance.hypothesis()
    assert built > 0.9
    assert chance.best["guarantee"].ratio < built


def test_gradients_are_limited_where_asked():
    found = search(TooFast(0.01, Ball(1.0)), scales=False, horizons=(4, 8))
    assert not found["bound"].broken  # a step this small needs larger gradients, or many rounds
    assert all(one.played.gradient_bound <= 1 + 1e-9 for one in found.values() if not one.played.game.quadratic)


def test_a_play_outside_the_domain_is_found_and_shown():
    @dataclass(frozen=True)
    class Unprojected(OGD):
        def update(self, state, loss_t, hint=None):
            return super().update(state, loss_t, hint)._replace(x=state.x - 0.25 * loss_t.grad(state.x))

    found = counterexample.shrink(search(Unprojected(0.25, Ball(1.0)))["bound"])
    assert found.broken
    assert found.outside == [2]
    assert "x_2, outside Ball(radius=1.0)" in counterexample.summary(found)


def test_a_learner_without_claims_has_nothing_to_break():
    assert claims.claims(Momentum(0.1, 0.9, Ball(1.0)), PROBLEM) == []
    assert search(Momentum(0.1, 0.9, Ball(1.0))) == {}


def test_a_free_domain_has_sharp_claims_only():
    learner = OGD(0.25, Free())
    names = [claim.name for claim in claims.claims(learner, replace(PROBLEM, domain=Free(), gradient_bound=1.0))]
    assert names[0] == "bound, sharp energy"
    assert "bound" not in names


@pytest.mark.parametrize("name", LEARNERS)
def test_constructed_games_break_no_learner_of_the_table(name):
    """Every law of these learners is tested in tests/theory/learners; these are their claims."""
    on_simplex = isinstance(getattr(LEARNERS[name], "domain", None), Simplex)
    problem = replace(PROBLEM, domain=Simplex() if on_simplex else Ball(1.0))
    learner = LEARNERS[name].tuned(problem)
    hunt = Search(learner, problem, claims.claims(learner, problem), horizons=SHORT)
    hunt.constructions()
    hunt.refine()
    assert set(hunt.best) == {claim.name for claim in hunt.claims}
    assert not [found.claim.name for found in hunt.best.values() if found.broken]


# The helper for a user's tests


def test_assert_learner_passes_and_fails():
    assert_learner(AdaHedge(), games=5_000)
    assert_learner(OGD(0.25, Ball(1.0)), games=5_000)
    with pytest.raises(AssertionError, match=r"half_the_energy in this game:\n rounds +3"):
        assert_learner(OGD(0.25, Ball(1.0)), bound=half_the_energy)
    with pytest.raises(AssertionError, match="breaks its bound"):
        assert_learner(TooSlow(0.25, Ball(1.0)), games=10_000)


def test_without_hypothesis_its_stage_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    learner = OGD(0.25, Ball(1.0))
    one = Search(learner, PROBLEM, claims.claims(learner, PROBLEM), horizons=(1, 2))
    one.run()
    assert "Hypothesis is not installed" in one.notes[0]


# Parts


@pytest.mark.parametrize("domain", [Ball(2.0), Box(-1.0, 3.0), Simplex()], ids=repr)
@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_the_first_direction_spans_the_diameter(domain, dimension):
    directions = basis(domain, dimension)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-12)
    assert len(directions) == dimension - isinstance(domain, Simplex)
    ends = Search(OGD(0.1, domain), Problem(domain, dimension, 4, 1.0), []).starts(directions[0])
    assert np.all(domain.contains(ends))
    if not isinstance(domain, Simplex):
        assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(domain.diameter(dimension))


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 64])
def test_constructions_have_their_length_and_size(rounds):
    named = list(families(basis(Ball(1.0), 3), rounds))
    assert {slopes.shape for _, slopes in named} == {(rounds, 3)}
    largest = [np.max(np.linalg.norm(slopes, axis=-1)) for _, slopes in named]
    np.testing.assert_allclose(largest, 1.0, atol=1e-12)


def test_segment_best_is_best_on_every_segment():
    from theory.checker.games import Game
    from theory.hindsight import best_piecewise

    slopes = np.random.default_rng(0).normal(size=(6, 4, 3))
    for quadratic in (False, True):
        u = segment_best(Game(np.zeros((4, 3)), slopes, quadratic), [0, 2, 5], Ball(1.0))
        for copy in range(4):
            for part in (slice(0, 2), slice(2, 5), slice(5, 6)):
                kind = "quadratic" if quadratic else "linear"
                np.testing.assert_allclose(u[part, copy], best_piecewise(slopes[part, copy], Ball(1.0), 1, kind))


def test_copies_score_as_they_do_alone():
    from theory.checker.games import Game

    rng, learner = np.random.default_rng(0), OGD(0.25, Ball(1.0))
    game = Game(0.1 * rng.normal(size=(5, 3)), rng.normal(size=(7, 5, 3)))
    u = np.broadcast_to(game.x_1, game.slopes.shape)
    together = replace(claims.play(learner, game), comparators=u)
    for claim in claims.claims(learner, PROBLEM):
        limits = claim.limit(together)
        for copy in range(5):
            alone = replay(learner, game.x_1[copy], game.slopes[:, copy], u[:, copy])
            np.testing.assert_allclose(alone.regret, together.regret[copy], rtol=1e-12)
            np.testing.assert_allclose(float(claim.limit(alone)), limits[copy], rtol=1e-12)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        ([1.0, -0.0, 0.25], "[1, 0, 0.25]"),
        ([[1.0, 0.0]] * 5, "[[1, 0]] * 5"),
        ([[1.0, 0.0], [-1.0, 0.0]] * 3 + [[2.0, 0.0]], "[[1, 0], [-1, 0]] * 3 + [[2, 0]]"),
        ([[1 / 3, 0.0]], "[[0.3333333333333333, 0]]"),
    ],
)
def test_numbers_read_back_as_they_were(array, text):
    assert counterexample.numbers(np.array(array)) == text
    np.testing.assert_array_equal(eval(text), array)


def test_shrinking_keeps_what_it_shows():
    """A long game that barely breaks a bound is cut down, and still breaks it; a whole one keeps 99 % of its ratio."""
    learner, rng = OGD(0.25, Ball(1.0)), np.random.default_rng(0)
    slopes = np.concatenate([6.0 * np.eye(3)[:1], 1e-3 * rng.normal(size=(40, 3))])
    u = np.tile([-1.0, 0.0, 0.0], (41, 1))
    claim = Claim("half", lambda played: half_the_energy(played))
    found = Finding(claim, "by hand", replay(learner, [1, 0, 0], slopes, u))
    assert found.broken
    small = counterexample.shrink(found)
    assert small.broken
    assert small.played.horizon == 1
    whole = Finding(Claim("own", claims.own_bound), "by hand", replay(learner, [1, 0, 0], slopes[::-1], u))
    assert not whole.broken
    assert counterexample.shrink(whole).ratio >= 0.99 * whole.ratio


BARELY_MOVING = OptimisticOGD(0.1, domain=Box(-1.0, 0.5))


def test_rounding_in_the_sharp_energy_breaks_no_bound():
    """Squares of size 1 lose 1e-16, beside a regret of 1e-10."""
    played = replay(BARELY_MOVING, [-1.0], [[-7.7e-11], [0.0]], [[0.0], [-1.0]])
    energy = bounds.comparator_energy_sharp(played.anchors, played.comparators)[-1]
    assert played.regret > BARELY_MOVING.bound(played.state, energy) * (1 + 1e-9)
    assert not Finding(Claim("sharp", claims.sharp_bound), "by hand", played).broken


def test_a_correct_learner_that_barely_moves_is_not_called_broken():
    problem = Problem(BARELY_MOVING.domain, 2, 64, 1.0)
    found = search(BARELY_MOVING, problem, horizons=(1, 2, 4, 16, 64), drawn=False)
    assert [name for name, one in found.items() if one.broken] == []
