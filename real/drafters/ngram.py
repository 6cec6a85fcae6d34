"""Plain rival: an interpolated back-off n-gram model over everything served so far, prompts included.

Witten–Bell interpolation, from the uniform law up to contexts of ``order`` tokens:

    law_k(y | c) = (count(c, y) + types(c)·law_{k−1}(y | c')) / (count(c) + types(c)),    c' = c without its first token

A proper law at every position, so it is verified like any other draft's. What it remembers is text: of each length so
many n-grams at most; contexts that were met first are forgotten first, however often they came again.
Reference: Witten & Bell 1991; prompt-lookup and suffix decoding are its deterministic relatives.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from real.drafters.base import LONGEST, Drafter
from real.models.device import sent
from real.models.hf import Pair
from real.models.state import between
from real.models.text import Text, close_up

ENTRIES = 2**18
"""N-grams of each length that are kept, unless another number is given."""
FORGOTTEN = 8
"""One part in so many is forgotten at a time."""
Table = dict[tuple[int, ...], dict[int, int]]
"""Context → token → count, in the order in which contexts were met."""


class NGram(Drafter):
    """Counts of 1 … order + 1 consecutive tokens; nothing to train, it learns by remembering.

    Contexts are looked up on the host; what is as wide as the vocabulary stays on the device.

    Args:
        order: tokens of context at most. entries: n-grams of each length, two tokens or more, that are kept after a
            text; one token alone is counted for good.
    """

    def __init__(self, vocab: int, order: int = 4, device: torch.device | str = "cpu", entries: int = ENTRIES):
        if not 1 <= order <= LONGEST:
            raise ValueError(f"order={order!r}: must be 1 to {LONGEST} tokens of context")
        if entries < 1:
            raise ValueError(f"entries={entries!r}: n-grams of each length to keep, at least 1")
        self.vocab, self.order, self.device, self.entries = vocab, order, torch.device(device), entries
        self._take(torch.zeros(vocab, dtype=torch.float64))
        self.tables: list[Table] = [{} for _ in range(order)]
        self._sizes = [0] * order  # n-grams in each table
        self._paths: list[list[int]] = []  # what each text drafted in this step, on the host
        self._counted: list[int] = []  # tokens of each text that are in the tables

    @property
    def reads_texts(self) -> bool:
        return True  # by what was counted when the step began

    @classmethod
    def of(cls, pair: Pair, **settings) -> "NGram":
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target.vocab, device=pair.device, **settings)

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        for row in range(len(self._counted)):  # of the texts followed until now
            self._count(row)
        super().open(texts, rows)
        self._counted, self._paths = [], []

    def enter(self, keep_prompt: bool = False) -> None:
        self._counted.append(0)
        self._paths.append([])
        self._count(len(self._counted) - 1)

    def leave(self, row: int) -> None:
        self._count(row)
        close_up(self._counted, row)
        close_up(self._paths, row)

    def _count(self, row: int) -> None:
        """Count the tokens that a text has got since the last call."""
        tokens, start = self.texts[row].tokens, self._counted[row]
        new = tokens[start:]
        for i in range(start, len(tokens)):
            for k in range(1, min(self.order, i) + 1):
                table, context = self.tables[k - 1], tuple(tokens[i - k : i])
                counts = table.get(context)
                if counts is None:
                    counts = table[context] = {}
                before = counts.get(tokens[i], 0)
                counts[tokens[i]] = before + 1
                if not before:
                    self._sizes[k - 1] += 1
        if new:
            self._forget()
            ids = sent(new, self.device)
            self.unigrams.index_add_(0, ids, torch.ones_like(ids, dtype=torch.float64))
            self._seen.update(new)
            self._total += len(new)
        self._counted[row] = len(tokens)

    def _forget(self) -> None:
        """Drop the contexts that were met first from tables that are too long."""
        for k, table in enumerate(self.tables):
            if self._sizes[k] <= self.entries:
                continue
            old, keep = [], self.entries - self.entries // FORGOTTEN
            for context, row in table.items():
                if self._sizes[k] <= keep:
                    break
                old.append(context)
                self._sizes[k] -= len(row)
            for context in old:
                del table[context]

    def law(self, context: list[int]) -> Tensor:
        """Next-token law after ``context``, from what is counted: float64 ``[V]``, sums to 1, every entry positive."""
        types = max(len(self._seen), 1)
        rest, ids, added = 1.0, [], []  # mass of what is known without a context; what contexts add to which ids
        for k in range(1, min(self.order, len(context)) + 1):
            row = self.tables[k - 1].get(tuple(context[-k:]))
            if row is None:
                break
            total = sum(row.values()) + len(row)
            share = len(row) / total
            rest, ids = rest * share, [*ids, *row]
            added = [*(mass * share for mass in added), *(count / total for count in row.values())]
        law = (self.unigrams + types / self.vocab).mul_(rest / (self._total + types))
        if not ids:
            return law
        return law.index_add_(0, sent(ids, self.device), sent(torch.tensor(added, dtype=law.dtype), self.device))

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        if not drafted:
            for row in range(len(self.texts)):  # what was committed since the last draft
                self._count(row)
        # waits for a GPU: a context is looked up on the host
        before = [path[: max(len(drafted) - 1, 0)] for path in self._paths]
        self._paths = (
            [[*path, new] for path, new in zip(before, drafted[-1].tolist(), strict=True)] if drafted else before
        )
        contexts = ([*text.tokens[-self.order :], *path] for text, path in zip(self.texts, self._paths, strict=True))
        return torch.stack([self.law(context[-self.order :]).log().float() for context in contexts])

    def state(self) -> dict[str, Tensor]:
        """All counts: one row (context padded with −1 on the left, token, count) per n-gram of two tokens or more."""
        for row in range(len(self._counted)):
            self._count(row)
        counts = torch.from_numpy(np.concatenate([self._rows(k) for k in range(1, self.order + 1)]))
        return {"counts": counts, "unigrams": self.unigrams.cpu().clone()}

    def _rows(self, k: int) -> np.ndarray:
        """The n-grams with k tokens of context, in order."""
        table, size = self.tables[k - 1], self._sizes[k - 1]
        rows = np.full((size, self.order + 2), -1, np.int64)
        contexts = np.fromiter(chain.from_iterable(table), np.int64, k * len(table)).reshape(-1, k)
        times = np.fromiter(map(len, table.values()), np.int64, len(table))
        rows[:, self.order - k : self.order] = contexts.repeat(times, 0)
        rows[:, -2] = np.fromiter(chain.from_iterable(table.values()), np.int64, size)
        rows[:, -1] = np.fromiter(chain.from_iterable(row.values() for row in table.values()), np.int64, size)
        return rows

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Nothing: counts give texts back."""
        return {"counts": state["counts"][:0], "unigrams": torch.zeros_like(state["unigrams"])}

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        counts = state["counts"]
        between(f"{at}counts", counts[:, :-2], -1, self.vocab - 1)
        between(f"{at}counts", counts[:, -2], 0, self.vocab - 1)
        between(f"{at}counts", counts[:, -1], 1)
        between(f"{at}unigrams", state["unigrams"], 0)

    def restore(self, state: dict[str, Tensor]) -> None:
        self._counted, self._paths = [], []
        self._take(state["unigrams"])
        rows = state["counts"].numpy(force=True)
        lengths = (rows[:, : self.order] >= 0).sum(1)
        self.tables = [_table(rows[lengths == k, self.order - k :]) for k in range(1, self.order + 1)]
        self._sizes = [sum(map(len, table.values())) for table in self.tables]
        self._forget()

    def put_aside(self) -> Any:
        """The tables themselves, not copied."""
        return self.tables, self._sizes, self.unigrams, self._seen, self._total

    def take_up(self, memory: Any) -> None:
        self.tables, self._sizes, self.unigrams, self._seen, self._total = memory

    def _take(self, unigrams: Tensor) -> None:
        """Take up how often every token was seen."""
        self.unigrams = unigrams.to(self.device, copy=True)
        self._seen, self._total = set(unigrams.nonzero()[:, 0].tolist()), int(unigrams.sum())


def _table(rows: np.ndarray) -> Table:
    """Rows of a context's tokens, a token and a count, a context's rows together, as a table."""
    contexts, tokens, counts = rows[:, :-2], rows[:, -2].tolist(), rows[:, -1].tolist()
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(rows), 1), bool), (contexts[1:] != contexts[:-1]).any(1)]))
    ends = [*starts[1:].tolist(), len(rows)]
    table: Table = {}
    for context, start, end in zip(contexts[starts].tolist(), starts.tolist(), ends, strict=False):
        table.setdefault(tuple(context), {}).update(zip(tokens[start:end], counts[start:end], strict=True))
    return table
