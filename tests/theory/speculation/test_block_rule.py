"""The block rule is lossless and accepts at least as much as the token rule: enumeration, identities, planted bugs."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from theory.speculation import block_rule as module
from theory.speculation.acceptance import alpha, following, greedy_rule, leading, token_rule
from theory.speculation.block_rule import block_rule, block_thresholds, prefix_weights, trailing
from theory.speculation.tabular import Proposal, Tabular, enumerate_step, output_law, total_variation
from theory.testing.strategies import laws

TREE = (2, 2, 2, 2)
"""Laws of two tokens by the last three: at gamma = 2 they depend on the whole prefix of the step."""


def context(target):
    return np.zeros(target.order, dtype=int)


def branches(rule, target, draft, gamma):
    return enumerate_step(rule, target, Proposal.of(draft), context(target), gamma)


def law_error(rule, target, draft, gamma):
    law = output_law(branches(rule, target, draft, gamma), target, context(target))
    return total_variation(law, target.text_law(context(target), gamma + 1))


def pair(seed, vocab, gamma):
    rng = np.random.default_rng(seed)
    target = Tabular.random(rng, vocab, gamma + 1)
    other = Tabular.random(rng, vocab, gamma + 1)
    return target, Tabular(0.5 * target.table + 0.5 * other.table)


# Lossless


@given(laws(*TREE), laws(*TREE))
@example(np.full(TREE, 0.5), np.full(TREE, 0.5))
def test_a_step_has_the_law_of_the_target(target, draft):
    assert law_error(block_rule, Tabular(target), Tabular(draft), 2) <= 1e-12


@pytest.mark.parametrize("vocab, gamma", [(3, 3), (2, 4), (5, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_has_the_law_of_the_target_at_other_sizes(seed, vocab, gamma):
    target, draft = pair(seed, vocab, gamma)
    assert law_error(block_rule, target, draft, gamma) <= 1e-12
    assert law_error(token_rule, target, draft, gamma) <= 1e-12
    assert law_error(block_rule, target, Tabular.random(np.random.default_rng(seed), vocab, gamma + 1), gamma) <= 1e-12


# How much is accepted


@given(laws(*TREE), laws(*TREE))
def test_never_fewer_expected_tokens_than_the_token_rule(target, draft):
    by_block, by_token = (branches(rule, Tabular(target), Tabular(draft), 2) for rule in (block_rule, token_rule))
    assert by_block.tokens() >= by_token.tokens() - 1e-12


def test_strictly_more_on_average():
    ratios = []
    for seed in range(12):
        target, draft = pair(seed, 3, 3)
        ratios.append(branches(block_rule, target, draft, 3).tokens() / branches(token_rule, target, draft, 3).tokens())
    assert min(ratios) > 1
    assert np.mean(ratios) > 1.01


@given(laws(*TREE), laws(*TREE))
def test_survival_is_the_carried_mass(target, draft):
    """P(at least i accepted) = Σ over prefixes x^i of draft(x^i)·p_i(x^i), for every i."""
    target, draft = Tabular(target), Tabular(draft)
    step = branches(block_rule, target, draft, 2)
    carried = np.ones(())
    for i in (1, 2):
        here = [table.after_all(context(target), i - 1) for table in (target, draft)]
        in_draft = draft.text_law(context(draft), i)
        carried = np.minimum(carried[..., None] * here[0], in_draft)
        np.testing.assert_allclose(np.sum(step.mass[step.accepted >= i]), carried.sum(), atol=1e-12)


def test_the_paper_s_example():
    """Target (1/3, 2/3), draft (2/3, 1/3) everywhere, two drafted tokens: 10/9 accepted by token, 11/9 by block."""
    target, draft = (Tabular(np.array([law, law])) for law in ([1 / 3, 2 / 3], [2 / 3, 1 / 3]))
    np.testing.assert_allclose(branches(token_rule, target, draft, 2).tokens() - 1, 10 / 9, rtol=1e-12)
    np.testing.assert_allclose(branches(block_rule, target, draft, 2).tokens() - 1, 11 / 9, rtol=1e-12)


@given(laws(2, 3), laws(3), st.integers(0, 2), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_one_drafted_token_is_the_token_rule(target, draft, token, kept, drawn):
    arguments = (target, draft[None], np.array([token]), np.array([kept, drawn]))
    if draft[token] == 0:
        return  # never drafted
    ratio = target[0, token] / draft[token]
    weights = prefix_weights(*arguments[:3])
    np.testing.assert_allclose(block_thresholds(*arguments[:2], weights), [min(1.0, ratio)], rtol=1e-12)
    if abs(kept - ratio) > 1e-9:
        assert block_rule(*arguments) == token_rule(*arguments)


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_at_temperature_0_it_is_the_greedy_rule(gamma, seed):
    rng = np.random.default_rng(seed)
    target, draft = rng.integers(2, size=(9, gamma + 1)), rng.integers(2, size=(9, gamma))
    ours = block_rule(np.eye(3)[target], np.eye(3)[draft], draft, rng.random((9, gamma + 1)))
    for one, other in zip(ours, greedy_rule(target, draft), strict=True):
        np.testing.assert_array_equal(one, other)


# Against a plain re-implementation of the recursion


def thresholds_by_loop(target, draft, tokens):
    weight, weights, thresholds = 1.0, [1.0], []
    for i, token in enumerate(tokens):
        weight = min(1.0, weight * target[i][token] / draft[i][token])
        weights.append(weight)
        if i + 1 == len(tokens):
            thresholds.append(weight)
            continue
        left = sum(max(weight * t - d, 0.0) for t, d in zip(target[i + 1], draft[i + 1], strict=True))
        thresholds.append(1.0 if left + 1 - weight == 0 else left / (left + 1 - weight))
    return weights, thresholds


def by_loop(target, draft, tokens, uniforms):
    weights, thresholds = thresholds_by_loop(target, draft, tokens)
    accepted = 0
    for i, limit in enumerate(thresholds, start=1):
        if uniforms[i - 1] < limit:
            accepted = i
    law = list(target[accepted])
    if accepted < len(tokens):
        law = [max(weights[accepted] * t - d, 0.0) for t, d in zip(law, draft[accepted], strict=True)]
    left = uniforms[-1] * sum(law)
    for token, mass in enumerate(law):
        left -= mass
        if left < 0:
            return accepted, token
    raise AssertionError("a law without mass was drawn from")


@given(laws(4, 4, 5, positive=True), laws(4, 3, 5, positive=True), st.integers(0, 10**6))
def test_it_is_the_paper_s_recursion(target, draft, seed):
    rng = np.random.default_rng(seed)
    tokens, uniforms = rng.integers(5, size=(4, 3)), rng.random((4, 4))
    accepted, token = block_rule(target, draft, tokens, uniforms)
    for copy in range(4):
        assert (accepted[copy], token[copy]) == by_loop(target[copy], draft[copy], tokens[copy], uniforms[copy])


def nothing_divided_by_nothing():
    """Draft and target agree: every weight is 1, nothing is left, and each prefix is accepted for certain."""
    law = np.tile([0.25, 0.75], (4, 1))
    weights = prefix_weights(law, law[:3], np.array([0, 1, 1]))
    np.testing.assert_array_equal(weights, 1.0)
    found, wanted = module.block_thresholds(law, law[:3], weights), thresholds_by_loop(law, law, [0, 1, 1])[1]
    np.testing.assert_array_equal(found, wanted)


def test_nothing_divided_by_nothing_is_one():
    nothing_divided_by_nothing()


def test_trailing_is_the_last_true_entry():
    kept = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(trailing(kept), [3, 3, 2, 0, 1])


@pytest.mark.parametrize("rule", [token_rule, block_rule])
def test_what_the_target_never_says_is_not_accepted_even_at_uniform_zero(rule):
    target, draft = np.tile([0.0, 1.0], (3, 1)), np.tile([1.0, 0.0], (2, 1))
    assert rule(target, draft, np.array([0, 0]), np.zeros(3)) == (0, 1)


def test_without_a_drafted_token_the_bonus_is_drawn():
    target = np.array([[0.25, 0.75]])
    assert block_rule(target, np.zeros((0, 2)), np.zeros(0, dtype=int), np.array([0.3])) == (0, 1)


@given(laws(2, 4, 5), laws(2, 3, 5), st.integers(0, 10**6))
def test_leading_axes_are_copies_and_numpy_and_torch_agree(target, draft, seed):
    rng = np.random.default_rng(seed)
    arguments = (target, draft, rng.integers(5, size=(2, 3)), rng.random((2, 4)))
    ours, theirs = block_rule(*arguments), block_rule(*(torch.from_numpy(a) for a in arguments))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    for copy in range(2):
        assert tuple(int(a[copy]) for a in ours) == tuple(int(a) for a in block_rule(*(a[copy] for a in arguments)))


@pytest.mark.parametrize("rule", [token_rule, block_rule])
def test_the_enumeration_has_mass_one_and_counts_alpha(rule):
    target, draft = pair(3, 3, 1)
    step = branches(rule, target, draft, 1)
    np.testing.assert_allclose(step.mass.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(step.following.sum(axis=-1)[step.mass > 1e-9], 1.0, rtol=1e-12)
    np.testing.assert_allclose(step.tokens() - 1, alpha(target.law([0, 0]), draft.law([0, 0])), rtol=1e-12)


# Planted bugs


def token_residual(target_probs, draft_probs, accepted):
    """The residual of the token rule: the weight p_τ is forgotten."""
    return following(target_probs / target_probs.sum(axis=-1, keepdims=True), draft_probs, accepted)


def nothing_is_zero(target_probs, draft_probs, weights):
    found = block_thresholds(target_probs, draft_probs, weights)
    left = np.maximum(weights[..., 1:-1, None] * target_probs[..., 1:-1, :] - draft_probs[..., 1:, :], 0).sum(axis=-1)
    nothing = left + 1 - weights[..., 1:-1] == 0
    return np.concatenate([np.where(nothing, 0.0, found[..., :-1]), found[..., -1:]], axis=-1)


def uncapped(target_probs, draft_probs, draft_tokens):
    ratios = np.take_along_axis(target_probs[..., :-1, :] / draft_probs, draft_tokens[..., None], axis=-1)[..., 0]
    return np.concatenate([np.ones((*ratios.shape[:-1], 1)), np.cumprod(ratios, axis=-1)], axis=-1)


def last_halved(target_probs, draft_probs, weights):
    found = block_thresholds(target_probs, draft_probs, weights)
    return np.concatenate([found[..., :-1], 0.5 * found[..., -1:]], axis=-1)


def largest_error():
    errors = [law_error(block_rule, *pair(seed, 3, 2), 2) for seed in range(3)]
    assert max(errors) <= 1e-12


MUTANTS = {
    "token residual under the block rule": ("following", token_residual, largest_error),
    "scan stopped at the first failure": ("trailing", leading, largest_error),
    "weights not capped at 1": ("prefix_weights", uncapped, largest_error),
    "last threshold halved": ("block_thresholds", last_halved, largest_error),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    attribute, bug, guard = MUTANTS[name]
    guard()
    monkeypatch.setattr(module, attribute, bug)
    with pytest.raises(AssertionError):
        guard()


def test_zero_for_nothing_divided_by_nothing_is_caught_and_never_reaches_the_text(monkeypatch):
    """If nothing is left at prefix i and p_i = 1, the laws agree there, so p_{i+1} = 1: a longer prefix is accepted."""
    law, high = np.tile([0.25, 0.75], (4, 1)), np.full(4, 1 - 2**-53)
    monkeypatch.setattr(module, "block_thresholds", nothing_is_zero)
    with pytest.raises(AssertionError):
        nothing_divided_by_nothing()
    for tokens in product(range(2), repeat=3):
        assert block_rule(law, law[:3], np.array(tokens), high)[0] == 3
