"""Learners that guess: optimistic Hedge, Sword on top of it, and ensembles by the gradients they ask for."""

from math import inf, log, sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.learners.test_expert_learners import RATES, linear, run, uniform
from tests.theory.test_bounds import ROUNDING, adversary, alternating
from theory import bounds, regret, step_size
from theory.checker.checks import plays
from theory.domain import Ball
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learners import OGD, Ensemble, Hedge, OptimisticHedge, OptimisticOGD, Sword
from theory.loss import Counted, Linear, Quadratic
from theory.problem import Problem
from theory.testing.strategies import expert_losses, games

HINTS = st.sampled_from([Zero(), LastGradient(), MovingAverage(0.6), LastGradient(-0.5)])


# Optimistic Hedge


def hinted_run(learner, losses, prior):
    """Decisions, the hints used, and the weights without hint v_t, for a constant rate."""
    x, suffered, state = run(learner, linear(losses), prior)
    hints, hint = [], np.zeros_like(prior)
    for row in losses:
        hints.append(hint)
        hint = learner.hint.after(hint, row)
    before = np.cumsum(losses, axis=0) - losses
    v = prior * np.exp(-learner.meta_step_size * (before - before.min(axis=-1, keepdims=True)))
    return x, suffered, state, np.stack(hints), v / v.sum(axis=-1, keepdims=True)


@given(expert_losses(), RATES, st.sampled_from([Zero(), LastGradient(0.0)]))
def test_optimistic_hedge_with_zero_hint_is_hedge(losses, epsilon, hint):
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    ours, _, state = run(OptimisticHedge(epsilon, hint, adaptive=False), linear(losses), prior)
    theirs, _, other = run(Hedge(epsilon), linear(losses), prior)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(state.gap, other.gap, atol=1e-10)


@given(expert_losses(), RATES)
def test_a_perfect_hint_leaves_only_the_prior(losses, epsilon):
    """Regret ≤ ln(1/p)/ε − Σ KL(w_t‖v_t)/ε at any rate and for losses of any size."""
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    learner = OptimisticHedge(epsilon, adaptive=False)
    _, suffered, state = run(learner, linear(1e3 * losses), prior, hints=1e3 * losses)
    lost = suffered.sum() - 1e3 * losses.sum(axis=0)
    assert float(state.paid[0]) <= 1e-9
    assert np.all(lost <= -np.log(prior) / epsilon + 1e-8)
    assert np.all(lost <= learner.expert_bound(state) + 1e-8)


@given(expert_losses(), RATES, HINTS)
@example(alternating(60, 20), 0.3, LastGradient())
@example(np.tile([0.0, 1.0], (60, 1)), 0.3, LastGradient())
def test_optimistic_hedge_s_gap_is_exactly_what_the_proof_says(losses, epsilon, hint):
    """gap_t = g_t − KL(w_t‖v_t)/ε, 0 ≤ g_t ≤ ε·s_t²/8, g_t ≤ ε·s_t²/4 − ‖w_t − v_{t+1}‖₁²/(4ε); hence both bounds."""
    prior = uniform(losses)
    learner = OptimisticHedge(epsilon, hint, adaptive=False)
    w, suffered, state, hints, v = hinted_run(learner, losses, prior)
    r = losses - hints
    spread, low = np.ptp(r, axis=-1), r.min(axis=-1)
    mixed = low - np.log(np.sum(w * np.exp(-epsilon * (r - low[:, None])), axis=-1)) / epsilon
    g = np.sum(w * r, axis=-1) - mixed
    divergence = np.sum(w * np.log(w / v), axis=-1)
    assert float(state.gap[0]) == pytest.approx(np.sum(g - divergence / epsilon), abs=1e-8)
    assert np.all(g <= epsilon * spread**2 / 8 + ROUNDING)
    assert np.all(g >= -ROUNDING)
    n = np.abs(w[:-1] - v[1:]).sum(axis=-1)
    assert np.all(g[:-1] <= epsilon * spread[:-1] ** 2 / 4 - n**2 / (4 * epsilon) + ROUNDING)
    lost = suffered.sum() - losses.sum(axis=0)
    energy, moved = np.sum(spread**2), np.sum(np.abs(np.diff(w, axis=0)).sum(axis=-1) ** 2)
    count = log(losses.shape[-1])
    assert np.all(lost <= learner.expert_bound(state) + ROUNDING * len(losses))
    assert lost.max() <= bounds.optimistic_hedge(count, epsilon, energy, divergence.sum()) + ROUNDING * len(losses)
    assert lost.max() <= bounds.optimistic_hedge_stable(count, epsilon, energy, moved) + ROUNDING * len(losses)


@given(expert_losses(size=3.0), HINTS, st.sampled_from([inf, 2.0]))
@example(alternating(60, 20), LastGradient(), inf)
@example(1e4 * alternating(60, 20), Zero(), inf)
def test_adaptive_optimistic_hedge_is_within_its_bounds(losses, hint, ceiling):
    learner = OptimisticHedge(ceiling, hint)
    state, lost, last, energy, largest = learner.init(uniform(losses)), 0.0, np.zeros(losses.shape[-1]), 0.0, 0.0
    for t, row in enumerate(losses):
        lost += float(learner.predict(state) @ row)
        state = learner.update(state, Linear(row))
        spread = np.ptp(row - last)
        energy, largest, last = energy + spread**2, max(largest, spread), hint.after(last, row)
        suffered, limit = lost - losses[: t + 1].sum(axis=0), learner.expert_bound(state)
        rounding = ROUNDING * (1 + np.abs(losses).max()) * (t + 1)
        assert np.all(suffered <= limit + rounding)
        apriori = bounds.adahedge_spread(losses.shape[-1], energy, largest, ceiling)
        assert limit.max() <= apriori + rounding


@pytest.mark.parametrize(
    ("hint", "adaptive", "least"),
    [(Zero(), False, 0.97), (Zero(), True, 0.9), (LastGradient(), False, 0.79), (LastGradient(), True, 0.76)],
)
def test_optimistic_hedge_s_bounds_are_nearly_attained(hint, adaptive, least):
    """Alternate, then let one expert lose. The last gradient misleads, s_t = 2, and its bound drops the divergence."""
    horizon = 2000
    losses = alternating(horizon, 112)
    guesses = np.concatenate([np.zeros((1, 2)), hint.after(losses[:-1], losses[:-1])])
    energy, largest = np.sum(np.ptp(losses - guesses, axis=-1) ** 2), float(np.max(np.ptp(losses - guesses, axis=-1)))
    epsilon = inf if adaptive else sqrt(8 * log(2) / horizon)
    _, suffered, _ = run(OptimisticHedge(epsilon, hint, adaptive), linear(losses), np.full(2, 0.5))
    lost = float(np.max(suffered.sum() - losses.sum(axis=0)))
    limit = bounds.adahedge_spread(2, energy, largest) if adaptive else bounds.optimistic_hedge(log(2), epsilon, energy)
    assert least * limit <= lost <= limit


def test_the_stable_form_is_nearly_attained():
    """One expert always loses and ε is small: after one round the hint is perfect, and hardly anything is dropped."""
    losses = np.tile([0.0, 1.0], (1000, 1))
    x, suffered, _ = run(OptimisticHedge(0.01, adaptive=False), linear(losses), np.full(2, 0.5))
    moved = np.sum(np.abs(np.diff(x, axis=0)).sum(axis=-1) ** 2)
    limit = bounds.optimistic_hedge_stable(log(2), 0.01, 1.0, moved)
    assert 0.99 * limit <= suffered.sum() <= limit
    assert limit == pytest.approx(log(2) / 0.01 + 0.01 / 4 - moved / 0.08)
    assert moved > 0


def test_optimistic_hedge_promises_for_the_worst_guess():
    """A last gradient may be wrong by twice the range."""
    still = Problem(Ball(1.0), 2, 50, 1.0, loss_range=1.5)
    assert OptimisticHedge(0.3, adaptive=False).guarantee(still) == pytest.approx(log(2) / 0.3 + 0.3 / 8 * 9 * 50)
    assert OptimisticHedge(0.3, Zero(), False).guarantee(still) == pytest.approx(Hedge(0.3).guarantee(still))
    assert OptimisticHedge().guarantee(still) == pytest.approx(sqrt(log(2) * 9 * 50) + 6)
    assert OptimisticHedge().guarantee(Problem(Ball(1.0), 2, 50, 1.0, path_length=0.5)) is None
    with pytest.raises(ValueError, match=r"meta_step_size=0\.0"):
        OptimisticHedge(0.0)


def test_sword_s_constants():
    assert bounds.sword(4.0, log(3), 0.1, 0.05, 2.0, 3.0, 7.0) == pytest.approx(20 + log(3) / 0.05 + 0.15 * 23)
    assert bounds.sword_small_loss(4.0, 0.0, 1 / 64, 1 / 64, 2.0, 2.0, 5.0) == pytest.approx(261)


# Sword


STEPS = (0.01, 0.05, 0.125, 2.0)
CONSTANT = Sword(OptimisticOGD(STEPS, domain=Ball(1.0)), OptimisticHedge(0.125, adaptive=False), 1.0)
"""Ball of radius 1, L = 1: constant rates at the limits of the theorem, and a base beyond it."""


def rounds_of(learner, game):
    """Sword's x_t, plays ``[T, N, d]``, weights, gradients, anchors and last state; its bases are driven apart."""
    bases = [OptimisticOGD(eta, learner.base.hint, learner.domain) for eta in learner.base.step_size]
    states, state = [base.init(game.x_1) for base in bases], learner.init(game.x_1)
    rows = []
    for loss_t in game.losses:
        own = np.stack([base.predict(one) for base, one in zip(bases, states, strict=True)])
        np.testing.assert_allclose(state.base.anchor, [one.anchor for one in states], atol=1e-12)
        charge = learner.correction * np.sum((own - state.last) ** 2, axis=-1)
        weights = learner.meta.predict(state.meta, own @ states[0].hint + charge)
        x_t = learner.predict(state)
        np.testing.assert_allclose(x_t, weights @ own, atol=1e-12)
        grad_t = loss_t.grad(x_t)
        rows.append((x_t, own, weights, grad_t, [one.anchor for one in states]))
        states = [base.update(one, Linear(grad_t)) for base, one in zip(bases, states, strict=True)]
        state = learner.update(state, loss_t)
    return *(np.stack(column) for column in zip(*rows, strict=True)), state


@given(
    games(quadratic=st.booleans(), longest=25),
    st.sampled_from([0.0, 1.0, 20.0]),
    st.sampled_from([0.05, 2.0]),
)
def test_sword_pays_for_its_corrections_and_is_paid(game, correction, epsilon):
    """Every term of the proof of ``bounds.sword`` before anything is bounded: any rates, any correction, any losses."""
    steps = (0.02, 0.1, 0.7)
    learner = Sword(OptimisticOGD(steps, domain=game.domain), OptimisticHedge(epsilon, adaptive=False), correction)
    x, own, w, g, anchors, state = rounds_of(learner, game)
    before = np.concatenate([np.zeros((1, 3)), g[:-1]])
    error = np.sum((g - before) ** 2)
    moved = np.sum(np.diff(own, axis=0) ** 2, axis=-1)  # [T−1, N]
    assert state.moved == pytest.approx(correction * moved.sum(axis=0))
    assert float(state.charged) == pytest.approx(correction * np.sum(w[1:] * moved))
    spread = np.ptp(np.einsum("tnd,td->tn", own, g - before), axis=-1)
    turned = np.sum(np.abs(np.diff(w, axis=0)).sum(axis=-1) ** 2)
    meta = bounds.optimistic_hedge_stable(log(3), epsilon, np.sum(spread**2), turned)
    for u in game.hard_comparators():
        lost = np.sum(g * (x - u))
        for i, eta in enumerate(steps):
            energy = bounds.comparator_energy_sharp(anchors[:, i], u)[-1]
            base = energy / (2 * eta) + eta * error - moved[:, i].sum() / (8 * eta)
            paid = correction * (moved[:, i].sum() - np.sum(w[1:] * moved))
            assert lost <= base + meta + paid + ROUNDING * (1 + abs(base) + abs(paid))
        loose = bounds.comparator_energy(game.diameter, float(regret.path_length(u)[-1]))
        assert lost <= float(learner.bound(state, loose)) + ROUNDING * (1 + loose / steps[0])


@given(games(Ball(1.0), quadratic=st.booleans()))
def test_sword_is_within_its_a_priori_bounds_on_smooth_games(game):
    """L = 1, rates at their limits; V_T and, for quadratics, F_T as they are; ``guarantee`` with V_T at its largest."""
    decisions = plays(CONSTANT, game.x_1, game.losses)
    varied = float(regret.gradient_variation(game.slopes)[-1])
    for u in game.hard_comparators():
        lost = sum(float(f.value(x) - f.value(v)) for f, x, v in zip(game.losses, decisions, u, strict=True))
        path, bound_g = float(regret.path_length(u)[-1]), game.gradient_bound
        energy = bounds.comparator_energy(2.0, path)
        limits = [bounds.sword(energy, log(4), eta, 0.125, 2.0, bound_g, varied) for eta in STEPS[:3]]
        assert lost <= min(limits) + ROUNDING
        if bound_g > 0:
            known = Problem(Ball(1.0), 3, game.horizon, bound_g, smoothness=1.0, path_length=path)
            promised = CONSTANT.guarantee(known)
            assert promised is not None
            assert promised >= min(limits) * (1 - ROUNDING)
        if game.kind == "quadratic":
            comparator_loss = float(sum(f.value(v) for f, v in zip(game.losses, u, strict=True)))
            mild = Sword(OptimisticOGD((1 / 32,), domain=Ball(1.0)), OptimisticHedge(1 / 32, adaptive=False), 1.0)
            x = plays(mild, game.x_1, game.losses)
            lost = sum(float(f.value(y) - f.value(v)) for f, y, v in zip(game.losses, x, u, strict=True))
            small = bounds.sword_small_loss(energy, 0.0, 1 / 32, 1 / 32, 2.0, 1.0, comparator_loss)
            assert lost <= small + ROUNDING
            assert small == pytest.approx(32 * energy + comparator_loss)
            chosen = bounds.sword_small_loss(energy, log(3), 1 / 32, 1 / 32, 2.0, 1.0, comparator_loss)
            assert chosen == pytest.approx(small + 64 * log(3))


@pytest.mark.parametrize(("steps", "least"), [((0.125,), 0.99), ((0.125 / 4, 0.125 / 2, 0.125), 0.94)])
def test_sword_s_bound_is_nearly_attained(steps, least):
    """A slow sweep across the ball: 0.994 with one base, 0.949 with three, which pay ln 3/ε for choosing."""
    slope, horizon = 0.1, 320
    learner = Sword(OptimisticOGD(steps, domain=Ball(1.0)), OptimisticHedge(0.125, adaptive=False), 1.0)
    x = plays(learner, np.array([1.0, 0, 0]), [Linear(np.array([slope, 0, 0]))] * horizon)
    lost = slope * np.sum(x[:, 0] + 1)
    limit = min(bounds.sword(4.0, log(len(steps)), eta, 0.125, 2.0, slope, 0.0) for eta in steps)
    assert least * limit <= lost <= limit


def test_the_small_loss_form_of_sword_within_a_third():
    """0.668: ‖∇f‖² ≤ 2L·f is tight for quadratics, ⟨∇f, x − u⟩ ≥ f(x) − f(u) for linear losses, never both."""
    eta, rate, loss = 0.01, 1e-6, Quadratic(np.array([-3.0, 0, 0]))
    learner = Sword(OptimisticOGD((eta,), domain=Ball(1.0)), OptimisticHedge(rate, adaptive=False), 1.0)
    x, u = plays(learner, np.array([1.0, 0, 0]), [loss] * 50), np.array([-1.0, 0, 0])
    lost, comparator_loss = float(np.sum(loss.value(x) - loss.value(u))), 50 * float(loss.value(u))
    limit = bounds.sword_small_loss(4.0, 0.0, eta, rate, 2.0, 1.0, comparator_loss)
    assert 0.65 * limit <= lost <= limit


def test_slow_losses_cost_sword_less_than_the_root_of_the_horizon():
    """V_T and P_T bounded: regret stops growing, where the adversary's value and Ader's bound grow like √T."""
    lost = []
    for horizon in (200, 800):
        angle = np.linspace(0, 1, horizon)
        slopes = 0.5 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        x = plays(CONSTANT, np.zeros(3), [Linear(s) for s in slopes])
        lost.append(np.sum(x * slopes) + 0.5 * horizon)
        energy = bounds.comparator_energy(2.0, 1.0)
        varied = float(regret.gradient_variation(slopes)[-1])
        assert lost[-1] <= bounds.sword(energy, log(4), 0.125, 0.125, 2.0, 0.5, varied)
    assert lost[1] <= 1.1 * lost[0]


def test_the_correction_leaves_experts_that_move():
    """g_t ⟂ the line on which all experts stand: equal losses, so only the correction tells that one of them moves."""
    moved, slow = {}, {}
    for correction in (0.0, 1.0):
        base = OptimisticOGD((0.01, 0.1), domain=Ball(100.0))
        learner = Sword(base, OptimisticHedge(1.0, adaptive=False), correction)
        state, played = learner.init(np.zeros(3)), []
        for _ in range(400):
            line = state.base.anchor[1] - 0.1 * state.base.hint[1]
            across = np.linalg.svd(line[None])[2][-1]
            played.append(learner.predict(state))
            assert abs(across @ played[-1]) < 1e-9
            state = learner.update(state, Linear(across))
        slow[correction] = float(learner.meta.predict(state.meta, np.zeros(2))[0])
        moved[correction] = np.sum(np.diff(played, axis=0) ** 2)
    assert slow[0.0] == pytest.approx(0.5)
    assert slow[1.0] > 0.99
    assert moved[1.0] < 0.5 * moved[0.0]


def test_sword_promises_only_what_is_proven():
    smooth = Problem(Ball(1.0), 3, 100, 1.0, smoothness=1.0)
    assert CONSTANT.guarantee(smooth) is not None
    assert CONSTANT.guarantee(Problem(Ball(1.0), 3, 100, 1.0)) is None
    assert CONSTANT.guarantee(Problem(Ball(2.0), 3, 100, 1.0, smoothness=1.0)) is None
    assert CONSTANT.guarantee(Problem(Ball(1.0), 3, 100, 1.0, smoothness=2.0)) is None
    assert Sword.tuned(smooth).guarantee(smooth) is None  # its rate adapts
    for rate, eta, correction in ((0.13, 0.125, 1.0), (0.125, 0.13, 1.0), (0.125, 0.125, 0.9)):
        other = Sword(OptimisticOGD((eta,), domain=Ball(1.0)), OptimisticHedge(rate, adaptive=False), correction)
        assert other.guarantee(smooth) is None


@pytest.mark.parametrize("smoothness", [0.0, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("horizon", [2, 100, 10_000])
def test_sword_s_grid_holds_a_good_step_for_every_path_and_variation(horizon, smoothness):
    diameter, g = 2.0, 1.5
    grid = np.array(step_size.sword_grid(diameter, g, horizon, smoothness))
    ceiling = step_size.sword_ceiling(smoothness)
    assert np.all(grid <= ceiling * (1 + 1e-12))
    assert np.all(np.diff(grid) > 0)
    assert np.all(grid[1:] <= 2 * grid[:-1] * (1 + 1e-12))
    assert len(grid) <= np.log2(4 * horizon) + 3
    for path in (0.0, diameter * (horizon - 1)):
        for varied in (0.0, 4 * g**2 * (horizon - 1)):
            best = sqrt(bounds.comparator_energy(diameter, path) / (2 * (g**2 + 2 * varied)))
            near = np.abs(np.log2(grid / min(best, ceiling)))
            assert near.min() <= 0.5 + 1e-9 or min(best, ceiling) > grid[-1] / 2


# What an ensemble asks, and what its grid promises


@pytest.mark.parametrize("name", ["ader", "paper", "sword"])
@pytest.mark.parametrize("surrogate", [True, False])
def test_one_gradient_a_round_or_one_for_each_expert(name, surrogate):
    problem, copies, horizon = Problem(Ball(1.0), 3, 50, 4.0, smoothness=1.0), 5, 7
    learner = Sword.tuned(problem) if name == "sword" else getattr(Ensemble, name)(problem, surrogate)
    state, asked = learner.init(np.zeros((copies, 3))), 0.0
    for t in range(horizon):
        loss = Counted(Quadratic(np.full((copies, 3), 0.1 * t)), copies)
        state = learner.update(state, loss)
        asked += loss.queries
    experts = state.meta.cumulative.shape[-1]
    assert experts > 2
    assert asked == horizon * (1 if surrogate or name == "sword" else experts)


@pytest.mark.parametrize("horizon", [1, 2, 10, 1000, 12345])
def test_the_paper_s_grid_has_its_size_its_prior_and_its_factor(horizon):
    problem = Problem(Ball(1.5), 3, horizon, 0.7)
    learner = Ensemble.paper(problem)
    assert isinstance(learner.base, OGD)
    grid, count = np.array(learner.base.step_size), int(np.ceil(0.5 * np.log2(1 + 2 * horizon))) + 1
    np.testing.assert_allclose(grid, [2**i * 3.0 / (0.7 * sqrt(horizon)) for i in range(count)], rtol=1e-12)
    weights = learner.meta.predict(learner.init(np.zeros(3)).meta)
    np.testing.assert_allclose(weights, np.full(count, 1 / count), rtol=1e-12)
    assert isinstance(learner.meta, Hedge)
    assert learner.meta.meta_step_size == pytest.approx(sqrt(8 * log(count) / horizon) / 2.1, rel=1e-12)
    factor = 0.5 * (2**0.5 + 0.5**0.5)
    for path in np.geomspace(1e-3, 3.0 * max(horizon - 1, 1), 100):
        energy = bounds.comparator_energy(3.0, path)
        best = min(bounds.ogd(energy, eta, 0.49 * horizon) for eta in grid)
        assert best <= factor * bounds.ogd_oracle(0.7, horizon, energy) * (1 + 1e-12)
    between = 2 * grid[0] ** 2 * 0.49 * horizon  # its oracle step is √2·η_1
    best = min(bounds.ogd(between, eta, 0.49 * horizon) for eta in grid)
    assert best == pytest.approx(factor * bounds.ogd_oracle(0.7, horizon, between), rel=1e-12)


@pytest.mark.parametrize("segments", [1, 4, 20])
@pytest.mark.parametrize("surrogate", [True, False])
@pytest.mark.parametrize("make", [Ensemble.paper, Ensemble.ader])
def test_both_grids_keep_their_promise_against_the_adversary(make, surrogate, segments):
    horizon = 400
    problem = Problem(Ball(1.0), 3, horizon, 1.0, path_length=2.0 * (segments - 1))
    learner = make(problem, surrogate)
    promised = learner.guarantee(problem)
    forced, _ = adversary(learner, horizon, segments)
    assert forced == pytest.approx(bounds.adversary_value(1.0, 2.0, horizon, segments))
    assert forced <= promised
    assert learner.guarantee(Problem(Ball(1.0), 3, horizon + 1, 1.0)) is None


@pytest.mark.parametrize(("make", "away", "least"), [(Ensemble.paper, 20, 0.69), (Ensemble.ader, 10, 0.37)])
def test_how_near_the_ensembles_come_to_their_promises(make, away, least):
    """Away, then to and fro, G = 1: here the best base does better than its bound, and the bases that differ agree."""
    horizon = 400
    slopes = np.where(np.arange(horizon) < away, 1.0, np.where(np.arange(horizon) % 2 == 0, 1.0, -1.0))[:, None]
    problem = Problem(Ball(1.0), 1, horizon, 1.0)
    learner = make(problem)
    x = plays(learner, np.array([1.0]), [Linear(s) for s in slopes])
    lost = np.sum(x * slopes) + abs(slopes.sum())
    assert least * learner.guarantee(problem) <= lost <= learner.guarantee(problem)


def test_sword_of_one_expert_is_bounded_as_its_base_is():
    """What one expert is charged for moving is what all are charged on average."""
    base = OptimisticOGD((0.1,), domain=Ball(1.0))
    learner, rng = Sword(base, OptimisticHedge(0.5, adaptive=False), 2.0), np.random.default_rng(0)
    state, alone = learner.init(np.zeros(3)), base.init(np.zeros(3))
    for center in rng.normal(size=(20, 3)) + 1.0:
        state, alone = learner.update(state, Quadratic(center)), base.update(alone, Quadratic(center))
    assert state.charged > 0.1
    np.testing.assert_allclose(learner.bound(state, 4.0), base.bound(alone, 4.0)[0], rtol=1e-12)
