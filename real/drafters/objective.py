"""What a round's loss asks of the draft: which divergence, at which temperature, on which committed positions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from real.drafters.own_loss import divergence_of
from theory.divergence import Divergence, Speed

POSITIONS = ("all", "wrong")


@dataclass(frozen=True)
class Objective:
    """The loss of a row of the systems' table.

    Attributes:
        divergence: what ``real.drafters.own_loss.divergence_of`` takes: a name of ``theory.divergence.DIVERGENCES``, or
            a user's own. Only ``kl`` on all positions carries theorems.
        positions: ``all`` that were committed, or only those where verification found the draft ``wrong`` (OSD's
            buffer): the position of each recovered token.
        anchor: λ ≥ 0: λ·KL(served ‖ draft) is added at every chosen position, ``served`` being the draft as it was when
            the round began. Its gradient is 0 there: it holds back learners that evaluate a round more than once or
            elsewhere (``Repeated``, ``Ensemble``). For deep drafters alone.
        temperature: the draft's logits are divided by it, as when it serves. gamma: draft length, for ``speed``.
        formula: the divergence itself, with the draft length it needs.
    """

    divergence: str | Divergence = "kl"
    positions: str = "all"
    anchor: float = 0.0
    temperature: float = 1.0
    gamma: int = 4
    formula: Divergence = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        found = divergence_of(self.divergence)
        found = replace(found, gamma=self.gamma) if isinstance(found, Speed) else found
        object.__setattr__(self, "formula", found)  # once: a user's file may change while it is being served
        if self.positions not in POSITIONS:
            raise ValueError(f"positions={self.positions!r}: must be one of {', '.join(POSITIONS)}")
        if not 0 <= self.anchor < float("inf"):
            raise ValueError(f"anchor={self.anchor!r}: must be finite and at least 0; 0 adds nothing")
        if self.divergence == "speed" and self.positions == "wrong":
            raise ValueError("positions='wrong': the loss 'speed' looks at runs of positions; choose positions='all'")

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in logits that are affine in the decision, averaged over a whole round."""
        return self.divergence == "kl" and self.positions == "all" and not self.anchor

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
