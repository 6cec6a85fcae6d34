"""How a token is chosen from logits: greedily, or from a processed law and a uniform in [0, 1).

Used by target and draft alike, so that the law reported is the very tensor that was sampled from. The command lines
read this file for their options, so torch is imported only where a tensor is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from theory.arrays import Array
from theory.require import is_number, is_whole
from theory.speculation.acceptance import COLDEST, categorical, process
from theory.speculation.gumbel_rule import race

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Temperature, then top-k, then top-p (transformers' order), applied to both laws.

    Temperature 0 is greedy, and one below ``COLDEST`` is 0.
    """

    temperature: float = field(default=1.0, metadata={"help": "At least 0; 0 decodes greedily."})
    top_k: int = field(default=0, metadata={"help": "Keep the k most likely tokens; 0 keeps all."})
    top_p: float = field(default=1.0, metadata={"help": "Keep the likeliest tokens that hold this share; 1 keeps all."})

    def __post_init__(self):
        for name in ("temperature", "top_p"):
            if not is_number(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a number")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature!r}: must be finite and at least 0; 0 decodes greedily")
        if not is_whole(self.top_k) or self.top_k < 0:
            raise ValueError(
                f"top_k={self.top_k!r}: must be a whole number of at least 0; 0 keeps the whole vocabulary"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p!r}: must be in (0, 1]; 1 keeps the whole vocabulary")
        if self.temperature < COLDEST:
            object.__setattr__(self, "temperature", 0.0)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def whole(self) -> bool:
        """Whether a law is the softmax itself: what ``process`` gives then, and a decoder asks for it every token."""
        return self.temperature == 1 and self.top_k == 0 and self.top_p == 1

    def law(self, logits: Tensor) -> Tensor:
        """Next-token law ``[..., V]`` of logits, at least in float32; a greedy law is the one-hot argmax."""
        logits = logits if logits.dtype.itemsize == 8 else logits.float()
        if self.greedy:
            return one_hot(logits.argmax(-1), logits)
        if self.whole:
            return logits.softmax(-1)
        return process(logits, self.temperature, self.top_k, self.top_p)

    def judge(self, logits: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Logits ``[..., V]`` → the likeliest token ``[...]`` if greedy, else the law ``[..., V]``, and a witness.

        The witness ``[...]`` is finite exactly where there is a law (``has_law``): the largest logit if greedy, else an
        entry of the law, which is otherwise NaN throughout.
        """
        if self.greedy:
            top, token = logits.max(-1)
            return token, None, top
        law = self.law(logits)
        return None, law, law[..., 0]

    def choose(self, logits: Tensor, chance: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Token ``[...]``, the law ``[..., V]`` it was ``drawn`` from, None when greedy as is ``chance``, a witness."""
        token, law, witness = self.judge(logits)
        return drawn(law, chance) if token is None else token, law, witness


def drawn(law: Array, chance: Array) -> Array:
    """Token ``[...]`` of a law ``[..., V]`` by a uniform ``[...]``, or by the noise of its place ``[..., V]``."""
    return race(law, chance) if chance.dim() == law.dim() else categorical(law, chance)


def has_law(logits: Tensor) -> Tensor:
    """Whether logits ``[..., V]`` give a law: bool ``[...]``; none is NaN or +inf, and not all are -inf."""
    return logits.amax(-1).isfinite()


def one_hot(tokens: Tensor, like: Tensor) -> Tensor:
    """The law that puts all mass on ``tokens`` ``[...]``: ``[..., V]``, of the width and type of ``like``."""
    return like.new_zeros(*tokens.shape, like.shape[-1]).scatter_(-1, tokens[..., None], 1.0)
