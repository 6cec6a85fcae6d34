"""What a mixture's parts were worth along a text, each alone, and the best fixed mixture of them in hindsight.

A part's law at a committed position is that which it would have alone, so each is a drafter of its own here. The best
fixed mixture has the weights least in Σ TV over the whole text, which is what regret is measured against.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters import Piece
from real.drafters.mixture import Mixture
from real.drafters.piece import features_of
from real.serving.learn import Learning
from theory.hindsight import Total, cutting_planes
from theory.loss import MixtureTV
from theory.speculation.acceptance import alpha

LAID = 512
"""Positions whose laws are mixed at once."""
CLOSE = 1e-5
"""How far the mean TV of the best fixed mixture may be from the least."""


class Laws:
    """The laws of a mixture's parts and of the target along a text, as the learner of its weights is shown them."""

    def __init__(self):
        self.target: list[Tensor] = []
        self.parts: list[Tensor] = []

    def see(self, pieces: Sequence[Piece]) -> None:
        """Take in the pieces of a round, in order."""
        self.target += [piece.target_probs.cpu().float() for piece in pieces]
        self.parts.append(features_of(pieces).cpu().float())

    def judged(self, learning: Learning, drafter: Mixture, tokens: int) -> tuple[dict[str, Any], Tensor, Tensor]:
        """Names of parts, hindsight's weights, and how far their mean TV may be from the least; rates of the parts
        ``[n, N]`` and of the best fixed mixture ``[n]``."""
        if learning.rounds.pieces:
            self.see(learning.rounds.pieces)  # the last round, which was not complete
        target, laws = torch.cat(self.target), torch.cat(self.parts)  # [n, V], [n, N, V]
        assert len(target) == len(laws) == tokens, "every committed position is shown to the learner once"
        laid = [slice(at, at + LAID) for at in range(0, tokens, LAID)]
        losses = [MixtureTV(laws[at].transpose(0, 1).flatten(1).numpy(), target[at].flatten().numpy()) for at in laid]
        weights, gap = cutting_planes(Total(losses), laws.shape[1], CLOSE * tokens)
        told = {"parts": names_of(drafter), "weights": weights.tolist(), "gap": gap / tokens}
        mixing = torch.tensor(weights, dtype=torch.float32)
        best = torch.cat([alpha(target[at], mixing @ laws[at]) for at in laid])
        return told, torch.cat([alpha(target[at][:, None], laws[at]) for at in laid]), best


def names_of(drafter: Mixture) -> list[str]:
    """A name for every part, and what it builds on."""
    kinds = [type(part).__name__.lower() for part in drafter.parts]
    return [
        kind if base is None else f"{kind} on {kinds[base]}" for kind, base in zip(kinds, drafter.bases, strict=True)
    ]
