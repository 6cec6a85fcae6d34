r"""Copies: what followed the same few tokens before, mixed into another drafter's law, the longer context the more.

    law_k = (n_k·mean_k + law_{k−1})/(n_k + 1),    law of the least order − 1 = the base's

n_k entries of a table were preceded by the last k tokens; mean_k is the mean of what followed them: the token itself in
a table of one text (``local``, its prompt included), the target's law in a table of all texts of a tenant (``global``).
With A_k = Π_{j≥k} 1/(n_j + 1) the recursion is law = A·base + Σ_i (Σ_{k: i matches k tokens} A_k)·next_i
(``copies.py``). The drafted token is looked up on the host, for which a GPU waits.
Reference: interpolated back-off with one count for the unseen; prompt lookup is its deterministic relative.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from real.drafters.base import LONGEST, MIXED, Drafter
from real.drafters.copies import Copies, Followed, found_for_all, in_text, with_copies
from real.drafters.refining import NOTHING, Refining, base_of
from real.models.hf import Pair
from real.models.state import MOST, alike, between
from real.models.text import Text, close_up

SCOPES = {"local": (2, 6, 1024), "global": (3, 6, 8192)}
"""Shortest and longest context, and positions kept, in a table of one text, and of all texts of a tenant."""
NEVER = -2
"""What stands in a saved context where a text had no token yet."""
TOP = 16
"""Likeliest tokens of a target's law that a global table keeps, renormalised."""
TOGETHER = 32
"""Positions that a global table takes in at once, or all that there are when a text ends."""


class Revealed(NamedTuple):
    """Contexts of consecutive positions, nearest first, and the target's logits there ``[c, V]``."""

    contexts: list[tuple[int, ...]]
    logits: Tensor


class Backoff(Refining):
    """Refines a law by a table of contexts.

    Args:
        base: the drafter whose law it is. scope: ``local``, one text, or ``global``, all of a tenant. least, longest:
            tokens of context. entries: positions kept, the newest. By default those of the scope.
    """

    of_laws = True
    copying = True

    def __init__(self, base: Drafter, scope: str = "local", least: int = 0, longest: int = 0, entries: int = 0):
        super().__init__(base)
        if scope not in SCOPES:
            raise ValueError(f"scope={scope!r}: must be one of {', '.join(SCOPES)}")
        given = zip((least, longest, entries), SCOPES[scope], strict=True)
        self.least, self.longest, self.entries = (one or usual for one, usual in given)
        if not 1 <= self.least <= self.longest <= LONGEST:
            said = f"least={self.least!r}, longest={self.longest!r}"
            raise ValueError(f"{said}: tokens of context, 1 ≤ least ≤ longest ≤ {LONGEST}")
        if self.entries < 1:
            raise ValueError(f"entries={entries!r}: positions kept, at least 1")
        self.device = torch.device("cpu")
        self.scope, self.watches = scope, scope == "global" or base.watches
        self.prefix_only = False  # what is copied was committed before the step
        self._last: list[list[int]] = []  # the last tokens of every text and of what it drafted, nearest first
        self._first: list[Copies] | None = None  # after the texts themselves, where that was asked before a step
        self._forget_all()

    @classmethod
    def of(cls, pair: Pair, base: Drafter | str = "independent", **settings) -> "Backoff":
        """Make it for a pair, on a drafter by name or already made."""
        made = cls(base_of(pair, base), **settings)
        made.device = pair.device
        return made

    def _forget_all(self) -> None:
        """An empty global table."""
        entries = self.entries if self.scope == "global" else 0
        self.table = Followed(self.least, self.longest, entries, min(TOP, self.vocab))
        self._fresh: list[list[Revealed]] = []  # of each text, what is to be taken in

    @property
    def filled(self) -> int:
        """Entries of the global table."""
        return len(self.table.contexts)

    # what is drafted

    def follow(self, said: Tensor, drafted: list[Tensor]) -> None:
        if drafted:
            self._last = [[new, *last] for new, last in zip(drafted[-1].tolist(), self._last, strict=True)]
            self._first = None
            return
        if self._first is None:
            self._begin()
        if self._waiting >= TOGETHER:
            # of a text that the base has not read to its end, what would have been drafted there is asked later
            self._remember(row for row, text in enumerate(self.texts) if self.known(row) >= len(text.tokens))
            self._first = None

    @property
    def _waiting(self) -> int:
        """Positions that were revealed and not taken in yet."""
        return sum(len(one.logits) for several in self._fresh for one in several)

    def take_in(self) -> None:
        if self._waiting >= TOGETHER:
            self._remember(range(len(self._fresh)))

    def _begin(self) -> None:
        self._last = [text.tokens[: -self.longest - 1 : -1] for text in self.texts]

    def find(self) -> list[Copies]:
        """``copies`` after the texts themselves, before a step."""
        self._begin()
        self._first = self.copies()
        return self._first

    def finds(self) -> bool:
        return found_for_all([part.find() for part in self._chain()])

    def copied_after(self, drafted: list[Tensor]) -> Tensor:
        mass = torch.zeros(len(self.texts), self.vocab, device=self.device)
        for part in self._chain():
            part.follow(NOTHING, drafted)
            mass = with_copies(mass, part.copies())
        return mass

    def _chain(self) -> list["Backoff"]:
        """The drafters that copy, one on the other, up to this one."""
        return [*(self.base._chain() if isinstance(self.base, Backoff) else ()), self]

    def refined(self, said: Tensor) -> Tensor:
        return with_copies(said, self.copies())

    def refined_at(self, said: Tensor, start: int, stop: int, row: int = 0) -> Tensor:
        return with_copies(said, self.copies_at(start, stop, row))

    def copies(self) -> list[Copies]:
        if self._first is not None:
            return self._first
        asked = zip(self.texts, self._last, strict=True)
        return [self._copies(text.tokens, len(text.tokens), last) for text, last in asked]

    def copies_at(self, start: int, stop: int, row: int = 0) -> list[Copies]:
        tokens = self.texts[row].tokens
        return [self._copies(tokens, start, _before(tokens, at, self.longest)) for at in range(start, stop)]

    def _copies(self, tokens: list[int], stop: int, last: Sequence[int]) -> Copies:
        if self.scope == "global":
            return self.table.after(last)
        return in_text(tokens, stop, last, self.least, self.longest, self.entries)

    # what is remembered

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self._fresh = []

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        super().reveal(row, logits, drafted)
        if self.scope == "global":
            tokens = self.texts[row].tokens
            ends = range(len(tokens) - len(logits), len(tokens))
            self._fresh[row].append(Revealed([tuple(_before(tokens, at, self.longest)) for at in ends], logits))

    def enter(self, keep_prompt: bool = False) -> None:
        super().enter(keep_prompt)
        self._fresh.append([])
        self._first = None

    def commit(self) -> None:
        super().commit()
        self._first = None
        if self.way != MIXED:
            self.take_in()

    def leave(self, row: int) -> None:
        self._remember([row])
        close_up(self._fresh, row)
        super().leave(row)
        self._first = None

    def pause(self, idle: bool) -> None:
        super().pause(idle)
        self._remember(range(len(self._fresh)))

    def _remember(self, rows: Iterable[int]) -> None:
        """Remember what was revealed of these texts."""
        told = list[Revealed]()
        for row in rows:
            told += self._fresh[row]
            self._fresh[row] = []
        if not told:
            return
        contexts = [context for one in told for context in one.contexts]
        laws = torch.cat([one.logits for one in told]).float().softmax(-1)
        top = laws.topk(self.table.ids.shape[1], -1)
        probs = (top.values / top.values.sum(-1, keepdim=True)).numpy(force=True)
        self.table.add(contexts, top.indices.numpy(force=True), probs)

    # what is kept

    def state(self) -> dict[str, Tensor]:
        """The global table; a local one ends with its text."""
        if self.scope == "local":
            return super().state()
        table = self.table
        filled = len(table.contexts)
        contexts = np.full((filled, self.longest), NEVER, np.int64)
        for row, context in zip(contexts, table.contexts, strict=True):
            row[: len(context)] = context
        named = {"contexts": contexts, "ids": table.ids[:filled].copy(), "probs": table.probs[:filled].copy()}
        kept = {name: torch.from_numpy(part) for name, part in named.items()}
        return super().state() | kept | {"count": torch.tensor(table.count)}

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """No entry: contexts are text."""
        kept = {name: state[name][:0] for name in ("contexts", "ids", "probs") if name in state}
        kept |= {"count": torch.zeros_like(state["count"])} if "count" in state else {}
        return super().textless(state) | kept

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        super().check_state(state, at)
        if self.scope == "global":
            filled = len(state["ids"])
            alike({name: state[name] for name in ("contexts", "ids", "probs")}, self.entries, at)
            between(f"{at}count", state["count"], filled, MOST if filled == self.entries else filled)
            between(f"{at}ids", state["ids"], 0, self.vocab - 1)
            between(f"{at}probs", state["probs"], 0, 1)
            between(f"{at}probs", state["probs"].double().sum(-1), 1 - 1e-3, 1 + 1e-3)
            between(f"{at}contexts", state["contexts"], NEVER, self.vocab - 1)

    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._forget_all()
        if self.scope == "local":
            return
        contexts = [tuple(token for token in row if token != NEVER) for row in state["contexts"].tolist()]
        ids, probs = state["ids"].numpy(force=True), state["probs"].numpy(force=True)
        self.table.take_up(contexts, ids, probs, int(state["count"]))

    def put_aside(self) -> Any:
        """The table itself, not copied."""
        return {name: part.clone() for name, part in super().state().items()}, self.table

    def take_up(self, memory: Any) -> None:
        named, table = memory
        super().restore(named)
        self.table, self._fresh = table, []


def _before(tokens: list[int], at: int, longest: int) -> list[int]:
    """The tokens before a position, nearest first."""
    return tokens[max(at - longest, 0) : at][::-1]
