"""What the strategies draw is what they say: stated values are kept and reached, copies and libraries included."""

import subprocess
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from theory import regret
from theory.checker.claims import own_bound, play
from theory.checker.games import plays
from theory.domain import Ball, Box, Domain, Free, Simplex
from theory.learners import OGD, Hedge
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.loss import Linear
from theory.problem import Problem
from theory.testing.strategies import (
    BOUNDED,
    DomainGame,
    arriving,
    chunks,
    comparators,
    delays,
    domains,
    feedback,
    games,
    in_library,
    law_pairs,
    laws,
    stated_games,
    token_streams,
    vectors,
)

ROOT = Path(__file__).parents[3]
AXES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
"""Copies on no axis, or up to three."""
SEVERAL = {"dimension": st.integers(1, 6), "copies": AXES}
STATED = st.sampled_from([0.0, 1e-12, 0.3, 2.0, inf])


# Games


@given(domains(free=True), vectors(5))
def test_domains_are_domains(domain, x):
    assert isinstance(domain, Domain)
    assert domain.contains(domain.project(x))


@pytest.mark.parametrize("kind", [Ball, Box, Simplex, Free])
def test_every_kind_of_domain_is_drawn(kind):
    find(domains(free=True), lambda domain: isinstance(domain, kind) and (domain not in BOUNDED or kind is Simplex))


@given(games(domains(), quadratic=st.booleans(), **SEVERAL))
def test_games_have_copies_on_any_axes_in_any_dimension(game):
    assert game.slopes.shape == (game.horizon, *game.x_1.shape)
    assert np.all(game.domain.contains(game.x_1))
    assert game.gradient_bound.shape == game.x_1.shape[:-1]
    everywhere = game.domain.project(np.broadcast_to(9.0 * np.eye(game.x_1.shape[-1])[0], game.slopes.shape))
    lengths = np.linalg.norm(game.loss.grad(everywhere), axis=-1)
    assert np.all(lengths <= game.gradient_bound * (1 + 1e-12))


@given(games(Simplex(), **SEVERAL))
def test_on_the_simplex_every_expert_has_a_prior(game):
    """Else what exponential weights promise is infinite, and every test of it passes."""
    assert np.all(game.x_1 > 0)
    assert np.all(np.isfinite(own_bound(play(Hedge(0.5), game))))


@pytest.mark.parametrize("domain", [Ball(2.5), Box(-0.5, 2.0), Box(-2.0, 0.5), Simplex()], ids=repr)
@pytest.mark.parametrize("d", [1, 9])
def test_the_gradient_bound_of_quadratics_is_reached(domain, d):
    """Around 0 the longest gradient is at the domain's farthest point."""
    game = DomainGame(domain.project(np.zeros(d)), np.zeros((1, d)), True, domain=domain)
    farthest = {Ball: lambda: domain.radius, Box: lambda: 2.0 * d**0.5, Simplex: lambda: 1.0}[type(domain)]()
    assert game.gradient_bound == pytest.approx(farthest)


@given(st.data(), STATED, st.integers(0, 4), STATED, STATED)
def test_stated_values_are_not_exceeded(data, path_length, switches, variation, suffered):
    given_ = {"path_length": path_length, "switches": switches, "gradient_variation": variation}
    quadratic = suffered < inf or data.draw(st.booleans())
    game = data.draw(stated_games(domains(), quadratic, comparator_loss=suffered, **given_, **SEVERAL))
    for name, most in {**given_, "comparator_loss": suffered}.items():
        assert getattr(game, name).shape == game.x_1.shape[:-1]
        assert np.all(getattr(game, name) <= most)
    assert game.comparators.shape == game.slopes.shape
    assert np.all(game.domain.contains(game.comparators))


@given(stated_games(quadratic=True, gradient_variation=0.01, comparator_loss=0.3))
def test_comparators_go_with_losses_that_may_hardly_change(game):
    """Else the comparators' loss would be what they move."""
    assert game.gradient_variation <= 0.01
    assert game.comparator_loss <= 0.3


@given(stated_games(quadratic=st.booleans(), copies=(3,)))
def test_what_a_game_says_of_itself_is_what_a_play_measures(game):
    """By a loop over rounds and by ``theory.Played``; of every copy alone as of all together."""
    one = game.copy(1)
    steps = [float(np.linalg.norm(v - u)) for u, v in zip(one.comparators, one.comparators[1:], strict=False)]
    changes = [float(np.sum((v - u) ** 2)) for u, v in zip(one.slopes, one.slopes[1:], strict=False)]
    assert one.path_length == pytest.approx(sum(steps))
    assert one.switches == sum(step > 0 for step in steps)
    assert one.gradient_variation == pytest.approx(sum(changes))
    played = play(OGD(0.1, game.domain), one)
    assert one.comparator_loss == (
        pytest.approx(sum(f.value(u) for f, u in zip(one.losses, one.comparators, strict=True)))
        if game.quadratic
        else inf
    )
    assert np.all(played.game.slopes == game.slopes[:, 1])
    for name in ("path_length", "switches", "gradient_variation", "comparator_loss"):
        assert getattr(one, name) == pytest.approx(getattr(game, name)[1])


@pytest.mark.parametrize("name", ["path_length", "gradient_variation", "comparator_loss"])
def test_stated_values_are_reached(name):
    """A strategy that drew games without any movement would keep every statement."""
    near = 0.3 * (1 - 1e-6)
    game = find(stated_games(quadratic=True, **{name: 0.3}), lambda game: getattr(game, name) >= near)
    assert getattr(game, name) <= 0.3


def test_all_stated_values_are_reached_in_one_game():
    stated = {"path_length": 1.0, "gradient_variation": 2.0, "comparator_loss": 3.0}
    find(
        stated_games(quadratic=True, switches=4, **stated),
        lambda game: all(getattr(game, name) > 0.3 * most for name, most in stated.items()) and game.switches > 1,
        settings=settings(max_examples=4000, phases=[Phase.generate]),
    )


def test_games_shrink_to_few_rounds_and_small_numbers():
    """To the least game with a switch: two rounds, and comparators that differ in one coordinate."""
    game = find(stated_games(Ball(1.0), switches=3, longest=8), lambda game: game.path_length >= 1)
    assert game.horizon == 2
    assert np.count_nonzero(game.slopes) + np.count_nonzero(game.x_1) == 0
    assert np.count_nonzero(game.comparators) == 1


@given(st.sampled_from(BOUNDED), st.floats(0.0, 3.0), st.data())
def test_comparators_alone(domain, most, data):
    u = data.draw(comparators(domain, 12, path_length=most, switches=2))
    assert u.shape == (12, 3)
    assert regret.path_length(u)[-1] <= most
    assert regret.switches(u)[-1] <= 2


@given(stated_games(st.sampled_from([Ball(1.0), Box(-1.0, 1.0)]), path_length=2.0))
def test_the_guarantee_of_ogd_holds_where_comparators_move_as_stated(game):
    problem = Problem(game.domain, 3, game.horizon, max(game.gradient_bound, 1e-3), path_length=2.0)
    learner = OGD.tuned(problem)
    x = plays(learner, game.x_1, game.losses)
    assert np.sum(game.loss.value(x) - game.loss.value(game.comparators)) <= learner.guarantee(problem) + 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path_length": -1.0}, "path_length=-1.0: must be at least 0"),
        ({"switches": -1}, "switches=-1: must be at least 0"),
        ({"gradient_variation": float("nan")}, "gradient_variation=nan: must be at least 0"),
        ({"comparator_loss": 1.0}, "comparator_loss=1.0: a linear loss has no least value.*give quadratic=True"),
    ],
)
def test_what_cannot_be_stated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        find(stated_games(**arguments), lambda game: True)


# Libraries


@given(in_library(stated_games(path_length=1.0, quadratic=True, comparator_loss=2.0, copies=(2,)), "torch"))
def test_games_of_tensors_measure_themselves(game):
    torch = pytest.importorskip("torch")
    assert all(torch.is_tensor(array) for array in (game.x_1, game.slopes, game.comparators, game.path_length))
    assert game.slopes.dtype == torch.float64
    assert torch.all(game.path_length <= 1)
    assert torch.all(game.comparator_loss <= 2)
    assert torch.is_tensor(OGD(0.1, game.domain).predict(OGD(0.1, game.domain).init(game.x_1)))


@given(in_library(law_pairs(2, 5), "torch"))
def test_pairs_of_tensors(pair):
    torch = pytest.importorskip("torch")
    assert all(torch.is_tensor(law) for law in pair)


def test_a_library_that_is_not_known_is_refused():
    drawn = vectors(3)
    assert in_library(drawn, "numpy") is drawn
    with pytest.raises(ValueError, match=r"in_library.library='jax'.: must be one of numpy, torch"):
        in_library(drawn, "jax")


@pytest.mark.parametrize(
    "asked", ["from theory.testing import learner_machine", "import theory.testing.strategies.games"]
)
def test_without_hypothesis_it_says_what_to_install(asked):
    """The laws need it not."""
    code = f"import sys; sys.modules['hypothesis'] = None\nfrom theory.testing import parametrize_with_laws\n{asked}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    how = "pip install '.[testing]' in the checkout of onlinespec"
    told = f"theory.testing.strategies needs hypothesis, which is not installed: {how}"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {told}"


# Feedback


@given(st.integers(1, 20).flatmap(feedback))
def test_every_loss_is_shown_once_and_not_before_its_round(late):
    shown = arriving(late)
    assert sorted(t for losses in shown for t in losses) == list(range(len(late)))
    for now, losses in enumerate(shown):
        assert losses == sorted(losses)
        assert all(t <= now for t in losses)
        assert all(now == min(t + late[t], len(late) - 1) for t in losses)


@given(st.integers(1, 20).flatmap(chunks))
def test_a_chunk_is_shown_whole_after_its_last_round(late):
    assert np.all(np.arange(len(late)) + late < len(late))
    for now, losses in enumerate(arriving(late)):
        assert losses == list(range(now - len(losses) + 1, now + 1))


def test_losses_may_overtake_and_chunks_differ_in_length():
    find(delays(5), lambda late: any(late[t] > late[t + 1] + 1 for t in range(4)))
    find(chunks(6), lambda late: {len(losses) for losses in arriving(late)} >= {1, 2, 3})


@given(games(Ball(1.0)), st.integers(0, 4))
def test_a_constant_delay_is_the_learner_delayed(game, delay):
    """Linear losses shown late to OGD, and the wrapper that keeps them itself."""
    learner, xs = OGD(0.3, game.domain), []
    state = learner.init(game.x_1)
    for losses in arriving(np.full(game.horizon, delay)):
        xs.append(learner.predict(state))
        for s in losses:
            state = learner.update(state, game.losses[s])
    np.testing.assert_array_equal(xs, plays(Delayed(learner, delay), game.x_1, game.losses))


@given(games(Ball(1.0)), st.integers(1, 4))
def test_chunks_of_one_length_are_the_learner_in_chunks(game, rounds):
    learner, xs = OGD(0.3, game.domain), []
    state, late = learner.init(game.x_1), rounds - 1 - np.arange(game.horizon) % rounds
    for losses in arriving(late):
        xs.append(learner.predict(state))
        if losses:
            state = learner.update(state, Linear(game.slopes[losses].sum(axis=0) / rounds))
    np.testing.assert_allclose(xs, plays(Chunked(learner, rounds), game.x_1, game.losses), atol=1e-12)


# Tokens


@given(laws(3, 5), laws(3, 5, positive=True))
def test_laws_sum_to_one(law, positive):
    np.testing.assert_allclose(np.stack([law, positive]).sum(axis=-1), 1.0)
    assert np.all(law >= 0)
    assert np.all(positive > 0)


@given(st.integers(1, 5).flatmap(lambda vocabulary: law_pairs(2, vocabulary)))
def test_pairs_are_laws_of_one_shape(pair):
    target, draft = pair
    assert target.shape == draft.shape
    assert not np.shares_memory(target, draft)
    np.testing.assert_allclose(np.stack(pair).sum(axis=-1), 1.0)


@pytest.mark.parametrize("overlap", [lambda o: o > 1 - 1e-12, lambda o: o == 0, lambda o: 0.2 < o < 0.8])
def test_pairs_are_equal_apart_and_between(overlap):
    find(law_pairs(4), lambda pair: overlap(np.minimum(*pair).sum()))


@given(token_streams(7, longest=20))
def test_tokens_are_of_the_vocabulary(tokens):
    assert tokens.dtype.kind == "i"
    assert 1 <= len(tokens) <= 20
    assert np.all((tokens >= 0) & (tokens < 7))


def test_streams_come_back_to_what_they_said():
    find(token_streams(9), lambda s: len(s) >= 12 and len(set(s[:4])) == 4 and np.array_equal(s[:4], s[8:12]))
