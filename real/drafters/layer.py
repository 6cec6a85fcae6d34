"""One decoder layer over hidden states, from transformers' own classes, with a cache that rolls back; and what drafters
share that follow the target's states with one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from transformers import AutoModel, LlamaConfig

from real.drafters.base import Drafter
from real.drafters.flat import Flat
from real.drafters.independent import newest
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, since
from real.models.cache import RowCache, SlotCache, rows_of
from real.models.device import sent
from real.models.hf import CausalLM, Pair
from real.models.memory import Memory, memory_of
from real.models.text import Text, close_up
from theory.loss import Loss
from theory.runs.practice import DEEP_LEARNERS


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
        self.context, self.layers = config.max_position_embeddings, 1
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = AutoModel.from_config(config)
        self.body.get_input_embeddings().requires_grad_(False)  # it is fed vectors
        self.to(target.device, target.dtype)

    def silence(self) -> None:
        """Start from an output of zero: the weight of the last norm is."""
        nn.init.zeros_(self.body.norm.weight)  # pyright: ignore[reportArgumentType] (transformers' modules are untyped)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.hidden(vectors)

    def new_cache(self, length: int = 0) -> SlotCache:
        """An empty cache."""
        return SlotCache(self.layers)

    def hidden(self, inputs: Tensor, cache: SlotCache | None = None) -> Tensor:
        """States of vectors ``[n, D]`` or ``[1, n, D]`` after what ``cache`` holds, which are appended to it."""
        vectors = inputs if inputs.dim() == 3 else inputs[None]
        states = self.body(inputs_embeds=vectors, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        return states if inputs.dim() == 3 else states[0]

    def hidden_rows(self, inputs: Tensor, at: Tensor, reach: int, cache: RowCache) -> Tensor:
        """States ``[n, w, D]`` of vectors at positions ``at`` ``[n, w]``, all below ``reach``."""
        return self.body(inputs_embeds=inputs, **rows_of(at, reach, cache)).last_hidden_state

    def check_rows(self) -> None:
        """It can read several texts at once."""
        return None


class Following(Drafter):
    """A drafter that follows the target's hidden states with a layer of its own; x is all that trains in it.

    ``memory`` is the layer's, of which the first ``held`` inputs of a row are the target's own states; ``newest`` is
    what the next token of every text is drafted from ``[n, D]``.
    """

    trains = True
    reads_target = True
    learners = DEEP_LEARNERS
    trial = DEEP_LEARNERS["adam"]
    target: CausalLM
    flat: Flat
    layer: Layer
    newest: Tensor
    held: list[int]

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

    @property
    def memories(self) -> list[Memory]:
        return [self.memory]

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self.memory, self.held = memory_of(self.layer, rows), []
        self.newest = torch.zeros(0, self.target.width, dtype=self.target.dtype, device=self.target.device)

    @torch.inference_mode()
    def enter(self, keep_prompt: bool = False) -> None:
        text = self.texts[-1]
        assert text.hidden is not None
        vectors = self.vectors(text, 0, len(text.tokens) - 1)
        states = self.memory.enter(vectors)
        none = self.newest.new_zeros(1, self.target.width)  # of one token alone
        first = none if states is None else self.drafted_from(states, vectors)[-1:]
        self.newest = torch.cat([self.newest, first])
        self.held.append(len(vectors))

    def leave(self, row: int) -> None:
        self.memory.leave(row)
        close_up(self.held, row)
        kept = list(self.newest)
        close_up(kept, row)
        self.newest = torch.stack(kept) if kept else self.newest[:0]

    @abstractmethod
    def vectors(self, text: Text, start: int, stop: int) -> Tensor:
        """What the layer reads of a text's target states ``start`` … ``stop − 1``: ``[stop − start, D]``."""

    def drafted_from(self, states: Tensor, vectors: Tensor) -> Tensor:
        """What is drafted from, given what the layer made ``[…, D]`` of its inputs ``[…, D]``."""
        return states

    def _read(self) -> None:
        """Read the committed target states that the layer does not hold yet."""
        parts = [
            self.vectors(text, held, max(len(text.tokens) - 1, held))
            for text, held in zip(self.texts, self.memory.lengths, strict=True)
        ]
        counts = [len(part) for part in parts]
        if any(counts):
            vectors = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
            found = newest(self.drafted_from(self.memory.read(vectors, counts), vectors), counts)
            if all(counts):
                self.newest = found
            else:  # a text whose states were all read keeps the state it has
                moved = sent([[count > 0] for count in counts], found.device)
                self.newest = torch.where(moved, found, self.newest)
        self.held = list(self.memory.lengths)

    @torch.inference_mode()
    def load(self, x: Tensor) -> None:
        self.flat.load(x)
        for row in range(len(self.texts)):
            self.memory.keep(row, 0)
        if self.texts:
            self._read()

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        late = since(2, pieces)  # the first token alone has no state before it
        return super().losses(late, objective) if late else []
