"""The audit: fair by exact enumeration, rarely alarmed by clean text, alarmed by every planted bug."""

from math import log

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom

from theory.speculation import audit as module
from theory.speculation.acceptance import categorical, token_rule
from theory.speculation.audit import Audit, State, clipped_bet, kt_constant, log_wealth, pit
from theory.speculation.block_rule import block_rule
from theory.speculation.hazards import Hazard, exact_total_variation, hazards, models, planted, tokens_to_detection
from theory.speculation.tabular import Proposal, Tabular
from theory.testing.strategies import laws

FALSE_ALARM = 1e-6
"""Probability that a test below which draws random text fails although everything is right."""

# The transform


def pit_by_sorting(law, token, uniform):
    order = sorted(range(len(law)), key=lambda y: (-law[y], y))
    return sum(law[y] for y in order[: order.index(token)]) + uniform * law[token]


@given(laws(6), st.integers(0, 5), st.floats(0, 1, exclude_max=True))
@example(np.full(6, 1 / 6), 3, 0.5)
def test_pit_orders_by_descending_probability(law, token, uniform):
    ours = pit(law, np.array(token), np.array(uniform))
    np.testing.assert_allclose(ours, pit_by_sorting(law, token, uniform), atol=1e-15)


@given(laws(6))
def test_the_transform_is_uniform(law):
    """Token y comes with probability law[y] and spreads over an interval of that length; the intervals tile [0, 1)."""
    starts = pit(np.tile(law, (6, 1)), np.arange(6), np.zeros(6))
    order = np.lexsort((law > 0, starts))  # what has no probability starts where its successor does
    np.testing.assert_allclose(starts[order], np.cumsum(law[order]) - law[order], atol=1e-12)


# Fairness, exactly


def every_text(audit, target, length, transform=pit):
    """(probability, log M_t) of every text of ``length`` tokens and every bin its transforms fall into.

    A token's transform spreads evenly over its interval; each piece of it that lies in one bin is one branch.
    """
    mass, context, state = np.ones(1), np.zeros((1, 1), dtype=int), audit.init(np.zeros(1))
    edges = np.arange(1, audit.bins) / audit.bins
    for _ in range(length):
        law, token = target.law(context)[:, None], np.arange(target.vocab)[None]
        start = pit(law, token, np.zeros_like(law[:, 0, :1]))
        own = np.broadcast_to(law[:, 0], start.shape)
        cuts = np.clip((edges - start[..., None]) / own[..., None], 0, 1)
        cuts = np.concatenate([np.zeros_like(cuts[..., :1]), cuts, np.ones_like(cuts[..., :1])], axis=-1)
        piece, middle = np.diff(cuts, axis=-1), (cuts[..., 1:] + cuts[..., :-1]) / 2
        kept = np.argwhere(piece > 1e-15)
        old, new = kept[:, 0], kept[:, 1]
        mass = mass[old] * own[old, new] * piece[tuple(kept.T)]
        transformed = transform(target.law(context[old]), new, middle[tuple(kept.T)])
        state = audit.update(State(*(a[old] for a in state)), transformed)
        context = new[:, None]
    return mass, state.log_wealth


def expected_wealth(audit, target, length):
    mass, logs = every_text(audit, target, length, module.pit)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-12)
    return float(np.sum(mass * np.exp(logs)))


def fair():
    for seed in range(3):
        target = Tabular.random(np.random.default_rng(seed), 3, spread=1.5)
        for bins in (2, 5):
            for length in (1, 2, 4):
                np.testing.assert_allclose(expected_wealth(Audit(bins), target, length), 1.0, rtol=1e-12)


def test_expected_wealth_is_one():
    fair()


@given(laws(3, 3, positive=True), st.integers(2, 6), st.integers(1, 3))
def test_expected_wealth_is_one_for_any_table(table, bins, length):
    np.testing.assert_allclose(expected_wealth(Audit(bins), Tabular(table), length), 1.0, rtol=1e-9)


def test_expected_wealth_is_at_most_one_under_the_composite_null():
    target = Tabular.random(np.random.default_rng(0), 3, spread=1.5)
    assert expected_wealth(Audit(4, tolerance=0.05), target, 4) < 1


class Peeking(Audit):
    def update(self, state, pit_t):
        right = super().update(state, pit_t)
        won = np.sum(self.hits(pit_t) * self.bets(right.counts), axis=-1)
        return right._replace(log_wealth=state.log_wealth + np.log(won))


class Laplace(Audit):
    def bets(self, counts):
        return self.bins * (counts + 1.0) / (counts.sum(axis=-1, keepdims=True) + 0.5 * self.bins)


PIT = pit
UNFAIR = {
    "transform not randomised": ("pit", lambda law, token, uniform: PIT(law, token, 0 * uniform + 0.5)),
    "transform at the upper end": ("pit", lambda law, token, uniform: PIT(law, token, 0 * uniform + 1 - 1e-9)),
    "own probability forgotten": ("pit", lambda law, token, uniform: 0.5 * (PIT(law, token, uniform) + uniform)),
    "bet placed after the token": ("Audit", Peeking),
    "weights that sum to more than 1": ("Audit", Laplace),
}


@pytest.mark.parametrize("name", UNFAIR)
def test_an_unfair_bet_is_caught(name, monkeypatch):
    attribute, bug = UNFAIR[name]
    monkeypatch.setattr(module, attribute, bug)
    monkeypatch.setitem(globals(), attribute, bug)
    with pytest.raises(AssertionError):
        fair()


# The wealth


@given(st.lists(st.integers(0, 3), max_size=60))
def test_wealth_depends_on_the_counts_alone(bins):
    audit, state = Audit(4), Audit(4).init(np.zeros(()))
    for hit in bins:
        state = audit.update(state, np.array((hit + 0.5) / 4))
    np.testing.assert_array_equal(state.counts, np.bincount(bins, minlength=4))
    np.testing.assert_allclose(state.log_wealth, log_wealth(state.counts), atol=1e-10)


@given(st.lists(st.integers(0, 10**5), min_size=2, max_size=20))
@example([10**5] + 15 * [0])
def test_wealth_is_within_its_price_of_the_best_constant_bet(counts):
    """Regret of KT against the bets that knew the counts: at most ((B−1)/2)·log(t + 1) + log 2."""
    bins, total = len(counts), sum(counts)
    best = sum(n * log(bins * n / total) for n in counts if n)
    assert log_wealth(counts) >= best - (bins - 1) / 2 * log(total + 1) - log(2) - 1e-9 * total


def test_growth_is_kl_less_the_price():
    """E[log M_t] = t·KL − ((B−1)/2)·log t + constant: mean of 400 draws of the counts within 5 standard errors."""
    rng, bins, total = np.random.default_rng(0), 16, 100_000
    law = rng.dirichlet(np.full(bins, 20.0))
    divergence = total * np.sum(law * np.log(bins * law))
    logs = np.array([log_wealth(counts) for counts in rng.multinomial(total, law, size=400)])
    expected = divergence - (bins - 1) / 2 * log(total) + kt_constant(bins)
    assert abs(logs.mean() - expected) < 5 * logs.std() / 20 + 0.05
    np.testing.assert_allclose(kt_constant(16), 20.65, atol=0.01)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05]))
def test_watching_a_text_is_updating_token_by_token(seed, tolerance):
    rng, audit = np.random.default_rng(seed), Audit(5, tolerance=tolerance)
    pits, committed = rng.random((3, 20)) ** 2, rng.random((3, 20)) < 0.7
    start = audit.update(audit.init(np.zeros(3)), rng.random(3))
    watched, path = audit.watch(start, pits, committed)
    for stream in range(3):
        state = State(*(a[stream] for a in start))
        for t in range(20):
            state = audit.update(state, pits[stream, t]) if committed[stream, t] else state
            np.testing.assert_allclose(path[stream, t], state.log_wealth, atol=1e-12)
        for one, other in zip(watched, state, strict=True):
            np.testing.assert_allclose(one[stream], other, atol=1e-12)


def test_the_alarm_stays():
    audit = Audit(2, false_alarm=0.1)
    state, _ = audit.watch(audit.init(np.zeros(1)), np.full((1, 10), 0.1), np.ones((1, 10), dtype=bool))
    assert audit.alarm(state)
    state, path = audit.watch(state, np.full((1, 30), 0.9), np.ones((1, 30), dtype=bool))
    assert path[0, 5] < log(10)
    assert audit.alarm(state)
    assert not audit.alarm(audit.init(np.zeros(1)))
    assert audit.alarm(State(np.zeros(2), np.array(0.0), np.array(log(10))))  # reaching 1/δ is enough


def test_by_default_sixteen_bins_and_one_false_alarm_in_a_million():
    assert Audit() == Audit(bins=16, false_alarm=1e-6, tolerance=0.0)


def test_a_transform_rounded_up_to_one_falls_into_the_last_bin():
    assert Audit(4).update(Audit(4).init(np.zeros(())), np.array(1.0)).counts[3] == 1


# The composite null


def worst_expectation(bet, tolerance):
    """Largest E_q[bet] over laws q within ``tolerance`` of uniform: mass moves from the smallest to the largest bet."""
    low, left = np.full(len(bet), 1 / len(bet)), tolerance
    for b in np.argsort(bet):
        moved = min(left, low[b])
        low[b], left = low[b] - moved, left - moved
    low[np.argmax(bet)] += tolerance - left
    return float(low @ bet)


@given(laws(6, positive=True), st.floats(0, 0.6))
@example(np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02]), 0.1)
@example(np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02]), 1 / 6)
def test_the_clipped_bet_is_fair_for_the_worst_law_of_the_null(weights, tolerance):
    bet = clipped_bet(weights, tolerance)
    outside = 0.5 * np.sum(np.abs(weights - 1 / 6)) - tolerance
    assert worst_expectation(bet, tolerance) <= 1 + 1e-12
    if outside > 1e-9:
        np.testing.assert_allclose(worst_expectation(bet, tolerance), 1.0, rtol=1e-9)  # no fairer bet is left
        assert weights @ np.log(bet) > 0  # it grows at the rate KL(weights ‖ null)
    elif outside < -1e-9:
        np.testing.assert_allclose(bet, 1.0, rtol=1e-12)


@given(laws(6, positive=True))
def test_without_tolerance_nothing_is_clipped(weights):
    np.testing.assert_allclose(clipped_bet(weights, 0.0), 6 * weights, rtol=1e-12)


def test_bias_is_found_beyond_the_tolerance_and_forgiven_within():
    rng = np.random.default_rng(0)
    pits = np.where(rng.random((5, 20_000)) < 0.1, 0.1 * rng.random((5, 20_000)), rng.random((5, 20_000)))  # TV 0.09
    for tolerance, found in ((0.0, True), (0.03, True), (0.1, False)):
        audit = Audit(10, tolerance=tolerance)
        state, _ = audit.watch(audit.init(np.zeros(5)), pits, np.ones(pits.shape, dtype=bool))
        assert np.all(audit.alarm(state) == found), tolerance


# Alarms


def clean_alarms(audit, streams, length):
    """How many of many clean streams, drawn token by token from a table, ever alarm."""
    rng = np.random.default_rng(5)
    target, state = Tabular.random(rng, 4, spread=1.5), audit.init(np.zeros(streams))
    context = np.zeros((streams, 1), dtype=int)
    for _ in range(length):
        law, uniforms = target.law(context), rng.random((2, streams))
        token = categorical(law, uniforms[0])
        state = audit.update(state, module.pit(law, token, uniforms[1]))
        context = token[:, None]
    return int(audit.alarm(state).sum())


def alarm_rate(audit_class, streams, length):
    alarms = clean_alarms(audit_class(8, false_alarm=0.05), streams, length)
    assert binom.sf(alarms - 1, streams, 0.05) >= FALSE_ALARM, f"{alarms} of {streams} clean streams alarmed"


@pytest.mark.slow
def test_clean_streams_alarm_at_most_at_the_stated_rate():
    """2,000 streams of 10,000 tokens; exact binomial test of P(alarm) ≤ δ."""
    alarm_rate(Audit, 2000, 10_000)


@pytest.mark.parametrize("bug", [Peeking, Laplace])
def test_an_unfair_bet_alarms_too_often(bug):
    with pytest.raises(AssertionError, match="clean streams alarmed"):
        alarm_rate(type("Raised", (bug,), {"alarm": lambda self, s: s.log_wealth >= log(20)}), 500, 200)


@pytest.mark.slow
def test_every_hazard_is_seen():
    rows = hazards(streams=1)
    assert len(rows) == 10
    for row in rows:
        assert row.total_variation > 1e-3, row
        assert row.tokens < 3_000_000, row
    sizes, waits = [r.total_variation for r in rows], [r.tokens for r in rows]
    assert max(waits[i] for i in np.argsort(sizes)[-3:]) < min(waits[i] for i in np.argsort(sizes)[:3])


@pytest.mark.parametrize("rule", [token_rule, block_rule])
def test_a_right_decoder_is_not_a_hazard(rule):
    target, draft, _ = models(0)
    right = Hazard("none", rule, Proposal.of(draft))
    assert exact_total_variation(right, target) <= 1e-12
    rng = np.random.default_rng(1)
    assert tokens_to_detection(right, target, Audit(), rng, streams=3, longest=50_000) == np.inf


def test_choosing_after_the_sample_is_a_law():
    _, draft, other = models(0)
    proposal = next(h for h in planted(draft, other) if "chosen after" in h.name).proposal
    np.testing.assert_allclose(proposal.sampled.sum(axis=-1), 1.0, rtol=1e-12)
    for last in range(5):  # against two loops over both samples
        expected = np.zeros(10)
        for y in range(5):
            for z in range(5):
                first = draft.table[last, y] >= other.table[last, z]
                expected[y if first else 5 + z] += draft.table[last, y] * other.table[last, z]
        np.testing.assert_allclose(proposal.sampled[last], expected, rtol=1e-12)


# Any array library, and refusals


@given(laws(4, 6), st.integers(0, 10**6), st.sampled_from([0.0, 0.1]))
def test_numpy_and_torch_agree(law, seed, tolerance):
    rng, audit = np.random.default_rng(seed), Audit(6, tolerance=tolerance)
    tokens, uniforms = rng.integers(6, size=4), rng.random(4)
    ours, theirs = audit.init(np.zeros(4)), audit.init(torch.zeros(4, dtype=torch.float64))
    for _ in range(3):
        ours = audit.update(ours, pit(law, tokens, uniforms))
        theirs = audit.update(theirs, pit(*(torch.from_numpy(a) for a in (law, tokens, uniforms))))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-12)
    many = audit.watch(audit.init(np.zeros(4)), rng.random((4, 3)), np.ones((4, 3), dtype=bool))[0]
    assert many.counts.shape == (4, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, r"bins=1\): at least 2"),
        ({"false_alarm": 0.0}, r"false_alarm=0.0\): a probability"),
        ({"false_alarm": 1.0}, r"false_alarm=1.0\): a probability"),
        ({"tolerance": -0.1}, r"tolerance=-0.1\): a total variation"),
        ({"tolerance": 1.0}, r"tolerance=1.0\): a total variation"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Audit(**settings)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_a_law_that_is_none_raises_the_alarm_and_what_is_passed_over_may_be_one(make):
    """No text follows a law of NaN; an audit that is blind to it says that all is well."""
    bettor, tokens, uniforms = Audit(), make([1, 0]), make([0.3, 0.6])
    pits = pit(make([[np.nan] * 3, [0.2, 0.5, 0.3]]), tokens, uniforms)
    after = bettor.update(bettor.init(0 * pits), pits)
    assert np.asarray(bettor.alarm(after)).tolist() == [True, False]
    start = bettor.init(pits[1:].sum() * 0)
    for counted, alarm in ((make([True, True]), True), (make([False, True]), False)):
        assert bool(bettor.alarm(bettor.watch(start, pits, counted)[0])) == alarm
