"""Rounds: ν consecutive committed tokens, with what verification revealed about them, cut to exact length.

Verification has computed the target's law at every position it committed, so feedback costs no second target call. A
round may span requests and is complete at the step boundary at or after its last token (theory/README.md).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.models.sampling import Sampling
from real.serving.step import Session, Step


def cut(law: Tensor, k: int) -> Tensor:
    """A law ``[n, V]`` cut to its k likeliest tokens and renormalised; k = 0 leaves it whole."""
    if not 0 < k < law.shape[-1]:
        return law
    top = law.topk(k, dim=-1)
    kept = torch.zeros_like(law).scatter_(-1, top.indices, top.values)
    return kept / kept.sum(-1, keepdim=True)


class Rounds:
    """Collects committed positions and hands them out in rounds of exactly ``nu``.

    Args:
        nu: committed tokens a round, at least 1. law_top_k: keep only so many tokens of the target's law; 0 keeps all.
    """

    def __init__(self, nu: int, law_top_k: int = 0):
        if nu < 1:
            raise ValueError(f"nu={nu!r}: a round needs at least one committed token")
        self.nu, self.law_top_k = nu, law_top_k
        self.pieces: list[Piece] = []  # complete positions, features included
        self._laws: list[Tensor] = []  # of the request in flight, not yet joined by features
        self._wrong: list[Tensor] = []
        self.waiting = 0

    def collect(self, step: Step) -> None:
        """Note the target's laws at the positions a step committed."""
        laws = cut(step.target_probs, self.law_top_k)
        self._laws.append(laws)
        self._wrong.append(torch.arange(len(laws), device=laws.device) == (step.accepted if step.rejected else -1))
        self.waiting += len(step.tokens)

    def add(self, piece: Piece) -> None:
        """Take up a piece that is complete already; only before anything of its request was collected."""
        self.pieces.append(piece)
        self.waiting += piece.stop - piece.start

    def prompt(self, session: Session, drafter: Drafter, sampling: Sampling) -> Piece:
        """What prefill revealed about positions 1 … n − 1 of a prompt of n ≥ 2 tokens; kept by ``keep_prompt``."""
        assert session.prompt_logits is not None
        n = session.prompt_length
        laws = cut(sampling.law(session.prompt_logits), self.law_top_k)
        hidden = None if session.hidden is None else session.hidden[: n - 1]
        nowhere = torch.zeros(n - 1, dtype=torch.bool, device=laws.device)
        return Piece(tuple(session.tokens[:n]), 1, n, laws, drafter.features(1, n), hidden, nowhere)

    @property
    def complete(self) -> bool:
        """Whether a round's last token has been committed."""
        return self.waiting >= self.nu

    def join(self, session: Session, drafter: Drafter) -> None:
        """Fetch the features of every position collected in this request; the drafter reads a bonus token if needed."""
        if not self._laws:
            return
        laws, wrong = torch.cat(self._laws), torch.cat(self._wrong)
        self._laws, self._wrong = [], []
        drafter.catch_up()
        stop = len(session.tokens)
        start = stop - len(laws)
        features = drafter.features(start, stop)
        hidden = None if session.hidden is None else session.hidden[: stop - 1]
        self.pieces.append(Piece(tuple(session.tokens), start, stop, laws, features, hidden, wrong))
        drafter.forget(stop)

    def take(self) -> list[Piece]:
        """The pieces of one round, ν positions in all; ``join`` first. The rest waits for the next round."""
        assert self.complete
        taken, need = [], self.nu
        while need:
            piece = self.pieces.pop(0)
            length = piece.stop - piece.start
            if length > need:
                head, tail = _split(piece, need)
                self.pieces.insert(0, tail)
                piece, length = head, need
            taken.append(piece)
            need -= length
        self.waiting -= self.nu
        return taken

    def state(self) -> dict[str, Tensor]:
        """Positions of unfinished rounds as named tensors; between requests only."""
        named = {}
        for i, piece in enumerate(self.pieces):
            named[f"{i}.tokens"] = torch.tensor(piece.tokens)
            named[f"{i}.span"] = torch.tensor([piece.start, piece.stop])
            named[f"{i}.laws"] = piece.target_probs.contiguous()
            for name in ("features", "hidden", "wrong"):
                tensor = getattr(piece, name)
                if tensor is not None:
                    named[f"{i}.{name}"] = tensor.contiguous()
        return named

    def restore(self, named: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Take up what ``state`` gave; the positions' tensors go to ``device``."""
        count = sum(key.endswith(".span") for key in named)
        on_device = {key: value.to(device) for key, value in named.items()}
        self.pieces, self._laws, self._wrong = [_piece(on_device, i) for i in range(count)], [], []
        self.waiting = sum(piece.stop - piece.start for piece in self.pieces)


def _split(piece: Piece, at: int) -> Sequence[Piece]:
    middle = piece.start + at
    head: dict[str, Any] = {"stop": middle}
    tail: dict[str, Any] = {"start": middle}
    for name in ("target_probs", "features", "wrong"):
        rows = getattr(piece, name)
        head[name], tail[name] = (None, None) if rows is None else (rows[:at], rows[at:])
    return replace(piece, **head), replace(piece, **tail)


def _piece(named: dict[str, Tensor], i: int) -> Piece:
    start, stop = named[f"{i}.span"].tolist()
    rest = {name: named.get(f"{i}.{name}") for name in ("features", "hidden", "wrong")}
    return Piece(named[f"{i}.tokens"].tolist(), start, stop, named[f"{i}.laws"], **rest)
