"""Mixtures learned on acceptance: the loss, Theorem 7 in all its forms, and what it does not say."""

from math import log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.test_bounds import alternating
from theory import bounds
from theory.domain import Simplex
from theory.hindsight import cutting_planes
from theory.learners import AdaHedge, FixedShare, Hedge, Mixture, OptimisticHedge
from theory.loss import Linear, MixtureKL, MixtureTV
from theory.problem import Problem
from theory.speculation import speedup
from theory.speculation.acceptance import Walk, alpha
from theory.testing.strategies import expert_losses, laws

EXPERTS, VOCABULARY = 3, 4
ROUNDING = 1e-9
RATES = st.floats(0.05, 5)


def games(longest=30):
    """(drafts' laws ``[T, N, V]``, targets ``[T, V]``), of at most four different positions."""
    pool = st.tuples(laws(4, EXPERTS, VOCABULARY), laws(4, VOCABULARY))
    order = st.lists(st.integers(0, 3), min_size=1, max_size=longest).map(np.array)
    return st.tuples(pool, order).map(lambda drawn: (drawn[0][0][drawn[1]], drawn[0][1][drawn[1]]))


def of(drafts, targets):
    """One loss a position."""
    return [MixtureTV(*position) for position in zip(drafts, targets, strict=True)]


def end_to_end(drafts, targets):
    """Positions ``[n, N, V]`` under the same weights as one loss."""
    return MixtureTV(np.concatenate(list(drafts), axis=-1), np.concatenate(list(targets), axis=-1))


def play(learner, losses, prior=None):
    """(weights played ``[T, N]``, losses suffered ``[T]``, last state)."""
    experts = losses[0].draft_probs.shape[-2]
    state, played, suffered = learner.init(np.full(experts, 1 / experts) if prior is None else prior), [], []
    for loss_t in losses:
        played.append(learner.predict(state))
        suffered.append(float(loss_t.value(played[-1])))
        state = learner.update(state, loss_t)
    return np.stack(played), np.array(suffered), state


def grid(experts=EXPERTS, parts=6):
    """All mixtures whose weights are multiples of 1/parts, ``[K, N]``."""
    counts = np.stack(np.meshgrid(*[np.arange(parts + 1)] * experts), axis=-1).reshape(-1, experts)
    return counts[counts.sum(axis=-1) == parts] / parts


# The loss


@given(laws(EXPERTS, VOCABULARY), laws(VOCABULARY), laws(EXPERTS))
def test_the_loss_is_the_probability_of_a_rejection(drafts, target, x):
    loss = MixtureTV(drafts, target)
    assert loss.value(x) == pytest.approx(1 - float(alpha(target, x @ drafts)), abs=1e-12)
    assert loss.value(x) == pytest.approx(0.5 * np.abs(target - x @ drafts).sum(), abs=1e-12)
    np.testing.assert_allclose(loss.mixture(x), x @ drafts, atol=1e-15)


@given(laws(EXPERTS, VOCABULARY), laws(VOCABULARY), laws(EXPERTS), laws(EXPERTS))
@example(np.eye(3, 4), np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0]))
def test_the_subgradient_supports_the_loss(drafts, target, x, other):
    """f(u) ≥ f(x) + ⟨−g, u − x⟩ everywhere, ties of target and mixture included; g in [0, 1]."""
    loss = MixtureTV(drafts, target)
    value, grad = loss.value_and_grad(x)
    assert loss.value(other) >= value + grad @ (other - x) - 1e-12
    assert np.all((grad >= -1 - 1e-12) & (grad <= 0))
    assert value == loss.value(x)
    np.testing.assert_array_equal(grad, loss.grad(x))


@pytest.mark.parametrize("kind", [MixtureTV, MixtureKL])
def test_the_gradient_equals_finite_differences_and_autograd(kind):
    rng = np.random.default_rng(0)
    drafts, target, x = rng.dirichlet(np.ones(7), (2, 4)), rng.dirichlet(np.ones(7), 2), rng.dirichlet(np.ones(4), 2)
    loss, step = kind(drafts, target), 1e-7 * np.eye(4)[:, None]
    differences = (loss.value(x + step) - loss.value(x - step)) / 2e-7
    np.testing.assert_allclose(loss.grad(x), differences.T, atol=1e-6)
    tensor = torch.from_numpy(x).requires_grad_()
    value = kind(torch.from_numpy(drafts), torch.from_numpy(target)).value(tensor)
    value.sum().backward()
    assert tensor.grad is not None
    np.testing.assert_allclose(value.detach().numpy(), loss.value(x), rtol=1e-13)
    np.testing.assert_allclose(tensor.grad.numpy(), loss.grad(x), atol=1e-13)


@pytest.mark.parametrize("kind", [MixtureTV, MixtureKL])
def test_a_mixture_that_is_the_target_loses_nothing(kind):
    """A tie counts as enough: there the TV's subgradient is 0; the KL's slope is −1 along every draft."""
    drafts, x = np.array([[0.5, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.5]]), np.array([0.5, 0.5])
    loss = kind(drafts, x @ drafts)
    assert float(loss.value(x)) == 0.0
    np.testing.assert_array_equal(loss.grad(x), 0.0 * x if kind is MixtureTV else [-1.0, -1.0])


def test_positions_end_to_end_are_their_sum():
    rng = np.random.default_rng(1)
    drafts, targets, x = rng.dirichlet(np.ones(5), (6, 3)), rng.dirichlet(np.ones(5), 6), rng.dirichlet(np.ones(3))
    whole, parts = end_to_end(drafts, targets), of(drafts, targets)
    assert whole.value(x) == pytest.approx(sum(part.value(x) for part in parts), rel=1e-13)
    np.testing.assert_allclose(whole.grad(x), sum(part.grad(x) for part in parts), rtol=1e-13)


def test_a_hard_label_is_one_token():
    rng = np.random.default_rng(2)
    drafts, x = rng.dirichlet(np.ones(5), 3), rng.dirichlet(np.ones(3))
    whole, short = MixtureTV(drafts, np.eye(5)[2]), MixtureTV(drafts[:, 2:3], np.ones(1))
    for loss in (whole, short):
        assert loss.value(x) == pytest.approx(1 - x @ drafts[:, 2], rel=1e-13)
        np.testing.assert_allclose(loss.grad(x), -drafts[:, 2], rtol=1e-15)


@given(laws(EXPERTS, 6), laws(6), laws(EXPERTS))
def test_a_remainder_is_one_more_token(drafts, target, x):
    """Never more than the full TV; equal where drafts and target spread their remainders alike."""

    def cut(law):
        return np.concatenate([law[..., :3], law[..., 3:].sum(axis=-1, keepdims=True)], axis=-1)

    def alike(law):
        return np.concatenate([law[..., :3], cut(law)[..., 3:] * np.array([0.5, 0.3, 0.2])], axis=-1)

    kept = MixtureTV(cut(drafts), cut(target)).value(x)
    assert kept <= MixtureTV(drafts, target).value(x) + 1e-12
    assert kept == pytest.approx(float(MixtureTV(alike(drafts), alike(target)).value(x)), abs=1e-12)


@given(games())
def test_cutting_planes_find_the_best_mixture_and_certify_it(game):
    loss = end_to_end(*game)
    best, gap = cutting_planes(loss, EXPERTS)
    assert gap <= 1e-6
    assert best.min() >= -1e-12
    assert best.sum() == pytest.approx(1, abs=1e-9)
    assert loss.value(best) <= min(loss.value(mixture) for mixture in grid()) + gap + ROUNDING


def test_cutting_planes_say_how_far_they_are_when_they_run_out():
    rng = np.random.default_rng(8)
    loss = end_to_end(rng.dirichlet(np.ones(5), (50, 3)), rng.dirichlet(np.ones(5), 50))
    exact, _ = cutting_planes(loss, 3)
    for rounds in (1, 2, 5):
        best, gap = cutting_planes(loss, 3, rounds=rounds)
        assert 1e-7 < loss.value(best) - loss.value(exact) <= gap
    corner = Linear(np.array([0.5, 0.25, 1.0]))
    best, gap = cutting_planes(corner, 3)
    np.testing.assert_allclose(best, [0, 1, 0], atol=1e-9)
    assert gap <= 1e-9


# Theorem 7: fixed mixtures


@given(games(), RATES, laws(EXPERTS, positive=True))
def test_hedge_is_within_its_bound_against_every_mixture(game, epsilon, prior):
    _, suffered, state = play(Hedge(epsilon), of(*game), prior)
    total = end_to_end(*game)
    for mixture in grid():
        paid = bounds.relative_entropy(mixture, np.log(prior))
        limit = float(bounds.hedge(paid, epsilon, state.gap[0]))
        assert suffered.sum() - total.value(mixture) <= limit + ROUNDING
        assert limit <= paid / epsilon + epsilon * len(suffered) / 8 + ROUNDING


@given(games(), st.sampled_from([AdaHedge(), OptimisticHedge(), OptimisticHedge(0.5, adaptive=False)]))
def test_learners_without_tuning_are_within_their_bounds_against_every_mixture(game, learner):
    _, suffered, state = play(learner, of(*game))
    limit = float(learner.bound(state, 0.0))
    for mixture in grid():
        regret = suffered.sum() - end_to_end(*game).value(mixture)
        assert regret <= limit + ROUNDING
        if isinstance(learner, AdaHedge):
            paid = bounds.relative_entropy(mixture, np.full(EXPERTS, -log(EXPERTS)))
            assert regret <= bounds.adahedge(paid, EXPERTS, float(state.gap[0])) + ROUNDING
    if isinstance(learner, AdaHedge):
        assert limit <= bounds.adahedge_spread(EXPERTS, len(suffered), 1.0) + ROUNDING


@given(expert_losses(experts=EXPERTS))
def test_every_game_of_experts_is_a_game_of_drafts(losses):
    """One sure token, given 1 − loss by each draft: the TV is linear, and Hedge cannot tell the two games apart."""
    drafts = np.stack([1 - losses, losses], axis=-1)
    played, suffered, state = play(Hedge(0.7), of(drafts, np.tile([1.0, 0.0], (len(losses), 1))))
    theirs = Hedge(0.7).init(played[0])
    for x_t, row in zip(played, losses, strict=True):
        np.testing.assert_allclose(x_t, Hedge(0.7).predict(theirs), atol=1e-12)
        theirs = Hedge(0.7).update(theirs, Linear(row))
    np.testing.assert_allclose(suffered, np.sum(played * losses, axis=-1), atol=1e-12)
    np.testing.assert_allclose(state.gap, theirs.gap, atol=1e-10)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_the_last_weights_attain_the_bound_exactly(epsilon):
    """Gibbs' formula is an equality at the weights after the last round, and a sure token's TV is linear."""
    rng, prior = np.random.default_rng(3), np.array([0.5, 0.3, 0.2])
    sure = rng.random((40, 3, 1))
    _, suffered, state = play(Hedge(epsilon), of(sure, np.ones((40, 1))), prior)
    last = Hedge(epsilon).predict(state)
    regret = suffered.sum() - end_to_end(sure, np.ones((40, 1))).value(last)
    limit = bounds.hedge(bounds.relative_entropy(last, np.log(prior)), epsilon, state.gap[0])
    assert regret == pytest.approx(float(limit), rel=1e-9)


def test_hedge_is_nearly_attained_on_acceptance():
    horizon = 2000
    losses = alternating(horizon, 112).astype(float)
    learner = Hedge.tuned(Problem(Simplex(), 2, horizon, sqrt(2), loss_range=1.0))
    _, suffered, _ = play(learner, of(1 - losses[:, :, None], np.ones((horizon, 1))))
    assert suffered.sum() - losses.sum(axis=0).min() >= 0.97 * bounds.hedge_apriori(1.0, horizon, 2)


@pytest.mark.parametrize("learner", [Mixture(0.5), FixedShare(0.5, 0.01)], ids=repr)
def test_values_at_corners_do_not_compete_with_mixtures(learner):
    """Two sure drafts of a target between them: corners see that the second is better, not that 0.3 : 0.7 is right."""
    game = np.tile(np.eye(2), (300, 1, 1)), np.tile([0.3, 0.7], (300, 1))
    problem = Problem(Simplex(), 2, 300, sqrt(2), loss_range=1.0)
    assert end_to_end(*game).value(np.array([0.3, 0.7])) < 1e-9
    assert play(learner, of(*game))[1].sum() > 0.2 * 300
    for linear in (Hedge.tuned(problem), FixedShare.tuned(problem)):
        limit = linear.guarantee(problem)
        assert limit is not None
        assert play(linear, of(*game))[1].sum() <= limit < 0.07 * 300


# Weights frozen for some positions


def in_rounds(learner, drafts, targets, lengths):
    """(Σ TV suffered, last state) with the weights of a round in force for all its positions."""
    ends = np.cumsum(lengths)
    rounds = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    _, suffered, state = play(learner, [end_to_end(drafts[part], targets[part]) for part in rounds])
    return suffered.sum(), state


@given(games(longest=40), st.lists(st.integers(1, 5), min_size=40, max_size=40))
def test_frozen_rounds_of_any_lengths_are_within_their_bound(game, lengths):
    positions = len(game[1])
    ends = [min(end, positions) for end in np.cumsum(lengths)]
    lengths = [length for length in np.diff([0, *ends]) if length]
    longest = max(lengths)
    epsilon = sqrt(8 * log(EXPERTS) / (longest * positions))
    suffered, state = in_rounds(Hedge(epsilon), *game, lengths)
    regret = suffered - min(end_to_end(*game).value(mixture) for mixture in grid())
    assert regret <= bounds.hedge(log(EXPERTS), epsilon, float(state.gap[0])) + ROUNDING
    energy = float(np.sum(np.square(lengths)))
    assert state.gap[0] <= epsilon * energy / 8 + ROUNDING
    assert regret <= bounds.mixture_rounds(positions, longest, EXPERTS) + ROUNDING
    ada, after = in_rounds(AdaHedge(), *game, lengths)
    best = min(end_to_end(*game).value(mixture) for mixture in grid())
    assert ada - best <= float(AdaHedge().bound(after, 0.0)) + ROUNDING
    assert ada - best <= bounds.adahedge_spread(EXPERTS, energy, longest) + ROUNDING


@pytest.mark.parametrize("longest", [1, 4])
def test_the_bound_of_frozen_rounds_is_nearly_attained(longest):
    """Drafts that are right for whole rounds in turns; √n more than without freezing, and no less would do."""
    rounds = 2000
    losses = alternating(rounds, 112).astype(float).repeat(longest, axis=0)
    positions = len(losses)
    epsilon = sqrt(8 * log(2) / (longest * positions))
    suffered, _ = in_rounds(Hedge(epsilon), 1 - losses[:, :, None], np.ones((positions, 1)), [longest] * rounds)
    limit = bounds.mixture_rounds(positions, longest, 2)
    assert 0.97 * limit <= suffered - losses.sum(axis=0).min() <= limit
    assert bounds.mixture_rounds(positions, 1, 2) == bounds.hedge_apriori(1.0, positions, 2)


# Mixtures that move


@given(games(), RATES, st.floats(0.01, 0.9), st.lists(laws(EXPERTS), min_size=4, max_size=4), st.integers(1, 8))
def test_a_moving_mixture_pays_half_its_one_norm_on_acceptance(game, epsilon, share, mixtures, hold):
    learner, experts = FixedShare(epsilon, share, surrogate=True), game[0].shape[1]
    _, suffered, state = play(learner, of(*game))
    u = np.array(mixtures)[np.arange(len(suffered)) // hold % 4]
    compared = sum(loss.value(u_t) for loss, u_t in zip(of(*game), u, strict=True))
    moved = np.diff(u, axis=0)
    limit = float(learner.switching_bound(state, 0.5 * np.abs(moved).sum()))
    assert suffered.sum() - compared <= limit + ROUNDING
    path = np.linalg.norm(moved, axis=-1).sum()
    energy = bounds.comparator_energy(sqrt(2), path)
    assert suffered.sum() - compared <= float(learner.bound(state, energy)) + ROUNDING
    assert float(learner.bound(state, energy)) >= limit - ROUNDING
    promised = learner.guarantee(Problem(Simplex(), experts, len(suffered), 2.0, path_length=path, loss_range=1.0))
    assert promised is not None
    assert suffered.sum() - compared <= promised + ROUNDING


@given(games(longest=40), RATES, st.floats(0.01, 0.9), st.lists(st.integers(1, 5), min_size=40, max_size=40))
def test_gaps_of_shared_rounds_grow_with_their_squares(game, epsilon, share, lengths):
    positions = len(game[1])
    ends = [min(end, positions) for end in np.cumsum(lengths)]
    lengths = [length for length in np.diff([0, *ends]) if length]
    suffered, state = in_rounds(FixedShare(epsilon, share, surrogate=True), *game, lengths)
    assert state.gap[0] <= epsilon * np.sum(np.square(lengths)) / 8 + ROUNDING
    regret = suffered - min(end_to_end(*game).value(mixture) for mixture in grid())
    paid = bounds.fixed_share(log(EXPERTS), share, 0.0, float(len(lengths)), EXPERTS) / epsilon
    assert regret <= paid + epsilon * np.sum(np.square(lengths)) / 8 + ROUNDING


def test_a_gap_of_shared_rounds_is_more_than_that_of_as_many_positions():
    """One round of four positions at which one of two drafts is sure and right: its gap is near η·4²/8, not η/8."""
    epsilon, drafts = 0.1, np.tile(np.eye(2), (4, 1, 1))
    _, state = in_rounds(FixedShare(epsilon, 0.1, surrogate=True), drafts, np.tile([1.0, 0.0], (4, 1)), [4])
    assert 0.9 * epsilon * 4**2 / 8 < state.gap[0] <= epsilon * 4**2 / 8


@pytest.mark.parametrize(("switches", "experts"), [(0, 4), (1, 2), (5, 3)])
def test_the_switching_bound_is_attained_on_acceptance(switches, experts):
    """Only one draft at a time knows the sure token; at a large η no other sequence of drafts counts."""
    horizon = 40
    active = np.arange(horizon) * (switches + 1) // horizon % experts
    learner = FixedShare(60.0, max(switches, 1) / (horizon - 1), surrogate=True)
    _, suffered, state = play(learner, of(np.eye(experts)[active][:, :, None], np.ones((horizon, 1))))
    assert suffered.sum() == pytest.approx(float(learner.switching_bound(state, float(switches))), rel=1e-9)
    off = FixedShare(60.0, 1.3 * learner.share, surrogate=True)
    assert suffered.sum() < float(off.switching_bound(state, float(switches))) or switches == 0


def test_two_experts_switch_as_far_as_mixtures_move():
    """With two experts ½‖·‖₁ is ‖·‖/√2, so that the bound with and without surrogate is the same number."""
    losses = [Linear(row) for row in np.random.default_rng(5).random((9, 2))]
    energy = bounds.comparator_energy(sqrt(2), 3 * sqrt(2))
    limits = []
    for learner in (FixedShare(0.5, 0.1), FixedShare(0.5, 0.1, surrogate=True)):
        state = learner.init(np.full(2, 0.5))
        for loss_t in losses:
            state = learner.update(state, loss_t)
        limits.append(float(learner.bound(state, energy)))
        assert limits[-1] == pytest.approx(float(learner.switching_bound(state, 3.0)), rel=1e-12)
        assert float(learner.bound(state, 2.0)) == pytest.approx(float(learner.switching_bound(state, 0.0)), rel=1e-12)
    assert limits[0] == pytest.approx(limits[1], rel=1e-12)


def test_where_staying_is_dear_mixtures_may_stay():
    """A path only limits how far mixtures move: above a share of (N−1)/N those that stay cost the most."""
    learner = FixedShare(0.5, 0.95, surrogate=True)
    state = learner.init(np.full(4, 0.25))
    for row in np.random.default_rng(6).random((9, 4)):
        state = learner.update(state, Linear(row))
    energy = bounds.comparator_energy(sqrt(2), sqrt(2))
    assert float(learner.bound(state, energy)) == pytest.approx(float(learner.switching_bound(state, 0.0)), rel=1e-12)


# From acceptance to speed


def tokens_per_step(tv, gamma):
    """Of one text whose positions are rejected with probability ``tv``, independently."""
    return len(tv) / float(speedup.expected_steps(1 - tv, gamma))


def test_fewer_rejections_may_be_fewer_tokens_a_step():
    """γ = 4: wrong on bonus slots only, and wrong at every sixth position, where Theorem 4 is attained."""
    positions, gamma = 3000, 4
    here = np.arange(positions)
    wrong = np.stack([here % 5 == 4, here % 6 == 0], axis=-1)
    losses = of((~wrong)[:, :, None].astype(float), np.ones((positions, 1)))
    frozen, mixed = (np.array([float(loss.value(corner)) for loss in losses]) for corner in np.eye(2))
    assert (frozen.mean(), mixed.mean()) == (1 / 5, 1 / 6)
    assert tokens_per_step(frozen, gamma) == pytest.approx(5.0, rel=1e-12)
    assert tokens_per_step(mixed, gamma) == pytest.approx(3.0, rel=1e-12)
    assert tokens_per_step(mixed, gamma) == pytest.approx(speedup.tokens_per_step_lower(1 / 6, gamma), rel=1e-12)


def served(rng, gamma, positions, learner):
    """A decoder that learns: (Σ TV, Σ TV of each draft alone, rejections, completed steps and their tokens).

    Weights are fixed before a step drafts; after it they learn from every position that it committed.
    """
    drafts = rng.dirichlet(np.full(5, 0.4), (positions, 3))
    targets = 0.8 * np.einsum("i,tiv->tv", [0.1, 0.6, 0.3], drafts) + 0.2 * rng.dirichlet(np.ones(5), positions)
    losses, state = of(drafts, targets), learner.init(np.full(3, 1 / 3))
    walk, begun, tv = Walk.begin(np.zeros((), dtype=int)), 0, []
    for t, uniform in enumerate(rng.random(positions)):
        tv.append(float(losses[t].value(learner.predict(state))))
        walk = walk.commit(np.array(uniform >= tv[-1]), gamma)
        if walk.run == 0:
            state = learner.update(state, end_to_end(drafts[begun : t + 1], targets[begun : t + 1]))
            begun = t + 1
    alone = np.array([loss.value(np.eye(3)) for loss in losses]).sum(axis=0)
    return sum(tv), alone, int(walk.recovered), int(walk.steps), begun


def test_learned_weights_keep_the_corollary():
    """Σ TV within the bound of every draft's on each path; tokens a step above Theorem 4 at the mean Σ TV."""
    gamma, positions, copies = 4, 300, 60
    longest, rng = gamma + 1, np.random.default_rng(7)
    learner = Hedge(sqrt(8 * log(3) / (longest * positions)))
    runs = [served(rng, gamma, positions, learner) for _ in range(copies)]
    regret = bounds.mixture_rounds(positions, longest, 3)
    assert all(tv <= alone.min() + regret for tv, alone, *_ in runs)
    tv, rejected, steps, tokens = (np.array([run[k] for run in runs], dtype=float) for k in (0, 2, 3, 4))
    lower = speedup.tokens_per_step_lower(tv.mean() / positions, gamma)
    assert np.mean(tokens / steps) >= lower
    most = sum(run[1].min() for run in runs) / copies + regret
    assert np.mean(tokens / steps) >= speedup.tokens_per_step_lower(most / positions, gamma)
    assert np.all(rejected <= tv + positions * speedup.rejection_deviation(positions, 1e-6))


# Greedy, hard labels


@given(laws(20, VOCABULARY), laws(20, VOCABULARY))
def test_greedy_rejects_at_most_twice_the_tv(target, draft):
    label = target.argmax(axis=-1)
    tv = MixtureTV(draft[:, None], np.eye(VOCABULARY)[label]).value(np.ones((20, 1)))
    assert np.sum(draft.argmax(axis=-1) != label) <= speedup.greedy_rejections_tv(tv.sum()) + 1e-9


def test_twice_the_tv_is_attained_by_ties():
    """The draft gives the label ½ and another token as much, which it prefers: rejected, at a TV of ½."""
    draft, label = np.tile([0.5, 0.5, 0.0], (30, 1)), np.full(30, 1)
    tv = MixtureTV(draft[:, None], np.eye(3)[label]).value(np.ones((30, 1)))
    rejected = np.sum(draft.argmax(axis=-1) != label)
    assert rejected == speedup.greedy_rejections_tv(tv.sum()) == 30
