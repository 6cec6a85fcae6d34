"""The token rule is lossless: by exact enumeration, against identities, and against plain re-implementations."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from theory.speculation import acceptance
from theory.speculation.acceptance import (
    Walk,
    accept,
    alpha,
    categorical,
    greedy_rule,
    leading,
    process,
    residual,
    token_rule,
)
from theory.speculation.speedup import tokens_per_step
from theory.testing.strategies import laws, vectors

VOCABULARY = 3
GRID = (np.arange(12) + 0.5) / 12
"""Midpoints that integrate exactly over a uniform wherever all thresholds are multiples of 1/12."""


def quarter_laws(count, rng):
    """Laws ``[count, 3]`` with entries in quarters: acceptance ratios and residuals are then multiples of 1/12."""
    return rng.multinomial(4, np.ones(VOCABULARY) / VOCABULARY, size=count) / 4


class Tables:
    """Next-token laws that depend on the whole prefix since the step began."""

    def __init__(self, seed, depth):
        rng = np.random.default_rng(seed)
        prefixes = [p for length in range(depth + 1) for p in product(range(VOCABULARY), repeat=length)]
        self.target = dict(zip(prefixes, quarter_laws(len(prefixes), rng), strict=True))
        self.draft = dict(zip(prefixes, quarter_laws(len(prefixes), rng), strict=True))


def outcomes(tables, gamma, rule=token_rule):
    """Every (probability, committed tokens) of one step under ``rule``, by exact integration over the uniforms."""
    uniforms = np.array(list(product(GRID, repeat=gamma + 1)))
    total = {}
    for drafted in product(range(VOCABULARY), repeat=gamma):
        draft = np.array([tables.draft[drafted[:i]] for i in range(gamma)])
        target = np.array([tables.target[drafted[:i]] for i in range(gamma + 1)])
        mass = np.prod([draft[i][drafted[i]] for i in range(gamma)])
        if mass == 0:
            continue
        batch = [np.broadcast_to(a, (len(uniforms), *a.shape)) for a in (target, draft, np.array(drafted))]
        accepted, token = rule(*batch, uniforms)
        seen, counts = np.unique(np.stack([accepted, token], 1), axis=0, return_counts=True)
        for (count, last), times in zip(seen, counts, strict=True):
            committed = (*drafted[:count], int(last))
            total[committed] = total.get(committed, 0.0) + mass * times / len(uniforms)
    return total


def law_error(tables, gamma, rule=token_rule):
    """Total variation between the target's law of gamma + 1 tokens and that of a step continued by the target."""
    law = {}
    for committed, mass in outcomes(tables, gamma, rule).items():
        for rest in product(range(VOCABULARY), repeat=gamma + 1 - len(committed)):
            law[committed + rest] = law.get(committed + rest, 0.0) + mass * chain(tables, committed + rest, committed)
    texts = product(range(VOCABULARY), repeat=gamma + 1)
    return sum(abs(law.get(text, 0.0) - chain(tables, text)) for text in texts) / 2


def chain(tables, text, given_prefix=()):
    """Target probability of ``text`` after its beginning ``given_prefix``."""
    return np.prod([tables.target[text[:i]][text[i]] for i in range(len(given_prefix), len(text))])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gamma", [1, 2])
def test_a_step_has_the_law_of_the_target(seed, gamma):
    assert law_error(Tables(seed, gamma), gamma) <= 1e-12


def test_a_longer_step_has_the_law_of_the_target():
    assert law_error(Tables(0, 3), 3) <= 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_expected_tokens_are_e_of_epsilon_when_every_position_is_alike(seed):
    tables = Tables(seed, 2)
    tables.target = dict.fromkeys(tables.target, tables.target[()])
    tables.draft = dict.fromkeys(tables.draft, tables.draft[()])
    expected = sum(mass * len(committed) for committed, mass in outcomes(tables, 2).items())
    epsilon = 1 - alpha(tables.target[()], tables.draft[()])
    np.testing.assert_allclose(expected, tokens_per_step(epsilon, 2), rtol=1e-12)


@given(laws(5, 6), laws(5, 6))
def test_residual_completes_the_overlap_to_the_target(target, draft):
    overlap = np.minimum(target, draft)
    law = residual(target, draft)
    np.testing.assert_allclose(overlap + (1 - alpha(target, draft))[:, None] * law, target, atol=1e-14)
    np.testing.assert_allclose(law.sum(axis=-1), 1.0, rtol=1e-12)
    assert np.all(law >= 0)


@given(laws(5, 6), laws(5, 6))
def test_alpha_is_one_minus_total_variation(target, draft):
    np.testing.assert_allclose(alpha(target, draft), 1 - np.abs(target - draft).sum(axis=-1) / 2, atol=1e-14)
    np.testing.assert_allclose(alpha(target, draft), alpha(draft, target), atol=0)


def test_residual_where_nothing_is_left_is_the_target():
    law = np.array([0.25, 0.75])
    np.testing.assert_array_equal(residual(law, law), law)
    np.testing.assert_array_equal(residual(law, 0 * law), law)


@given(laws(6, positive=True), laws(6, positive=True), st.integers(0, 5))
def test_accept_has_probability_target_over_draft(target, draft, token):
    threshold = min(1.0, target[token] / draft[token])
    below, above = threshold * (1 - 1e-12), threshold * (1 + 1e-12)
    assert accept(target, draft, np.array(token), np.array(below))
    assert threshold == 1.0 or not accept(target, draft, np.array(token), np.array(above))


@given(laws(6), st.floats(0, 1, exclude_max=True))
def test_categorical_inverts_the_cumulative_law(law, uniform):
    token = categorical(law, np.array(uniform))
    cumulative = np.cumsum(law)
    assert law[token] > 0
    assert cumulative[token] - law[token] <= uniform * cumulative[-1] + 1e-15
    assert uniform * cumulative[-1] <= cumulative[token] + 1e-15


def test_categorical_never_draws_what_has_probability_zero():
    law = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    edge = np.array([0.0, 0.5, 1 - 2**-53])
    np.testing.assert_array_equal(categorical(np.broadcast_to(law, (3, 5)), edge), [1, 3, 3])
    tenths = np.full(10, 0.1)  # sums to 1 − 1.1e-16
    assert categorical(np.append(tenths, 0.0), np.array(1 - 2**-53)) == 9
    narrow = np.append(tenths, 0.0).astype(np.float32)
    for last in (np.array(1 - 2**-53), np.array(np.float32(1 - 2**-24))):  # more digits than the law, and as many
        assert categorical(narrow, last) == 9
        assert categorical(torch.from_numpy(narrow)[None], torch.from_numpy(last[None])) == 9


def greedy_by_loop(target, draft):
    accepted = 0
    while accepted < len(draft) and draft[accepted] == target[accepted]:
        accepted += 1
    return accepted, target[accepted]


@given(st.integers(1, 6).flatmap(lambda g: st.tuples(*[st.lists(st.integers(0, 1), min_size=g, max_size=g)] * 2)))
def test_greedy_rule_is_a_loop(tokens):
    draft, target = tokens
    target = [*target, 1]
    assert greedy_rule(np.array(target), np.array(draft)) == greedy_by_loop(target, draft)


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_token_rule_on_point_masses_is_the_greedy_rule(gamma, seed):
    rng = np.random.default_rng(seed)
    target, draft = rng.integers(3, size=(7, gamma + 1)), rng.integers(3, size=(7, gamma))
    ours = token_rule(np.eye(3)[target], np.eye(3)[draft], draft, rng.random((7, gamma + 1)))
    for one, other in zip(ours, greedy_rule(target, draft), strict=True):
        np.testing.assert_array_equal(one, other)


def test_leading_counts_before_the_first_rejection():
    kept = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(leading(kept), [3, 1, 0, 2])


# Sampling laws


def process_by_sorting(logits, temperature, top_k, top_p):
    """One row: temperature, the k largest, then the smallest set of the largest with mass at least top_p."""
    law = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-law, kind="stable")
    if top_k:
        law[order[top_k:]] = 0.0
    law /= law.sum()
    mass, kept = 0.0, np.zeros(len(law), dtype=bool)
    for token in order:
        kept[token] = mass < top_p
        mass += law[token]
    law = np.where(kept, law, 0.0)
    return law / law.sum()


def test_laws_keep_their_precision():
    for narrow in (np.eye(3, dtype=np.float32), torch.eye(3)):
        for law in (process(narrow, 0.7, 2, 0.9), residual(narrow, 0 * narrow)):
            assert law.dtype == narrow.dtype


@example(0, 1.0, 0, 1.0)
@example(0, 2.0, 0, 1.0)
@given(st.integers(0, 10**6), st.floats(0.2, 3), st.sampled_from([0, 1, 3, 50]), st.sampled_from([1.0, 0.9, 0.5, 0.01]))
def test_process_is_temperature_then_top_k_then_top_p(seed, temperature, top_k, top_p):
    logits = np.random.default_rng(seed).normal(size=(2, 3, 8)) * 2
    rows = [process_by_sorting(row, temperature, top_k, top_p) for row in logits.reshape(-1, 8)]
    expected = np.reshape(rows, logits.shape)
    np.testing.assert_allclose(process(logits, temperature, top_k, top_p), expected, atol=1e-14)
    tensors = process(torch.from_numpy(logits), temperature, top_k, top_p)
    np.testing.assert_allclose(tensors.numpy(), expected, atol=1e-14)


def test_process_takes_one_law_and_leaves_it_whole_unless_asked():
    logits = np.log([0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(process(logits), [0.5, 0.25, 0.125, 0.125], rtol=1e-15)
    np.testing.assert_allclose(process(logits, top_k=4), [0.5, 0.25, 0.125, 0.125], rtol=1e-15)
    np.testing.assert_allclose(process(logits, top_k=2), [2 / 3, 1 / 3, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(process(logits, top_p=1e-9), [1, 0, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(process(np.zeros(4), top_k=2), [0.25] * 4, rtol=1e-15)  # ties with the k-th are kept


def as_arrays(library, logits):
    """numpy's, torch's or jax's, of the same numbers."""
    if library == "torch":
        return torch.from_numpy(logits)
    if library == "jax":
        jax = pytest.importorskip("jax")
        jax.config.update("jax_enable_x64", True)
        return jax.numpy.asarray(logits)
    return logits


LIBRARIES = ["numpy", "torch", "jax"]


@pytest.mark.parametrize("vocabulary", [4, 64, 1024])
@pytest.mark.parametrize("top_p", [0.25, 0.5, 0.75])
def test_ties_at_the_edge_of_top_p_are_cut_as_transformers_cuts_them(monkeypatch, vocabulary, top_p):
    """Where its sort is stable: equal laws exactly at the edge, and rounded logits, of which many are equal."""
    process_of = pytest.importorskip("transformers.generation.logits_process")
    sort = torch.sort
    monkeypatch.setattr(torch, "sort", lambda scores, descending: sort(scores, descending=descending, stable=True))
    rounded = np.round(2 * np.random.default_rng(0).normal(size=(20, vocabulary)), 1)
    for logits in (np.zeros((1, vocabulary)), rounded):
        theirs = process_of.TopPLogitsWarper(top_p)(None, torch.from_numpy(logits)).isfinite().numpy()
        for library in LIBRARIES:
            ours = np.asarray(process(as_arrays(library, logits), top_p=top_p)) > 0
            np.testing.assert_array_equal(ours, theirs, err_msg=library)
        kept = np.flatnonzero(theirs[0])
        if not logits.any():
            np.testing.assert_array_equal(kept, np.arange(vocabulary)[-len(kept) :])  # the later ids
            assert len(kept) == top_p * vocabulary


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("top_k", [1, 3, 7])
def test_ties_at_the_edge_of_top_k_are_all_kept(library, top_k):
    process_of = pytest.importorskip("transformers.generation.logits_process")
    logits = np.round(np.random.default_rng(0).normal(size=(20, 64)))
    theirs = process_of.TopKLogitsWarper(top_k)(None, torch.from_numpy(logits)).isfinite().numpy()
    np.testing.assert_array_equal(np.asarray(process(as_arrays(library, logits), top_k=top_k)) > 0, theirs)
    assert (theirs.sum(-1) > top_k).any()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("kind", "temperature"), [(np.float32, 1e-39), (np.float64, 1e-320), (np.float32, 1e-320)])
def test_a_temperature_too_small_for_the_dtype_is_its_limit(library, kind, temperature):
    logits = np.array([[3.0, 30.0, -1.0, 29.0], [2.0, 0.0, 2.0, -np.inf]], kind)
    law = np.asarray(process(as_arrays(library, logits), temperature, top_p=0.9))
    assert law.dtype == kind
    np.testing.assert_array_equal(law, [[0, 1, 0, 0], [0.5, 0, 0.5, 0]])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("settings", [(1.0, 0, 1.0), (0.7, 2, 1.0), (0.7, 0, 0.5), (0.7, 3, 0.8), (1e-320, 0, 1.0)])
@pytest.mark.parametrize("logits", [[np.nan, 0, 1, 2], [0, 1, 2, np.inf], [-np.inf] * 4], ids=["nan", "inf", "none"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_logits_without_a_law_give_nan_throughout(library, settings, logits):
    both = np.array([logits, [0.0, -np.inf, 1.0, 2.0]])
    law = np.asarray(process(as_arrays(library, both), *settings))
    assert np.isnan(law[0]).all()
    assert law[1].sum() == pytest.approx(1)
    assert law[1, 1] == 0


def test_categorical_needs_no_normalised_law():
    np.testing.assert_array_equal(categorical(np.full((3, 2), 2.0), np.array([0.2, 0.4, 0.6])), [0, 0, 1])


def test_greedy_rule_serves_copies_in_numpy_and_torch():
    target, draft = np.array([[1, 2, 3], [1, 2, 3]]), np.array([[1, 2], [1, 0]])
    for asarray in (np.array, torch.tensor):
        accepted, token = greedy_rule(asarray(target), asarray(draft))
        np.testing.assert_array_equal(np.asarray(accepted), [2, 1])
        np.testing.assert_array_equal(np.asarray(token), [3, 2])


def test_a_step_is_cut_once():
    walk = Walk.begin(np.zeros(2, dtype=int)).commit(np.array([True, False]), 4).cut()
    np.testing.assert_array_equal(walk.steps, [1, 1])
    np.testing.assert_array_equal(walk.cut().steps, [1, 1])


# Walk


def decoder(kept, gamma):
    """Counts of a decoder, step by step; ``kept[i]``: would the draft token at committed position i be accepted?"""
    steps = accepted = recovered = bonus = position = 0
    while position < len(kept):
        steps += 1
        for drafted in range(gamma + 1):
            if position == len(kept):
                break
            position += 1
            if drafted == gamma:
                bonus += 1
            elif kept[position - 1]:
                accepted += 1
            else:
                recovered += 1
                break
    return steps, accepted, recovered, bonus


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_walk_counts_what_a_decoder_counts(kept, gamma):
    walk = Walk.begin(np.zeros((), dtype=int))
    for keep in kept:
        walk = walk.commit(np.array(keep), gamma)
    walk = walk.cut()
    assert (walk.steps, walk.accepted, walk.recovered, walk.bonus) == decoder(kept, gamma)


def test_walk_serves_copies_and_tensors():
    kept = np.random.default_rng(0).random((50, 4)) < 0.7
    walks = [Walk.begin(np.zeros(4, dtype=int)), Walk.begin(torch.zeros(4, dtype=torch.long))]
    for row in kept:
        walks = [w.commit(k, 3) for w, k in zip(walks, (row, torch.from_numpy(row)), strict=True)]
    walks = [w.cut() for w in walks]
    for copy in range(4):
        counts = decoder(kept[:, copy], 3)
        for walk in walks:
            assert tuple(int(f[copy]) for f in (walk.steps, walk.accepted, walk.recovered, walk.bonus)) == counts


# One source for numpy and torch


@given(laws(2, 4, 5), laws(2, 3, 5), vectors(2, 4), st.integers(0, 10**6))
def test_numpy_and_torch_agree(target, draft, noise, seed):
    rng = np.random.default_rng(seed)
    tokens, uniforms = rng.integers(5, size=(2, 3)), rng.random((2, 4))
    tensors = [torch.from_numpy(a) for a in (target, draft, tokens, uniforms)]
    for one, other in zip(token_rule(target, draft, tokens, uniforms), token_rule(*tensors), strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    for name in ("alpha", "residual"):
        function = getattr(acceptance, name)
        theirs = function(tensors[0][:, :3], tensors[1]).numpy()
        np.testing.assert_allclose(function(target[:, :3], draft), theirs, atol=1e-15)
