"""Confidence sequences cover at every time at once, under drift, and are narrow where the values are."""

from math import log

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from theory.speculation import confidence
from theory.speculation.acceptance import Walk
from theory.speculation.confidence import bet_cost, confidence_sequence, deviation, variation
from theory.speculation.speedup import rejection_deviation

FALSE_ALARM = 1e-6
"""Probability that a coverage test below fails although everything is right."""
DELTA = 0.05


def unit(*shape):
    return arrays(float, shape, elements=st.floats(0, 1, allow_subnormal=False))


def by_loop(values, false_alarm):
    low, high, total, spread = [], [], 0.0, 0.0
    for t, x in enumerate(values, start=1):
        spread += (x - (0.5 + total) / t) ** 2
        total += x
        ways = []
        for k in range(1, 49):
            bet = 0.5 ** (k / 2)
            ways.append((log(2 / false_alarm * k * (k + 1)) + spread * (-log(1 - bet) - bet)) / bet)
        low.append(max(0.0, (total - min(ways)) / t))
        high.append(min(1.0, (total + min(ways)) / t))
    return low, high


@given(unit(12), st.floats(1e-6, 0.5))
def test_it_is_the_formula(values, false_alarm):
    values = np.tile(values, 25)  # long enough to leave the borders
    for one, other in zip(confidence_sequence(values, false_alarm), by_loop(values, false_alarm), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_smallest_bet_serves_the_longest_sequences():
    """Beyond 2^48 values every further one costs the smallest bet its full price, log weight included."""
    bet, spread = 2.0**-24, 1e20
    expected = (log(2 * 48 * 49 / 0.05) + bet_cost(bet) * spread) / bet
    np.testing.assert_allclose(deviation(np.array(spread), 0.05), expected, rtol=1e-12)


@given(unit(9))
def test_x_and_one_minus_x_mirror_each_other(values):
    low, high = confidence_sequence(values)
    np.testing.assert_allclose(variation(values), variation(1 - values), atol=1e-12)
    mirrored = confidence_sequence(1 - values)
    np.testing.assert_allclose((1 - mirrored[1], 1 - mirrored[0]), (low, high), atol=1e-12)


# The supermartingale, exactly


def expected_growth(low, high, mean, guess, bet):
    """E[exp(λ(x − m) − ψ(λ)(x − x̂)²)] for x in {low, high} with mean m: the extreme laws of a given mean."""
    up = (mean - low) / (high - low)
    points, masses = np.array([low, high]), np.array([1 - up, up])
    return masses @ np.exp(bet * (points - mean) - bet_cost(bet) * (points - guess) ** 2)


@given(
    st.floats(0, 0.49), st.floats(0.51, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.7071, 0.5, 0.1, 1e-3])
)
@example(0.0, 1.0, 1e-3, 0.0, 0.7071)
@example(0.0, 1.0, 0.999, 1.0, 0.7071)
def test_each_bet_is_fair(low, high, share, guess, bet):
    mean = low + share * (high - low)
    assert expected_growth(low, high, mean, guess, bet) <= 1 + 1e-12


def test_a_cheaper_bet_is_not_fair(monkeypatch):
    """x is 1 and guessed as 1, but for a probability of 0.001: only the full cost keeps the bet on x fair."""
    assert expected_growth(0.0, 1.0, 0.999, 1.0, 0.5) <= 1 + 1e-12
    monkeypatch.setitem(globals(), "bet_cost", lambda bet: 0.9 * confidence.bet_cost(bet))
    assert expected_growth(0.0, 1.0, 0.999, 1.0, 0.5) > 1 + 1e-6


# Coverage


def ever_missed(values, means, interval=confidence_sequence):
    """Of the copies, how many intervals ever miss the running average of the conditional means."""
    low, high = interval(values, DELTA)
    average = np.cumsum(means, axis=0) / np.arange(1, len(means) + 1)[:, None]
    return int(np.sum(np.any((average < low) | (average > high), axis=0)))


def streams(kind, copies, length):
    """Values and their conditional means ``[length, copies]``."""
    rng = np.random.default_rng(3)
    if kind == "rejections, rare":
        means = np.full((length, copies), 0.98)
    elif kind == "fair coin":
        means = np.full((length, copies), 0.5)
    elif kind == "drift":
        means = np.broadcast_to(0.5 + 0.45 * np.sin(np.arange(length) / 40)[:, None], (length, copies))
    else:  # each mean depends on the value before: no independence
        values = np.zeros((length, copies))
        means = np.full((length, copies), 0.5)
        for t in range(length):
            means[t] = 0.15 + 0.7 * values[t - 1] if t else means[t]
            values[t] = rng.random(copies) < means[t]
        return values, means
    return (rng.random((length, copies)) < means).astype(float), means


@pytest.mark.parametrize("kind", ["rejections, rare", "fair coin", "drift", "Markov"])
def test_coverage_at_every_time_at_once(kind):
    """2,000 copies of 1,500 values: exact binomial test of P(ever missed) ≤ δ."""
    missed = ever_missed(*streams(kind, 2000, 1500))
    assert binom.sf(missed - 1, 2000, DELTA) >= FALSE_ALARM


def hoeffding_radius(count, false_alarm):
    """√(log(2/δ)/(2t)), for one t fixed beforehand."""
    return rejection_deviation(count, false_alarm / 2)


def fixed_time(values, false_alarm):
    count = np.arange(1, len(values) + 1)[:, None]
    mean, radius = np.cumsum(values, axis=0) / count, hoeffding_radius(count, false_alarm)
    return mean - radius, mean + radius


def test_hoeffding_at_every_time_does_not_cover():
    missed = ever_missed(*streams("fair coin", 2000, 1500), fixed_time)
    assert binom.sf(missed - 1, 2000, DELTA) < FALSE_ALARM


def shrunk(values, false_alarm):
    """Width of the central limit theorem, without a word about time."""
    count = np.arange(1, len(values) + 1)[:, None]
    mean, radius = np.cumsum(values, axis=0) / count, 1.96 * variation(values) ** 0.5 / count
    return mean - radius, mean + radius


def test_the_width_of_the_central_limit_theorem_does_not_cover():
    missed = ever_missed(*streams("drift", 2000, 1500), shrunk)
    assert binom.sf(missed - 1, 2000, DELTA) < FALSE_ALARM


def test_tokens_per_step():
    """Tokens of each step over gamma + 1: the mean of E(ε, γ)/(γ+1) is covered."""
    rng, gamma, epsilon, copies = np.random.default_rng(0), 3, 0.3, 500
    kept = rng.random((1200, copies, gamma)) >= epsilon
    tokens = 1 + np.cumprod(kept, axis=-1).sum(axis=-1)
    mean = sum((1 - epsilon) ** j for j in range(gamma + 1)) / (gamma + 1)
    missed = ever_missed(tokens / (gamma + 1), np.full((1200, copies), mean))
    assert binom.sf(missed - 1, copies, DELTA) >= FALSE_ALARM
    walk = Walk.begin(np.zeros(()))
    for keep in (True, False):
        walk = walk.commit(np.array(keep), gamma)
    assert walk.steps == 1  # a step of two tokens: one accepted, one recovered


# Width


def width(values):
    low, high = confidence_sequence(values, DELTA)
    return (high - low)[-1]


@pytest.mark.parametrize(
    ("alpha", "length", "at_most"), [(0.5, 1000, 2.2), (0.5, 10_000, 2.1), (0.9, 10_000, 1.3), (0.99, 10_000, 0.5)]
)
def test_width_against_hoeffding_at_one_fixed_time(alpha, length, at_most):
    """The price of holding always is about a factor 2 at variance ¼; small variance more than pays for it."""
    values = (np.random.default_rng(0).random(length) < alpha).astype(float)
    assert width(values) <= at_most * 2 * hoeffding_radius(length, DELTA)


def test_width_shrinks_like_the_root_of_loglog_over_time():
    values = (np.random.default_rng(0).random(2**17) < 0.5).astype(float)
    low, high = confidence_sequence(values, DELTA)
    times = 2 ** np.arange(9, 18) - 1
    slope = np.polyfit(np.log(times + 1), np.log((high - low)[times]), 1)[0]
    assert -0.5 < slope < -0.45


def test_constant_values_shrink_like_one_over_time():
    assert width(np.full(10_000, 0.7)) < 20 * width(np.full(100_000, 0.7))
    assert width(np.full(100_000, 0.7)) < 2e-3


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1e-6, 0.5))
def test_deviation_is_concave_and_increasing(one, other, false_alarm):
    ends = [deviation(np.array(v), false_alarm) for v in (one, other)]
    middle = deviation(np.array((one + other) / 2), false_alarm)
    assert middle >= np.mean(ends) * (1 - 1e-12)
    assert (ends[0] - ends[1]) * (one - other) >= 0


# Any array library, copies, refusals


@given(unit(7, 3))
def test_numpy_and_torch_agree_and_copies_are_independent(values):
    ours, theirs = confidence_sequence(values), confidence_sequence(torch.from_numpy(values))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-12)
    np.testing.assert_allclose(ours[0][:, 1], confidence_sequence(values[:, 1])[0], atol=1e-15)


@pytest.mark.parametrize(
    ("values", "false_alarm", "message"),
    [
        ([0.5, 1.5], 0.05, r"values in \[0.5, 1.5\]\): scale them"),
        ([-0.5, 1.0], 0.05, r"values in \[-0.5, 1.0\]\): scale them"),
        ([0.5, float("nan")], 0.05, "scale them"),
        ([0.5], 0.0, r"false_alarm=0.0\): a probability"),
        ([0.5], 1.0, r"false_alarm=1.0\): a probability"),
    ],
)
def test_what_makes_no_sense_is_refused(values, false_alarm, message):
    with pytest.raises(ValueError, match=message):
        confidence_sequence(np.array(values), false_alarm)


# Planted bugs


def peeking(values):
    """The guess already contains x_t."""
    count = np.cumsum(np.ones_like(values), 0)
    return np.cumsum((values - np.cumsum(values, 0) / count) ** 2, 0)


def sample_variance(values):
    return np.cumsum((values - values.mean(axis=0)) ** 2, 0)


BUGS = {
    "guess after the value": ("variation", peeking),
    "centred at the final mean": ("variation", sample_variance),
    "half the cost": ("bet_cost", lambda bet: 0.5 * bet_cost(bet)),
    "one-sided": ("log", lambda x: log(x / 2)),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_bug_is_caught(name, monkeypatch):
    attribute, bug = BUGS[name]
    values = np.random.default_rng(0).random(12)
    test_it_is_the_formula.hypothesis.inner_test(values, 0.05)
    monkeypatch.setattr(confidence, attribute, bug)
    with pytest.raises(AssertionError):
        test_it_is_the_formula.hypothesis.inner_test(values, 0.05)
