"""One decoder layer over hidden states, from transformers' own classes, with a cache that rolls back; and what drafters
share that follow the target's states with one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from transformers import AutoModel, LlamaConfig

from real.drafters.base import Drafter, Piece, since
from real.drafters.flat import Flat
from real.drafters.objective import DISTIL, Objective
from real.models.cache import SlotCache, rollback
from real.models.hf import CausalLM, Pair
from theory.loss import Loss


class Layer(nn.Module):
    """Hidden states ``[n, D]`` → ``[n, D]``: a causal layer as wide as the target, made under a seed, normed last."""

    def __init__(self, target: CausalLM, seed: int):
        super().__init__()
        heads = max(1, target.width // 64)
        config = LlamaConfig(
            hidden_size=target.width,
            intermediate_size=2 * target.width,
            num_hidden_layers=1,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            vocab_size=1,
            bos_token_id=None,
            eos_token_id=None,
            max_position_embeddings=min(target.context, 2**20),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = AutoModel.from_config(config)
        self.body.get_input_embeddings().requires_grad_(False)  # it is fed vectors
        self.to(target.device, target.dtype)

    def silence(self) -> None:
        """Start from an output of zero: the weight of the last norm is."""
        nn.init.zeros_(self.body.norm.weight)  # pyright: ignore[reportArgumentType] (transformers' modules are untyped)

    def forward(self, vectors: Tensor, cache: SlotCache | None = None) -> Tensor:
        """Appended to ``cache`` if there is one."""
        output = self.body(inputs_embeds=vectors[None], past_key_values=cache, use_cache=cache is not None)
        return output.last_hidden_state[0]


class Follower:
    """The layer's cache along a text: how many inputs it holds, and how many of them must be forgotten again."""

    def __init__(self) -> None:
        self.cache, self.held = SlotCache(1), 0

    def read(self, layer: nn.Module, *inputs: Tensor) -> Tensor:
        """Run ``layer`` on new inputs after what is held."""
        output = layer(*inputs, self.cache)
        self.held += len(inputs[0])
        return output

    def keep(self, count: int) -> None:
        """Forget all but the first ``count`` inputs."""
        rollback(self.cache, self.held - count)
        self.held = count


class Following(Drafter):
    """A drafter that follows the target's hidden states with a module of its own; x is all that trains in it."""

    reads_target = True
    target: CausalLM
    flat: Flat
    follower: Follower

    @classmethod
    def of(cls, pair: Pair, **settings) -> Self:
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target, **settings)  # pyright: ignore[reportCallIssue] (its own constructor takes the target)

    @property
    def dimension(self) -> int:
        return self.flat.dimension

    @property
    def x(self) -> Tensor:
        return self.flat.x

    @torch.inference_mode()
    def load(self, x: Tensor) -> None:
        self.flat.load(x)
        if self.tokens:
            self.follower = Follower()
            self._read()

    @abstractmethod
    def _read(self) -> None:
        """Read the committed states that are not in the cache yet."""

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        late = since(2, pieces)  # the first token alone has no state before it
        return super().losses(late, objective) if late else []
