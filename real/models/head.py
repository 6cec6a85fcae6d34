"""The head of a language model: hidden states to logits, what a family does to its logits after included."""

from typing import Any

import torch
from torch import Tensor

LOUDER = (1.0, 8.0, 64.0)
"""How many times as large as they came the states are on which a head is checked: a cap shows on large logits only."""


class Head:
    """The output embeddings, then a scale or a soft cap, both functions of the logits alone.

    Args:
        readout: the output embeddings, ``weight`` ``[V, d]``. config: of the text model.

    Attributes:
        times, over: what the logits are multiplied and divided by, as their family rounds them. cap: their soft limit;
            None where there is none.
    """

    def __init__(self, readout: Any, config: Any):
        self.readout = readout
        self.times: float = getattr(config, "logit_scale", None) or 1.0
        self.over: float = getattr(config, "logits_scaling", None) or 1.0
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)

    @property
    def scale(self) -> float:
        """What the logits are multiplied by in all."""
        return self.times / self.over

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states ``[…, d]`` → ``[…, V]``."""
        logits = self.readout(hidden)
        if self.times != 1:
            logits = logits * self.times
        if self.over != 1:
            logits = logits / self.over
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    @property
    def matrix(self) -> Tensor:
        """W ``[V, d]``, where logits are W·h, or W·h + b.

        Raises:
            ValueError: for a capped head, whose logits are not affine in h.
        """
        if self.cap is not None:
            raise ValueError(
                f"final_logit_softcapping={self.cap!r}: a capped head's logits are not affine in the hidden state, so "
                "no adapter of it has a convex loss; take a drafter without one, such as independent, ngram or hydra"
            )
        return self.readout.weight if self.scale == 1 else self.readout.weight * self.scale

    @torch.inference_mode()
    def error(self, model: Any, ids: Tensor, hidden: Tensor) -> float:
        """How far, in units of the last place, it is from what ``model`` makes of the same states.

        ids int64 ``[n]``; hidden ``[n, d]``, which the model's own output embeddings are given in place of what they
        would read.
        """
        worst = 0.0
        for louder in LOUDER:
            states = hidden[None] * louder
            hook = self.readout.register_forward_pre_hook(lambda module, given, states=states: (states,))
            try:
                want = model(input_ids=ids[None], use_cache=False).logits
            finally:
                hook.remove()
            if louder > 1 and not bool(want.isfinite().all()):
                continue  # beyond the dtype
            unit = torch.finfo(want.dtype).eps * want.abs().clamp(min=torch.finfo(want.dtype).tiny)
            worst = max(worst, float(((self(states) - want).abs() / unit).max().nan_to_num(float("inf"))))
        return worst
