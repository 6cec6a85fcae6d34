"""The draft length by cost: its promise on every path, and that it finds the best length where there is one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.speculation.draft_length import DraftLength
from theory.speculation.draft_length import _fastest as fastest
from theory.speculation.speedup import best_gamma, tokens_per_step

COSTS = (1.0, 1.3, 1.5, 1.7, 1.9, 2.1, 2.3)


@given(
    costs=st.lists(st.floats(1, 5), min_size=1, max_size=6).map(sorted),
    switch_cost=st.floats(0, 2),
    share=st.floats(0, 0.2),
    account=st.floats(0, 6),
    outcomes=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=60),
)
def test_the_promise_holds_over_every_stretch_of_every_path(costs, switch_cost, share, account, outcomes):
    """Whatever is accepted, chosen by an adversary after seeing the length, also where a draft ends early."""
    policy = DraftLength((1.0, *costs), switch_cost, share, account)
    state, lost, before = policy.init(), [0.0], 0
    for outcome, longest in outcomes:
        gamma = min(policy.choose(state), longest)
        accepted = min(outcome, gamma)
        state = policy.observe(state, gamma, accepted + 1, min(accepted + 1, gamma), int(accepted < gamma))
        cost = policy.costs[gamma] + (switch_cost if gamma > 0 and before == 0 else 0)
        lost.append(lost[-1] + cost - (1 + share) * (accepted + 1))
        before = gamma
    worst = max(late - early for i, early in enumerate(lost) for late in lost[i:])
    assert worst <= account + 1e-9


def test_the_promise_is_attained():
    """A draft that is always wrong empties the account, and then never drafts again; it switched once."""
    policy = DraftLength((1.0, 2.0), switch_cost=1.0, share=0.0, account=5.0)
    state, cost, tokens = policy.init(), 1.0, 0
    for _ in range(20):
        gamma = policy.choose(state)
        state = policy.observe(state, gamma, 1, gamma, gamma)
        cost, tokens = cost + policy.costs[gamma], tokens + 1
    assert cost == tokens + 5.0


def test_a_switch_is_charged_at_the_first_of_a_run_of_drafts():
    policy = DraftLength((1.0, 1.5), switch_cost=0.25)
    plain = policy.init()
    drafting = policy.observe(plain, 1, 1, 1, 1)
    again = policy.observe(drafting, 0, 1, 0, 0)
    assert [policy.cost(state, 1) for state in (plain, drafting, again)] == [1.75, 1.5, 1.75]
    assert [policy.cost(state, 0) for state in (plain, drafting, again)] == [1.0, 1.0, 1.0]
    assert drafting.account == pytest.approx(policy.account + 1 + policy.share - 1.75)


def served(policy: DraftLength, epsilon: float, steps: int, seed: int, state=None):
    """(state, tokens, cost, lengths) after steps whose positions are rejected independently."""
    rng, tokens, cost, lengths = np.random.default_rng(seed), 0, 0.0, []
    state = policy.init() if state is None else state
    for _ in range(steps):
        before, gamma = state, policy.choose(state)
        accepted = int((np.cumsum(rng.random(gamma) < epsilon) == 0).sum())
        state = policy.observe(state, gamma, accepted + 1, min(accepted + 1, gamma), int(accepted < gamma))
        tokens, cost = tokens + accepted + 1, cost + policy.cost(before, gamma)
        lengths.append(gamma)
    return state, tokens, cost, lengths


@given(
    costs=st.lists(st.floats(1, 3), min_size=1, max_size=8).map(sorted),
    epsilon=st.one_of(st.floats(1e-6, 1), st.sampled_from([0.5, 1.0])),
)
def test_the_fastest_length_is_that_of_the_speed_law(costs, epsilon):
    rates = tokens_per_step(epsilon, np.arange(len(costs) + 1)) / np.array([1.0, *costs])
    gamma, speed = fastest((1.0, *costs), epsilon)
    assert rates[gamma] >= rates.max() * (1 - 1e-12)
    assert speed == pytest.approx(rates[gamma], rel=1e-12)


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 0.25, 0.4])
def test_it_is_nearly_as_fast_as_the_best_length_in_hindsight(epsilon):
    _, tokens, cost, lengths = served(DraftLength(COSTS, memory=400.0), epsilon, 3000, 0)
    best = best_gamma(epsilon, np.array(COSTS))
    assert tokens / cost >= 0.97 * float(tokens_per_step(epsilon, best)) / COSTS[best]
    assert abs(np.median(lengths) - best) <= 1


def test_where_nothing_is_accepted_it_is_plain_decoding_but_for_its_share():
    _, tokens, cost, lengths = served(DraftLength(COSTS), 1.0, 3000, 0)
    assert tokens == 3000
    assert cost <= 1.005 * tokens + 8
    assert 60 <= sum(length > 0 for length in lengths) <= 80  # it looks again: 0.3 each, of 23 in all


def test_switches_leave_fewer_looks():
    _, tokens, cost, lengths = served(DraftLength(COSTS, switch_cost=0.3), 1.0, 3000, 0)
    assert cost <= 1.005 * tokens + 8
    assert 25 <= sum(length > 0 for length in lengths) <= 50  # 0.6 each, but for the first ones in a row


@pytest.mark.parametrize("switch_cost", [0.0, 0.3])
def test_it_comes_back_when_the_draft_becomes_good(switch_cost):
    policy = DraftLength(COSTS, switch_cost)
    state, *_ = served(policy, 1.0, 2000, 0)
    *_, lengths = served(policy, 0.05, 600, 1, state)
    assert np.median(lengths[-100:]) >= 4


def test_without_an_account_it_never_drafts_what_costs_more():
    _, _, _, lengths = served(replace(DraftLength(COSTS), account=0.0), 0.1, 50, 0)
    assert lengths == [0] * 50


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"costs": (1.0,)}, r"costs=\(1.0,\): of 0, 1, … drafted tokens"),
        ({"costs": (1.1, 1.2)}, "the first is 1"),
        ({"costs": (1.0, 1.5, 1.4)}, "must not fall"),
        ({"costs": (1.0, float("nan"))}, "must not fall"),
        ({"switch_cost": -0.1}, "switch_cost=-0.1: must be at least 0"),
        ({"share": -0.1}, "share=-0.1: must be at least 0"),
        ({"account": float("nan")}, "account=nan: must be at least 0"),
        ({"memory": 0.5}, "memory=0.5: must be at least 1"),
        ({"rejected": 3.0}, "some, but not all, must be rejected"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        DraftLength(**{"costs": COSTS} | settings)
