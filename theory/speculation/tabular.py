"""A language model whose law is a table, and an exact enumeration of one draft–verify step with it.

The next-token law is a row chosen by the last ``order`` tokens. With order > gamma the laws of a step depend on its
whole prefix. A drafter is a table too, of *outcomes*: each has a probability, a token and the law it reports for that
token, so that a drafter which reports another law than it samples from, or chooses after seeing samples, is one too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from theory.arrays import Array
from theory.speculation.acceptance import categorical

Rule = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
"""What ``acceptance.token_rule`` is: target laws, draft laws, drafted tokens, uniforms → accepted, token."""
TOP = float(np.nextafter(1.0, 0.0))


def row(table: np.ndarray, context: Array, order: int) -> np.ndarray:
    """The entry of ``table`` at the last ``order`` tokens of ``context`` ``[..., n]``."""
    return table[tuple(np.moveaxis(np.asarray(context)[..., -order:], -1, 0))]


@dataclass(frozen=True, eq=False)
class Tabular:
    """A target: ``table`` ``[V] * order + [V]``, order at least 1."""

    table: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, vocab: int, order: int = 1, spread: float = 1.0) -> "Tabular":
        """Softmax of normal logits of the given spread."""
        weights = np.exp(spread * rng.normal(size=(vocab,) * (order + 1)))
        return cls(weights / weights.sum(axis=-1, keepdims=True))

    @property
    def vocab(self) -> int:
        """V."""
        return self.table.shape[-1]

    @property
    def order(self) -> int:
        """How many tokens the next law depends on."""
        return self.table.ndim - 1

    def law(self, context: Array) -> np.ndarray:
        """Next-token law ``[..., V]`` after ``context`` int ``[..., n]``, n at least ``order``."""
        return row(self.table, context, self.order)

    def after_all(self, context: Array, length: int) -> np.ndarray:
        """Laws after ``context`` ``[order]`` and each text of ``length`` more tokens: ``[V] * length + [V]``."""
        texts = np.moveaxis(np.indices((self.vocab,) * length), 0, -1) if length else np.zeros(0, dtype=int)
        start = np.broadcast_to(context, (*texts.shape[:-1], len(context)))
        return self.law(np.concatenate([start, texts], axis=-1))

    def text_law(self, context: Array, length: int) -> np.ndarray:
        """The exact law of the next ``length`` tokens, ``[V] * length``."""
        law = np.ones(())
        for known in range(length):
            law = law[..., None] * self.after_all(context, known)
        return law


@dataclass(frozen=True, eq=False)
class Proposal:
    """How a drafter picks one token, in O outcomes; the first axes are the context, as in ``Tabular``."""

    sampled: np.ndarray  # [V] * order + [O], probability of each outcome
    tokens: np.ndarray  # int [O], the token it drafts
    reported: np.ndarray  # [V] * order + [O, V], the law it reports to verification

    @classmethod
    def of(cls, sampled: Tabular, reported: Tabular | None = None) -> "Proposal":
        """Samples from one table and reports another; reports the law it sampled from if none is given."""
        law = (sampled if reported is None else reported).table
        laws = np.broadcast_to(law[..., None, :], (*law.shape[:-1], sampled.vocab, sampled.vocab))
        return cls(sampled.table, np.arange(sampled.vocab), laws)

    @property
    def order(self) -> int:
        """How many tokens the proposal depends on."""
        return self.sampled.ndim - 1

    def draft(self, context: Array, uniforms: Array) -> tuple[np.ndarray, np.ndarray]:
        """Drafted tokens int ``[..., gamma]`` and reported laws ``[..., gamma, V]``; ``uniforms`` ``[..., gamma]``."""
        text, laws = np.asarray(context), []
        for i in range(uniforms.shape[-1]):
            outcome = categorical(row(self.sampled, text, self.order), uniforms[..., i])
            reported = row(self.reported, text, self.order)
            laws.append(np.take_along_axis(reported, outcome[..., None, None], axis=-2)[..., 0, :])
            text = np.concatenate([text, self.tokens[outcome][..., None]], axis=-1)
        return text[..., np.shape(context)[-1] :], np.stack(laws, axis=-2)


def verify(rule: Rule, target: Tabular, context: Array, drafted: Array, draft_probs: Array, uniforms: Array):
    """``rule`` on a drafted chain: ``context`` ``[..., order]``, ``drafted`` ``[..., gamma]`` → accepted, token."""
    text = np.concatenate([context, drafted], axis=-1)
    lengths = range(np.shape(context)[-1], text.shape[-1] + 1)
    target_probs = np.stack([target.law(text[..., :n]) for n in lengths], axis=-2)
    return rule(target_probs, draft_probs, drafted, uniforms)


class Branches(NamedTuple):
    """Everything one step can do: n branches of drafted outcomes and acceptances."""

    mass: np.ndarray  # [n], sums to 1
    drafted: np.ndarray  # int [n, gamma]
    accepted: np.ndarray  # int [n]
    following: np.ndarray  # [n, V], law of the token after the accepted ones

    def tokens(self) -> float:
        """E[tokens in the step], the recovered or bonus token included."""
        return float(1 + np.sum(self.mass * self.accepted))


def threshold(below: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Measure of {u : below(u)} for a predicate that is true up to some point of [0, 1) and false after it."""
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(60):
        middle = (low + high) / 2
        inside = below(middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def enumerate_step(rule: Rule, target: Tabular, proposal: Proposal, context: Array, gamma: int) -> Branches:
    """Every outcome of one step after ``context`` int ``[order]`` with its exact probability.

    Nothing is assumed about ``rule`` except that its choices are monotone in each uniform, and that the point where an
    acceptance changes does not depend on the other uniforms: all measures are found by bisection.
    """
    outcomes = np.array(list(product(range(len(proposal.tokens)), repeat=gamma)))
    drafted = proposal.tokens[outcomes]
    start = np.broadcast_to(context, (len(outcomes), len(context)))
    text = np.concatenate([start, drafted], axis=-1)
    mass, laws = np.ones(len(outcomes)), []
    for i in range(gamma):
        here, chosen = text[:, : len(context) + i], outcomes[:, i]
        mass = mass * row(proposal.sampled, here, proposal.order)[np.arange(len(outcomes)), chosen]
        laws.append(row(proposal.reported, here, proposal.order)[np.arange(len(outcomes)), chosen])
    corners = np.array(list(product([0.0, TOP], repeat=gamma)))
    shape = (len(corners), len(outcomes))
    start, drafted, draft_probs = (
        np.broadcast_to(a, (len(corners), *a.shape)) for a in (start, drafted, np.stack(laws, axis=-2))
    )

    def decided(position: int, uniform: np.ndarray) -> tuple[Array, Array]:
        uniforms = np.concatenate([np.broadcast_to(corners[:, None], (*shape, gamma)), np.zeros((*shape, 1))], axis=-1)
        uniforms[..., position] = uniform
        return verify(rule, target, start, drafted, draft_probs, uniforms)

    weight = np.broadcast_to(mass, shape)
    for i in range(gamma):
        at_most = decided(i, np.full(shape, TOP))[0]
        measure = threshold(lambda u, i=i, least=at_most: decided(i, u)[0] > least, shape).max(axis=0)
        weight = weight * np.where(corners[:, i, None] == 0, measure, 1 - measure)
    accepted = decided(gamma, np.zeros(shape))[0]
    up_to = [threshold(lambda u, v=v: decided(gamma, u)[1] <= v, shape) for v in range(target.vocab)]
    following = np.diff(np.stack(up_to, axis=-1), axis=-1, prepend=0.0)
    everything = (weight, drafted, accepted, following)
    return Branches(*(a.reshape(-1, *a.shape[2:]) for a in everything))


def output_law(branches: Branches, target: Tabular, context: Array) -> np.ndarray:
    """Law of the next gamma + 1 tokens when the step is continued by the target itself: ``[V] * (gamma + 1)``."""
    law = np.zeros(())
    for known in range(branches.drafted.shape[-1] + 1):
        law = law[..., None] * target.after_all(context, known)
        ends = branches.accepted == known
        prefixes = branches.drafted[ends, :known] @ target.vocab ** np.arange(known)[::-1]
        np.add.at(law.reshape(-1, target.vocab), prefixes, branches.mass[ends, None] * branches.following[ends])
    return law


def total_variation(one: np.ndarray, other: np.ndarray) -> float:
    """Half the summed difference of two laws of the same shape."""
    return float(np.abs(one - other).sum() / 2)
