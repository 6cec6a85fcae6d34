"""What a round's loss asks of the draft: which divergence, at which temperature, on which committed positions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from theory.divergence import DIVERGENCES, Divergence, Speed

POSITIONS = ("all", "wrong")


@dataclass(frozen=True)
class Objective:
    """The loss of a row of the systems' table.

    Attributes:
        divergence: a name of ``theory.divergence.DIVERGENCES``. Only ``kl`` on all positions carries theorems.
        positions: ``all`` that were committed, or only those where verification found the draft ``wrong`` (OSD's
            buffer): the position of each recovered token.
        temperature: the draft's logits are divided by it, as when it serves. gamma: draft length, for ``speed``.
    """

    divergence: str = "kl"
    positions: str = "all"
    temperature: float = 1.0
    gamma: int = 4

    def __post_init__(self):
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"loss={self.divergence!r}: must be one of {', '.join(DIVERGENCES)}")
        if self.positions not in POSITIONS:
            raise ValueError(f"positions={self.positions!r}: must be one of {', '.join(POSITIONS)}")
        if self.divergence == "speed" and self.positions == "wrong":
            raise ValueError("positions='wrong': the loss 'speed' looks at runs of positions; choose positions='all'")

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in logits that are affine in the decision, averaged over a whole round."""
        return self.divergence == "kl" and self.positions == "all"

    @property
    def formula(self) -> Divergence:
        """The divergence, with the draft length it needs."""
        found = DIVERGENCES[self.divergence]
        return replace(found, gamma=self.gamma) if isinstance(found, Speed) else found

    def chosen(self, pieces: Sequence) -> Tensor | None:
        """Bool ``[n]`` over the positions of ``pieces`` in order: those the loss sees; None for all of them."""
        if self.positions == "all":
            return None
        return torch.cat([piece.wrong for piece in pieces])

    def rows(self, pieces: Sequence) -> list[Tensor | slice]:
        """The same piece by piece, as indices."""
        return [slice(None) if self.positions == "all" else piece.wrong for piece in pieces]


DISTIL = Objective()
"""Forward KL on every committed position: the default, and the one the theorems are about."""
