"""Rounds: ν consecutive committed tokens, with what verification revealed about them, cut to exact length.

Verification has computed the target's law at every position it committed, so feedback costs no second target call. A
round may span requests and is complete at the step boundary at or after its last token (THEORY section 1).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from real.decode import Session, Step
from real.drafters import Drafter, Piece


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
        self.waiting = 0

    def collect(self, step: Step) -> None:
        """Note the target's laws at the positions a step committed."""
        self._laws.append(cut(step.target_probs, self.law_top_k))
        self.waiting += len(step.tokens)

    @property
    def complete(self) -> bool:
        """Whether a round's last token has been committed."""
        return self.waiting >= self.nu

    def join(self, session: Session, drafter: Drafter) -> None:
        """Fetch the features of every position collected in this request; the drafter reads a bonus token if needed."""
        if not self._laws:
            return
        laws = torch.cat(self._laws)
        self._laws = []
        drafter.catch_up()
        stop = len(session.tokens)
        start = stop - len(laws)
        features = drafter.features(start, stop)
        self.pieces.append(Piece(tuple(session.tokens), start, stop, laws, features))
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
            if piece.features is not None:
                named[f"{i}.features"] = piece.features.contiguous()
        return named

    def restore(self, named: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Take up what ``state`` gave; the positions' tensors go to ``device``."""
        count = sum(key.endswith(".span") for key in named)
        on_device = {key: value.to(device) for key, value in named.items()}
        self.pieces, self._laws = [_piece(on_device, i) for i in range(count)], []
        self.waiting = sum(piece.stop - piece.start for piece in self.pieces)


def _split(piece: Piece, at: int) -> Sequence[Piece]:
    middle = piece.start + at
    features = (None, None) if piece.features is None else (piece.features[:at], piece.features[at:])
    head = replace(piece, stop=middle, target_probs=piece.target_probs[:at], features=features[0])
    tail = replace(piece, start=middle, target_probs=piece.target_probs[at:], features=features[1])
    return head, tail


def _piece(named: dict[str, Tensor], i: int) -> Piece:
    start, stop = named[f"{i}.span"].tolist()
    return Piece(named[f"{i}.tokens"].tolist(), start, stop, named[f"{i}.laws"], named.get(f"{i}.features"))
