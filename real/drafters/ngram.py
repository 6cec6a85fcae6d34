"""Plain rival: an interpolated back-off n-gram model over everything served so far, prompts included.

Witten–Bell interpolation, from the uniform law up to contexts of ``order`` tokens:

    law_k(y | c) = (count(c, y) + types(c)·law_{k−1}(y | c')) / (count(c) + types(c)),    c' = c without its first token

A proper law at every position, so it is verified like any other draft's.
Reference: Witten & Bell 1991; prompt-lookup and suffix decoding are its deterministic relatives.
"""

import numpy as np
import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models import Pair


class NGram(Drafter):
    """Counts of 1 … order + 1 consecutive tokens; nothing to train, it learns by remembering."""

    trains = False

    def __init__(self, vocab: int, order: int = 4, device: torch.device | str = "cpu"):
        if order < 1:
            raise ValueError(f"order={order!r}: must be at least 1 token of context")
        self.vocab, self.order, self.device = vocab, order, device
        self.unigrams = np.zeros(vocab)
        self.tables: list[dict[tuple[int, ...], dict[int, int]]] = [{} for _ in range(order)]
        self.tokens: list[int] = []
        self._counted = 0

    @classmethod
    def of(cls, pair: Pair, **settings) -> "NGram":
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target.vocab, device=pair.device, **settings)

    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        self.tokens, self._counted = tokens, 0
        self.commit()

    def commit(self) -> None:
        """Count the tokens appended since the last call."""
        tokens = self.tokens
        for i in range(self._counted, len(tokens)):
            self.unigrams[tokens[i]] += 1
            for k in range(1, min(self.order, i) + 1):
                row = self.tables[k - 1].setdefault(tuple(tokens[i - k : i]), {})
                row[tokens[i]] = row.get(tokens[i], 0) + 1
        self._counted = len(tokens)

    def law(self, context: list[int]) -> np.ndarray:
        """Next-token law after ``context``: float64 ``[V]``, sums to 1, every entry positive."""
        types = max(np.count_nonzero(self.unigrams), 1)
        law = (self.unigrams + types / self.vocab) / (self.unigrams.sum() + types)
        for k in range(1, min(self.order, len(context)) + 1):
            row = self.tables[k - 1].get(tuple(context[-k:]))
            if row is None:
                break
            total = sum(row.values()) + len(row)
            law *= len(row) / total
            law[list(row)] += np.fromiter(row.values(), float, len(row)) / total
        return law

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        context = [*self.tokens[-self.order :], *(int(token) for token in drafted)][-self.order :]
        return torch.from_numpy(np.log(self.law(context))).to(self.device, torch.float32)[None]

    def state(self) -> dict[str, Tensor]:
        """All counts: one row (context padded with −1 on the left, token, count) per n-gram of two tokens or more."""
        rows = []
        for k, table in enumerate(self.tables, start=1):
            for context, row in table.items():
                rows += [[-1] * (self.order - k) + [*context, token, count] for token, count in row.items()]
        counts = torch.tensor(rows, dtype=torch.int64).reshape(-1, self.order + 2)
        return {"counts": counts, "unigrams": torch.from_numpy(self.unigrams.copy())}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.unigrams = state["unigrams"].numpy().copy()
        self.tables = [{} for _ in range(self.order)]
        for *padded, token, count in state["counts"].tolist():
            context = tuple(value for value in padded if value >= 0)
            self.tables[len(context) - 1].setdefault(context, {})[token] = count
