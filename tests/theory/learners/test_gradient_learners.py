"""Learners that follow gradients: laws, changing steps, hints, tracking and coin betting, each against its theorem."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.learners import test_pseudocode
from tests.theory.test_bounds import measured_regret, sweeping
from theory import bounds, regret, step_size
from theory.checker.checks import checks, plays
from theory.domain import Ball, Free
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learners import OGD, OptimisticOGD
from theory.learners.coin_betting import CoinBetting
from theory.learners.tracking import Tracking
from theory.loss import Linear
from theory.problem import Problem
from theory.step_size import AdaGradNorm, InverseSqrt
from theory.testing.strategies import DomainGame, games

BOTH = st.booleans()
ROUNDING = 1e-9
BALL = Ball(1.0)


@pytest.mark.parametrize("make", [lambda g: OGD(InverseSqrt(2.0, g), BALL), lambda g: CoinBetting(2.0, g, BALL)])
@given(game=games(BALL), factor=st.sampled_from([0.01, 0.5, 30.0]))
def test_losses_and_their_bound_scaled_alike_give_the_same_path(make, game, factor):
    scaled = replace(game, slopes=factor * game.slopes)
    ours, theirs = (plays(make(g), game.x_1, one.losses) for g, one in ((1.0, game), (factor, scaled)))
    np.testing.assert_allclose(theirs, ours, atol=1e-9)


# Changing steps


def record(learner, game):
    """Decisions and anchors ``[T, d]``, and the state after every round."""
    state, decisions, anchors, states = learner.init(game.x_1), [], [], []
    for loss_t in game.losses:
        decisions.append(learner.predict(state))
        anchors.append(getattr(state, "anchor", decisions[-1]))
        state = learner.update(state, loss_t)
        states.append(state)
    return np.stack(decisions), np.stack(anchors), states


def growing(ratio=10.0, rounds=12):
    """Every gradient longer than all before it together, always away from u = x_1."""
    return DomainGame(np.array([-1.0, 0.0, 0.0]), -(ratio ** np.arange(rounds))[:, None] * np.eye(3)[0], domain=BALL)


def step_sizes(learner, states):
    """η_1 … η_T of OGD from the states after each round."""
    energy, rounds = (np.array([float(getattr(s, name)[0]) for s in states]) for name in ("energy", "rounds"))
    before = np.concatenate([[0.0], energy[:-1]])
    return step_size.correction(learner.step_size, before, energy, rounds) + 0.0 * energy


def changing_within_bounds(game, kind):
    """The largest regret / sharp bound over comparators; asserts every form of the bound of OGD at that schedule."""
    known = game.diameter, max(game.gradient_bound, 0.1)
    schedule = InverseSqrt(*known) if kind == "1/√t" else AdaGradNorm(game.diameter)
    learner, worst = OGD(schedule, game.domain), 0.0
    decisions, _, states = record(learner, game)
    etas, rounds = step_sizes(learner, states), np.arange(1.0, game.horizon + 1)
    stability, energy = (np.array([float(getattr(s, name)[0]) for s in states]) for name in ("stability", "energy"))
    assert np.all(np.diff(etas[energy > 0]) <= 1e-12 * known[0])
    for u in game.hard_comparators():
        suffered, path = measured_regret(game, decisions, u), regret.path_length(u)
        moved = bounds.comparator_energy(game.diameter, path)
        sharp = bounds.proximal(bounds.comparator_energy_sharp(decisions, u, etas), etas, stability)
        loose = bounds.proximal(moved, etas, stability)
        own = np.array([float(learner.bound(s, e)) for s, e in zip(states, moved, strict=True)])
        if kind == "1/√t":
            apriori = bounds.ogd_inverse_sqrt(known[1], rounds, known[0], path)
        else:
            apriori = bounds.ogd_adagrad_norm(known[0], path, energy)
        slack = ROUNDING * (1 + loose)
        assert np.all(suffered[energy > 0] <= (sharp + slack)[energy > 0])
        assert np.all(sharp[energy > 0] <= (loose + slack)[energy > 0])
        np.testing.assert_allclose(own, loose)
        assert np.all(loose[energy > 0] <= (apriori + slack)[energy > 0])
        assert np.all(suffered <= apriori + slack)
        worst = max(worst, float(np.max(suffered / np.maximum(sharp, 1e-6))))
    return worst


@pytest.mark.parametrize("kind", ["1/√t", "AdaGrad-norm"])
@given(game=games(quadratic=BOTH))
@example(game=sweeping(30, 4))
@example(game=growing())
def test_changing_steps_keep_their_bounds(kind, game):
    changing_within_bounds(game, kind)


@pytest.mark.parametrize("kind", ["1/√t", "AdaGrad-norm"])
def test_changing_steps_nearly_attain_the_sharp_bound(kind):
    """One sweep across the ball from x_1: 0.95 or more of the sharp form."""
    assert changing_within_bounds(sweeping(30, 1), kind) >= 0.95


@pytest.mark.parametrize("schedule", [InverseSqrt(2.0, 1.0), AdaGradNorm(2.0)], ids=repr)
def test_guarantees_of_changing_steps(schedule):
    """Away from u = x_1, across until the steps are short, back past u: 0.84 of the a priori form at T = 1024."""
    t, best = np.arange(1024), 0.0
    for back in (32, 128, 341, 512):
        along = np.where(t < 2, -1.0, np.where(t >= 1024 - back, 1.0, 0.0))
        slopes = along[:, None] * np.eye(3)[0] + np.where(along == 0, (-1.0) ** t, 0.0)[:, None] * np.eye(3)[1]
        x = plays(OGD(schedule, BALL), np.array([-1.0, 0, 0]), [Linear(s) for s in slopes])
        guarantee = OGD(schedule, BALL).guarantee(Problem(BALL, 3, 1024, 1.0))
        assert guarantee == pytest.approx(3 * sqrt(1024))
        suffered = np.sum(slopes * (x - np.array([-1.0, 0, 0])))
        assert suffered <= guarantee
        best = max(best, suffered / guarantee)
    assert best >= 0.8
    assert OGD(schedule, BALL).guarantee(Problem(Ball(2.0), 3, 1024, 1.0)) is None  # made for another diameter


def test_adagrad_norm_ignores_rounds_without_gradient():
    quiet = [Linear(np.zeros(3))] * 5
    loud = [Linear(np.array([1.0, 2.0, 0.0])), Linear(np.array([0.0, -3.0, 1.0]))]
    learner = OGD(AdaGradNorm(2.0), BALL)
    assert np.all(np.isfinite(plays(learner, np.zeros(3), quiet)))
    np.testing.assert_allclose(plays(learner, np.zeros(3), quiet + loud)[5:], plays(learner, np.zeros(3), loud))


def test_regret_does_not_grow_where_the_comparator_has_no_loss():
    """Realisable, three optima one after another: the exponent of T is 0 at η = 1/(2L), and ½ stays away."""
    horizons = [60, 240, 960]
    settled = []
    for horizon in horizons:
        centers = np.repeat([[0.9, 0, 0], [-0.5, 0.5, 0], [0, 0, -0.8]], horizon // 3, axis=0)
        game = DomainGame(np.array([-1.0, 0, 0]), centers, True, domain=BALL)
        learner = OGD(step_size.small_loss(1.0), BALL)
        settled.append(measured_regret(game, record(learner, game)[0], centers)[-1])
        energy = bounds.comparator_energy(2.0, float(regret.path_length(centers)[-1]))
        assert settled[-1] <= bounds.ogd_realisable(energy, 1.0)
    assert abs(np.polyfit(np.log(horizons), np.log(settled), 1)[0]) < 1e-6


# Hints


@given(games(quadratic=BOTH), st.floats(0.02, 2), st.sampled_from([Zero(), LastGradient(), MovingAverage(0.6)]))
@example(sweeping(), 0.2, LastGradient())
def test_optimistic_regret_is_within_the_bound_with_its_movement(game, eta, hint):
    optimistic_within_bound(game, eta, hint)


def optimistic_within_bound(game, eta, hint):
    decisions, anchors, states = record(OptimisticOGD(eta, hint, game.domain), game)
    movement = np.cumsum(np.sum((decisions - anchors) ** 2, axis=-1))
    error = np.array([float(state.energy[0]) for state in states])
    for u in game.hard_comparators():
        limits = bounds.optimistic_moving(bounds.comparator_energy_sharp(anchors, u), eta, error, movement)
        assert np.all(measured_regret(game, decisions, u) <= limits + ROUNDING * (1 + np.abs(limits)))


@pytest.mark.parametrize("hint", [LastGradient(), MovingAverage(0.6)], ids=repr)
def test_the_bound_with_its_movement_is_attained(hint):
    """Where nothing is projected every inequality of the proof is an equality."""
    game = replace(sweeping(40, 1), domain=Free())
    decisions, anchors, states = record(OptimisticOGD(0.05, hint), game)
    u = np.broadcast_to(np.array([-1.0, 0.0, 0.0]), anchors.shape)
    movement = np.sum((decisions - anchors) ** 2)
    energy = bounds.comparator_energy_sharp(anchors, u)[-1]
    limit = bounds.optimistic_moving(energy, 0.05, float(states[-1].energy[0]), movement)
    assert measured_regret(game, decisions, u)[-1] == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("rounds", [2, 10, 40])
def test_a_perfect_hint_comes_as_near_to_its_bound_as_steps_are_short(rounds):
    """One sweep across the ball in T steps, the hint passed from outside: regret = (1 − 1/T)·A_T/(2η) exactly."""
    eta, slope = 2.0 / rounds, np.array([1.0, 0.0, 0.0])
    learner, lost = OptimisticOGD(eta, domain=BALL), 0.0
    state = learner.init(slope)
    for _ in range(rounds):
        lost += float(slope @ learner.predict(state, slope))
        state = learner.update(state, Linear(slope), slope)
    limit = bounds.ogd(4.0, eta, float(state.energy[0]))
    assert limit == 4.0 / (2 * eta)
    assert lost + rounds == pytest.approx((1 - 1 / rounds) * limit, rel=1e-12)


# Bugs that these tests must notice

UPDATE, OGD_UPDATE, PREDICT = OptimisticOGD.update, OGD.update, OptimisticOGD.predict


def steps_before_the_gradient(rule, before, after, rounds):
    """AdaGrad-norm that does not count grad_t."""
    return rule.at(np.where(before > 0, before, 1e-6), rounds) if hasattr(rule, "inclusive") else rule


def one_round_behind(self, energy, rounds):
    return self.diameter / (self.gradient_bound * np.sqrt(np.maximum(rounds - 1.0, 1.0)))


def wrong_centre(self, state, loss_t, hint=None):
    """Projected twice: the second step starts from the decision played."""
    x_t, hint_t = self.predict(state, hint), state.hint if hint is None else hint
    moved = x_t - self.step_size * (loss_t.grad(x_t) - hint_t)
    return UPDATE(self, state, loss_t, hint)._replace(anchor=self.domain.project(moved))


def hint_twice(self, state, hint=None):
    return self.domain.project(PREDICT(self, state, hint) - self.step_size * (state.hint if hint is None else hint))


def unprojected(self, state, loss_t, hint=None):
    right = OGD_UPDATE(self, state, loss_t, hint)
    return right._replace(x=state.x - step_size.resolve(self.step_size, state.energy) * loss_t.grad(state.x))


def feasible(learner):
    for name, check in checks(learner):
        if name.startswith("feasible"):
            check()


def the_hint_pays_once():
    for rounds in (2, 10):
        test_a_perfect_hint_comes_as_near_to_its_bound_as_steps_are_short(rounds)


def from_the_anchor():
    """Two rounds at the border: the anchor slides along it, whatever was played there."""
    learner = OptimisticOGD(1.0, domain=BALL)
    slopes = np.array([[-1.0, 0.0, 0.0], [0.5, -1.0, 0.0], [0.0, 1.0, 0.5]])
    anchor, state = np.zeros(3), learner.init(np.zeros(3))
    for slope in slopes:
        state = learner.update(state, Linear(slope))
        anchor = BALL.project(anchor - slope)
        np.testing.assert_allclose(state.anchor, anchor)


MUTANTS = {
    "AdaGrad-norm reads the sum before grad_t": (
        step_size,
        "correction",
        steps_before_the_gradient,
        lambda: changing_within_bounds(growing(), "AdaGrad-norm"),
    ),
    "1/√(t−1)": (
        InverseSqrt,
        "at",
        one_round_behind,
        lambda: test_pseudocode.test_ogd_is_its_pseudocode("1/√t", "quadratic", "ball"),
    ),
    "AdaGrad-norm reads the sum before grad_t: trajectory": (
        step_size,
        "correction",
        steps_before_the_gradient,
        lambda: test_pseudocode.test_ogd_is_its_pseudocode("AdaGrad-norm", "linear", "box"),
    ),
    "second step from the decision": (OptimisticOGD, "update", wrong_centre, from_the_anchor),
    "hint used twice": (OptimisticOGD, "predict", hint_twice, the_hint_pays_once),
    "tracking without projection": (OGD, "update", unprojected, lambda: feasible(Tracking(1.0, 4.0, BALL))),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    owner, attribute, bug, guard = MUTANTS[name]
    guard()
    monkeypatch.setattr(owner, attribute, bug)
    with pytest.raises(AssertionError):
        guard()
