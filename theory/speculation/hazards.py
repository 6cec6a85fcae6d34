"""Bugs a learning speculative decoder invites, on a table: how far each bends the text, and how soon the audit sees it.

Every row is a planted bug in one draft–verify step. Its total variation is exact (``tabular.enumerate_step``): between
the law of the next gamma + 1 tokens after one step, continued by the target, and the target's own, averaged over the
last token. Its tokens to detection are the median over independent streams.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from theory.arrays import Array
from theory.speculation.acceptance import categorical, following, leading, token_rule
from theory.speculation.audit import Audit, pit
from theory.speculation.block_rule import block_rule, block_thresholds, prefix_weights
from theory.speculation.tabular import Proposal, Rule, Tabular, enumerate_step, output_law, total_variation, verify

VOCAB, GAMMA, REQUESTS = 5, 2, 256


class Hazard(NamedTuple):
    """A decoder with a bug: how it verifies and how it drafts."""

    name: str
    rule: Rule
    proposal: Proposal


class Row(NamedTuple):
    """What ``hazards`` reports of one hazard."""

    name: str
    total_variation: float
    tokens: float  # median tokens to detection; infinite where most streams ended without an alarm


# Bugs in drafting


def top_k(table: Tabular, k: int) -> Tabular:
    """Each law cut to its k most likely tokens and renormalised."""
    kth = np.sort(table.table, axis=-1)[..., -k, None]
    kept = np.where(table.table >= kth, table.table, 0.0)
    return Tabular(kept / kept.sum(axis=-1, keepdims=True))


def powers_of_two(table: Tabular) -> Tabular:
    """Each probability rounded to a power of two: a number format without mantissa."""
    rounded = 2.0 ** np.round(np.log2(table.table))
    return Tabular(rounded / rounded.sum(axis=-1, keepdims=True))


def surest(one: Tabular, other: Tabular) -> Proposal:
    """Both drafters sample; the one surer of its own sample speaks, and reports its own law."""
    smaller = one.table[..., :, None] >= other.table[..., None, :]  # [..., token of one, token of other]
    first = one.table * np.sum(smaller * other.table[..., None, :], axis=-1)
    second = other.table * np.sum(~smaller * one.table[..., :, None], axis=-2)
    laws = np.concatenate([Proposal.of(one).reported, Proposal.of(other).reported], axis=-2)
    return Proposal(np.concatenate([first, second], axis=-1), np.tile(np.arange(one.vocab), 2), laws)


# Bugs in verification


def recovered_from_target(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array):
    """Token rule, but a rejected token is replaced by a draw from the target instead of the residual."""
    accepted, _ = token_rule(target_probs, draft_probs, draft_tokens, uniforms)
    return accepted, categorical(following(target_probs, 0 * draft_probs, accepted), uniforms[..., -1])


def residual_not_normalised(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array):
    """Token rule, but (target − draft)₊ is walked as if it summed to 1: what is missing falls on the last token."""
    accepted, _ = token_rule(target_probs, draft_probs, draft_tokens, uniforms)
    excess = np.maximum(target_probs[..., :-1, :] - draft_probs, 0.0)
    laws = np.concatenate([excess, target_probs[..., -1:, :]], axis=-2)
    laws[..., -1] += 1 - laws.sum(axis=-1)
    law = np.take_along_axis(laws, accepted[..., None, None], axis=-2)[..., 0, :]
    return accepted, categorical(law, uniforms[..., -1])


def laws_one_late(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array):
    """Token rule with every target law taken from the position before."""
    late = np.concatenate([target_probs[..., :1, :], target_probs[..., :-1, :]], axis=-2)
    return token_rule(late, draft_probs, draft_tokens, uniforms)


def block_with_token_residual(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array):
    """Block rule, but the following token is drawn from the token rule's residual: the weight p_τ is forgotten."""
    accepted, _ = block_rule(target_probs, draft_probs, draft_tokens, uniforms)
    return accepted, categorical(following(target_probs, draft_probs, accepted), uniforms[..., -1])


def block_stopped_early(target_probs: Array, draft_probs: Array, draft_tokens: Array, uniforms: Array):
    """Block rule, but the scan stops at the first prefix that fails."""
    weights = prefix_weights(target_probs, draft_probs, draft_tokens)
    accepted = leading(uniforms[..., :-1] < block_thresholds(target_probs, draft_probs, weights))
    law = following(weights[..., None] * target_probs, draft_probs, accepted)
    return accepted, categorical(law, uniforms[..., -1])


def planted(draft: Tabular, other: Tabular) -> list[Hazard]:
    """Every hazard, with ``draft`` drafting and ``other`` the weights that are swapped in or the second drafter."""
    honest, top = Proposal.of(draft), top_k(draft, 2)
    return [
        Hazard("samples after top-k, reports the raw law", token_rule, Proposal.of(top, draft)),
        Hazard("reports its law in a coarser number format", token_rule, Proposal.of(draft, powers_of_two(draft))),
        Hazard("weights swapped between drafting and verifying", token_rule, Proposal.of(draft, other)),
        Hazard("the same under the block rule", block_rule, Proposal.of(draft, other)),
        Hazard("drafter chosen after seeing its sample", token_rule, surest(draft, other)),
        Hazard("recovered token drawn from the target", recovered_from_target, honest),
        Hazard("residual not normalised", residual_not_normalised, honest),
        Hazard("target laws one position late", laws_one_late, honest),
        Hazard("token residual under the block rule", block_with_token_residual, honest),
        Hazard("block scan stopped at the first failure", block_stopped_early, honest),
    ]


def models(seed: int) -> tuple[Tabular, Tabular, Tabular]:
    """A target and two drafts that depend on the last token, all drawn independently."""
    rng = np.random.default_rng(seed)
    target, draft, other = (Tabular.random(rng, VOCAB, spread=spread) for spread in (0.5, 1.5, 1.5))
    return target, draft, other


def exact_total_variation(hazard: Hazard, target: Tabular, gamma: int = GAMMA) -> float:
    """Between one step continued by the target and the target, mean over the last token; for order-1 tables."""
    errors = []
    for last in range(target.vocab):
        context = np.array([last])
        step = enumerate_step(hazard.rule, target, hazard.proposal, context, gamma)
        errors.append(total_variation(output_law(step, target, context), target.text_law(context, gamma + 1)))
    return float(np.mean(errors))


def decode(
    hazard: Hazard, target: Tabular, rng: np.random.Generator, requests: int, gamma: int = GAMMA
) -> Iterator[tuple[Array, Array, Array]]:
    """Endless texts decoded side by side, step by step: contexts, tokens and whether each token is committed.

    A step has gamma + 1 slots, the first accepted + 1 of them committed: contexts ``[requests, gamma + 1, order]``, the
    others ``[requests, gamma + 1]``.
    """
    context, order = rng.integers(target.vocab, size=(requests, target.order)), target.order
    slots = np.arange(gamma + 1)
    while True:
        uniforms = rng.random((requests, 2 * gamma + 1))
        drafted, laws = hazard.proposal.draft(context, uniforms[:, :gamma])
        accepted, last = verify(hazard.rule, target, context, drafted, laws, uniforms[:, gamma:])
        ends = slots == accepted[:, None]
        tokens = np.where(ends, last[:, None], np.concatenate([drafted, last[:, None]], axis=1))
        text = np.concatenate([context, tokens], axis=1)
        yield np.stack([text[:, slot : slot + order] for slot in slots], axis=1), tokens, slots <= accepted[:, None]
        context = np.take_along_axis(text, accepted[:, None] + 1 + np.arange(order), axis=1)


def tokens_to_detection(
    hazard: Hazard, target: Tabular, audit: Audit, rng: np.random.Generator, streams: int, longest: int
) -> float:
    """Median over streams of the committed tokens before the alarm; infinite if that exceeds ``longest``.

    A stream is a server's: the steps of ``REQUESTS`` texts in turn, audited as one sequence.
    """
    state, seen, alarmed = audit.init(np.zeros(streams)), np.zeros(streams), np.full(streams, np.inf)
    for contexts, tokens, committed in decode(hazard, target, rng, streams * REQUESTS):
        pits = pit(target.law(contexts), tokens, rng.random(tokens.shape)).reshape(streams, -1)
        counted = committed.reshape(streams, -1)
        state, path = audit.watch(state, pits, counted)
        number = seen[:, None] + np.cumsum(counted, axis=1)
        reached = np.where(path >= -np.log(audit.false_alarm), number, np.inf)
        seen, alarmed = number[:, -1], np.minimum(alarmed, reached.min(axis=1))
        if np.median(alarmed) < np.inf or np.min(seen) >= longest:
            return float(np.median(alarmed))
    raise AssertionError("texts are endless")


def hazards(seed: int = 0, streams: int = 5, longest: int = 3_000_000, audit: Audit | None = None) -> list[Row]:
    """Each hazard's exact total variation and median tokens to detection at δ = 1e-6.

    Args:
        seed: of the tables and of the streams.
        streams: independent streams a hazard, odd.
        longest: committed tokens after which a stream counts as undetected.
        audit: its bins and false-alarm probability.
    """
    audit = Audit() if audit is None else audit
    target, draft, other = models(seed)
    rows = []
    for number, hazard in enumerate(planted(draft, other)):
        rng = np.random.default_rng([seed, number])
        tokens = tokens_to_detection(hazard, target, audit, rng, streams, longest)
        rows.append(Row(hazard.name, exact_total_variation(hazard, target), tokens))
    return rows
