r"""Sequentially dependent heads with a prefix layer: each head sees the tokens drafted before it.

A decoder layer reads the target's last hidden states, h'_j = f_j + layer(f_0 … f_j); at a step's start, with y_{n−1}
pending, head k drafts the token at position n − 1 + k from

    feature_k = h'_{n−2} + out_k·silu(in_k·[h'_{n−2} ; embeddings of y_{n−1} and of the k − 1 tokens drafted so far])

through the target's own head. in_k halves the width. Untrained, the layer's norm and out_k are zero: every head repeats
the target's law.
Reference: Ankner et al. 2024 (Hydra++, as a chain).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from real.drafters.base import LONGEST
from real.drafters.flat import Flat, FlatLoss
from real.drafters.layer import Following, Layer
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, since
from real.models.device import sent
from real.models.hf import CausalLM
from real.models.text import Text


class Prefix(nn.Module):
    """The prefix layer and K heads; ``forward`` is the layer, ``head`` one head."""

    def __init__(self, target: CausalLM, heads: int, seed: int):
        super().__init__()
        self.layer = Layer(target, seed)
        self.layer.silence()
        width = target.width
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.inner = nn.ModuleList(nn.Linear((2 + k) * width, width // 2, bias=False) for k in range(heads))
            self.outer = nn.ModuleList(nn.Linear(width // 2, width, bias=False) for _ in range(heads))
        for weight in self.outer.parameters():
            nn.init.zeros_(weight)
        self.to(target.device, target.dtype)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.layer(hidden)

    def head(self, k: int, prefix: Tensor, embedded: Tensor) -> Tensor:
        """Feature of head k = 0 … K − 1: prefix ``[n, D]``, embedded ``[n, (k + 1)·D]`` → ``[n, D]``."""
        return prefix + self.outer[k](torch.nn.functional.silu(self.inner[k](torch.cat([prefix, embedded], -1))))


class _Every(nn.Module):
    """All heads at once, for the loss: the features of head k at the origins and embeddings given for it."""

    def __init__(self, prefix: Prefix):
        super().__init__()
        self.prefix = prefix

    def forward(self, hidden: Tensor, rows: Sequence[slice], embedded: Sequence[Tensor]) -> list[Tensor]:
        states = self.prefix(hidden)
        return [
            self.prefix.head(k, states[at], tokens) for k, (at, tokens) in enumerate(zip(rows, embedded, strict=True))
        ]


class Hydra(Following):
    """K dependent heads, which draft at most K tokens a step; x is all their weights and the prefix layer's.

    Args:
        heads: K. seed: of the untrained weights. decay: head k weighs decay^(k−1) in the loss.
    """

    def __init__(self, target: CausalLM, heads: int = 4, seed: int = 0, decay: float = 0.8):
        if not 1 <= heads <= LONGEST or not 0 < decay <= 1:
            raise ValueError(f"heads={heads!r}, decay={decay!r}: 1 to {LONGEST} heads, and a decay in (0, 1]")
        self.target, self.vocab, self.heads, self.decay = target, target.vocab, heads, decay
        self.embed = target.model.get_input_embeddings()
        self.prefix = Prefix(target, heads, seed)
        self.every = _Every(self.prefix)
        self.layer, self.flat = self.prefix.layer, Flat(self.every)

    def reach(self, text: Text) -> int:
        return self.heads if len(text.tokens) > 1 else 0  # the first token alone has no state before it

    def vectors(self, text: Text, start: int, stop: int) -> Tensor:
        assert text.hidden is not None
        return text.hidden[start:stop]

    def drafted_from(self, states: Tensor, vectors: Tensor) -> Tensor:
        return vectors + states

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        if drafted:
            self.seen = torch.cat([self.seen, self.embed(drafted[-1])], -1)
        else:
            self._read()
            pending = sent([text.tokens[-1] for text in self.texts], self.target.device)
            self.seen = self.embed(pending)
        return self.target.head(self.prefix.head(len(drafted), self.newest, self.seen))

    def first_in_step(self, loss: FlatLoss) -> tuple[FlatLoss, Tensor]:
        return loss.of_runs([i % self.heads == 0 for i in range(len(loss.shares))]), self.x

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> FlatLoss:
        """Head k at position i stands at the state after y_{i−1−k}; positions too early for a head are left out."""
        inputs, laws, weights, chosen = [], [], [], []
        for piece in since(2, pieces):
            with torch.no_grad():
                table = self.embed(torch.tensor(piece.tokens[: piece.stop - 1], device=self.target.device))
            rows, embedded = [], []
            for k in range(1, self.heads + 1):
                late = piece.since(k + 1)
                first, stop = late.start, late.stop
                rows.append(slice(first - 1 - k, stop - 1 - k))
                embedded.append(torch.cat([table[first - j : stop - j] for j in range(k, 0, -1)], -1))
                chosen.append(objective.rows([late])[0])
                laws.append(late.target_probs[chosen[-1]])
                weights.append(self.decay ** (k - 1))
            inputs.append((piece.states()[: piece.stop - 2], rows, embedded))

        def forward(parameters: dict[str, Tensor]) -> tuple[list[Tensor], None]:
            found = [feature for one in inputs for feature in self.flat.play(parameters, *one)]
            return [self.target.head(feature[kept]) for feature, kept in zip(found, chosen, strict=True)], None

        return FlatLoss(self.flat, forward, laws, objective, weights)
