r"""Copies: what followed the same few tokens before, mixed into another drafter's law, the longer context the more.

    law_k = (n_k·mean_k + law_{k−1})/(n_k + 1),    law of the least order − 1 = the base's

n_k entries of a table were preceded by the last k tokens; mean_k is the mean of what followed them: the token itself in
a table of one text (``local``, its prompt included), the target's law in a table of all texts of a tenant (``global``).
With A_k = Π_{j≥k} 1/(n_j + 1) the recursion is law = A·base + Σ_i (Σ_{k: i matches k tokens} A_k)·next_i: the table is
compared with the last tokens once, and summed once; nothing is looked up on the host of a GPU. On a CPU, where that is
cheaper, a table of one text is (``copies.py``).
Reference: interpolated back-off with one count for the unseen; prompt lookup is its deterministic relative.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from real.drafters.base import LONGEST, Drafter
from real.drafters.copies import Copies, copies, with_copies
from real.drafters.refining import Refining, base_of
from real.models.device import sent
from real.models.hf import Pair
from real.models.state import MOST, alike, between
from real.models.text import Text

SCOPES = {"local": (2, 6), "global": (3, 6)}
"""Shortest and longest context in a table of one text, and of all texts of a tenant."""
NONE, NEVER = -1, -2
"""What stands where a text has no token yet: in what is asked, and in a table. They never match."""
TOP = 16
"""Likeliest tokens of a target's law that a global table keeps, renormalised."""


class Table(NamedTuple):
    """Entries to compare: the tokens before each, nearest first, and what followed.

    ``contexts`` int64 ``[n, K, E]``; ``ids`` int64 ``[n, E·top]``; ``probs`` ``[n, E, top]``, None where one token is
    certain. n is 1 if the table is common to all texts.
    """

    contexts: Tensor
    ids: Tensor
    probs: Tensor | None


class Backoff(Refining):
    """Refines a law by a table of contexts.

    Args:
        base: the drafter whose law it is. scope: ``local``, one text, or ``global``, all of a tenant. least, longest:
            tokens of context; by default those of the scope. entries: positions compared, the newest.
    """

    of_laws = True

    def __init__(
        self, base: Drafter, scope: str = "local", least: int = 0, longest: int = 0, entries: int = 1024,
        device: torch.device | str = "cpu",
    ):  # fmt: skip
        super().__init__(base)
        if scope not in SCOPES:
            raise ValueError(f"scope={scope!r}: must be one of {', '.join(SCOPES)}")
        self.least, self.longest = least or SCOPES[scope][0], longest or SCOPES[scope][1]
        if not 1 <= self.least <= self.longest <= LONGEST:
            said = f"least={self.least!r}, longest={self.longest!r}"
            raise ValueError(f"{said}: tokens of context, 1 ≤ least ≤ longest ≤ {LONGEST}")
        if entries < 1:
            raise ValueError(f"entries={entries!r}: positions compared, at least 1")
        self.scope, self.entries, self.device = scope, entries, torch.device(device)
        self.watches = scope == "global" or base.watches
        self.prefix_only = scope == "local" and base.prefix_only
        orders = torch.arange(self.least, self.longest + 1, device=self.device)
        self._later = -(orders[:, None] >= orders).float()  # ln A = ln(n + 1) @ later
        self._on_host = scope == "local" and self.device.type == "cpu"
        self._last: list[list[int]] = []  # the same on the host, where tables are looked up there
        self._shares = list[list[float] | Tensor]()  # of the base in each law of this step
        self._asked = torch.zeros(0)  # the last tokens of every text and of what it drafted, nearest first [n, K]
        self._table: Table | None = None  # of the step under way
        self._forget_all()

    @classmethod
    def of(cls, pair: Pair, base: Drafter | str = "independent", **settings) -> "Backoff":
        """Make it for a pair, on a drafter by name or already made."""
        return cls(base_of(pair, base), device=pair.device, **settings)

    def _forget_all(self) -> None:
        """An empty global table."""
        top, held = min(TOP, self.vocab), self.entries * (self.scope == "global")
        self._contexts = torch.full((self.longest, held), NEVER, device=self.device)
        self._ids = torch.zeros(held, top, dtype=torch.long, device=self.device)
        self._probs = torch.zeros(held, top, device=self.device)
        self.count = 0

    @property
    def filled(self) -> int:
        """Entries of the global table."""
        return min(self.count, self.entries)

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        super().reveal(row, logits, drafted)
        if self.scope == "local":
            return
        top = logits.float().softmax(-1).topk(self._ids.shape[1], -1)
        tokens = self.texts[row].tokens
        before = self._before(tokens, len(tokens) - len(logits), len(tokens), NEVER)
        at = (self.count + torch.arange(len(logits), device=self.device)) % self.entries
        self._contexts[:, at], self._ids[at] = before, top.indices
        self._probs[at] = top.values / top.values.sum(-1, keepdim=True)
        self.count += len(logits)

    def follow(self, said: Tensor, drafted: list[Tensor]) -> None:
        if not drafted:
            self._shares = []
        if self._on_host and drafted:
            self._last = [[new, *last] for new, last in zip(drafted[-1].tolist(), self._last, strict=True)]
            return
        if self._on_host:
            self._last = [text.tokens[: -self.longest - 1 : -1] for text in self.texts]
            return
        if drafted:
            self._asked = torch.cat([drafted[-1][:, None], self._asked[:, :-1]], 1)
            return
        ends = [self._before(text.tokens, len(text.tokens), len(text.tokens) + 1) for text in self.texts]
        self._asked = (ends[0] if len(ends) == 1 else torch.cat(ends, 1)).T
        self._table = self._common() if self.scope == "global" else self._local(self.texts)

    def _before(self, tokens: Sequence[int], start: int, stop: int, none: int = NONE) -> Tensor:
        """The tokens before each position ``[K, stop − start]``, nearest first."""
        padded = [none] * max(0, self.longest - start) + list(tokens[max(0, start - self.longest) : stop])
        rows = [padded[self.longest - k :][: stop - start] for k in range(1, self.longest + 1)]
        return sent(torch.tensor(rows), self.device)

    def _common(self) -> Table | None:
        filled = self.filled
        if not filled:
            return None
        return Table(self._contexts[None, :, :filled], self._ids[None, :filled].flatten(1), self._probs[None, :filled])

    def _local(self, texts: Sequence[Text]) -> Table | None:
        """Every position of a text after its first, newest first; the contexts are views of its tokens backwards."""
        longest = min(max(len(text.tokens) for text in texts) - 1, self.entries)
        if longest < 1:
            return None
        rows = []
        for text in texts:
            back = text.tokens[-1 : -longest - self.longest - 1 : -1]
            rows.append(back + [NEVER] * (longest + self.longest - len(back)))
        tokens = sent(torch.tensor(rows), self.device)  # [n, E + K]
        contexts = tokens[:, 1:].unfold(1, longest, 1)
        return Table(contexts, tokens[:, :longest].clamp(min=0), None)

    def refined(self, said: Tensor) -> Tensor:
        if self._on_host:
            asked = zip(self.texts, self._last, strict=True)
            found = [self._copies(text.tokens, len(text.tokens), last) for text, last in asked]
            self._shares.append([one.share for one in found])
            return with_copies(said, found)
        self._shares.append([1.0] * len(said))
        return said if self._table is None else self._backed_off(said, self._asked, self._table)

    def _copies(self, tokens: list[int], stop: int, last: list[int]) -> Copies:
        return copies(tokens, stop, last, self.least, self.longest, self.entries)

    def refined_at(self, said: Tensor, start: int, stop: int, row: int = 0) -> Tensor:
        if self._on_host:
            tokens = self.texts[row].tokens
            back = [tokens[max(at - self.longest, 0) : at][::-1] for at in range(start, stop)]
            return with_copies(said, [self._copies(tokens, start, last) for last in back])
        asked = self._before(self.texts[row].tokens, start, stop).T
        text = self.texts[row].until(start)
        table = self._common() if self.scope == "global" else self._local([text])
        return said if table is None else self._backed_off(said, asked, table)

    def _backed_off(self, law: Tensor, asked: Tensor, table: Table) -> Tensor:
        """Laws ``[n, V]``, last tokens ``[n, K]`` → laws ``[n, V]``."""
        met = (table.contexts == asked[..., None]).float().cumprod(1)[:, self.least - 1 :]  # the last k tokens match
        shares = (met.sum(-1).log1p() @ self._later).exp()  # A_k [n, orders]
        weights = (shares[:, None] @ met)[:, 0]  # [n, E]
        self._shares[-1:] = [shares[:, 0]]
        if table.probs is not None:
            weights = (weights[..., None] * table.probs).flatten(1)
        return (shares[:, :1] * law).scatter_add_(1, table.ids.expand(len(law), -1), weights.to(law.dtype))

    def carried(self, moved: Tensor, row: int) -> Tensor:
        return moved * moved.new_tensor([float(shares[row]) for shares in self._shares[: len(moved)]])[:, None]

    def state(self) -> dict[str, Tensor]:
        """The global table; a local one ends with its text."""
        if self.scope == "local":
            return super().state()
        filled = self.filled
        named = {"contexts": self._contexts[:, :filled].T, "ids": self._ids[:filled], "probs": self._probs[:filled]}
        named = {name: part.clone() for name, part in named.items()}
        return super().state() | named | {"count": torch.tensor(self.count)}

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

    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._forget_all()
        if self.scope == "global":
            filled, self.count = len(state["ids"]), int(state["count"])
            self._contexts[:, :filled] = state["contexts"].T.to(self.device)
            self._ids[:filled], self._probs[:filled] = state["ids"].to(self.device), state["probs"].to(self.device)
