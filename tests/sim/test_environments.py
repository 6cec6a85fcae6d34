"""Environments hold the truth they promise: path lengths, switches, the adversary's regret, the stream's law."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from sim.environments.adversarial import Adversarial, Alternating
from sim.environments.drafts import Drafts, SureTokens, best_fixed
from sim.environments.drift import Drift, Periodic, RandomWalk
from sim.environments.experts import Experts
from sim.environments.stationary import Stationary
from sim.environments.switching import Bursts, Switching
from sim.environments.tokens import Tokens
from sim.environments.tracking import Tracking
from sim.environments.turning import Turning
from sim.simulator import simulate
from tests.sim.by_hand import in_hindsight, rounds_of
from theory import bounds, regret
from theory.loss import MixtureTV
from theory.runs.choose import make_learner

PATHS = [Stationary(), Drift(0.0), Drift(3.7), Drift(40.0), Periodic(50), Switching(0), Switching(1), Switching(7)]
PATHS += [RandomWalk(0.05), RandomWalk(0.5), Bursts(1, 1), Bursts(3, 4), Bursts(1, 399)]
SMALL_TOKENS = Tokens(Drift(4.0), horizon=60, vocabulary=12, contexts=3, favourites=1, reach=6.0, nu=8, gamma=3)
ENVIRONMENTS = {
    "quadratic": Tracking(Drift(3.0), horizon=150),
    "linear": Tracking(Switching(3), horizon=150, loss="linear"),
    "walk": Tracking(RandomWalk(0.02), horizon=150),
    "bursts": Tracking(Bursts(2, 3), horizon=150, loss="linear"),
    "turning": Turning(3.0, horizon=150),
    "adversarial": Adversarial(horizon=150, segments=3),
    "experts": Experts(horizon=150),
    "experts-switch": Experts(horizon=150, switches=2),
    "alternating": Alternating(horizon=150, steady=30),
    "drafts": Drafts(horizon=100, vocabulary=5),
    "drafts-switch": Drafts(horizon=100, vocabulary=5, moves=2, misfit=0.0),
    "drafts-drift": Drafts(horizon=100, vocabulary=5, moves=2, gradual=True),
    "drafts-fixed": Drafts(horizon=100, vocabulary=5, moves=2, fixed=True),
    "drafts-sure": SureTokens(Experts(horizon=150, switches=2)),
    "tokens": SMALL_TOKENS,
    "tokens-misfit": replace(SMALL_TOKENS, path=Switching(1), misfit=0.5),
}


def comparators(environment, seeds=3, seed=0):
    """[T, seeds, d], from an episode that somebody (frozen) has played."""
    episode = environment.start(seeds, np.random.default_rng(seed))
    learner = make_learner("frozen", {}, environment.problem)
    x_1 = environment.problem.domain.project(np.zeros((seeds, environment.problem.dimension)))
    return np.stack([drawn.comparator for drawn in rounds_of(in_hindsight(learner, episode, x_1))])


def lengths(u):
    return np.linalg.norm(np.diff(u, axis=0), axis=-1).sum(axis=0)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("loss", ["quadratic", "linear"])
def test_path_length_is_the_given_one(path, loss):
    environment = Tracking(path, horizon=400, loss=loss)
    u = comparators(environment)
    np.testing.assert_allclose(lengths(u), environment.problem.path_length, rtol=0, atol=1e-9)
    assert np.all(environment.problem.domain.contains(u))


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_path_length_of_token_streams_is_the_given_one(path):
    environment = replace(SMALL_TOKENS, path=path, horizon=400)
    u = comparators(environment)
    np.testing.assert_allclose(lengths(u), environment.problem.path_length, rtol=0, atol=1e-9)
    assert np.all(environment.problem.domain.contains(u))


@pytest.mark.parametrize("switches", [0, 1, 5, 149])
def test_number_of_switches_is_the_given_one(switches):
    for environment in (Tracking(Switching(switches), horizon=150), Experts(horizon=150, switches=switches)):
        moved = np.any(np.diff(comparators(environment), axis=0) != 0, axis=-1).sum(axis=0)
        assert moved.tolist() == [switches] * 3


def test_bursts_are_jumps_in_a_row_that_never_meet():
    moved = np.any(np.diff(comparators(Tracking(Bursts(4, 5), horizon=60), 20), axis=0) != 0, axis=-1)
    begins = moved & ~np.concatenate([np.zeros((1, 20), bool), moved[:-1]])
    assert moved.sum(axis=0).tolist() == [20] * 20
    assert np.all(begins.sum(axis=0) <= 4)  # two may stand side by side
    assert len({tuple(column) for column in moved.T}) > 10


@pytest.mark.parametrize("variation", [0.0, 0.5, 40.0, 4 * 149.0])
def test_gradient_variation_is_the_given_one(variation):
    episode = Turning(variation, horizon=150).start(3, np.random.default_rng(0))
    slopes = np.stack([drawn.slope for drawn in rounds_of(episode)])
    np.testing.assert_allclose(regret.gradient_variation(slopes)[-1], variation, rtol=1e-9, atol=1e-9)
    fixed = Turning(variation, horizon=150).problem.domain.project(np.random.default_rng(1).standard_normal((50, 3, 8)))
    best = np.sum(slopes * next(rounds_of(episode)).comparator, axis=(0, -1))
    assert np.all(best <= np.einsum("tsd,nsd->ns", slopes, fixed) + 1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_small_loss_is_that_of_the_noise(noise):
    environment = Tracking(Drift(3.0), horizon=200, noise=noise)
    trace = simulate(make_learner("ogd", {}, environment.problem), environment, 3, np.random.default_rng(0))
    np.testing.assert_allclose(trace.columns["comparator_loss"][-1], 200 * noise**2 / 2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("moves, gradual", [(1, False), (5, False), (1, True), (9, True), (99, True)])
def test_mixtures_of_drafts_move_as_far_as_they_say(moves, gradual):
    """In the 1-norm too, which is what sharing pays for: half of it is the distance over √2."""
    environment = Drafts(100, 3, 4, moves, gradual, lead=0.8)
    u = comparators(environment)
    np.testing.assert_allclose(lengths(u), environment.problem.path_length, rtol=1e-12)
    assert environment.problem.path_length == pytest.approx(np.sqrt(2) * 0.7 * moves)
    np.testing.assert_allclose(0.5 * np.abs(np.diff(u, axis=0)).sum(axis=(0, -1)), 0.7 * moves, rtol=1e-12)
    assert np.all(environment.problem.domain.contains(u))
    assert np.sum(np.any(np.diff(u, axis=0) != 0, axis=-1)) == 3 * (99 if gradual else moves)


def test_a_mixture_without_misfit_is_the_target_and_nothing_is_rejected():
    environment = Drafts(60, 3, 4, 2, misfit=0.0)
    episode = environment.start(2, np.random.default_rng(0))
    for drawn in rounds_of(episode):
        loss = episode.loss(drawn)
        np.testing.assert_allclose(loss.mixture(drawn.comparator), loss.target_probs, atol=1e-15)
        assert np.all(loss.value(np.full((2, 3), 1 / 3)) > 1e-3)


@pytest.mark.parametrize("setting", [Drafts(80, 3, 5), Drafts(80, 3, 5, 2, fixed=True), Drafts(80, 2, 3, misfit=1.0)])
def test_the_best_fixed_mixture_is_the_linear_program_s(setting):
    """min Σ_t Σ_y s_ty over s ≥ target − Σ_i x_i·draft_i, s ≥ 0, x on the simplex: one program of T·V + N unknowns."""
    (drawn,) = setting.start(2, np.random.default_rng(3)).chunks(80)
    for k in range(2):
        laws = np.moveaxis(drawn.draft_probs[:, k], 1, 0).reshape(setting.drafts, -1)
        target = drawn.target_probs[:, k].ravel()
        size = len(target)
        whole = linprog(
            np.concatenate([np.zeros(setting.drafts), np.ones(size)]),
            A_ub=np.hstack([-laws.T, -np.eye(size)]),
            b_ub=-target,
            A_eq=[[1.0] * setting.drafts + [0.0] * size],
            b_eq=[1.0],
        )
        found = MixtureTV(laws, target).value(drawn.comparator[0, k])
        assert found == pytest.approx(whole.fun, abs=1e-6)
    np.testing.assert_array_equal(best_fixed(drawn.draft_probs, drawn.target_probs), drawn.comparator[7])


def test_learners_of_one_stream_share_its_solution():
    first, again, other = (Drafts(40, 2, 3).start(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first is again
    assert np.any(first.laws.target_probs != other.laws.target_probs)


def test_sure_tokens_lose_what_the_experts_lose():
    experts = Experts(horizon=30, experts=3)
    drafts, game = (env.start(2, np.random.default_rng(0)) for env in (SureTokens(experts), experts))
    x = np.random.default_rng(1).dirichlet(np.ones(3), 2)
    for ours, theirs in zip(rounds_of(drafts), rounds_of(game), strict=True):
        np.testing.assert_allclose(drafts.loss(ours).value(x), game.loss(theirs).value(x), atol=1e-15)
        np.testing.assert_array_equal(ours.comparator, theirs.comparator)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_problem_constants_hold(name):
    """‖grad‖ ≤ G at random feasible points, comparators feasible, P_T at most the problem's."""
    environment, rng = ENVIRONMENTS[name], np.random.default_rng(1)
    problem = environment.problem
    u = comparators(environment)
    assert np.all(problem.domain.contains(u))
    assert np.all(lengths(u) <= problem.path_length + 1e-9)
    episode = environment.start(3, np.random.default_rng(0))
    memory = episode.begin(np.zeros((3, problem.dimension)))
    for _, drawn in zip(range(40), rounds_of(episode), strict=False):
        x = problem.domain.project(rng.standard_normal((3, problem.dimension)) * rng.choice([0.1, 1, 10]))
        memory, revealed = episode.reveal(memory, drawn, x)
        grad = episode.loss(revealed).grad(x)
        assert np.all(np.linalg.norm(grad, axis=-1) <= problem.gradient_bound * (1 + 1e-12))


@pytest.mark.parametrize("name", ["ogd", "optimistic", "ensemble", "frozen", "momentum", "adam"])
@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("dimension", [3, 7])
def test_adversary_forces_its_regret_on_anybody(name, segments, dimension):
    environment = Adversarial(horizon=200, dimension=dimension, segments=segments, diameter=3.0, gradient_bound=0.7)
    problem = environment.problem
    trace = simulate(make_learner(name, {}, problem), environment, 4, np.random.default_rng(0))
    forced = bounds.adversary_value(0.7, 3.0, 200, segments)
    np.testing.assert_allclose(np.broadcast_to(trace.columns["dynamic_regret"][-1], 4), forced, rtol=0, atol=1e-9)
    assert np.all(trace.columns["path_length"][-1] <= problem.path_length + 1e-9)


def test_adversary_follows_the_decision():
    """g_t ⟂ x_t and ⟂ the running sum, also where x_t is parallel to it."""
    episode = Adversarial(horizon=30).start(2, np.random.default_rng(99))
    total, memory = np.zeros((2, 3)), episode.begin(np.zeros((2, 3)))
    for t, drawn in enumerate(rounds_of(episode)):
        x_t = total * 0.01 if t % 3 else np.random.default_rng(t).standard_normal((2, 3))
        memory, revealed = episode.reveal(memory, drawn, x_t)
        slope = episode.loss(revealed).grad(x_t)
        assert np.all(np.abs(np.sum(slope * x_t, axis=-1)) < 1e-14)
        assert np.all(np.abs(np.sum(slope * total, axis=-1)) < 1e-13)
        np.testing.assert_allclose(np.linalg.norm(slope, axis=-1), 1.0, atol=1e-14)
        total = total + slope


def test_realisable_tokens_have_no_comparator_loss_and_misfit_has():
    for environment, realisable in ((SMALL_TOKENS, True), (replace(SMALL_TOKENS, misfit=0.5), False)):
        trace = simulate(make_learner("ogd", {}, environment.problem), environment, 2, np.random.default_rng(0))
        assert np.all((np.abs(trace.columns["comparator_loss"][-1]) < 1e-9) == realisable)


def test_token_positions_are_dependent():
    """The feature of the next position is a function of the committed token, over rounds too."""
    episode = SMALL_TOKENS.start(2, np.random.default_rng(0))
    (drawn,) = episode.chunks(60)
    tokens, features = (
        np.moveaxis(part, 0, 1).reshape(2, -1, *part.shape[3:]) for part in (drawn.token, drawn.features)
    )
    following = np.take_along_axis(episode.embedding, tokens[:, :-1, None], axis=1)
    np.testing.assert_array_equal(features[:, 1:], following)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_what_is_drawn_does_not_depend_on_the_chunks(name, size):
    """Nor on whether it was asked before: losses are the same for every learner, and in a second pass."""
    episode = ENVIRONMENTS[name].start(3, np.random.default_rng(0))
    (whole,) = episode.chunks(10_000)
    assert len(whole.comparator) == ENVIRONMENTS[name].problem.horizon
    for _ in range(2):
        parts = [np.concatenate(column) for column in zip(*episode.chunks(size), strict=True)]
        for ours, theirs in zip(parts, whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Tracking(loss="cubic"), r"Tracking\(loss='cubic'\): must be 'quadratic' or 'linear'"),
        (lambda: Tracking(noise=2.0), r"Tracking\(noise=2\.0\): must lie in \[0, 1\]"),
        (lambda: Tracking(horizon=1), r"Tracking\(horizon=1\): must be at least 2"),
        (lambda: Tracking(dimension=1), r"Tracking\(dimension=1\)"),
        (lambda: Drift(-1.0), r"Drift\(path_length=-1\.0\): must be 0 or more"),
        (lambda: Tracking(Drift(1e4), horizon=100), r"Drift\(path_length=10000\.0\): 100 rounds .* shorten it"),
        (lambda: Periodic(1), r"Periodic\(period=1\)"),
        (lambda: Switching(-1), r"Switching\(switches=-1\)"),
        (lambda: Tracking(Switching(100), horizon=100), r"Switching\(switches=100\): 100 rounds hold at most 99"),
        (lambda: RandomWalk(0.0), r"RandomWalk\(step=0\.0\): must be positive"),
        (lambda: Tracking(RandomWalk(3.0)), r"RandomWalk\(step=3\.0\): on a sphere of radius 0\.8 at most 2"),
        (lambda: Bursts(0), r"Bursts\(bursts=0\)"),
        (lambda: Tracking(Bursts(30, 8), horizon=200), r"Bursts\(bursts=30\): 200 rounds hold at most 24 bursts of 8"),
        (lambda: Turning(-1.0), r"Turning\(variation=-1\.0\): must lie in \[0, 4"),
        (lambda: Experts(experts=1), r"Experts\(experts=1\)"),
        (lambda: Experts(gap=0.7), r"Experts\(gap=0\.7\)"),
        (lambda: Experts(switches=-1), r"Experts\(switches=-1\)"),
        (lambda: Adversarial(dimension=2), r"Adversarial\(dimension=2\): must be at least 3"),
        (
            lambda: Adversarial(horizon=10, segments=3),
            r"Adversarial\(segments=3\): must be a divisor of the horizon 10",
        ),
        (lambda: Alternating(horizon=10, steady=3), r"Alternating\(steady=3\)"),
        (lambda: Drafts(drafts=1), r"Drafts\(drafts=1\): must be at least 2"),
        (lambda: Drafts(vocabulary=1), r"Drafts\(vocabulary=1\): must be at least 2"),
        (lambda: Drafts(moves=2000), r"Drafts\(moves=2000\): must lie in \[0, 2000\)"),
        (
            lambda: Drafts(misfit=1.5),
            r"Drafts\(misfit=1\.5\): must lie in \[0, 1\]; 0 is a target that a mixture equals",
        ),
        (lambda: Drafts(lead=-0.1), r"Drafts\(lead=-0\.1\): must lie in \[0, 1\]; a weight of a mixture"),
        (lambda: Drafts(sharpness=0.0), r"Drafts\(sharpness=0\.0\): must be positive"),
        (lambda: SureTokens(Tracking()), r"SureTokens\(experts=Tracking.*must have losses in \[0, 1\]"),
        (lambda: Tokens(gamma=40, nu=32), r"Tokens\(gamma=40\): must lie in \[1, nu=32\]"),
        (lambda: Tokens(gamma=0), r"Tokens\(gamma=0\)"),
        (lambda: Tokens(favourites=33), r"Tokens\(favourites=33\)"),
        (lambda: Tokens(contexts=65), r"Tokens\(contexts=65\)"),
    ],
)
def test_bad_arguments_are_refused_with_value_and_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()
