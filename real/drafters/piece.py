"""What verification revealed about consecutive committed positions of one request: what losses are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive positions ``start … stop − 1`` of one request, with what verification revealed about them.

    Attributes:
        tokens: the request's text, at least up to ``stop``; position i is the token ``tokens[i]``, 1 ≤ start < stop.
        target_probs: the target's law at these positions ``[stop − start, V]``.
        features: the drafter's features there ``[stop − start, d]``, or None where the loss needs none.
        hidden: the target's hidden states after each input token ``[stop − 1, D]``, for drafters that read them.
        wrong: bool ``[stop − start]``, where verification rejected a drafted token; None if it was not noted.
    """

    tokens: Sequence[int]
    start: int
    stop: int
    target_probs: Tensor
    features: Tensor | None = None
    hidden: Tensor | None = None
    wrong: Tensor | None = None

    def since(self, position: int) -> "Piece":
        """The piece without the positions before ``position``; it may be left with none."""
        early = min(max(position - self.start, 0), self.stop - self.start)
        rows = {name: getattr(self, name) for name in ("target_probs", "features", "wrong")}
        late = {name: None if tensor is None else tensor[early:] for name, tensor in rows.items()}
        return replace(self, start=self.start + early, **late)

    def states(self) -> Tensor:
        """``hidden``; ValueError if the piece came without it."""
        if self.hidden is None:
            raise ValueError("hidden=None: this loss needs the target's hidden states; serve with reads_target")
        return self.hidden


def features_of(pieces: Sequence[Piece]) -> Tensor:
    """The features of all positions, in order ``[n, d]``; ValueError if a piece came without them."""
    rows = [piece.features for piece in pieces if piece.features is not None]
    if len(rows) < len(pieces):
        raise ValueError("features=None: this loss needs the features of every piece; take them from the drafter")
    return torch.cat(rows)


def since(position: int, pieces: Sequence[Piece]) -> list[Piece]:
    """What is left of the pieces from ``position`` of their requests on; empty ones are dropped."""
    return [late for late in (piece.since(position) for piece in pieces) if late.stop > late.start]
