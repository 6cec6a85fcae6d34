r"""What followed the last few tokens before, in one text or in many: copies, looked up on the host.

The back-off of ``backoff.py`` as one sum, law = A·base + Σ_i weight_i·next_i over the entries i that match. The last
tokens stood nowhere before or a few times, so that to look them up costs a fraction of comparing whole arrays.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from real.models.device import sent

MOST = 32
"""Entries of a table of many texts that are counted after one context, and places of a text that match in full; the
newest."""


class Copies(NamedTuple):
    """A ``share`` of the base's law, and what is added to it: ``weights`` of the tokens ``ids``, as many of each."""

    share: float
    ids: Sequence[int] | np.ndarray
    weights: Sequence[float] | np.ndarray


NOWHERE = Copies(1.0, (), ())


def shares(depths: Sequence[int], least: int, longest: int) -> tuple[float, list[float]]:
    """A, and what an entry weighs by the number of last tokens that it matches; ``depths``: of all entries.

    With n_j entries that match j tokens, A_k = Π_{j≥k} 1/(n_j + 1): A = A_least, the weight Σ_{least ≤ j ≤ k} A_j.
    """
    share, weights = 1.0, [0.0] * (longest + 1)
    for k in range(longest, least - 1, -1):
        share /= sum(depth >= k for depth in depths) + 1
        weights[k] = share
    for k in range(least + 1, longest + 1):
        weights[k] += weights[k - 1]
    return share, weights


def in_text(tokens: Sequence[int], stop: int, last: Sequence[int], least: int, longest: int, entries: int) -> Copies:
    """The tokens that followed ``last``, nearest first, in ``tokens[:stop]``; of its newest ``entries`` positions.

    A position counts for every length from ``least`` to ``longest`` to which its own last tokens are the same. The
    newest count, until ``MOST`` of them match in full: a text that repeats one token matches everywhere.
    """
    places, at = list[int](), max(stop - 1 - entries, 0)
    while True:
        try:
            at = tokens.index(last[0], at, stop - 1)
        except ValueError:
            break
        places.append(at)
        at += 1
    ids, depths, full = [], [], 0
    for at in reversed(places):
        k, most = 1, min(longest, at + 1, len(last))
        while k < most and tokens[at - k] == last[k]:
            k += 1
        if k >= least:
            ids.append(tokens[at + 1])
            depths.append(k)
            full += k == longest
            if full == MOST:
                break
    if not ids:
        return NOWHERE
    share, weights = shares(depths, least, longest)
    return Copies(share, ids, [weights[depth] for depth in depths])


class Followed:
    """What followed, in many texts: the target's laws after contexts of ``least`` to ``longest`` tokens.

    Args:
        entries: laws that are kept, the oldest go first. top: tokens that are kept of a law.

    Attributes:
        contexts: of each entry, nearest first. ids, probs: its law ``[entries, top]``. count: entries ever made.
    """

    def __init__(self, least: int, longest: int, entries: int, top: int):
        self.least, self.longest, self.entries = least, longest, entries
        self.contexts: list[tuple[int, ...]] = []
        self.ids, self.probs = np.zeros((entries, top), np.int64), np.zeros((entries, top), np.float32)
        self.count = 0
        self._places: dict[tuple[int, ...], list[int]] = {}  # least tokens → entries after them, the oldest first

    def add(self, contexts: Sequence[tuple[int, ...]], ids: np.ndarray, probs: np.ndarray) -> None:
        """Laws ``[n, top]`` followed these contexts."""
        places = [(self.count + i) % self.entries for i in range(len(contexts))]
        for place, context in zip(places, contexts, strict=True):
            if place < len(self.contexts):
                self._forget(place)
                self.contexts[place] = context
            else:
                self.contexts.append(context)
            if len(context) >= self.least:
                self._places.setdefault(context[: self.least], []).append(place)
        self.ids[places], self.probs[places] = ids, probs  # of a place that stands there twice, the last
        self.count += len(places)

    def _forget(self, place: int) -> None:
        """The entry is replaced."""
        old = self.contexts[place][: self.least]
        if len(old) == self.least:
            self._places[old].remove(place)
            if not self._places[old]:
                del self._places[old]

    def take_up(self, contexts: list[tuple[int, ...]], ids: np.ndarray, probs: np.ndarray, count: int) -> None:
        """Hold these entries, each in its place, of so many ever made."""
        filled = len(contexts)
        self.contexts, self.count = contexts, count
        self.ids[:filled], self.probs[:filled] = ids, probs
        oldest = count % self.entries if filled == self.entries else 0
        for place in [*range(oldest, filled), *range(oldest)]:
            if len(contexts[place]) >= self.least:
                self._places.setdefault(contexts[place][: self.least], []).append(place)

    def after(self, last: Sequence[int]) -> Copies:
        """What followed the tokens ``last``, nearest first."""
        places = self._places.get(tuple(last[: self.least]))
        if not places:
            return NOWHERE
        places, depths = places[-MOST:], []
        for place in places:
            context, k = self.contexts[place], self.least
            most = min(self.longest, len(context), len(last))
            while k < most and context[k] == last[k]:
                k += 1
            depths.append(k)
        share, weights = shares(depths, self.least, self.longest)
        of_entry = np.array([weights[depth] for depth in depths], np.float32)
        return Copies(share, self.ids[places].ravel(), (of_entry[:, None] * self.probs[places]).ravel())


def found_for_all(parts: Sequence[Sequence[Copies]]) -> bool:
    """Whether there is something to copy for each of n texts, of which each part has found n copies."""
    return bool(parts) and all(any(len(one.ids) for one in of_text) for of_text in zip(*parts, strict=True))


def with_copies(laws: Tensor, found: Sequence[Copies]) -> Tensor:
    """Laws ``[n, V]``, each with the copies found for it."""
    if not any(len(one.ids) for one in found):
        return laws
    if len(found) == 1:
        shared = laws * found[0].share
    else:
        shared = laws * sent(laws.new_tensor([one.share for one in found], device="cpu"), laws.device)[:, None]
    return add_copies(shared, [[(one, 1.0)] for one in found])


def add_copies(laws: Tensor, found: Sequence[Sequence[tuple[Copies, float]]]) -> Tensor:
    """Add to laws ``[n, V]``, in place, the copies found for each, so many times as stands beside them."""
    chosen = [(row, one, times) for row, several in enumerate(found) for one, times in several if len(one.ids)]
    if not chosen:
        return laws
    if len(laws) == 1 and laws.device.type == "cpu":
        (row,) = laws.numpy()  # over the same memory
        for _, one, times in chosen:
            np.add.at(row, one.ids, np.multiply(one.weights, times, dtype=row.dtype))
        return laws
    ids = np.concatenate([np.asarray(one.ids, np.int64) + row * laws.shape[1] for row, one, _ in chosen])
    weights = np.concatenate([np.multiply(one.weights, times) for _, one, times in chosen])
    if laws.device.type == "cpu":
        np.add.at(laws.numpy().reshape(-1), ids, weights.astype(laws.numpy().dtype))
        return laws
    there = torch.from_numpy(weights).to(laws.dtype)
    laws.view(-1).index_add_(0, sent(torch.from_numpy(ids), laws.device), sent(there, laws.device))
    return laws
