"""The paper's speed formulas and their errata, each shown by an instance."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import bounds
from theory.domain import Ball
from theory.learners import OGD
from theory.loss import Linear
from theory.speculation import speedup
from theory.speculation.acceptance import alpha
from theory.speculation.paper_speed import (
    feasible,
    leaves_feasible,
    paper_best_gamma,
    paper_diverges_below,
    paper_speedup,
    paper_step,
    paper_tokens_per_step,
)
from theory.speculation.speedup import tokens_per_step

gammas = st.integers(2, 12)


# The lower limits diverge


@given(gammas, st.floats(0.01, 0.5), st.sampled_from([1.0, 0.1, 1e-3]))
def test_lower_limits_pass_every_cap_as_regret_vanishes(gamma, cost_ratio, constant):
    """Whatever constant the soft Ω hides: a small enough regret contradicts the paper's own upper limit."""
    mean_regret = 1e-2 * constant**2 * paper_diverges_below(gamma)
    low, own_cap = paper_speedup(mean_regret, gamma, cost_ratio)
    assert constant * low > own_cap
    assert leaves_feasible(constant * low, gamma, cost_ratio) == 1
    tokens, own_cap = paper_tokens_per_step(mean_regret, gamma)
    assert constant * tokens > own_cap
    ours, cap = speedup.theorem_1(mean_regret, gamma, cost_ratio)
    assert leaves_feasible(ours, gamma, cost_ratio) == 0
    assert ours <= cap


@given(gammas, st.floats(0.01, 0.5), st.floats(0.2, 5))
def test_where_the_lower_limit_leaves_the_feasible_set(gamma, cost_ratio, factor):
    at = paper_diverges_below(gamma)
    low, _ = paper_speedup(factor * at, gamma, cost_ratio)
    if abs(factor - 1) > 1e-9:
        assert (leaves_feasible(low, gamma, cost_ratio) == 1) == (factor < 1)
    np.testing.assert_allclose(paper_speedup(at, gamma, cost_ratio)[0], feasible(gamma, cost_ratio)[1], rtol=1e-12)


def test_a_poor_draft_is_promised_less_than_the_one_token_every_step_has():
    low, _ = paper_speedup(4.0, 4, 0.1)
    assert leaves_feasible(low, 4, 0.1) == -1
    assert leaves_feasible(speedup.theorem_1(4.0, 4, 0.1)[0], 4, 0.1) == 0


def test_leaves_feasible_is_elementwise_and_includes_its_ends():
    low, high = feasible(4, 0.1)
    claimed = np.array([0.5 * low, low, 1.0, high, 1.01 * high])
    np.testing.assert_array_equal(leaves_feasible(claimed, 4, 0.1), [-1, 0, 0, 0, 1])
    np.testing.assert_allclose((low, high), (1 / 1.4, 5 / 1.4), rtol=1e-15)


@given(st.floats(0, 1), gammas, st.floats(0.01, 0.5))
def test_what_a_decoder_can_do_is_feasible(epsilon, gamma, cost_ratio):
    reached = tokens_per_step(epsilon, gamma) / (1 + gamma * cost_ratio)
    low, high = feasible(gamma, cost_ratio)
    assert low * (1 - 1e-12) <= reached <= high * (1 + 1e-12)


# The hidden factor


@given(st.floats(0.01, 0.999), st.integers(1, 12))
def test_the_step_of_lemma_1_holds_with_its_hidden_factor(acceptance, gamma):
    drafted = tokens_per_step(1 - acceptance, gamma) - 1
    honest = paper_step(acceptance, gamma, hidden=-log(acceptance))
    assert acceptance * honest <= drafted * (1 + 1e-12)
    assert honest <= tokens_per_step(1 - acceptance, gamma - 1) * (1 + 1e-12)


def test_the_printed_forms():
    np.testing.assert_allclose(paper_step(0.5, 4), 1.6, rtol=1e-15)
    np.testing.assert_allclose(paper_tokens_per_step(0.04, 4), (5.0, 4.0), rtol=1e-15)
    np.testing.assert_allclose(paper_speedup(0.04, 4, 0.25), (1.875, 2.0), rtol=1e-15)


@pytest.mark.parametrize("gamma", [2, 4, 8])
def test_without_it_the_step_exceeds_what_was_drafted(gamma):
    acceptance = (gamma + 0.5) / (gamma + 1.5)
    assert paper_step(acceptance, gamma) > gamma > tokens_per_step(1 - acceptance, gamma) - 1


def test_the_hidden_factor_is_not_a_constant_or_a_logarithm():
    """Printed over true grows like 1/(1 − alpha): as alpha → 1 the printed form is wrong by any factor."""
    ratio = [paper_step(1 - e, 4) / paper_step(1 - e, 4, hidden=-log(1 - e)) for e in (1e-2, 1e-4, 1e-6)]
    np.testing.assert_allclose(np.diff(np.log(ratio)), log(100), rtol=0.03)


# The bonus token


def test_the_bonus_is_in_the_lower_limit_and_in_no_upper_limit():
    """A draft equal to its target commits γ + 1 tokens a step; one that is never right commits one."""
    for gamma in (1, 4):
        _, cap = paper_tokens_per_step(0.01, gamma)
        assert tokens_per_step(0.0, gamma) == cap + 1
        assert leaves_feasible(tokens_per_step(0.0, gamma) / (1 + 0.1 * gamma), gamma, 0.1) == 0
        assert tokens_per_step(0.0, gamma) / (1 + 0.1 * gamma) > paper_speedup(0.01, gamma, 0.1)[1]
    low, _ = paper_tokens_per_step(1e12, 4)
    np.testing.assert_allclose(low, tokens_per_step(1.0, 4), rtol=1e-5)
    assert paper_speedup(0.01, 1, 0.1)[0] == 0.0  # Theorem 1 drops it: one drafted token would never help


# What regret leaves out


def test_zero_regret_is_not_zero_loss():
    """The best draft of its class against a target outside it: no regret, half the tokens rejected."""
    target, best = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    loss = float(np.sum(target[:1] * np.log(target[:1] / best[:1])))
    true = tokens_per_step(1 - alpha(target, best), 4) / 1.4
    assert paper_speedup(1e-9, 4, 0.1)[0] > 1e3 * true
    assert speedup.theorem_1(0.0 + loss, 4, 0.1)[0] <= true


# Radius and diameter


def test_a_radius_in_place_of_the_diameter_breaks_the_regret_bound():
    """One round, from border to border of a ball: regret 2·radius·G, bound G√(A) with A = D² only if D = 2·radius."""
    radius = 1.5
    learner, x_1 = OGD(radius, Ball(radius)), np.array([radius, 0.0])
    regret = float(Linear(np.array([1.0, 0.0])).value(learner.predict(learner.init(x_1)))) + radius
    with_radius, with_diameter = (bounds.ogd_oracle(1.0, 1, bounds.comparator_energy(d, 0.0)) for d in (1.5, 3.0))
    assert with_radius < regret
    assert regret <= with_diameter


# The best length


@given(st.floats(0.005, 0.5))
def test_paper_best_gamma_maximises_theorem_1(cost_ratio):
    best = paper_best_gamma(cost_ratio)

    def limit(gamma):
        return paper_speedup(0.01, gamma, cost_ratio)[0]

    assert limit(best) >= max(limit(best * 1.01), limit(best / 1.01))


def test_the_best_length_is_no_constant():
    """At one cost the best length runs from 2 to 39 with alpha; the constant one loses up to half of the speed."""
    cost_ratio = 0.1
    constant = round(paper_best_gamma(cost_ratio))
    assert constant == 4
    kept = {}
    for epsilon in (0.5, 0.2, 0.05, 0.01):
        best = speedup.best_gamma(epsilon, 1 + cost_ratio * np.arange(80))
        rates = [float(tokens_per_step(epsilon, g)) / (1 + cost_ratio * g) for g in (constant, best)]
        kept[epsilon] = (best, rates[0] / rates[1])
    assert [best for best, _ in kept.values()] == [2, 6, 15, 39]
    assert kept[0.01][1] < 0.55
    assert kept[0.5][1] < 0.95
