"""From regret to acceptance to speed: Theorems 0 and 1, Lemma A, the best draft length."""

from itertools import product
from math import e, log

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import lambertw

from theory.speculation import speedup
from theory.speculation.acceptance import Walk, alpha, token_rule
from theory.speculation.block_rule import block_rule
from theory.speculation.speedup import tokens_per_step
from theory.speculation.tabular import Proposal, Tabular, enumerate_step
from theory.testing.strategies import laws

gammas = st.integers(1, 12)
shares = st.floats(0, 1)
ROUNDING = 1 + 1e-12


def completed(kept, gamma):
    """(tokens, steps, rejections, verified) up to the end of the last completed step."""
    walk, best = Walk.begin(np.zeros((), dtype=int)), (0, 0, 0, 0)
    for number, keep in enumerate(kept, start=1):
        walk = walk.commit(np.array(keep), gamma)
        if walk.run == 0:
            best = (number, int(walk.steps), int(walk.recovered), int(walk.accepted + walk.recovered))
    return best


REJECT_AT_ONCE_OR_NEVER = [False, True, True, True, True, True] * 5
"""gamma = 4: steps of one recovered token alternate with steps of four accepted tokens and a bonus."""


# E and Lemma A


@pytest.mark.parametrize("gamma", [1, 4, 15])
@pytest.mark.parametrize("epsilon", [0.0, 1e-300, 1e-18, 1e-9, 1e-3, 0.2, 0.999999, 1.0])
def test_e_is_the_sum_of_survival_probabilities(epsilon, gamma):
    expected = sum((1 - epsilon) ** j for j in range(gamma + 1))
    np.testing.assert_allclose(tokens_per_step(epsilon, gamma), expected, rtol=1e-12)


@given(shares, gammas)
def test_lemma_a(epsilon, gamma):
    value = tokens_per_step(epsilon, gamma)
    cap = min(gamma + 1, 1 / max(epsilon, 1e-300))
    assert speedup.tokens_per_step_lower(epsilon, gamma) <= value * ROUNDING
    assert (1 - 1 / e) * cap <= value * ROUNDING
    assert value <= cap * ROUNDING


def test_lemma_a_constant_cannot_be_raised():
    gamma = 10**6
    assert tokens_per_step(1 / (gamma + 1), gamma) <= (1 - 1 / e + 1e-6) * (gamma + 1)


@given(shares, shares, gammas)
def test_e_is_convex_and_decreasing(one, other, gamma):
    middle = tokens_per_step((one + other) / 2, gamma)
    assert middle <= (tokens_per_step(one, gamma) + tokens_per_step(other, gamma)) / 2 * ROUNDING
    assert tokens_per_step(max(one, other), gamma) <= tokens_per_step(min(one, other), gamma) * ROUNDING


# Theorem 4: every path


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 6))
@example(REJECT_AT_ONCE_OR_NEVER, 4)
@example([True, True, True, False] * 8, 4)
def test_pathwise_theorems_hold_on_every_path(kept, gamma):
    tokens, steps, rejections, verified = completed(kept, gamma)
    if steps == 0:
        return
    measured = tokens / steps
    by_token, by_verified = rejections / tokens, rejections / verified
    assert speedup.tokens_per_step_lower(by_token, gamma) <= measured * ROUNDING
    assert measured <= speedup.tokens_per_step_upper(by_token, gamma) * ROUNDING
    assert measured <= min(gamma + 1, tokens / max(rejections, 1e-300)) * ROUNDING
    assert speedup.verified_lower(by_verified, gamma) <= measured * ROUNDING
    assert measured <= speedup.verified_upper(by_verified, gamma) * ROUNDING
    fewest, most = speedup.steps_range(tokens, rejections, gamma)
    assert fewest <= steps * ROUNDING
    assert steps <= most * ROUNDING


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("gamma", [1, 3, 6])
def test_pathwise_theorems_hold_for_correlated_rejections(seed, gamma):
    rng = np.random.default_rng(seed)
    stay, state, kept = rng.uniform(0.5, 0.99), True, []
    for _ in range(1500):  # a two-state Markov chain: long runs of acceptance, long runs of rejection
        state = state if rng.random() < stay else not state
        kept.append(state)
    tokens, steps, rejections, verified = completed(kept, gamma)
    ratios = (
        tokens / steps / speedup.tokens_per_step_lower(rejections / tokens, gamma),
        tokens / steps / speedup.verified_lower(rejections / verified, gamma),
    )
    assert min(ratios) >= 1 - 1e-12
    assert max(ratios) <= 1.3


def test_both_lower_forms_are_attained_where_e_is_violated():
    tokens, steps, rejections, verified = completed(REJECT_AT_ONCE_OR_NEVER, 4)
    measured, r = tokens / steps, rejections / verified
    assert (measured, r) == (3.0, 0.2)
    np.testing.assert_allclose(speedup.verified_lower(r, 4), measured, rtol=1e-15)
    np.testing.assert_allclose(speedup.tokens_per_step_lower(rejections / tokens, 4), measured, rtol=1e-15)
    np.testing.assert_allclose(tokens_per_step(r, 4), 3.3616, rtol=1e-12)
    assert measured < tokens_per_step(r, 4)


def test_both_upper_forms_are_attained():
    late = [True, True, True, False] * 5 + [True] * 25  # rejected at the last drafted position, or never
    tokens, steps, rejections, verified = completed(late, 4)
    np.testing.assert_allclose(speedup.tokens_per_step_upper(rejections / tokens, 4), tokens / steps, rtol=1e-15)
    np.testing.assert_allclose(speedup.verified_upper(rejections / verified, 4), tokens / steps, rtol=1e-15)


@pytest.mark.parametrize("gamma", [1, 4])
def test_theorem_0_in_expectation_needs_no_independence(gamma):
    """Whether a run is good or bad is drawn once: E[tokens_per_step] still exceeds the bound at the mean TV."""
    total_variations, horizon = (0.02, 0.9), 4000
    rng = np.random.default_rng(0)
    measured = []
    for tv in total_variations:
        tokens, steps, *_ = completed(rng.random(horizon) >= tv, gamma)
        measured.append(tokens / steps)
    assert np.mean(measured) >= speedup.tokens_per_step_lower(np.mean(total_variations), gamma)


# From regret to rejection


@given(laws(6, 5), laws(6, 5, positive=True))
def test_rejection_bound_covers_the_mean_total_variation(target, draft):
    divergence = np.sum(np.where(target > 0, target * np.log(np.where(target > 0, target, 1) / draft), 0), axis=-1)
    assert np.mean(1 - alpha(target, draft)) <= speedup.rejection_bound(np.mean(divergence)) + 1e-12


def test_rejection_bound_is_tight_at_both_ends():
    """Two tokens: Pinsker for near laws, and a divergence at which the target's support is nearly missed."""
    target, draft = np.array([0.5, 0.5]), np.array([0.51, 0.49])
    near = np.sum(target * np.log(target / draft))
    assert 1 - alpha(target, draft) >= 0.999 * speedup.rejection_bound(near)
    target, draft = np.array([1.0, 0.0]), np.array([1e-6, 1 - 1e-6])
    assert 1 - alpha(target, draft) >= (1 - 1e-6) * speedup.rejection_bound(-log(1e-6))


@given(st.floats(0, 50), st.floats(0, 50))
def test_rejection_bound_is_concave_increasing_and_at_most_one(one, other):
    middle = speedup.rejection_bound((one + other) / 2)
    assert middle >= (speedup.rejection_bound(one) + speedup.rejection_bound(other)) / 2 - 1e-12
    assert speedup.rejection_bound(min(one, other)) <= speedup.rejection_bound(max(one, other)) <= 1


@given(laws(40, 3, positive=True), st.integers(1, 5), st.integers(0, 10**6))
def test_greedy_rejections_are_linear_in_the_hard_label_loss(draft, gamma, seed):
    label = np.random.default_rng(seed).integers(3, size=40)
    tokens, steps, rejections, _ = completed(draft.argmax(axis=-1) == label, gamma)
    loss = float(-np.log(draft[np.arange(40), label])[:tokens].sum())
    assert rejections <= speedup.greedy_rejections(loss) * ROUNDING
    if steps:
        lower = speedup.tokens_per_step_lower(speedup.greedy_rejections(loss) / tokens, gamma)
        assert lower <= tokens / steps * ROUNDING


def test_greedy_rejections_are_attained():
    assert speedup.greedy_rejections(3 * log(2)) == pytest.approx(3)  # a tie, lost three times


@given(laws(8, 5), laws(8, 5, positive=True), gammas, st.floats(0.01, 0.5))
def test_theorem_1_for_independent_positions(target, draft, gamma, cost_ratio):
    divergence = np.sum(np.where(target > 0, target * np.log(np.where(target > 0, target, 1) / draft), 0), axis=-1)
    measured = np.mean(tokens_per_step(1 - alpha(target, draft), gamma)) / (1 + gamma * cost_ratio)
    lower, upper = speedup.theorem_1(np.mean(divergence), gamma, cost_ratio)
    assert lower <= measured * ROUNDING
    assert measured <= upper * ROUNDING
    rho = speedup.rejection_bound(np.mean(divergence))
    assert (gamma + 1) / ((1 + gamma * cost_ratio) * (1 + gamma * rho)) <= lower * ROUNDING


@pytest.mark.parametrize("false_alarm", [0.5, 0.05, 1e-4])
@pytest.mark.parametrize(("verified", "mean"), [(20, 0.5), (200, 0.3), (200, 0.02)])
def test_rejection_deviation_has_its_false_alarm_probability(verified, mean, false_alarm):
    from scipy.stats import binom

    limit = verified * (mean + speedup.rejection_deviation(verified, false_alarm))
    assert binom.sf(np.ceil(limit - 1e-9) - 1, verified, mean) <= false_alarm


@pytest.mark.parametrize("seed", range(10))
def test_sequence_theorem_by_enumeration(seed):
    """Laws that depend on the whole prefix; P(first j accepted) = Σ Π min(target, draft)."""
    gamma, vocabulary, rng = 3, 3, np.random.default_rng(seed)
    mass = {(): (1.0, 1.0, 1.0)}  # prefix -> target, draft, accepted probability
    total_variation, overlap, accepted = [], [], []
    for _ in range(gamma):
        grown, expected_tv = {}, 0.0
        for prefix, (in_target, in_draft, kept) in mass.items():
            target, draft = rng.dirichlet(np.ones(vocabulary)), rng.dirichlet(np.ones(vocabulary))
            draft = 0.8 * target + 0.2 * draft
            expected_tv += in_target * (1 - alpha(target, draft))
            for y in range(vocabulary):
                both = (in_target * target[y], in_draft * draft[y], kept * min(target[y], draft[y]))
                grown[(*prefix, y)] = both
        mass = grown
        total_variation.append(expected_tv)
        overlap.append(sum(min(t, d) for t, d, _ in mass.values()))
        accepted.append(sum(kept for *_, kept in mass.values()))
    expected = 1 + sum(accepted)
    assert speedup.sequence_lower(np.array(total_variation)) <= expected * ROUNDING
    assert expected <= speedup.sequence_upper(np.array(overlap)) * ROUNDING
    assert speedup.sequence_lower(np.array(total_variation)) > 1.5  # neither limit is trivial here
    assert speedup.sequence_upper(np.array(overlap)) < gamma + 1


START = np.array([1, 0, 0])
"""Three tokens before the step; with tables of order 3 no context of the step is met twice."""


def sequence_limits(target, draft, gamma):
    """(lower, upper) of Theorem 6 on tables, by summing over all texts."""
    tv, overlap = [], []
    for i in range(gamma):
        there = 1 - alpha(target.after_all(START, i), draft.after_all(START, i))
        tv.append(np.sum(target.text_law(START, i) * there))
        overlap.append(np.sum(np.minimum(target.text_law(START, i + 1), draft.text_law(START, i + 1))))
    return speedup.sequence_lower(np.array(tv)), speedup.sequence_upper(np.array(overlap))


@given(laws(2, 2, 2, 2), laws(2, 2, 2, 2))
def test_sequence_theorem_holds_for_both_lossless_rules(target, draft):
    target, draft = Tabular(target), Tabular(draft)
    lower, upper = sequence_limits(target, draft, 2)
    for rule in (token_rule, block_rule):
        tokens = enumerate_step(rule, target, Proposal.of(draft), START, 2).tokens()
        assert lower <= tokens * ROUNDING
        assert tokens <= upper * ROUNDING


@pytest.mark.parametrize("rule", [token_rule, block_rule])
def test_both_limits_of_the_sequence_theorem_are_attained(rule):
    """Target and draft differ at the first position only, so that nothing but the first token is ever rejected."""
    target = Tabular.random(np.random.default_rng(0), 3, order=3)
    other = target.table.copy()
    other[tuple(START)] = np.roll(other[tuple(START)], 1)
    tokens = enumerate_step(rule, target, Proposal.of(Tabular(other)), START, 2).tokens()
    np.testing.assert_allclose(sequence_limits(target, Tabular(other), 2), tokens, rtol=1e-12)
    assert 1.5 < tokens < 2.9


# Cost and the best draft length


# One known text


def steps_by_enumeration(rates, gamma):
    """The mean over all ways to accept or reject positions of the steps that ``Walk`` takes."""
    total = 0.0
    for kept in product([True, False], repeat=len(rates)):
        probability, walk = 1.0, Walk.begin(np.zeros((), dtype=int))
        for rate, keep in zip(rates, kept, strict=True):
            probability *= rate if keep else 1 - rate
            walk = walk.commit(np.array(keep), gamma)
        total += probability * (int(walk.steps) + (walk.run > 0))  # the last step is cut by the end of the text
    return total


@given(st.lists(shares, min_size=1, max_size=7), st.integers(1, 4))
def test_expected_steps_are_those_of_an_enumeration(rates, gamma):
    found = speedup.expected_steps(np.array(rates), gamma)
    assert found == pytest.approx(steps_by_enumeration(rates, gamma), rel=1e-12)


@pytest.mark.parametrize("gamma", [1, 4])
def test_expected_steps_are_those_of_a_simulation(gamma):
    copies, rng = 20_000, np.random.default_rng(7)
    rates = rng.random(60) ** 0.5
    walk = Walk.begin(np.zeros(copies, dtype=int))
    for rate in rates:
        walk = walk.commit(rng.random(copies) < rate, gamma)
    steps = walk.steps + (walk.run > 0)
    error = steps.std() / copies**0.5
    assert speedup.expected_steps(rates, gamma) == pytest.approx(steps.mean(), abs=4 * error)


@pytest.mark.parametrize("gamma", [1, 3, 8])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_a_long_text_of_one_rate_takes_the_steps_of_the_speed_law(rate, gamma):
    """Each further token costs 1/E(1 − α, γ) steps, once the end is far away."""
    longer, shorter = (float(speedup.expected_steps(np.full(n, rate), gamma)) for n in (1001, 1000))
    assert longer - shorter == pytest.approx(1 / float(tokens_per_step(1 - rate, gamma)), rel=1e-10)


@pytest.mark.parametrize(
    ("alpha", "gamma", "steps"),
    [
        ([1.0] * 10, 4, 2), ([1.0] * 11, 4, 3), ([0.0] * 10, 4, 10), ([0.7] * 10, 0, 10), ([0.9], 3, 1),
        ([0.5, 0.9], 1, 1.5), ([0.5, 0.25, 0.9], 2, 1 + 0.5 * (1 + 0.75) + 0.5 * 0.75),
    ],
)  # fmt: skip
def test_expected_steps_worked_out_by_hand(alpha, gamma, steps):
    assert speedup.expected_steps(np.array(alpha), gamma) == pytest.approx(steps)


def test_expected_steps_are_taken_text_by_text():
    alpha = np.random.default_rng(3).random((2, 3, 9))
    found = speedup.expected_steps(alpha, 2)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(speedup.expected_steps(alpha[1, 2], 2))


@pytest.mark.parametrize("gamma", [0, 1, 4])
def test_steps_begun_sum_to_the_steps_of_every_beginning_of_a_text(gamma):
    alpha = np.random.default_rng(5).random((2, 12)) ** 0.5
    begun = speedup.steps_begun(alpha, gamma)
    assert begun.shape == (2, 12)
    for row, of in zip(alpha.tolist(), begun, strict=True):
        whole = [steps_by_enumeration(row[:m], gamma) for m in range(1, 13)]
        np.testing.assert_allclose(np.cumsum(of), whole, rtol=1e-12)
    assert -1e-12 < begun.min() <= begun.max() == 1


@pytest.mark.parametrize(("alpha", "gamma"), [([0.5, 1.1], 2), ([-0.1], 2), ([np.nan], 2), ([0.5], -1)])
def test_expected_steps_refuse_what_is_no_rate(alpha, gamma):
    with pytest.raises(ValueError, match=r"rates lie in \[0, 1\], gamma is at least 0; give one acceptance rate a pos"):
        speedup.expected_steps(np.array(alpha), gamma)


def test_speedup_law_charges_every_cost():
    assert speedup.speedup(3.0, 4, 0.1) == pytest.approx(3.0 / 1.4)
    charged = speedup.speedup(3.0, 4, 0.1, verify=1.5, update=2.0, steps_per_update=20)
    assert charged == pytest.approx(3.0 / (1.5 + 0.4 + 0.1))


@pytest.mark.parametrize(("epsilon", "about"), [(0.5, 2), (0.2, 6), (0.05, 15), (0.01, 39)])
def test_best_gamma_at_cost_ratio_one_tenth(epsilon, about):
    assert round(float(speedup.best_gamma_real(epsilon, 0.1))) == about


@given(st.floats(1e-4, 0.9), st.floats(0.005, 0.6))
def test_best_gamma_real_is_within_one_of_the_best_integer(epsilon, cost_ratio):
    real = float(speedup.best_gamma_real(epsilon, cost_ratio))
    lengths = np.arange(0, max(10, int(2 * max(real, 1)) + 3))
    rates = [float(tokens_per_step(epsilon, int(g))) / (1 + g * cost_ratio) for g in lengths]
    best = lengths[int(np.argmax(rates))]
    assert abs(best - real) <= 1
    if best >= 1:
        assert speedup.best_gamma(epsilon, 1 + lengths * cost_ratio) == best


@pytest.mark.parametrize(("epsilon", "cost_ratio"), list(product([0.9, 0.3, 0.01], [0.5, 0.1, 0.01])))
def test_best_gamma_real_is_lambert_w(epsilon, cost_ratio):
    s = -np.log1p(-epsilon)
    q = s * (1 - cost_ratio) / cost_ratio
    w = -1 - q - lambertw(-np.exp(-1 - q), k=-1).real
    np.testing.assert_allclose(speedup.best_gamma_real(epsilon, cost_ratio), w / s - 1, rtol=1e-6)


def test_best_gamma_real_where_lambert_w_underflows_or_cancels():
    epsilon, cost_ratio = np.array([0.9999, 1e-12]), np.array([1e-4, 0.1])
    real = speedup.best_gamma_real(epsilon, cost_ratio)
    s = -np.log1p(-epsilon)
    w = s * (real + 1)
    # the stationary condition itself: e^w − 1 − w = s(1 − c)/c
    np.testing.assert_allclose(np.expm1(w) - w, s * (1 - cost_ratio) / cost_ratio, rtol=1e-6)
    np.testing.assert_allclose(real[1], np.sqrt(2 * 9 / 1e-12), rtol=1e-5)


@pytest.mark.parametrize("q", [1e3, 1e6, 1e12])
def test_best_gamma_real_is_the_asymptotic_series_for_large_q(q):
    """W₋₁(−e^{−1−q}) = −(1+q) − l − l/(1+q) + O((l/q)²), l = log(1+q): e^{−1−q} itself is 0 in floating point."""
    s, grown = 0.5, np.log1p(q)
    series = (grown + grown / (1 + q)) / s - 1
    ours = speedup.best_gamma_real(-np.expm1(-s), s / (s + q))
    np.testing.assert_allclose(ours, series, rtol=(grown / q) ** 2 + 1e-12)


@given(st.floats(0.02, 0.9), st.floats(0.01, 0.3), st.floats(0, 0.2), st.floats(0, 2))
def test_verify_curve_and_update_charge_only_rescale_the_cost(epsilon, cost_ratio, slope, update):
    """v(γ) = 1 + slope·γ and b/m = update: the best length is that of c = (slope + cost_ratio)/(1 + update)."""
    lengths = np.arange(400)
    costs = 1 + slope * lengths + cost_ratio * lengths + update
    real = float(speedup.best_gamma_real(epsilon, (slope + cost_ratio) / (1 + update)))
    best = speedup.best_gamma(epsilon, costs)
    assert abs(best - max(real, 1)) <= 1
    reached = speedup.speedup(
        tokens_per_step(epsilon, best), best, cost_ratio, verify=1 + slope * best, update=update * 7, steps_per_update=7
    )
    by_hand = max(float(tokens_per_step(epsilon, int(g))) / costs[g] for g in lengths[1:])
    np.testing.assert_allclose(reached, by_hand, rtol=1e-12)


def test_best_gamma_follows_a_measured_curve_with_a_step():
    """A fifth verified token costs a second kernel launch: the best length stops right before it."""
    costs = np.array([1.0, 1.05, 1.1, 1.15, 1.8, 1.85, 1.9, 1.95]) + 0.05 * np.arange(8)
    assert speedup.best_gamma(0.3, costs) == 3
    assert speedup.best_gamma(0.3, costs[:3]) == 2


@pytest.mark.parametrize(
    ("epsilon", "cost_ratio"), [(0.0, 0.1), (1.0, 0.1), (0.5, 0.0), (0.5, 1.0), (float("nan"), 0.1)]
)
def test_best_gamma_real_refuses_what_has_no_optimum(epsilon, cost_ratio):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        speedup.best_gamma_real(epsilon, cost_ratio)


def test_functions_are_elementwise():
    many = np.linspace(0, 1, 7)
    for function in (tokens_per_step, speedup.tokens_per_step_lower, speedup.tokens_per_step_upper):
        np.testing.assert_allclose(function(many, 4), [function(float(one), 4) for one in many])
    for function in (speedup.verified_lower, speedup.verified_upper):
        np.testing.assert_allclose(function(many, 4), [function(float(one), 4) for one in many])


@pytest.mark.parametrize("axes", [(3,), (2, 3), (4, 2, 3)])
def test_sequence_limits_are_taken_step_by_step(axes):
    varied = np.random.default_rng(0).random(axes) / 2
    for limit in (speedup.sequence_lower, speedup.sequence_upper):
        alone = [limit(row) for row in varied.reshape(-1, axes[-1])]
        np.testing.assert_allclose(limit(varied), np.reshape(alone, axes[:-1]), rtol=1e-15)


def test_narrow_numbers_are_computed_wide():
    third = np.float32(1 / 3)
    exact = float(third)
    for function in (tokens_per_step, speedup.tokens_per_step_upper, speedup.verified_upper):
        assert function(third, 4) == function(exact, 4)
    assert speedup.rejection_bound(third) == speedup.rejection_bound(exact)
    assert speedup.best_gamma_real(third, 0.1) == speedup.best_gamma_real(exact, 0.1)
    assert speedup.best_gamma_real(0.1, third) == speedup.best_gamma_real(0.1, exact)
