"""Rounds: ν consecutive committed tokens, with what verification revealed about them, cut to exact length.

Verification has computed the target's law at every position it committed, so feedback costs no second target call. A
round may span texts and is complete at the step boundary at or after its last token (theory/README.md).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.models.sampling import Sampling
from real.models.state import between, check, under
from real.models.text import Text
from real.serving.step import Step


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

    Attributes:
        waiting: committed tokens that were collected and not yet taken, also those without features.
        pieces: positions that are complete, features included.
    """

    def __init__(self, nu: int, law_top_k: int = 0):
        if nu < 1:
            raise ValueError(f"nu={nu!r}: a round needs at least one committed token")
        self.nu, self.law_top_k = nu, law_top_k
        self.pieces: list[Piece] = []
        self.waiting = 0
        self._open: dict[Text, list[list[Tensor]]] = {}  # laws and flags not yet joined by features

    def collect(self, step: Step) -> None:
        """Note the target's laws at the positions a step committed."""
        laws = cut(step.target_probs, self.law_top_k)
        wrong = torch.arange(len(laws), device=laws.device) == (step.accepted if step.rejected else -1)
        noted_laws, noted_wrong = self._open.setdefault(step.text, [[], []])
        noted_laws.append(laws)
        noted_wrong.append(wrong)
        self.waiting += len(laws)

    def add(self, piece: Piece) -> None:
        """Take up a piece that is complete already; only before anything of its text was collected."""
        self.pieces.append(piece)
        self.waiting += piece.stop - piece.start

    def prompt(self, text: Text, row: int, drafter: Drafter, sampling: Sampling) -> Piece:
        """What prefill revealed about positions 1 … n − 1 of a prompt of n ≥ 2 tokens; kept by ``keep_prompt``.

        Those beyond the drafter's context are left out.
        """
        assert text.prompt_logits is not None
        n = min(text.prompt_length, drafter.context + 1)
        laws = cut(sampling.law(text.prompt_logits[: n - 1]), self.law_top_k)
        hidden = None if text.hidden is None else text.hidden[: n - 1]
        nowhere = torch.zeros(n - 1, dtype=torch.bool, device=laws.device)
        return Piece(tuple(text.tokens[:n]), 1, n, laws, drafter.features(1, n, row), hidden, nowhere)

    @property
    def joining(self) -> bool:
        """Whether positions were collected that have no features yet."""
        return bool(self._open)

    @property
    def complete(self) -> bool:
        """Whether a round can be taken."""
        return sum(piece.stop - piece.start for piece in self.pieces) >= self.nu

    def join(self, drafter: Drafter) -> None:
        """Fetch the features of all collected positions that have theirs; others wait for the next draft."""
        for row, text in enumerate(drafter.texts):
            if text in self._open:
                self._join(text, row, drafter)

    def end(self, text: Text) -> None:
        """The text has left: positions that never got their features are dropped."""
        laws, _ = self._open.pop(text, [[], []])
        self.waiting -= sum(map(len, laws))

    def _join(self, text: Text, row: int, drafter: Drafter) -> None:
        laws, wrong = (torch.cat(parts) for parts in self._open.pop(text))
        start, end = len(text.tokens) - len(laws), min(len(text.tokens), drafter.context + 1)
        readable = max(end - start, 0)  # the drafter never knows what lies beyond its context
        self.waiting -= len(laws) - readable
        laws, wrong = laws[:readable], wrong[:readable]
        stop = min(end, drafter.known(row))
        count = max(stop - start, 0)
        if count < len(laws):
            self._open[text] = [[laws[count:]], [wrong[count:]]]
        if count:
            features = drafter.features(start, stop, row)
            hidden = None if text.hidden is None else text.hidden[: stop - 1]
            self.pieces.append(
                Piece(tuple(text.tokens[:stop]), start, stop, laws[:count], features, hidden, wrong[:count])
            )
            drafter.forget(stop, row)

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
        return named_pieces(self.pieces)

    def restore(self, named: dict[str, Tensor], device: torch.device | str = "cpu", vocab: int | None = None) -> None:
        """Take up what ``state`` gave; the positions' tensors go to ``device``.

        Raises:
            ValueError: for what are no pieces, or not of this vocabulary (the entry).
        """
        self.pieces, self._open = pieces_of(named, device, vocab), {}
        self.waiting = sum(piece.stop - piece.start for piece in self.pieces)


KINDS = {"laws": torch.float32, "features": torch.float32, "wrong": torch.bool}
"""Of a piece's entries; floating numbers may be of another precision."""


def named_pieces(pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Pieces as named tensors."""
    named = {}
    for i, piece in enumerate(pieces):
        named[f"{i}.tokens"] = torch.tensor(piece.tokens)
        named[f"{i}.span"] = torch.tensor([piece.start, piece.stop])
        named[f"{i}.laws"] = piece.target_probs.contiguous()
        for name in ("features", "hidden", "wrong"):
            tensor = getattr(piece, name)
            if tensor is not None:
                named[f"{i}.{name}"] = tensor.contiguous()
    return named


def pieces_of(named: dict[str, Tensor], device: torch.device | str, vocab: int | None = None) -> list[Piece]:
    """The pieces that ``named_pieces`` took apart, on a device.

    Raises:
        ValueError: for an entry that does not go with the others of its piece (the entry).
    """
    on_device = {key: value.to(device) for key, value in named.items()}
    return [_piece(on_device, i, vocab) for i in range(len({key.split(".")[0] for key in named}))]


def _split(piece: Piece, at: int) -> Sequence[Piece]:
    middle = piece.start + at
    head: dict[str, Any] = {"stop": middle}
    tail: dict[str, Any] = {"start": middle}
    for name in ("target_probs", "features", "wrong"):
        rows = getattr(piece, name)
        head[name], tail[name] = (None, None) if rows is None else (rows[:at], rows[at:])
    return replace(piece, **head), replace(piece, **tail)


def _piece(named: dict[str, Tensor], i: int, vocab: int | None) -> Piece:
    part = under(f"{i}.", named)
    empty = torch.zeros(0, dtype=torch.int64)
    check({f"rounds.{i}.tokens": empty, f"rounds.{i}.span": torch.zeros(2, dtype=torch.int64)}, _told(i, part))
    tokens, (start, stop) = part["tokens"].tolist(), part["span"].tolist()
    between(f"rounds.{i}.span", part["span"][1:], 2, len(tokens))
    between(f"rounds.{i}.span", part["span"][:1], 1, stop - 1)
    if vocab is not None:
        between(f"rounds.{i}.tokens", part["tokens"], 0, vocab - 1)
    count, laws = stop - start, part.get("laws", empty)
    width = laws.shape[-1] if vocab is None else vocab
    shapes = {"laws": (count, width), "wrong": (count,)}
    if "features" in part:
        shapes["features"] = (count, *part["features"].shape[1:])
    for name, shape in shapes.items():
        if name == "laws" or name in part:
            wanted = torch.zeros(shape, dtype=KINDS[name], device="meta")
            check({f"rounds.{i}.{name}": wanted}, _told(i, part), rounded=True)
    if "hidden" in part:  # a piece that was split has those of the whole
        check({f"rounds.{i}.hidden": part["hidden"][:0].float()}, _told(i, part), rounded=True)
        between(f"rounds.{i}.hidden", torch.tensor(len(part["hidden"])), stop - 1)
    rest = {name: part.get(name) for name in ("features", "hidden", "wrong")}
    return Piece(tokens, start, stop, laws, **rest)


def _told(i: int, part: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"rounds.{i}.{name}": tensor for name, tensor in part.items()}
