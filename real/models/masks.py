"""Which held tokens every query of several texts may see, in the form that transformers' bodies take."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
WINDOWS, TRIED = ("window", "chunk", "local"), 512
"""Parts of the names of settings that limit what a layer sees, and the longest such limit that is tried at load."""


def kinds_of(config: Any) -> list[str]:
    """The kinds of attention of a model's layers, sorted: ``FULL``, ``SLIDING``, ``CHUNKED`` or what else it has."""
    windowed = getattr(config, "sliding_window", None) is not None
    return sorted(set(getattr(config, "layer_types", None) or [SLIDING if windowed else FULL]))


def widest(config: Any) -> int:
    """The widest window or chunk that a configuration names, by whatever name, if it is short enough to be tried."""
    named = {name: value for name, value in config.to_dict().items() if any(part in name for part in WINDOWS)}
    return max((value for value in named.values() if isinstance(value, int) and value <= TRIED), default=0)


@dataclass(frozen=True)
class Masks:
    """Masks of queries at positions of their own.

    Attributes:
        kinds: of the model's layers; ``FULL`` sees all that is held, ``SLIDING`` the last ``window`` tokens, the
            query's included, ``CHUNKED`` those of the query's own chunk of ``chunk`` positions.
        additive: the dtype of a mask that is added to the scores; None where it is a boolean.
    """

    kinds: tuple[str, ...] = (FULL,)
    window: int = 0
    chunk: int = 0
    additive: torch.dtype | None = None

    @classmethod
    def of(cls, config: Any, dtype: torch.dtype) -> "Masks":
        """What a model of this configuration needs.

        Raises:
            ValueError: for a kind of attention, or an implementation of it, that no mask of every row describes.
        """
        kinds = tuple(kinds_of(config))
        odd = [kind for kind in kinds if kind not in (FULL, SLIDING, CHUNKED)]
        if odd:
            raise ValueError(f"its layers are of the kind {odd[0]!r}, which no mask describes")
        how = config._attn_implementation
        if how not in ("sdpa", "eager"):
            raise ValueError(f"its attention {how!r} takes no mask of every row; load it with 'sdpa'")
        window, chunk = (getattr(config, name, None) or 0 for name in ("sliding_window", "attention_chunk_size"))
        return cls(kinds, window, chunk, dtype if how == "eager" else None)

    def __call__(self, at: Tensor, reach: int) -> Tensor | dict[str, Tensor]:
        """For queries at ``at`` ``[n, w]`` over ``reach`` held tokens: ``[n, 1, w, reach]``, by kind if several."""
        queries, held = at[:, None, :, None], torch.arange(reach, device=at.device)
        before = held <= queries
        masks = {}
        for kind in self.kinds:
            visible = before
            if kind == SLIDING:
                visible = before & (held > queries - self.window)
            elif kind == CHUNKED:
                visible = before & (held // self.chunk == queries // self.chunk)
            if self.additive is not None:
                hidden = torch.finfo(self.additive).min
                visible = torch.zeros_like(visible, dtype=self.additive).masked_fill(~visible, hidden)
            masks[kind] = visible
        return masks if len(masks) > 1 else masks[self.kinds[0]]


EVERYTHING = Masks()
"""Of layers that all see whatever is held."""
