"""Plain rival: an interpolated back-off n-gram model over everything served so far, prompts included.

Witten–Bell interpolation, from the uniform law up to contexts of ``order`` tokens:

    law_k(y | c) = (count(c, y) + types(c)·law_{k−1}(y | c')) / (count(c) + types(c)),    c' = c without its first token

A proper law at every position, so it is verified like any other draft's.
Reference: Witten & Bell 1991; prompt-lookup and suffix decoding are its deterministic relatives.
"""

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models.device import sent
from real.models.hf import Pair


class NGram(Drafter):
    """Counts of 1 … order + 1 consecutive tokens; nothing to train, it learns by remembering.

    Contexts are looked up on the host; what is as wide as the vocabulary stays on the device.
    """

    trains = False

    def __init__(self, vocab: int, order: int = 4, device: torch.device | str = "cpu"):
        if order < 1:
            raise ValueError(f"order={order!r}: must be at least 1 token of context")
        self.vocab, self.order, self.device = vocab, order, torch.device(device)
        self._take(torch.zeros(vocab, dtype=torch.float64))
        self.tables: list[dict[tuple[int, ...], dict[int, int]]] = [{} for _ in range(order)]
        self.tokens: list[int] = []
        self._path: list[int] = []  # what was drafted in this step, on the host
        self._counted = 0

    @classmethod
    def of(cls, pair: Pair, **settings) -> "NGram":
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target.vocab, device=pair.device, **settings)

    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        self._count()
        self.tokens, self._counted = tokens, 0
        self._count()

    def commit(self) -> None:
        return None  # what was committed is counted at the next draft, or when the request is done

    def end(self) -> None:
        self._count()

    def _count(self) -> None:
        """Count the tokens appended since the last call."""
        tokens, new = self.tokens, self.tokens[self._counted :]
        for i in range(self._counted, len(tokens)):
            for k in range(1, min(self.order, i) + 1):
                row = self.tables[k - 1].setdefault(tuple(tokens[i - k : i]), {})
                row[tokens[i]] = row.get(tokens[i], 0) + 1
        if new:
            ids = sent(new, self.device)
            self.unigrams.index_add_(0, ids, torch.ones_like(ids, dtype=torch.float64))
            self._seen.update(new)
            self._total += len(new)
        self._counted = len(tokens)

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
            self._count()
        # waits for a GPU: a context is looked up on the host
        self._path = [*self._path[: len(drafted) - 1], int(drafted[-1])] if drafted else []
        return self.law([*self.tokens[-self.order :], *self._path][-self.order :]).log().float()[None]

    def state(self) -> dict[str, Tensor]:
        """All counts: one row (context padded with −1 on the left, token, count) per n-gram of two tokens or more."""
        self._count()
        rows = []
        for k, table in enumerate(self.tables, start=1):
            for context, row in table.items():
                rows += [[-1] * (self.order - k) + [*context, token, count] for token, count in row.items()]
        counts = torch.tensor(rows, dtype=torch.int64).reshape(-1, self.order + 2)
        return {"counts": counts, "unigrams": self.unigrams.cpu().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.tokens, self._counted = [], 0
        self._take(state["unigrams"])
        self.tables = [{} for _ in range(self.order)]
        for *padded, token, count in state["counts"].tolist():
            context = tuple(value for value in padded if value >= 0)
            self.tables[len(context) - 1].setdefault(context, {})[token] = count

    def _take(self, unigrams: Tensor) -> None:
        """Take up how often every token was seen."""
        self.unigrams = unigrams.to(self.device, copy=True)
        self._seen, self._total = set(unigrams.nonzero()[:, 0].tolist()), int(unigrams.sum())
