"""The weights of a small language model as the decision: all of them, or low-rank changes of its linear layers (LoRA).

One flat vector, every parameter a view into one buffer.

Not convex: losses are logged, no bound is claimed. A swap makes the draft's cache stale, so it is recomputed at
the swap; whoever calls ``load`` charges that time to learning.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.flat import Flat, FlatLoss
from real.drafters.independent import Independent
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece
from real.models.hf import CausalLM
from theory.runs.practice import DEEP_LEARNERS


class Weights(Independent):
    """Independent draft whose weights train; x_1 is the draft as loaded. Trains a copy, the pair's draft stays.

    Args:
        lora: rank of the low-rank changes, Hu et al. 2022, on every linear layer inside the body; 0 trains all weights.
        seed: of the low-rank factors.
    """

    trains = True
    learners = DEEP_LEARNERS
    trial = DEEP_LEARNERS["adam"]

    def __init__(self, model: CausalLM, vocab: int, lora: int = 0, seed: int = 0):
        super().__init__(model.copy(), vocab)
        if not 0 <= lora <= model.width:
            raise ValueError(f"lora={lora!r}: a rank of 1 to {model.width}, the draft's width; 0 trains all weights")
        if lora:
            _inject(self.model.model, lora, seed)
        self.flat = Flat(self.model.model, everything=not lora)
        self.model.compile_like(model, trains=True)

    @property
    def dimension(self) -> int:
        return self.flat.dimension

    @property
    def x(self) -> Tensor:
        return self.flat.x

    @torch.inference_mode()
    def load(self, x: Tensor) -> None:
        self.flat.load(x)
        held = list(self.memory.lengths)
        for row in range(len(held)):
            self.memory.keep(row, 0)
        self._read_to(held)

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> FlatLoss:
        """By a fresh forward over each piece's prefix."""
        chosen = objective.rows(pieces)
        prefixes = [(self._padded([list(piece.tokens[: piece.stop - 1])]), piece.start - 1) for piece in pieces]

        def forward(parameters: dict[str, Tensor]) -> tuple[list[Tensor], None]:
            outputs = []
            for (ids, start), rows in zip(prefixes, chosen, strict=True):
                output = self.flat.play(parameters, input_ids=ids, use_cache=False)
                outputs.append(output.logits[0, start:, : self.common][rows])
            return outputs, None

        laws = [self.common_law(piece.target_probs)[rows] for piece, rows in zip(pieces, chosen, strict=True)]
        return FlatLoss(self.flat, forward, laws, objective)


def _inject(model: torch.nn.Module, rank: int, seed: int) -> None:
    """Put LoRA factors beside every linear layer of the body, in place; only they require gradients."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError(f"lora={rank}: needs peft; install the extra: pip install -e '.[lora]'") from None
    layers = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and ".layers." in name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), model)
    model.to(next(iter(model.parameters())).dtype)
    model.eval()
