"""Plain rival: an interpolated back-off n-gram model over everything served so far, prompts included.

Witten–Bell interpolation, from the uniform law up to contexts of ``order`` tokens:

    law_k(y | c) = (count(c, y) + types(c)·law_{k−1}(y | c')) / (count(c) + types(c)),    c' = c without its first token

A proper law at every position, so it is verified like any other draft's.
Reference: Witten & Bell 1991; prompt-lookup and suffix decoding are its deterministic relatives.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models.device import sent
from real.models.hf import Pair
from real.models.text import Text, close_up


class NGram(Drafter):
    """Counts of 1 … order + 1 consecutive tokens; nothing to train, it learns by remembering.

    Contexts are looked up on the host; what is as wide as the vocabulary stays on the device.
    """

    prefix_only = True

    def __init__(self, vocab: int, order: int = 4, device: torch.device | str = "cpu"):
        if order < 1:
            raise ValueError(f"order={order!r}: must be at least 1 token of context")
        self.vocab, self.order, self.device = vocab, order, torch.device(device)
        self._take(torch.zeros(vocab, dtype=torch.float64))
        self.tables: list[dict[tuple[int, ...], dict[int, int]]] = [{} for _ in range(order)]
        self._paths: list[list[int]] = []  # what each text drafted in this step, on the host
        self._counted: list[int] = []  # tokens of each text that are in the tables

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
                counts = self.tables[k - 1].setdefault(tuple(tokens[i - k : i]), {})
                counts[tokens[i]] = counts.get(tokens[i], 0) + 1
        if new:
            ids = sent(new, self.device)
            self.unigrams.index_add_(0, ids, torch.ones_like(ids, dtype=torch.float64))
            self._seen.update(new)
            self._total += len(new)
        self._counted[row] = len(tokens)

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
        rows = []
        for k, table in enumerate(self.tables, start=1):
            for context, row in table.items():
                rows += [[-1] * (self.order - k) + [*context, token, count] for token, count in row.items()]
        counts = torch.tensor(rows, dtype=torch.int64).reshape(-1, self.order + 2)
        return {"counts": counts, "unigrams": self.unigrams.cpu().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._counted, self._paths = [], []
        self._take(state["unigrams"])
        self.tables = [{} for _ in range(self.order)]
        for *padded, token, count in state["counts"].tolist():
            context = tuple(value for value in padded if value >= 0)
            self.tables[len(context) - 1].setdefault(context, {})[token] = count

    def _take(self, unigrams: Tensor) -> None:
        """Take up how often every token was seen."""
        self.unigrams = unigrams.to(self.device, copy=True)
        self._seen, self._total = set(unigrams.nonzero()[:, 0].tolist()), int(unigrams.sum())
