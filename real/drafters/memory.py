r"""A residual memory: where the draft was wrong before, and by how much, is remembered by its hidden state.

    remembered at every committed position    key k = h, whitened, projected, centred, ‖k‖ = 1
                                               value d = clip(log max(p, 10⁻⁶) − log max(q₀, 10⁻⁶), ±4)
    drafted from                              law ∝ q₀·exp R(h),    R(h) = Σ_i w_i·d_i/(Σ_i w_i + 0.01)
    over the nearest                          w_i = exp((cos(k, k_i) − 1)/0.05 − age_i/300)

h is the draft's last hidden state, q₀ its own law, p the target's whole law at temperature 1, which verification has
computed. Nothing trains: one search, one softmax, one sum. The 0.01 is an entry of the search that remembers nothing;
it is left out where more than k entries outweigh it. The memory has no theorem of its own; in a mixture it is one
expert, and the theorem is about the mixture (``mixture.py``). Large vocabularies keep the ``top`` likeliest tokens of
max(p, q₀) and one log-ratio for all others.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import log
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.drafters.independent import Independent
from real.drafters.refining import Refining, base_of
from real.drafters.whitening import Whitening
from real.models.fused import fused
from real.models.hf import Pair
from real.models.state import alike, between, under
from real.models.text import Text, close_up

SHARPNESS, DOUBT, AGE = 20.0, 0.01, 300.0
"""1/0.05, the weight of remembering nothing, and positions after which an entry counts 1/e."""
LEAST, MOST = log(1e-6), 4.0
"""Log-probabilities below count as this; log-ratios beyond are cut."""
TOGETHER = 8
"""Positions that are remembered at once, or all that there are when a text ends: it costs little more than for one."""
WAITING = 64
"""Positions of a text at most whose draft is still to come."""
TINY = 1e-30
"""Added to a variance, so that a state of zeros has a key."""
DENSE = 8192
"""Vocabularies up to this are remembered whole, unless ``top`` says otherwise."""
TOP = 32


class ResidualMemory(Refining):
    """Drafts from an independent draft's law, corrected by what was seen near its hidden state.

    Args:
        base: the draft. entries: positions remembered, the oldest go first. nearest: entries that are asked. width: of
            a key. burn_in: positions that set the whitening of all keys; until then they are not whitened. top: tokens
            kept of a law; 0 keeps all, None decides by the vocabulary. ridge: of the whitening.
    """

    prefix_only = False
    watches = True
    dear = True
    whitens = False

    def __init__(
        self, base: Independent, entries: int = 512, nearest: int = 4, width: int = 32, burn_in: int = 256,
        top: int | None = None, ridge: float = 1e-2,
    ):  # fmt: skip
        super().__init__(base)
        if not 1 <= nearest <= entries:
            raise ValueError(f"nearest={nearest!r}, entries={entries!r}: at least 1 of so many positions remembered")
        if width < 1 or not 1 <= burn_in <= entries:
            raise ValueError(f"width={width!r}, burn_in={burn_in!r}: at least 1, and a burn-in of at most {entries}")
        if top is None:
            top = 0 if base.vocab <= DENSE else TOP
        if not 0 <= top < base.vocab:
            raise ValueError(f"top={top!r}: tokens kept of a law, below the vocabulary of {base.vocab}; 0 keeps all")
        base.keeps_states = True
        self.draft, self.device = base, base.model.device
        self.entries, self.nearest, self.top = entries, nearest, top
        self.whitener = Whitening(base.model.width, burn_in, ridge, self.device)
        directions = torch.randn(base.model.width, width, generator=torch.Generator().manual_seed(0))
        self.directions = directions.to(self.device)
        self._forget_all()
        self._one: Callable[..., Tensor] | None = None  # ``corrected`` for one text, where models are compiled
        if getattr(base.model, "compiled", None) is not None and not self.top and self.device.type == "cpu":
            known = self._projection, self._keys, self._values, self._stamps
            shapes = ((1, base.vocab), (1, base.model.width), *(tuple(part.shape) for part in known))
            self._one = fused(_asking(nearest), shapes)
        self._seen: list[tuple[Tensor, Tensor]] = []  # hidden states and logits of this step's drafted positions
        self._fresh: list[tuple[Tensor, Tensor, Tensor]] = []  # states, logits, target's laws to be remembered next
        self._open: list[list[Tensor]] = []  # of each text: the target's laws where the draft has not read yet

    @classmethod
    def of(cls, pair: Pair, base: Drafter | str = "independent", **settings) -> "ResidualMemory":
        """Make it for a pair, on a draft by name or already made."""
        made: Any = base_of(pair, base, Independent)
        return cls(made, **settings)

    def _forget_all(self) -> None:
        nothing, rows = self.entries, self.entries + 1  # the last entry is that of remembering nothing
        self._keys = torch.zeros(rows, self.directions.shape[1], device=self.device)
        self._values = torch.zeros(rows, self.top or self.vocab, device=self.device)
        self._ids = torch.zeros(rows, self.top, dtype=torch.long, device=self.device)
        self._rest = torch.zeros(rows, device=self.device)
        self._stamps = torch.full((rows,), float("-inf"), device=self.device)
        self._stamps[nothing] = log(DOUBT) + SHARPNESS
        self._projection = self.whitener.matrix @ self.directions
        self.count = self.filled = self._next = 0

    # what is drafted

    def follow(self, said: Tensor, drafted: list[Tensor]) -> None:
        if self.idle:
            return
        if not drafted:
            self._take_in()
        self._seen.append((self.draft.newest, said))

    def refined(self, said: Tensor) -> Tensor:
        return self._corrected(said, self.draft.newest)

    def refined_at(self, said: Tensor, start: int, stop: int, row: int = 0) -> Tensor:
        hidden = self.draft.features(start, stop, row)
        assert hidden is not None
        return self._corrected(said, hidden)

    def _corrected(self, logits: Tensor, hidden: Tensor) -> Tensor:
        if not self.filled or self.idle:
            return logits
        if not self.top:
            logits = logits if logits.dtype == torch.float64 else logits.float()
            known = self._projection, self._keys, self._values, self._stamps
            if self._one is not None and len(logits) == 1 and logits.dtype == torch.float32:
                return self._one(logits, hidden.float(), *known)
            return corrected(logits, hidden.float(), *known, nearest=self.nearest)
        weights, at = _nearest(self._key(hidden), self._keys, self._stamps, self.nearest)
        rest = self._rest[at]
        own = weights[..., None] * (self._values[at] - rest[..., None])  # [n, k + 1, top]
        residual = (weights * rest).sum(-1, keepdim=True).expand(-1, self.vocab).clone()
        return logits + residual.scatter_add_(1, self._ids[at].flatten(1), own.flatten(1))

    def _key(self, hidden: Tensor) -> Tensor:
        return key_of(hidden.float(), self._projection)

    # what is remembered

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self._open, self._fresh, self._seen = [], [], []

    def enter(self, keep_prompt: bool = False) -> None:
        super().enter()
        self._open.append([])

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        super().reveal(row, logits, drafted)
        if drafted:
            hidden, own = (torch.stack([one[row] for one in seen]) for seen in zip(*self._seen[:drafted], strict=True))
            self._fresh.append((hidden, own, logits[:drafted]))
        if drafted < len(logits):
            waits = self._open[row]
            waits.append(logits[drafted:])
            while sum(map(len, waits[1:])) >= WAITING:  # the draft has not read on for long, so these never will be
                del waits[0]
        if row == len(self.texts) - 1:
            self._seen = []

    def pause(self, idle: bool) -> None:
        super().pause(idle)
        self._open, self._seen = [[] for _ in self._open], []

    def leave(self, row: int) -> None:
        self._read_on(row)
        self._remember()
        close_up(self._open, row)
        super().leave(row)

    def _take_in(self) -> None:
        """Remember the positions committed since the last draft; the draft has read all of them by now."""
        self._seen = []
        for row in range(len(self._open)):
            self._read_on(row)
        if sum(len(hidden) for hidden, _, _ in self._fresh) >= TOGETHER:
            self._remember()

    def _read_on(self, row: int) -> None:
        """The committed positions of a text that were not drafted, as far as the draft has read them."""
        if not self._open[row]:
            return
        target = torch.cat(self._open[row])
        self._open[row] = []
        stop = len(self.texts[row].tokens)
        start, known = stop - len(target), min(stop, self.draft.known(row))
        if known > start:
            hidden, own = self.draft.features(start, known, row), self.draft.logits_at(start, known, row)
            assert hidden is not None
            assert own is not None
            self._fresh.append((hidden, own, target[: known - start]))
        self.draft.forget(min(stop, known), row)

    def _remember(self) -> None:
        if not self._fresh:
            return
        # until directions are known, keys are made again of what was collected, which is to lie in order
        room = self.entries if self.whitener.ready else self.entries - self._next
        hidden, own, target = (torch.cat(parts)[-room:] for parts in zip(*self._fresh, strict=True))
        self._fresh = []
        draft, target = own.float().log_softmax(-1), target.float().log_softmax(-1)
        m = len(hidden)
        start = self._next if self._next + m <= self.entries else 0  # what is remembered at once lies together
        self._next, self.filled = start + m, max(self.filled, start + m)
        at = slice(start, start + m)
        if self.top:
            ids = torch.maximum(target, draft).topk(self.top, -1).indices
            target, draft = target.gather(-1, ids), draft.gather(-1, ids)
            self._ids[at] = ids
            self._rest[at] = _ratio(_others(target), _others(draft))
        self._values[at] = _ratio(target, draft)
        self.count += m
        self._stamps[at] = self.count / AGE
        self._stamps[self.entries] = log(DOUBT) + SHARPNESS + self.count / AGE
        rows = None if self.whitener.ready else torch.cat([self.whitener.collected.float(), hidden.float()])
        self.whitener.absorb(hidden)
        if rows is not None and self.whitener.ready:  # all entries so far, which lie in order
            self._projection = self.whitener.matrix @ self.directions
            self._keys[: len(rows)] = self._key(rows)
        else:
            self._keys[at] = self._key(hidden)

    # what is kept

    def state(self) -> dict[str, Tensor]:
        """The whitening, or the burn-in so far, and every position remembered."""
        named = {"keys": self._keys, "values": self._values, "stamps": self._stamps[:, None]}
        named |= {"ids": self._ids, "rest": self._rest[:, None]} if self.top else {}
        kept = {name: part[: self.filled].clone() for name, part in named.items()}
        white = {f"whitener.{name}": part for name, part in self.whitener.state().items()}
        return super().state() | white | kept | {"count": torch.tensor([self.count, self._next])}

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The whitening alone: laws give texts back."""
        white = self.whitener.textless(under("whitener.", state))
        named = {f"whitener.{name}": part for name, part in white.items()} | {"count": torch.zeros_like(state["count"])}
        named |= {name: state[name][:0] for name in ("keys", "values", "stamps", "ids", "rest") if name in state}
        return super().textless(state) | named

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        super().check_state(state, at)
        kept = {name: state[name] for name in ("keys", "values", "stamps", "ids", "rest") if name in state}
        alike(kept, self.entries, at)
        between(f"{at}count", state["count"][:1], len(state["keys"]))
        between(f"{at}count", state["count"][1:], 0, len(state["keys"]))
        if self.top:
            between(f"{at}ids", state["ids"], 0, self.vocab - 1)

    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self.whitener.restore(under("whitener.", state))
        self._forget_all()
        self._open, self._fresh, self._seen = [], [], []
        self.filled, (self.count, self._next) = len(state["keys"]), state["count"].tolist()
        at = slice(0, self.filled)
        self._keys[at], self._values[at] = state["keys"].to(self._keys), state["values"].to(self._values)
        self._stamps[at] = state["stamps"][:, 0].to(self._stamps)
        self._stamps[self.entries] += self.count / AGE
        if self.top:
            self._ids[at], self._rest[at] = state["ids"].to(self._ids), state["rest"][:, 0].to(self._rest)


def key_of(hidden: Tensor, projection: Tensor) -> Tensor:
    """States ``[n, d]`` → keys ``[n, w]``, of norm √w."""
    return torch.layer_norm(hidden @ projection, (projection.shape[1],), eps=TINY)


def _nearest(key: Tensor, keys: Tensor, stamps: Tensor, nearest: int) -> tuple[Tensor, Tensor]:
    """Weights ``[n, k + 1]`` of the entries that are asked, and which they are."""
    best, at = torch.addmm(stamps, key, keys.T, alpha=SHARPNESS / keys.shape[1]).topk(nearest + 1, -1)
    return best.softmax(-1), at


def corrected(
    logits: Tensor, hidden: Tensor, projection: Tensor, keys: Tensor, values: Tensor, stamps: Tensor, nearest: int
) -> Tensor:
    """Logits ``[n, V]`` and states ``[n, d]`` → logits with the log-ratios that are remembered near by."""
    weights, at = _nearest(key_of(hidden, projection), keys, stamps, nearest)
    near = values.index_select(0, at.flatten()).view(*at.shape, -1).to(logits.dtype)  # [n, k + 1, V]
    return torch.baddbmm(logits[:, None], weights[:, None].to(logits.dtype), near)[:, 0]


@lru_cache
def _asking(nearest: int) -> Callable[..., Tensor]:
    """``corrected`` of so many entries; the same function for the same number."""
    return partial(corrected, nearest=nearest)


def _ratio(target: Tensor, draft: Tensor) -> Tensor:
    """The log-ratio of two log-probabilities, cut."""
    return (target.clamp(min=LEAST) - draft.clamp(min=LEAST)).clamp(-MOST, MOST)


def _others(kept: Tensor) -> Tensor:
    """The log-probability of all tokens but those kept ``[m, top]`` → ``[m]``."""
    return (1 - kept.exp().sum(-1)).clamp(min=0).log()
