"""The best acceptance with several drafts is a linear program's; recursive rejection stays below it."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from theory.speculation.acceptance import accept, alpha, categorical, residual
from theory.speculation.multi_draft import best_acceptance, recursive_rejection
from theory.testing.strategies import laws


def by_linear_program(target, draft, drafts):
    """Largest mass that can flow from drafted tuples to tokens they contain, at most ``target`` into each token."""
    vocab = len(target)
    tuples = list(product(range(vocab), repeat=drafts))
    edges = [(i, token) for i, drawn in enumerate(tuples) for token in sorted(set(drawn))]
    limits = np.concatenate([[np.prod(draft[list(drawn)]) for drawn in tuples], target])
    rows = np.zeros((len(limits), len(edges)))
    for column, (i, token) in enumerate(edges):
        rows[i, column] = rows[len(tuples) + token, column] = 1.0
    solved = linprog(-np.ones(len(edges)), A_ub=rows, b_ub=limits)
    assert solved.status == 0
    return -solved.fun


@given(laws(4), laws(4), st.integers(1, 3))
@example(np.full(4, 0.25), np.full(4, 0.25), 2)
@example(np.array([0.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]), 2)
def test_the_optimum_is_the_linear_program_s(target, draft, drafts):
    ours = best_acceptance(target, draft, drafts)
    np.testing.assert_allclose(ours, by_linear_program(target, draft, drafts), atol=1e-8)


@given(laws(6), laws(6), st.integers(1, 4))
def test_threshold_sets_are_enough(target, draft, drafts):
    """The minimum over all 2^V sets of tokens is attained at a threshold set."""
    sets = np.array(list(product([0.0, 1.0], repeat=6)))
    np.testing.assert_allclose(
        best_acceptance(target, draft, drafts), 1 + np.min(sets @ target - (sets @ draft) ** drafts), atol=1e-12
    )


@given(laws(3, 5), laws(3, 5))
def test_one_draft_is_alpha(target, draft):
    np.testing.assert_allclose(best_acceptance(target, draft, 1), alpha(target, draft), atol=1e-12)
    np.testing.assert_allclose(recursive_rejection(target, draft, 1), alpha(target, draft), atol=1e-12)


@given(laws(5), laws(5), st.integers(1, 6))
def test_recursive_rejection_is_lossless_and_below_the_optimum(target, draft, drafts):
    optimum = best_acceptance(target, draft, drafts)
    assert recursive_rejection(target, draft, drafts) <= optimum + 1e-12
    assert optimum <= best_acceptance(target, draft, drafts + 1) + 1e-12
    assert optimum <= 1 - np.sum(np.where(draft > 0, 0.0, target)) + 1e-12  # what is never drafted is never accepted


def recursive_rejection_by_enumeration(target, draft, drafts):
    """(acceptance, output law) of the token rule tried on each draft in turn, integrated over a grid of uniforms."""
    law, accepted = np.zeros_like(target), 0.0
    grid = (np.arange(2000) + 0.5) / 2000
    reached, left = 1.0, target
    for _ in range(drafts):
        kept = np.array([accept(left, draft, np.array(y), grid[:, None]).mean() for y in range(len(draft))])
        law, accepted = law + reached * draft * kept, accepted + reached * np.sum(draft * kept)
        reached, left = reached * (1 - np.sum(draft * kept)), residual(left, draft)
    last = np.bincount(categorical(np.tile(left, (2000, 1)), grid), minlength=len(target)) / 2000
    return accepted, law + reached * last


@pytest.mark.parametrize("drafts", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_recursive_rejection_counts_what_the_rule_does(seed, drafts):
    rng = np.random.default_rng(seed)
    target, draft = rng.dirichlet(np.ones(4), 2)
    accepted, law = recursive_rejection_by_enumeration(target, draft, drafts)
    np.testing.assert_allclose(recursive_rejection(target, draft, drafts), accepted, atol=2e-3)
    np.testing.assert_allclose(law, target, atol=2e-3)


def test_the_gap_at_two_drafts():
    """Target ½ + ½, draft (1 − a, a): one draft more is worth more than recursive rejection makes of it."""
    target, draft = np.array([0.5, 0.5]), np.array([0.2, 0.8])
    np.testing.assert_allclose(best_acceptance(target, draft, 2), 1 + 0.5 - 0.64, rtol=1e-12)
    np.testing.assert_allclose(recursive_rejection(target, draft, 2), 1 - 0.3 * 0.8, rtol=1e-12)


def test_leading_axes_are_copies_and_numpy_and_torch_agree():
    rng = np.random.default_rng(0)
    target, draft = rng.dirichlet(np.ones(5), (2, 3)), rng.dirichlet(np.ones(5), (2, 3))
    for function in (best_acceptance, recursive_rejection):
        together = function(target, draft, 2)
        assert together.shape == (2, 3)
        np.testing.assert_allclose(together[1, 2], function(target[1, 2], draft[1, 2], 2), rtol=1e-15)
        theirs = function(torch.from_numpy(target), torch.from_numpy(draft), 2)
        np.testing.assert_allclose(together, theirs.numpy(), rtol=1e-14)


# Planted bugs


def threshold_sets_of_the_draft(target, draft, drafts):
    order = np.argsort(draft)
    in_target, in_draft = np.cumsum(target[order]), np.cumsum(draft[order])
    return 1 + np.minimum(np.min(in_target - in_draft**drafts), 0)


def independent_trials(target, draft, drafts):
    """1 − (1 − alpha)^n: as if every draft were tested against the target itself."""
    return 1 - (1 - alpha(target, draft)) ** drafts


@pytest.mark.parametrize("bug", [threshold_sets_of_the_draft, independent_trials, recursive_rejection])
def test_a_wrong_optimum_is_seen_by_the_linear_program(bug):
    target, draft = np.array([0.45, 0.35, 0.2]), np.array([0.15, 0.3, 0.55])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(bug(target, draft, 2), by_linear_program(target, draft, 2), atol=1e-8)
