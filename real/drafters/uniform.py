"""Random tokens: the worst draft there can be, and what a promise about the worst case is tried on."""

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models.hf import Pair


class Uniform(Drafter):
    """Every token with the same probability; greedily, the first id of all."""

    prefix_only = True

    def __init__(self, vocab: int, device: torch.device | str = "cpu"):
        self.vocab, self.logits = vocab, torch.zeros(1, vocab, device=device)

    @classmethod
    def of(cls, pair: Pair, **settings) -> "Uniform":
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target.vocab, pair.device, **settings)

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        return self.logits.expand(len(self.texts), -1)
