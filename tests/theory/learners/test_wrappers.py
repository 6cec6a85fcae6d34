"""Chunked and delayed feedback: any learner inside, the same game, and what waiting costs."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.learners.test_gradient_learners import BALL, BOTH, ROUNDING, record
from tests.theory.test_bounds import measured_regret, sweeping
from theory import bounds, regret
from theory.checker.checks import plays
from theory.domain import Ball, Box, Free
from theory.learners import OGD, AdaHedge, Ensemble, Hedge, Momentum, OptimisticOGD
from theory.learners import chunked as chunked_module
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.learners.repeated import Repeated
from theory.loss import Linear, Quadratic
from theory.problem import Problem
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident
from theory.testing.strategies import DomainGame, games

INSIDE = [
    lambda domain: OGD(0.3, domain),
    lambda domain: OGD(AdaGradNorm(2.0), domain),
    lambda domain: OptimisticOGD(0.3, domain=domain),
    lambda domain: OptimisticOGD(SelfConfident(2.0, 1.0), domain=domain),
    lambda domain: Ensemble(OGD((0.05, 0.2, 0.8), domain)),
]
RNG = np.random.default_rng(0)
SLOPES = RNG.normal(size=(40, 3))


# Chunks


def ogd_in_chunks(x, centers, eta, chunk, radius):
    """Lists and loops: ½‖x − c‖², one projected step on the mean gradient after every ``chunk`` rounds."""
    path, waiting = [], []
    for center in centers:
        path.append(x)
        waiting.append([v - c for v, c in zip(x, center, strict=True)])
        if len(waiting) == chunk:
            moved = [v - eta * sum(column) / chunk for v, column in zip(x, zip(*waiting, strict=True), strict=True)]
            norm = sqrt(sum(v * v for v in moved))
            x = [v * min(1.0, radius / norm) for v in moved] if norm > 0 else moved
            waiting = []
    return path


def chunks_are_the_scalar_loop():
    for chunk in (1, 3, 7):
        ours = plays(Chunked(OGD(0.7, BALL), chunk), np.array([0.6, 0.0, -0.3]), [Quadratic(c) for c in SLOPES])
        np.testing.assert_allclose(ours, ogd_in_chunks([0.6, 0.0, -0.3], SLOPES, 0.7, chunk, 1.0), atol=1e-12)


def test_chunks_are_the_scalar_loop():
    chunks_are_the_scalar_loop()


@pytest.mark.parametrize("make", INSIDE)
@given(games(quadratic=BOTH), st.integers(1, 7))
@example(sweeping(10, 3), 4)
def test_chunked_regret_is_within_its_bound(make, game, chunk):
    wrapped_within_bound(Chunked(make(game.domain), chunk), game)


def wrapped_within_bound(learner, game):
    decisions, _, states = record(learner, game)
    for u in (*game.hard_comparators(), game.domain.project(game.slopes)):
        energy = bounds.comparator_energy(game.diameter, regret.path_length(u))
        limits = np.array([float(learner.bound(s, e)) for s, e in zip(states, energy, strict=True)])
        assert np.all(measured_regret(game, decisions, u) <= limits + ROUNDING * (1 + limits))


@given(games(quadratic=BOTH), st.integers(1, 5), st.floats(0.05, 2.0))
def test_the_sharp_energy_holds_for_comparators_constant_inside_chunks(game, chunk, eta):
    learner = Chunked(OGD(eta, game.domain), chunk)
    decisions, _, states = record(learner, game)
    u = game.hard_comparators()[2][::chunk].repeat(chunk, axis=0)[: game.horizon]
    ends = np.arange(0, game.horizon, chunk)  # one row per chunk: the rounds of the learner inside
    energy = bounds.comparator_energy_sharp(decisions[ends], u[ends])[-1]
    limit = float(learner.bound(states[-1], energy))
    assert measured_regret(game, decisions, u)[-1] <= limit + ROUNDING * (1 + abs(limit))


def test_the_price_of_moving_inside_a_chunk_is_needed():
    """One chunk, the comparator on one side for half of it and on the other for the rest: 0.999 of the sharp bound."""
    slopes = np.repeat([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], 50, axis=0)
    game, learner = DomainGame(np.zeros(3), slopes, domain=BALL), Chunked(OGD(1e3, BALL), 100)
    decisions, _, states = record(learner, game)
    suffered = measured_regret(game, decisions, -slopes)[-1]
    inside = float(learner.learner.bound(learner._closed(states[-1]), 1.0))  # one of the ends for the whole chunk
    limit = bounds.chunked(inside, 100, float(states[-1].heaviest), 2.0)
    assert 0.999 * limit <= suffered <= limit
    assert limit <= float(learner.bound(states[-1], bounds.comparator_energy(2.0, 2.0)))


@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_chunked_ogd_attains_its_bound(chunk):
    """A steady push, the step such that one sweep across the ball takes all T rounds: regret = T + b exactly."""
    sweep = np.broadcast_to([1.0, 0.0, 0.0], (20 * chunk, 3))
    game, learner = DomainGame(np.array([1.0, 0.0, 0.0]), sweep, domain=BALL), Chunked(OGD(0.1, BALL), chunk)
    decisions, _, states = record(learner, game)
    suffered = measured_regret(game, decisions, -sweep)[-1]
    assert suffered == pytest.approx(21 * chunk, rel=1e-12)
    assert float(learner.bound(states[-1], 4.0)) == pytest.approx(suffered, rel=1e-12)
    assert learner.guarantee(Problem(BALL, 3, 20 * chunk, 1.0)) == pytest.approx(suffered, rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_chunks_promise_the_root_of_the_chunk(chunk):
    problem = Problem(BALL, 3, 200, 1.0)
    limit = bounds.ogd_chunked(1.0, 200, 4.0, chunk)
    assert Chunked.tuned(problem, rounds=chunk).guarantee(problem) == pytest.approx(limit)
    assert limit == pytest.approx(sqrt(chunk) * bounds.ogd_oracle(1.0, 200, 4.0))
    assert Chunked.tuned(problem) == Chunked.tuned(problem, rounds=25)
    assert Delayed.tuned(problem) == Delayed.tuned(problem, delay=1)


@given(games(st.sampled_from([Ball(2.5), Box(-0.5, 2.0)])), st.integers(1, 5), st.floats(0.0, 9.0))
def test_both_bounds_of_chunks_are_the_formula(game, chunk, path):
    """From the data: Σ‖g‖ of the heaviest chunk; a priori: G·b, or G·T if the game is shorter than a chunk."""
    learner = Chunked(OGD(0.3, game.domain), chunk)
    decisions, _, states = record(learner, game)
    sizes = np.linalg.norm(game.slopes, axis=-1)
    means = [Linear(game.slopes[t : t + chunk].sum(axis=0) / chunk) for t in range(0, game.horizon, chunk)]
    np.testing.assert_allclose(decisions[::chunk], plays(learner.learner, game.x_1, means), atol=1e-12)
    heaviest = max(sizes[t : t + chunk].sum() for t in range(0, game.horizon, chunk))
    energy = bounds.comparator_energy(game.diameter, path)
    inside = bounds.ogd(energy, 0.3, sum(float(loss.slope @ loss.slope) for loss in means))
    expected = bounds.chunked(inside, chunk, heaviest, path)
    assert float(learner.bound(states[-1], energy)) == pytest.approx(expected, rel=1e-9)
    problem = Problem(game.domain, 3, game.horizon, 2.0, path_length=path)
    apriori = bounds.chunked(bounds.ogd(energy, 0.3, 4.0 * len(means)), chunk, 2.0 * min(chunk, game.horizon), path)
    assert learner.guarantee(problem) == pytest.approx(apriori, rel=1e-12)


def forced_in_blocks(learner, horizon, block):
    """Regret to the best fixed point that slopes force which stay for a block and are orthogonal to all its plays.

    The plays of a block must not depend on its own slopes: true for chunks and for delays of a block less one.
    """
    state, running, forced = learner.init(np.zeros(6)), np.zeros(6), 0.0
    for _ in range(horizon // block):
        ahead, seen = state, []
        for _ in range(block):
            seen.append(learner.predict(ahead))
            ahead = learner.update(ahead, Linear(np.zeros(6)))
        others = np.stack([*(x - seen[0] for x in seen[1:]), seen[0], running])
        normal = np.linalg.svd(others)[2][-1]
        for _ in range(block):
            forced += float(normal @ learner.predict(state))
            running = running + normal
            state = learner.update(state, Linear(normal))
    return forced + float(np.linalg.norm(running))


def test_rates_of_chunks_are_forced():
    """√(bT)·GD/2, exactly, whatever is inside: half of the bound, and nobody does better."""
    for horizon, chunk in ((120, 1), (120, 4), (480, 4), (480, 10)):
        learner = Chunked.tuned(Problem(BALL, 6, horizon, 1.0), rounds=chunk)
        assert forced_in_blocks(learner, horizon, chunk) == pytest.approx(sqrt(chunk * horizon), rel=1e-9)


# Delays


def ogd_with_delay(x, centers, eta, delay, radius):
    """Lists and loops: the gradient of round t, taken at x_t, moves x after round t + delay."""
    path, mail = [], {}
    for t, center in enumerate(centers):
        path.append(x)
        mail[t + delay] = [v - c for v, c in zip(x, center, strict=True)]
        if t in mail:
            moved = [v - eta * g for v, g in zip(x, mail.pop(t), strict=True)]
            norm = sqrt(sum(v * v for v in moved))
            x = [v * min(1.0, radius / norm) for v in moved] if norm > 0 else moved
    return path


def delays_are_the_scalar_loop():
    for delay in (0, 1, 4):
        ours = plays(Delayed(OGD(0.7, BALL), delay), np.array([0.6, 0.0, -0.3]), [Quadratic(c) for c in SLOPES])
        np.testing.assert_allclose(ours, ogd_with_delay([0.6, 0.0, -0.3], SLOPES, 0.7, delay, 1.0), atol=1e-12)


def test_delays_are_the_scalar_loop():
    delays_are_the_scalar_loop()


def late_by_the_delay():
    """Changing f_t leaves x_1 … x_{t+d} as they were, and changes x_{t+d+1}."""
    for delay in (0, 1, 3):
        learner = Delayed(OptimisticOGD(0.1), delay)
        original = plays(learner, np.zeros(3), [Linear(s) for s in SLOPES])
        for t in (0, 5, 20):
            changed = plays(learner, np.zeros(3), [Linear(s + 7.0 * (i == t)) for i, s in enumerate(SLOPES)])
            assert np.flatnonzero(np.any(changed != original, axis=-1))[0] == t + delay + 1


def test_a_loss_is_felt_after_its_delay_and_no_earlier():
    late_by_the_delay()


@pytest.mark.parametrize("delay", [0, 1, 3, 5])
def test_the_learner_inside_counts_only_what_has_arrived(delay):
    """So that steps that shrink with its rounds start long."""
    game = DomainGame(np.zeros(3), SLOPES, domain=BALL)
    _, _, states = record(Delayed(OGD(InverseSqrt(2.0, 1.0), BALL), delay), game)
    rounds = [float(state.known.base.rounds[0]) for state in states]
    assert rounds == [max(t - delay, 0) for t in range(1, len(SLOPES) + 1)]
    assert [float(state.under_way) for state in states] == [min(t, delay) for t in range(1, len(SLOPES) + 1)]


@pytest.mark.parametrize("make", INSIDE)
@given(games(quadratic=BOTH), st.integers(0, 6))
@example(sweeping(10, 3), 4)
def test_delayed_regret_is_within_its_bound(make, game, delay):
    wrapped_within_bound(Delayed(make(game.domain), delay), game)


@given(games(), st.integers(0, 6))
def test_delayed_regret_is_the_learner_s_own_plus_the_drift(game, delay):
    """An identity once all gradients have arrived: Σ⟨g, x⟩ = Σ⟨g, y⟩ + drift, y played on the same g without delay."""
    learner, inside = Delayed(OptimisticOGD(0.4, domain=game.domain), delay), OptimisticOGD(0.4, domain=game.domain)
    decisions, _, states = record(learner, game)
    silent = [Linear(np.zeros(3))] * delay
    state = states[-1]
    for loss in silent:
        state = learner.update(state, loss)
    undelayed = plays(inside, game.x_1, game.losses)
    drift = float(np.sum(game.slopes * (decisions - undelayed)))
    assert float(state.known.drift) == pytest.approx(drift, abs=1e-9)
    own = inside.bound(play_out(inside, game), 5.0)
    assert float(learner.bound(states[-1], 5.0)) == pytest.approx(float(own) + drift, abs=1e-9)


def play_out(learner, game):
    state = learner.init(game.x_1)
    for loss in game.losses:
        state = learner.update(state, loss)
    return state


@given(games(quadratic=BOTH), st.integers(0, 6), st.floats(0.02, 1.0))
def test_a_priori_bounds_of_delayed_ogd(game, delay, eta):
    """From the data, Σ‖g_t‖‖g_s‖ over the gradients under way, and from G alone."""
    learner = Delayed(OGD(eta, game.domain), delay)
    decisions, _, states = record(learner, game)
    size = np.array([np.linalg.norm(loss.grad(x)) for loss, x in zip(game.losses, decisions, strict=True)])
    overlap = sum(size[t] * size[max(t - delay, 0) : t].sum() for t in range(game.horizon))
    for u in game.hard_comparators():
        path = float(regret.path_length(u)[-1])
        energy = bounds.comparator_energy(game.diameter, path)
        own = float(learner.bound(states[-1], energy))
        data = bounds.ogd_delayed(energy, eta, np.sum(size**2), overlap)
        problem = Problem(game.domain, 3, game.horizon, max(game.gradient_bound, 0.1), path_length=path)
        guarantee = learner.guarantee(problem)
        assert measured_regret(game, decisions, u)[-1] <= own + ROUNDING * (1 + own)
        assert own <= data + ROUNDING * (1 + data)
        assert guarantee is not None
        assert data <= guarantee + ROUNDING * (1 + guarantee)
        tuned = Delayed.tuned(problem, delay=delay).guarantee(problem)
        oracle = bounds.ogd_delayed_oracle(problem.gradient_bound, game.horizon, energy, delay)
        assert tuned == pytest.approx(oracle)


def test_delayed_ogd_nearly_attains_its_bound():
    """A steady push, d rounds without an answer and then towards u: 0.97 of the a priori bound at that step."""
    learner, problem = Delayed(OGD(0.112, BALL), 2), Problem(BALL, 3, 16, 1.0)
    push = np.broadcast_to([1.0, 0.0, 0.0], (16, 3))
    suffered = measured_regret(game := DomainGame(push[0], push, domain=BALL), record(learner, game)[0], -push)[-1]
    guarantee = learner.guarantee(problem)
    assert guarantee is not None
    assert 0.97 * guarantee <= suffered <= guarantee


def test_rates_of_delays_are_forced():
    """√((d+1)T)·GD/2, exactly: at most √2 below half of the bound, which has 2d + 1 for d + 1."""
    for horizon, delay in ((120, 0), (120, 2), (480, 2), (480, 3)):
        learner = Delayed.tuned(Problem(Ball(1.0), 6, horizon, 1.0), delay=delay)
        forced = forced_in_blocks(learner, horizon, delay + 1)
        assert forced == pytest.approx(sqrt((delay + 1) * horizon), rel=1e-9)


def test_waiting_costs_nothing_extra_where_nothing_happens():
    """Realisable and still: the regret of delayed OGD does not grow with T, that of its bound with √T does."""
    sums = []
    for horizon in (100, 400):
        game = DomainGame(np.array([-1.0, 0, 0]), np.broadcast_to([0.5, 0.0, 0.0], (horizon, 3)), True, domain=BALL)
        sums.append(measured_regret(game, record(Delayed(OGD(0.1, BALL), 3), game)[0], game.slopes)[-1])
    assert sums[1] == pytest.approx(sums[0], rel=1e-6)


# Repeats


@pytest.mark.parametrize("times", [1, 2, 5])
def test_repeats_are_the_scalar_loop(times):
    """½‖x − c‖² shown several times: as many projected steps of OGD before the next play."""
    x, path = np.array([0.6, 0.0, -0.3]), []
    for center in SLOPES:
        path.append(x)
        for _ in range(times):
            x = BALL.project(x - 0.1 * (x - center))
    ours = plays(Repeated(OGD(0.1, BALL), times), path[0], [Quadratic(c) for c in SLOPES])
    np.testing.assert_allclose(ours, path, atol=1e-12)


def test_a_repeated_learner_claims_nothing_and_says_what_it_takes():
    learner = Repeated(OptimisticOGD(0.1, domain=BALL), 2)
    assert (learner.domain, learner.takes_hints, learner.certified) == (BALL, True, False)
    assert learner.bound(learner.init(np.zeros(3)), 4.0) is None
    assert learner.guarantee(Problem(BALL, 3, 9, 1.0)) is None
    with pytest.raises(ValueError, match="times=0"):
        Repeated(OGD(0.1), 0)


# Both


@given(games(quadratic=BOTH), st.sampled_from([OGD(0.3), OptimisticOGD(0.2), Momentum(0.1)]))
def test_without_waiting_a_wrapper_is_what_it_wraps(game, inside):
    inside = replace(inside, domain=game.domain)
    for wrapped in (Chunked(inside, 1), Delayed(inside, 0)):
        np.testing.assert_allclose(
            plays(wrapped, game.x_1, game.losses), plays(inside, game.x_1, game.losses), atol=1e-12
        )


def test_bounds_for_fixed_comparators_are_not_passed_on():
    for inside in (Hedge(0.3), AdaHedge()):
        for wrapped in (Chunked(inside, 2), Delayed(inside, 2)):
            assert wrapped.bound(wrapped.init(np.full(3, 1 / 3)), 2.0) is None
    for silent in (Chunked(Momentum(0.1, domain=BALL), 2), Delayed(Momentum(0.1), 2)):
        assert silent.bound(silent.init(np.zeros(3)), 2.0) is None
        assert silent.guarantee(Problem(BALL, 3, 9, 1.0)) is None
    unbounded = Chunked(OGD(0.1), 2)
    assert unbounded.bound(unbounded.init(np.zeros(3)), np.inf) == np.inf
    assert unbounded.bound(unbounded.init(np.zeros(3)), 3.0) == 2 * 3.0 / 0.2
    assert Chunked(OGD(0.1), 2).guarantee(Problem(Free(), 3, 9, 1.0)) == np.inf
    assert Delayed(OGD(AdaGradNorm(2.0), BALL), 2).guarantee(Problem(BALL, 3, 9, 1.0)) is None


# Bugs that these tests must notice

CHOSEN, DELAYED_UPDATE, DELAYED_ARRIVED = chunked_module.chosen, Delayed.update, Delayed._arrived


def sum_for_mean(self, state, hint=None):
    return self.learner.update(state.base, Linear(state.gradients), hint)


def chunk_one_round_early(condition, yes, no):
    return CHOSEN(no.filled >= 2, yes, no) if hasattr(no, "filled") else CHOSEN(condition, yes, no)


def delivered_early(self, state, loss_t, hint=None):
    """The oldest gradient that stays in the ring is delivered instead of the one that leaves it."""
    right = DELAYED_UPDATE(self, state, loss_t, hint)
    if self.delay == 0:
        return right
    early = self._arrived(state.known, right.gradients[0], right.suffered[0], state.under_way >= self.delay - 1)
    return right._replace(known=early)


def gradient_where_it_arrives(self, known, grad_s, suffered_s, arrives, hint=None):
    """The drift is forgotten, as if gradients had been taken at y_s."""
    return DELAYED_ARRIVED(self, known, grad_s, suffered_s, arrives)._replace(drift=known.drift)


def without_the_price_of_moving(self, state, comparator_energy):
    return self.rounds * self.learner.bound(self._closed(state), comparator_energy)


MOVING_IN_A_CHUNK = DomainGame(np.zeros(3), np.repeat([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], 20, axis=0), domain=BALL)

MUTANTS = {
    "sum of a chunk for its mean": (Chunked, "_closed", sum_for_mean, chunks_are_the_scalar_loop),
    "chunks end too early": (chunked_module, "chosen", chunk_one_round_early, chunks_are_the_scalar_loop),
    "no price for moving inside a chunk": (
        Chunked,
        "bound",
        without_the_price_of_moving,
        lambda: wrapped_within_bound(Chunked(OGD(10.0, BALL), 40), MOVING_IN_A_CHUNK),
    ),
    "delivered a round early": (Delayed, "update", delivered_early, late_by_the_delay),
    "delivered a round early: trajectory": (Delayed, "update", delivered_early, delays_are_the_scalar_loop),
    "drift forgotten": (
        Delayed,
        "_arrived",
        gradient_where_it_arrives,
        lambda: wrapped_within_bound(Delayed(OGD(0.2, BALL), 6), sweeping(10, 3)),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    owner, attribute, bug, guard = MUTANTS[name]
    guard()
    monkeypatch.setattr(owner, attribute, bug)
    with pytest.raises(AssertionError):
        guard()
