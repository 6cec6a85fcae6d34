"""All weights of a small language model as the decision: one flat vector, every parameter a view into one buffer.

Not convex: regret is measured here, no bound is claimed. Tied weights appear once. A swap makes the draft's cache
stale, so it is recomputed at the swap; whoever calls ``load`` charges that time to learning.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from real.drafters.base import Piece
from real.drafters.independent import Independent
from real.models import CausalLM
from theory.loss import Loss


class Weights(Independent):
    """Independent draft with all weights trainable; x_1 is what was loaded. Trains a copy, the pair's draft stays."""

    def __init__(self, model: CausalLM, vocab: int):
        super().__init__(model.copy(), vocab)
        self._keep = False  # the loss recomputes what it needs
        named = list(self.model.model.named_parameters())
        self.layout = [(name, parameter.shape, parameter.numel()) for name, parameter in named]
        self._x = torch.cat([parameter.detach().reshape(-1).float() for _, parameter in named])
        self._buffer = torch.cat([parameter.detach().reshape(-1).to(model.dtype) for _, parameter in named])
        for (_, parameter), view in zip(named, self.split(self._buffer).values(), strict=True):
            parameter.data = view

    @property
    def dimension(self) -> int:
        return self._x.numel()

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of ``flat`` ``[dimension]`` in the shape of each parameter, by name."""
        parts = flat.split([count for _, _, count in self.layout])
        return {name: part.view(shape) for (name, shape, _), part in zip(self.layout, parts, strict=True)}

    @torch.inference_mode()
    def load(self, x: Tensor) -> None:
        self._x = x.detach().to(self.model.device, torch.float32).clone()
        self._buffer.copy_(self._x)
        if self.tokens:
            stop, self.cached, self.cache = self.cached, 0, self.model.new_cache()
            self._read(stop)

    def loss(self, pieces: Sequence[Piece], temperature: float = 1.0) -> "WeightsKL":
        return WeightsKL(self, pieces, temperature)


class WeightsKL(Loss):
    """Mean KL(target ‖ draft_x) by a fresh forward over each piece's prefix; gradients by autograd. x ``[..., d]``."""

    def __init__(self, drafter: Weights, pieces: Sequence[Piece], temperature: float):
        self.drafter, self.temperature = drafter, temperature
        self.pieces: list[tuple[Tensor, int, Tensor]] = []
        with torch.inference_mode(False):
            for piece in pieces:
                target = drafter.common_law(piece.target_probs).clone()  # an inference tensor cannot enter autograd
                ids = drafter.known(piece.tokens[: piece.stop - 1])
                self.pieces.append((ids, piece.start - 1, target))
        self.count = sum(len(target) for _, _, target in self.pieces)

    def _one(self, x: Tensor) -> Tensor:
        weights = {name: part.to(self.drafter.model.dtype) for name, part in self.drafter.split(x).items()}
        total = x.new_zeros(())
        for ids, start, target in self.pieces:
            inputs = {"input_ids": ids[None], "use_cache": False}
            output = functional_call(self.drafter.model.model, weights, (), inputs)
            logits = output.logits[0, start:, : self.drafter.common].float() / self.temperature
            total = total + torch.xlogy(target, target).sum() - (target * logits.log_softmax(-1)).sum()
        return total / self.count

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, grads = [], []
        with torch.inference_mode(False), torch.enable_grad():
            for row in x.reshape(-1, x.shape[-1]):
                leaf = row.detach().clone().requires_grad_()
                value = self._one(leaf)
                values.append(value.detach())
                grads.append(torch.autograd.grad(value, leaf)[0])
        return torch.stack(values).view(x.shape[:-1]), torch.stack(grads).view(x.shape)

    def value(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([self._one(row) for row in x.reshape(-1, x.shape[-1])]).view(x.shape[:-1])

    def grad(self, x: Tensor) -> Tensor:
        return self.value_and_grad(x)[1]
