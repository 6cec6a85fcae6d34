"""Learners over experts: what their weights are, what they promise, and how close an instance comes to the promise."""

from itertools import pairwise, product
from math import exp, inf, log, prod, sqrt

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.test_bounds import ROUNDING, alternating
from theory import bounds, hindsight, regret
from theory.checker.checks import plays
from theory.domain import Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learners import FixedShare, Hedge, LastLoss, Mixture
from theory.learners.hedge import route
from theory.loss import Linear, MixtureKL
from theory.problem import Problem
from theory.testing.strategies import expert_losses, laws

IMPOSSIBLE = MixtureKL.SMALLEST
RATES = st.floats(0.05, 5)
HINTS = st.sampled_from([Zero(), LastGradient(), MovingAverage(0.6), LastGradient(-0.5)])


def uniform(losses):
    return np.full(losses.shape[-1], 1 / losses.shape[-1])


def linear(losses):
    return [Linear(row) for row in losses]


def committed(given_by_drafts):
    """Log losses of committed tokens, from what each draft gave them ``[T, N]``."""
    return [MixtureKL(row[:, None], np.ones(1)) for row in given_by_drafts]


def run(learner, losses, prior, hints=None):
    """(decisions ``[T, N]``, losses suffered ``[T]``, last state)."""
    state, decisions, suffered = learner.init(prior), [], []
    for t, loss_t in enumerate(losses):
        hint = None if hints is None else hints[t]
        decisions.append(learner.predict(state, hint))
        suffered.append(float(loss_t.value(decisions[-1])))
        state = learner.update(state, loss_t, hint)
    return np.stack(decisions), np.array(suffered), state


# Fixed Share


def bayes_over_sequences(losses, epsilon, share, prior):
    """Σ over all sequences of experts of its probability × e^{−ε·its loss so far}, gathered by where it stands."""
    experts, path = len(prior), []
    for t in range(len(losses)):
        weights = [0.0] * experts
        for sequence in product(range(experts), repeat=t + 1):
            moves = (1 - share if i == j else share / (experts - 1) for i, j in pairwise(sequence))
            chance = prior[sequence[0]] * prod(moves)
            weights[sequence[-1]] += chance * exp(-epsilon * sum(losses[s][i] for s, i in enumerate(sequence[:-1])))
        path.append([w / sum(weights) for w in weights])
    return path


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.9])
def test_fixed_share_is_bayes_over_all_sequences_of_experts(share):
    losses, prior = np.random.default_rng(0).random((6, 3)), np.array([0.5, 0.3, 0.2])
    ours = plays(FixedShare(1.7, share), prior, linear(losses))
    np.testing.assert_allclose(ours, bayes_over_sequences(losses.tolist(), 1.7, share, prior.tolist()), atol=1e-13)


@given(expert_losses(), RATES)
def test_without_a_share_it_is_hedge_and_mixture(losses, epsilon):
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    ours, _, state = run(FixedShare(epsilon, 0.0), linear(losses), prior)
    for same in (Hedge(epsilon), Mixture(epsilon)):
        theirs, _, other = run(same, linear(losses), prior)
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
        np.testing.assert_allclose(state.gap, other.gap, atol=1e-10)
    curved = [MixtureKL(row[:, None] + 0.1, np.ones(1)) for row in losses]
    np.testing.assert_allclose(
        run(FixedShare(1.0, 0.0), curved, prior)[0], run(Mixture(), curved, prior)[0], atol=1e-10
    )


def within_switching_bound(learner, losses, given_losses, prior):
    """Regret to the best sequences with 0 … 4 switches is at most the bound at each, after every round."""
    state, lost = learner.init(prior), 0.0
    for t, loss_t in enumerate(losses):
        lost += float(loss_t.value(learner.predict(state)))
        state = learner.update(state, loss_t)
        for most in range(min(5, t + 1)):
            path = hindsight.best_switching(given_losses[: t + 1], most)
            suffered = lost - given_losses[np.arange(t + 1), path].sum()
            limit = float(learner.switching_bound(state, float(np.sum(path[1:] != path[:-1]))))
            assert suffered <= limit + ROUNDING * (1 + abs(lost))


@given(expert_losses(longest=25), RATES, st.floats(0.01, 0.9), laws(4, positive=True))
@example(np.eye(4)[np.arange(20) % 2], 1.0, 0.1, np.full(4, 0.25))
def test_fixed_share_is_within_its_bound_on_linear_losses(losses, epsilon, share, prior):
    within_switching_bound(FixedShare(epsilon, share), linear(losses), losses, prior)


@given(st.lists(laws(3, 2, positive=True), min_size=2, max_size=20), st.floats(0.01, 0.9))
def test_fixed_share_is_within_its_bound_on_log_loss(drafts, share):
    losses, prior = [MixtureKL(d, np.array([0.3, 0.7])) for d in drafts], np.full(3, 1 / 3)
    corners = np.stack([loss.value(np.eye(3)) for loss in losses])
    _, _, state = run(FixedShare(1.0, share), losses, prior)
    assert state.gap[0] <= 1e-12  # mixable: mixing is never worse than the mix loss
    within_switching_bound(FixedShare(1.0, share), losses, corners, prior)


@pytest.mark.parametrize(("switches", "experts"), [(0, 4), (1, 2), (3, 5), (39, 3)])
def test_the_switching_bound_is_attained_exactly_on_log_loss(switches, experts):
    """Only one expert at a time finds the committed tokens possible: ratio 1, so no smaller bound holds at this α."""
    horizon = 40
    active = np.arange(horizon) * (switches + 1) // horizon % experts
    assert np.sum(active[1:] != active[:-1]) == switches
    drafts = np.where(np.eye(experts)[active] == 1, 0.9, IMPOSSIBLE)
    learner = FixedShare(1.0, switches / (horizon - 1) if switches < horizon - 1 else 0.99)
    _, suffered, state = run(learner, committed(drafts), uniform(drafts))
    lost = suffered.sum() + horizon * log(0.9)
    assert lost == pytest.approx(float(learner.switching_bound(state, float(switches))), rel=1e-9)
    corners = np.eye(experts)[active]
    energy = bounds.comparator_energy(sqrt(2), float(regret.path_length(corners)[-1]))
    assert lost == pytest.approx(float(learner.bound(state, energy)), rel=1e-9)
    if 0 < switches < horizon - 1:
        assert lost == pytest.approx(bounds.fixed_share_tuned(float(switches), horizon, experts), rel=1e-9)
        off = bounds.fixed_share(log(experts), 1.3 * learner.share, float(switches), horizon, experts)
        assert off > lost  # the tuned α is the best one


def test_fixed_share_a_priori_on_linear_losses():
    """0.48 at S = 1: the prior pays for not knowing where the switch is, but a switch that Hedge can see costs less."""
    horizon, block = 2000, alternating(1000, 60)
    losses = np.concatenate([block, block[:, ::-1]])
    learner = FixedShare.tuned(Problem(Simplex(), 2, horizon, sqrt(2), path_length=sqrt(2), loss_range=1.0))
    _, suffered, state = run(learner, linear(losses), uniform(losses))
    path = hindsight.best_switching(losses, 1)
    lost = suffered.sum() - losses[np.arange(horizon), path].sum()
    limit = bounds.fixed_share_apriori(1.0, 1.0, horizon, 2)
    assert learner.share == pytest.approx(1 / 1999, rel=1e-12)
    assert learner.meta_step_size == pytest.approx(sqrt(8 * bounds.fixed_share_tuned(1.0, horizon, 2) / horizon), 1e-12)
    assert learner.guarantee(Problem(Simplex(), 2, horizon, sqrt(2), path_length=sqrt(2), loss_range=1.0)) == (
        pytest.approx(limit)
    )
    assert 0.45 * limit <= lost <= float(learner.switching_bound(state, 1.0)) <= limit


def test_a_moving_mixture_pays_half_its_one_norm_on_linear_losses():
    rng = np.random.default_rng(0)
    losses, mixtures = rng.random((60, 3)), rng.dirichlet(np.ones(3), 4).repeat(15, axis=0)
    learner = FixedShare(0.8, 0.1)
    _, suffered, state = run(learner, linear(losses), uniform(losses))
    moved = 0.5 * np.abs(np.diff(mixtures, axis=0)).sum()
    assert suffered.sum() - np.sum(losses * mixtures) <= float(learner.switching_bound(state, moved))


def test_fixed_share_promises_nothing_it_cannot_keep():
    """A share above (N−1)/N makes staying the dear choice; without a share no switch is covered."""
    moving = Problem(Simplex(), 2, 50, sqrt(2), path_length=20 * sqrt(2), loss_range=1.0)
    still = Problem(Simplex(), 2, 50, sqrt(2), loss_range=1.0)
    dear, cheap = (FixedShare(0.3, 0.9).guarantee(problem) for problem in (still, moving))
    assert dear is not None
    assert cheap == dear
    assert FixedShare(0.3, 0.0).guarantee(moving) is None
    wide = Problem(Simplex(), 2, 50, sqrt(2), loss_range=4.0)
    assert FixedShare.tuned(wide).meta_step_size == pytest.approx(FixedShare.tuned(still).meta_step_size / 4)
    assert FixedShare(0.3, 0.0).guarantee(still) == pytest.approx(Hedge(0.3).guarantee(still))
    assert bounds.fixed_share(log(2), 0.0, 1.0, 50, 2) == inf
    sure = Problem(Simplex(), 2, 50, sqrt(2), exp_concavity=1.0)
    assert FixedShare.tuned(sure).guarantee(sure) == pytest.approx(bounds.fixed_share(log(2), 1 / 49, 0.0, 50, 2))


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_a_dead_expert_recovers_only_with_a_share(size):
    losses = size * np.concatenate([np.tile([0.0, 1.0], (200, 1)), np.tile([1.0, 0.0], (100, 1))])
    shared = plays(FixedShare(1.0, 0.01), np.full(2, 0.5), linear(losses))[:, 1]
    never = plays(FixedShare(1.0, 0.0), np.full(2, 0.5), linear(losses))[:, 1]
    assert 0.01 * (1 - 1e-9) <= shared[200] <= 0.02
    assert shared[201 if size > 1 else 210] > 0.9
    assert np.all(never[50:] < 1e-20)


# Mixture


@given(st.lists(laws(3, positive=True), min_size=1, max_size=30))
def test_committed_tokens_leave_no_gap_and_the_posterior_is_bayes(drafts):
    """Gaps are exactly 0, w_t ∝ p_i·Π draft_i(y_s), regret to i = ln(w_{T+1,i}/p_i)."""
    drafts, prior = np.array(drafts), np.array([0.5, 0.3, 0.2])
    x, suffered, state = run(Mixture(), committed(drafts), prior)
    assert abs(float(state.gap[0])) <= 1e-11
    joint = prior * np.cumprod(np.concatenate([np.ones((1, 3)), drafts]), axis=0)
    posterior = joint / joint.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(x, posterior[:-1], atol=1e-10)
    lost = suffered.sum() + np.log(drafts).sum(axis=0)
    np.testing.assert_allclose(lost, np.log(posterior[-1] / prior), atol=1e-9)


@given(st.lists(laws(5, 4), min_size=1, max_size=20), st.lists(laws(4), min_size=20, max_size=20))
def test_mixability_leaves_ln_n_at_any_horizon(drafts, targets):
    losses = [MixtureKL(d, t) for d, t in zip(drafts, targets, strict=False)]
    _, suffered, state = run(Mixture(), losses, np.full(5, 0.2))
    assert float(state.gap[0]) <= 1e-9
    corners = np.stack([loss.value(np.eye(5)) for loss in losses])
    lost = np.cumsum(suffered)[:, None] - np.cumsum(corners, axis=0)
    assert np.all(lost <= log(5) + 1e-9 * (1 + np.abs(corners).max()))


@pytest.mark.parametrize("horizon", [1, 10, 1000])
def test_ln_n_is_attained_at_any_horizon(horizon):
    drafts = np.tile([0.9, IMPOSSIBLE, IMPOSSIBLE, IMPOSSIBLE], (horizon, 1))
    _, suffered, _ = run(Mixture(), committed(drafts), np.full(4, 0.25))
    assert suffered.sum() + horizon * log(0.9) == pytest.approx(log(4), rel=1e-12)
    problem = Problem(Simplex(), 4, horizon, 1.0, exp_concavity=1.0)
    assert Mixture.tuned(problem).guarantee(problem) == pytest.approx(log(4))
    assert Mixture(2.0).guarantee(problem) is None
    assert Mixture().guarantee(Problem(Simplex(), 4, horizon, 1.0)) is None


class Summed:
    """n positions under the same frozen weights."""

    def __init__(self, losses):
        self.losses = losses

    def value(self, x):
        return sum(loss.value(x) for loss in self.losses)

    def grad(self, x):
        return sum(loss.grad(x) for loss in self.losses)


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_one_update_for_many_positions_breaks_ln_n(chunk):
    """Two drafts good in turns: position by position at most ln 2; per chunk of n, n·ln 1.8 in every second chunk."""
    drafts = np.array([[0.9, 0.1], [0.1, 0.9]]).repeat(chunk, axis=0)
    losses = committed(np.tile(drafts, (40, 1)))
    best = -40 * chunk * log(0.09)
    assert run(Mixture(), losses, np.full(2, 0.5))[1].sum() - best <= log(2)
    summed = [Summed(losses[k : k + chunk]) for k in range(0, len(losses), chunk)]
    _, suffered, state = run(Mixture(), summed, np.full(2, 0.5))
    if chunk == 1:
        assert suffered.sum() - best <= log(2)
        return
    assert suffered.sum() - best > 30 * log(2)
    assert float(state.gap[0]) > 0
    slow = Mixture(1 / chunk)  # the sum is only 1/n-exp-concave
    assert run(slow, summed, np.full(2, 0.5))[1].sum() - best <= chunk * log(2) + 1e-9


# Contrast: the last loss alone


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_the_last_loss_alone_has_linear_regret_where_hedge_has_none(epsilon):
    lost = {}
    for horizon in (500, 2000):
        losses = alternating(horizon, 0)
        suffered = run(LastLoss(epsilon), linear(losses), np.full(2, 0.5))[1].sum()
        assert suffered == pytest.approx(0.5 + (horizon - 1) / (1 + exp(-epsilon)), rel=1e-12)
        lost[horizon] = suffered - horizon / 2
        hedge = run(Hedge(sqrt(8 * log(2) / horizon)), linear(losses), np.full(2, 0.5))[1].sum() - horizon / 2
        assert hedge <= bounds.hedge_apriori(1.0, horizon, 2)
    assert lost[2000] == pytest.approx(4 * lost[500], rel=0.02)
    assert lost[2000] > 2000 * (1 / (1 + exp(-epsilon)) - 0.5) - 1
    assert LastLoss(epsilon).bound(LastLoss(epsilon).init(np.full(2, 0.5)), 0.0) is None
    assert LastLoss(epsilon).guarantee(Problem(Simplex(), 2, 500, 1.0)) is None


# Routing: which draft proposes


def rejections(tv, rng):
    """Mean TV of the drafts drawn from Hedge's weights, over many draws of the whole run."""
    horizon, experts = tv.shape
    weights = plays(Hedge(sqrt(8 * log(experts) / horizon)), uniform(tv), linear(tv))
    chosen = route(np.broadcast_to(weights, (400, *weights.shape)), rng.random((400, horizon)))
    rejected = rng.random(chosen.shape) < np.take_along_axis(tv[None], chosen[..., None], axis=-1)[..., 0]
    return float(np.mean(np.sum(weights * tv, axis=-1))), float(rejected.mean())


@pytest.mark.parametrize("kind", ["alternating", "random", "switching"])
def test_routing_rejects_little_more_than_the_best_draft(kind):
    rng, horizon = np.random.default_rng(0), 2000
    tv = {
        "alternating": alternating(horizon, 112).astype(float),
        "random": rng.beta(2, 5, (horizon, 4)) * np.array([1.0, 0.9, 0.95, 1.0]),
        "switching": np.where(np.arange(horizon)[:, None] < horizon // 2, [[0.1, 0.6, 0.3]], [[0.7, 0.2, 0.3]]),
    }[kind]
    expected, measured = rejections(tv, rng)
    excess = expected - tv.mean(axis=0).min()
    limit = bounds.routing(horizon, tv.shape[-1])
    assert excess <= limit
    assert measured == pytest.approx(expected, abs=5 * 0.5 / sqrt(400 * horizon))
    if kind == "alternating":
        assert excess >= 0.97 * limit


def test_route_draws_from_the_weights_in_numpy_and_torch():
    weights = np.array([0.2, 0.0, 0.5, 0.3])
    points = (np.arange(1000) + 0.5) / 1000
    chosen = route(np.broadcast_to(weights, (1000, 4)), points)
    np.testing.assert_allclose(np.bincount(chosen, minlength=4) / 1000, weights, atol=1e-12)
    theirs = route(torch.from_numpy(weights).expand(1000, 4), torch.from_numpy(points))
    np.testing.assert_array_equal(theirs.numpy(), chosen)
