"""Exact identities and reductions: the strongest tests there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import bounds, regret
from theory.checker.checks import plays
from theory.domain import Ball, Free, Simplex
from theory.hints import LastGradient, Zero
from theory.learners import OGD, AdaHedge, Ensemble, Hedge, OptimisticHedge, OptimisticOGD, Sword
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.learners.hedge import log_weights, mix_loss
from theory.loss import Linear, Quadratic
from theory.testing.strategies import BOUNDED, expert_losses, games, vectors

RATES = st.floats(0.01, 20)


# Hedge


@given(expert_losses(), RATES, vectors(4, size=1.0))
def test_the_mix_loss_telescopes(losses, epsilon, tilt):
    """Σ_t −(1/ε)log Σ_i w_{t,i} e^{−ε l_{t,i}} = −(1/ε)log Σ_i p_i e^{−ε L_i}, and the gaps are the difference."""
    prior = np.exp(tilt) / np.exp(tilt).sum()
    hedge = Hedge(epsilon)
    state, mixed, played = hedge.init(prior), 0.0, 0.0
    for losses_t in losses:
        mixed += float(mix_loss(log_weights(state, epsilon), losses_t, epsilon)[0])
        played += float(hedge.predict(state) @ losses_t)
        state = hedge.update(state, Linear(losses_t))
    total = losses.sum(axis=0)
    expected = total.min() - np.log(np.sum(prior * np.exp(-epsilon * (total - total.min())))) / epsilon
    assert mixed == pytest.approx(expected, abs=1e-9)
    assert float(state.gap[0]) == pytest.approx(played - mixed, abs=1e-9)
    # so its bound is exact once the weights have settled: regret to i = ln(w_{T+1,i}/p_i)/ε + gaps
    final = log_weights(state, epsilon)
    np.testing.assert_allclose(played - total, (final - np.log(prior)) / epsilon + state.gap, atol=1e-9)


@given(expert_losses(), RATES)
def test_hedge_is_entropic_mirror_descent(losses, epsilon):
    """w_{t+1} ∝ w_t·e^{−ε l_t}, one step at a time."""
    weights = np.full(4, 0.25)
    for ours, losses_t in zip(plays(Hedge(epsilon), weights, [Linear(row) for row in losses]), losses, strict=True):
        np.testing.assert_allclose(ours, weights, atol=1e-10)
        weights = weights * np.exp(-epsilon * (losses_t - losses_t.min()))
        weights = weights / weights.sum()


@pytest.mark.parametrize("meta", [Hedge(0.7), AdaHedge()], ids=repr)
def test_duplicated_experts_merge(meta):
    losses = np.random.default_rng(0).random((30, 3))
    prior = np.array([0.2, 0.3, 0.5])
    twice = np.array([0.2, 0.3, 0.25, 0.25])
    if isinstance(meta, AdaHedge):  # its rate counts the experts: only the symmetry remains
        split = plays(meta, twice, [Linear(row[[0, 1, 2, 2]]) for row in losses])
        np.testing.assert_allclose(split[:, 2], split[:, 3], atol=1e-15)
        return
    merged = plays(meta, prior, [Linear(row) for row in losses])
    split = plays(meta, twice, [Linear(row[[0, 1, 2, 2]]) for row in losses])
    np.testing.assert_allclose(split[:, :2], merged[:, :2], atol=1e-14)
    np.testing.assert_allclose(split[:, 2] + split[:, 3], merged[:, 2], atol=1e-14)


# Gradient descent


@given(st.sampled_from([*BOUNDED, Free()]), vectors(3), vectors(3), vectors(3), vectors(3), st.floats(0.01, 3))
def test_one_step_lemmas(domain, v, w, gradient, hint, eta):
    """‖x⁺−u‖² ≤ ‖x−u‖² − 2η⟨g,x−u⟩ + η²‖g‖², and the optimistic one with the displacement kept."""
    x, u = domain.project(v), domain.project(w)
    after = OGD(eta, domain).update(OGD(eta, domain).init(x), Linear(gradient)).x
    left = np.sum((after - u) ** 2)
    assert left <= np.sum((x - u) ** 2) - 2 * eta * gradient @ (x - u) + eta**2 * gradient @ gradient + 1e-9
    if isinstance(domain, Free):
        assert left == pytest.approx(np.sum((x - eta * gradient - u) ** 2))
    learner = OptimisticOGD(eta, domain=domain)
    state = learner.init(x)
    played = learner.predict(state, hint)
    after = learner.update(state, Linear(gradient), hint).anchor
    lost = gradient @ (played - u)
    paid = (np.sum((x - u) ** 2) - np.sum((after - u) ** 2)) / (2 * eta) + 0.5 * eta * np.sum((gradient - hint) ** 2)
    assert lost <= paid - np.sum((played - x) ** 2) / (2 * eta) + 1e-9


@given(games(quadratic=st.booleans()), st.floats(0.01, 2))
def test_zero_hint_is_ogd(game, eta):
    ogd = plays(OGD(eta, game.domain), game.x_1, game.losses)
    optimistic = plays(OptimisticOGD(eta, Zero(), game.domain), game.x_1, game.losses)
    np.testing.assert_allclose(optimistic, ogd, atol=1e-12)


@given(games(), st.floats(0.01, 2))
def test_a_perfect_hint_leaves_only_the_comparator(game, eta):
    """Linear losses known beforehand: regret ≤ A_T/(2η), for any η."""
    learner = OptimisticOGD(eta, domain=game.domain)
    state, lost, anchors = learner.init(game.x_1), 0.0, []
    for loss_t in game.losses:
        anchors.append(state.anchor)
        lost += loss_t.value(learner.predict(state, loss_t.slope))
        state = learner.update(state, loss_t, loss_t.slope)
    assert float(state.energy[0]) == 0.0
    for u in game.hard_comparators():
        energy = bounds.comparator_energy_sharp(np.stack(anchors), u)[-1]
        assert lost - np.sum(game.slopes * u) <= energy / (2 * eta) + 1e-9


@given(games(quadratic=st.booleans()), st.floats(0.01, 2))
def test_hint_error_and_stability_are_what_they_say(game, eta):
    learner = OptimisticOGD(eta, domain=game.domain)
    state, hint, error = learner.init(game.x_1), np.zeros(3), 0.0
    for loss_t in game.losses:
        gradient = loss_t.grad(learner.predict(state))
        np.testing.assert_array_equal(state.hint, hint)
        error += np.sum((gradient - hint) ** 2)
        state, hint = learner.update(state, loss_t), gradient
    assert float(state.energy[0]) == pytest.approx(error)
    assert float(state.stability[0]) == pytest.approx(eta * error / 2)


# Ensembles


@pytest.mark.parametrize("surrogate", [True, False])
@pytest.mark.parametrize("base", [OGD, OptimisticOGD])
@given(games(quadratic=st.booleans()))
def test_an_ensemble_is_its_bases_driven_apart_with_textbook_weights(base, surrogate, game):
    steps, epsilon, prior = (0.05, 0.2, 0.8), 0.6, np.array([0.5, 0.3, 0.2])
    ensemble = Ensemble(base(steps, domain=game.domain), Hedge(epsilon), surrogate, tuple(prior))
    ours = plays(ensemble, game.x_1, game.losses)
    bases = [base(step, domain=game.domain) for step in steps]
    states, cumulative = [one.init(game.x_1) for one in bases], np.zeros(3)
    for x_t, loss_t in zip(ours, game.losses, strict=True):
        decisions = [one.predict(state) for one, state in zip(bases, states, strict=True)]
        weights = prior * np.exp(-epsilon * (cumulative - cumulative.min()))
        weights /= weights.sum()
        np.testing.assert_allclose(x_t, weights @ np.stack(decisions), atol=1e-9)
        seen = Linear(loss_t.grad(x_t)) if surrogate else loss_t
        states = [one.update(state, seen) for one, state in zip(bases, states, strict=True)]
        cumulative += [float(seen.value(x)) for x in decisions]


@given(games(quadratic=st.booleans()))
def test_an_ensemble_of_one_is_its_base(game):
    ensemble = Ensemble(OGD((0.3,), game.domain), Hedge(1.0))
    base = plays(OGD(0.3, game.domain), game.x_1, game.losses)
    np.testing.assert_allclose(plays(ensemble, game.x_1, game.losses), base, atol=1e-12)


@given(games(Ball(50.0), quadratic=True, longest=12))
def test_unprojected_surrogate_experts_share_one_gradient_sum(game):
    """x_{t,i} = x_1 − η_i Σ_{s<t} g_s where nothing is projected."""
    steps = (0.01, 0.02, 0.04)
    ensemble = Ensemble(OGD(steps, Free()), AdaHedge())
    state, summed = ensemble.init(game.x_1), np.zeros(3)
    for loss_t in game.losses:
        np.testing.assert_allclose(state.base.x, game.x_1 - np.outer(steps, summed), atol=1e-9)
        summed = summed + loss_t.grad(ensemble.predict(state))
        state = ensemble.update(state, loss_t)


# Linear losses on the simplex see Hedge and OGD alike


def test_ogd_on_the_simplex_ends_where_hedge_ends():
    losses = [Linear(np.array([0.2, 0.1, 0.5]))] * 400
    for learner in (OGD(0.5, Simplex()), Hedge(0.5), AdaHedge()):
        np.testing.assert_allclose(plays(learner, np.full(3, 1 / 3), losses)[-1], [0, 1, 0], atol=1e-6)


def test_a_strongly_convex_loss_is_approached_at_its_contraction():
    """η = 2/(λ+L): ‖x_t − u‖ ≤ ((κ−1)/(κ+1))^{t−1}‖x_1 − u‖, and the sum is within the bound."""
    smooth, curved, u = 4.0, 1.0, np.array([0.3, -0.2])
    scale = np.array([smooth, curved])

    class Skewed(Quadratic):
        def grad(self, x):
            return scale * (x - self.center)

    x = plays(OGD(2 / (smooth + curved), Ball(1.0)), np.array([-1.0, 0.0]), [Skewed(u)] * 40)
    distance = np.linalg.norm(x - u, axis=-1)
    assert np.all(distance[1:] <= 0.6 * distance[:-1] + 1e-12)
    limit = bounds.strongly_convex_distance(2.0, regret.path_length(np.broadcast_to(u, x.shape))[-1], smooth, curved)
    assert distance.sum() <= limit
    assert distance.sum() >= 0.5 * limit


OUTSIDE = [
    lambda rule: OptimisticOGD(0.2, rule, Ball(1.0)),
    lambda rule: Ensemble(OptimisticOGD((0.05, 0.4), rule, Ball(1.0))),
    lambda rule: Sword(OptimisticOGD((0.05, 0.4), rule, Ball(1.0)), OptimisticHedge(0.5, adaptive=False), 1.0),
    lambda rule: Chunked(OptimisticOGD(0.2, rule, Ball(1.0)), 1),
    lambda rule: Delayed(OptimisticOGD(0.2, rule, Ball(1.0)), 0),
    lambda rule: Delayed(Ensemble(OptimisticOGD((0.05, 0.4), rule, Ball(1.0))), 0),
]


@pytest.mark.parametrize("make", OUTSIDE)
def test_a_hint_from_outside_is_worth_what_the_same_hint_from_inside_is(make):
    """Without a rule, but told the last gradient in every round: the learner that remembers it, round by round."""
    rng = np.random.default_rng(0)
    inside, outside = make(LastGradient()), make(Zero())
    states, hint, moved = [inside.init(np.zeros((2, 3))), outside.init(np.zeros((2, 3)))], np.zeros((2, 3)), 0.0
    for center in rng.normal(size=(12, 2, 3)) + 1.0:
        ours, theirs = outside.predict(states[1], hint), inside.predict(states[0])
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        moved = max(moved, np.abs(ours - outside.predict(states[1])).max())
        loss = Quadratic(center)
        states = [inside.update(states[0], loss), outside.update(states[1], loss, hint)]
        hint = loss.grad(ours)
    assert moved > 0.01
    np.testing.assert_allclose(inside.bound(states[0], 4.0), outside.bound(states[1], 4.0), rtol=1e-12)


@pytest.mark.parametrize("experts", [2, 5])
def test_optimistic_hedge_without_a_hint_sets_its_rate_as_adahedge_does(experts):
    losses = [Linear(row) for row in np.random.default_rng(0).random((40, experts))]
    prior = np.full(experts, 1 / experts)
    ours = plays(OptimisticHedge(hint=Zero()), prior, losses)
    np.testing.assert_allclose(ours[3:], plays(AdaHedge(), prior, losses)[3:], atol=1e-9)
