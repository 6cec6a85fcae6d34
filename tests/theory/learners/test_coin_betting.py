"""Coin betting: no step size, and still a bound for every fixed comparator at once."""

from math import lgamma, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theory.learners.test_gradient_learners import BOTH, ROUNDING, growing, record
from tests.theory.test_bounds import measured_regret, sweeping
from theory import bounds
from theory.checker.checks import plays
from theory.domain import Ball, Free
from theory.learners import coin_betting
from theory.learners.coin_betting import CoinBetting
from theory.loss import Linear
from theory.problem import Problem
from theory.testing.strategies import BOUNDED, DomainGame, games, vectors


def krichevsky_trofimov(coins, endowment):
    """Orabona & Pál 2016, Algorithm 1, one dimension: bets on a list of coins."""
    path, total, wealth = [], 0.0, endowment
    for t, coin in enumerate(coins, start=1):
        path.append(total / t * wealth)
        wealth += coin * path[-1]
        total += coin
    return path


def test_coin_betting_is_the_bettor_of_the_paper():
    coins = np.random.default_rng(0).uniform(-1, 1, 80)
    ours = plays(CoinBetting(0.5, 3.0), np.array([2.0]), [Linear(np.array([-3.0 * c])) for c in coins])
    np.testing.assert_allclose(ours[:, 0], 2.0 + np.array(krichevsky_trofimov(coins, 0.5)), atol=1e-12)


def log_potential(rounds, x):
    """ln F_T(x)."""
    halves = lgamma((rounds + 1 + x) / 2) + lgamma((rounds + 1 - x) / 2)
    return rounds * log(2) + halves - log(pi) - lgamma(rounds + 1)


def coin_within_bounds(game, endowment=1.0):
    """Regret to fixed comparators, wealth and its floor, and the a priori form for every distance."""
    learner = CoinBetting(endowment, max(game.gradient_bound, 0.1), game.domain)
    decisions, _, states = record(learner, game)
    rounds = np.arange(1.0, game.horizon + 1)
    for t, state in enumerate(states, start=1):
        wealth, heads = float(state.wealth[0]), float(np.linalg.norm(state.coins))
        assert log(wealth / endowment) >= log_potential(t, min(heads, t)) - ROUNDING
        assert heads <= t * (1 + ROUNDING)
    for u in (game.hard_comparators()[0], game.hard_comparators()[-1]):
        distance = float(np.linalg.norm(u[0] - game.x_1))
        own = np.array([float(learner.static_bound(state, distance)) for state in states])
        apriori = bounds.coin_betting(distance, learner.gradient_bound, rounds, endowment)
        suffered = measured_regret(game, decisions, u)
        slack = ROUNDING * (1 + np.abs(apriori))
        assert np.all(suffered <= own + slack)
        assert np.all(own <= apriori + slack)


@given(games(quadratic=BOTH), st.sampled_from([0.01, 1.0, 50.0]))
@example(sweeping(), 1.0)
@example(growing(2.0), 0.1)
def test_coin_betting_regret_is_within_its_bounds(game, endowment):
    coin_within_bounds(game, endowment)


@given(vectors(4, 3), st.lists(st.integers(0, 3), min_size=1, max_size=30), vectors(3, size=9.0))
def test_coin_betting_regret_is_an_identity_where_nothing_is_projected(pool, order, u):
    slopes, learner = pool[np.array(order)], CoinBetting(1.0, 6.0)
    state, suffered = learner.init(np.ones(3)), 0.0
    for slope in slopes:
        suffered += float(slope @ (learner.predict(state) - u))
        state = learner.update(state, Linear(slope))
    exact = 6.0 * (1.0 - float(state.wealth[0]) + float(state.coins @ (u - 1.0)))
    assert suffered == pytest.approx(exact, abs=1e-6, rel=1e-9)
    np.testing.assert_allclose(state.coins, -slopes.sum(axis=0) / 6.0, atol=1e-12)


@pytest.mark.parametrize(("horizon", "distance", "heads", "tightness"), [(100, 1e6, 56, 0.89), (1000, 1e6, 194, 0.92)])
def test_coin_betting_nearly_attains_its_bound(horizon, distance, heads, tightness):
    """Coins of ±1 in any order leave wealth at its floor exactly; what is lost is in the maximum over their sum."""
    coins = np.where(np.arange(horizon) < horizon - heads, (-1.0) ** np.arange(horizon), 1.0)
    learner = CoinBetting(1.0, 1.0)
    state, suffered = learner.init(np.zeros(1)), 0.0
    for coin in coins:
        suffered += float(-coin * (learner.predict(state)[0] - distance))
        state = learner.update(state, Linear(np.array([-coin])))
    assert log(float(state.wealth[0])) == pytest.approx(log_potential(horizon, heads), abs=1e-9)
    limit = float(bounds.coin_betting(distance, 1.0, horizon, 1.0))
    assert tightness * limit <= suffered <= limit
    published = distance * sqrt(horizon * log(1 + 24 * (horizon * distance) ** 2)) + 1
    assert limit <= published


@given(st.sampled_from(BOUNDED), vectors(3, size=9.0), vectors(3), vectors(3))
def test_what_is_charged_outside_loses_nothing(domain, bet, gradient, other):
    """⟨g, x − u⟩ ≤ ⟨g̃, z − u⟩ for u in X, and ‖g̃‖ ≤ ‖g‖."""
    x, u = domain.project(bet), domain.project(other)
    charged = coin_betting._charged_outside(gradient, bet, x)
    assert gradient @ (x - u) <= charged @ (bet - u) + ROUNDING
    assert np.linalg.norm(charged) <= np.linalg.norm(gradient) + 1e-12


def wealth_stays_positive():
    """Gradients three times longer than announced, always against the bet."""
    learner = CoinBetting(1.0, 1.0)
    state = learner.init(np.zeros(2))
    for _ in range(30):
        bet = learner.predict(state)
        slope = 3.0 * np.sign(bet + 1e-300)
        state = learner.update(state, Linear(slope))
        assert float(state.wealth[0]) > 0


def test_wealth_stays_positive():
    wealth_stays_positive()


def test_a_promise_is_made_to_fixed_comparators_only():
    problem = Problem(Ball(1.0), 3, 100, 1.0)
    learner = CoinBetting.tuned(problem)
    assert learner.guarantee(problem) == pytest.approx(float(bounds.coin_betting(2.0, 1.0, 100, 2.0)))
    assert learner.bound(learner.init(np.zeros(3)), 4.0) is None
    for other in (
        Problem(Ball(1.0), 3, 100, 1.0, path_length=0.1),
        Problem(Ball(1.0), 3, 100, 1.5),
        Problem(Free(), 3, 100, 1.0),
    ):
        assert learner.guarantee(other) is None
    assert CoinBetting.tuned(Problem(Free(), 3, 100, 1.0)).endowment == 1.0


def test_every_fixed_comparator_at_once_on_all_of_space():
    """T rounds of one slope: regret to u at any distance is within its bound, negative to those nearby."""
    learner, slope = CoinBetting(1.0, 1.0), np.array([0.6, -0.8])
    state, lost = learner.init(np.zeros(2)), 0.0
    for _ in range(50):
        lost += float(slope @ learner.predict(state))
        state = learner.update(state, Linear(slope))
    for distance in np.logspace(-3, 12, 31):
        assert lost + 50 * distance <= float(bounds.coin_betting(distance, 1.0, 50, 1.0)) * (1 + ROUNDING)
    assert lost < -1e9  # wealth grows exponentially: what a step of fixed length never does


# Bugs that these tests must notice

PULLED_OUT = DomainGame(np.zeros(3), np.broadcast_to([-1.0, 0.0, 0.0], (30, 3)), domain=Ball(1.0))


def unclipped(self, state, loss_t, hint=None):
    """Long gradients are bet on at their full length."""
    z_t = self._bet(state)
    coin_t = -loss_t.grad(self.predict(state)) / self.gradient_bound
    won_t = np.sum(coin_t * z_t, axis=-1, keepdims=True)
    return state._replace(coins=state.coins + coin_t, wealth=state.wealth + won_t, rounds=state.rounds + 1.0)


def bets_a_round_early(self, state):
    return state.coins / np.maximum(state.rounds, 1.0) * state.wealth


def stays_inside(game):
    assert np.all(game.domain.contains(plays(CoinBetting(1.0, 1.0, game.domain), game.x_1, game.losses)))


def unprojected(self, state, hint=None):
    return state.x_1 + self._bet(state)


MUTANTS = {
    "gradients are not shortened": ("update", unclipped, wealth_stays_positive),
    "the fraction bet is C/(t−1)": ("_bet", bets_a_round_early, test_coin_betting_is_the_bettor_of_the_paper),
    "no projection": ("predict", unprojected, lambda: stays_inside(PULLED_OUT)),
    "regret outside is not charged": (None, lambda g, z, x: g, lambda: coin_within_bounds(PULLED_OUT)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    attribute, bug, guard = MUTANTS[name]
    guard()
    monkeypatch.setattr(*(CoinBetting, attribute) if attribute else (coin_betting, "_charged_outside"), bug)
    with pytest.raises(AssertionError):
        guard()
