r"""A convex output adapter on a small language model: logits affine in the decision, so the theorems apply.

    logits_x(h) = W·h + Q·Xᵀ·M·h = head(h + B·h),     B = R⁻¹·Xᵀ·M,     W = Q·R

h is the draft's last hidden state, W its output embeddings, X the decision as a matrix ``[d, d]``, M a whitening matrix
frozen after a burn-in; the arithmetic is ``theory/adapter.py``. Drafting costs three ``[d, d]`` products, and the
hidden states, hence the cache, do not depend on x.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.base import Piece
from real.drafters.independent import Independent
from real.models import CausalLM
from theory.adapter import adapted, adapter_loss, readout, whitening
from theory.loss import SoftmaxKL


class Adapter(Independent):
    """Independent draft whose output is adapted; x = 0 is the untouched draft, and it stays 0 until the burn-in ends.

    Args:
        burn_in: positions whose features set the whitening; learning begins after them. Later ones are ignored.
        ridge: of the whitening, relative to the mean eigenvalue, so that directions hardly seen stay quiet.

    Attributes:
        whitening: M float32 ``[d, d]``, 1/√d until the burn-in ends. q: Q float32 ``[V', d]``, V' the common ids.
    """

    convex = True

    def __init__(self, model: CausalLM, vocab: int, burn_in: int = 2000, ridge: float = 1e-2):
        super().__init__(model, vocab)
        if burn_in < 1 or not ridge > 0:
            raise ValueError(f"burn_in={burn_in!r}, ridge={ridge!r}: burn_in must be at least 1 and ridge positive")
        self.burn_in, self.ridge, self.width = burn_in, ridge, model.width
        q, r = readout(model.readout.weight[: self.common].double())
        self.q, self._r_inverse = q.float(), torch.linalg.inv(r).float()
        self._burned = torch.zeros(0, self.width, dtype=torch.float64, device=model.device)
        self.whitening = torch.eye(self.width, device=model.device) / self.width**0.5
        self._ready = False
        self._x = torch.zeros(self.width**2, device=model.device)
        self._served: tuple[Tensor, Tensor, Tensor] | None = None  # X, M, R⁻¹; None while x = 0

    @property
    def dimension(self) -> int:
        return self.width**2

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    @property
    def ready(self) -> bool:
        return self._ready

    def logits(self, hidden: Tensor) -> Tensor:
        if self._served is not None:
            hidden = adapted(hidden.to(self._served[0].dtype), *self._served).to(hidden.dtype)
        return self.model.head(hidden)

    def absorb(self, pieces: Sequence[Piece]) -> None:
        """Collect burn-in features; the call that brings the count to ``burn_in`` freezes the whitening."""
        if self._ready:
            return
        rows = torch.cat([self._burned, hidden_rows(pieces).double()])[: self.burn_in]
        self._burned = rows
        if len(rows) == self.burn_in:
            self.whitening, self._ready = whitening(rows, self.ridge).float(), True
            self._burned = rows[:0].clone()

    def load(self, x: Tensor) -> None:
        self._x = x.detach().to(self.model.device, torch.float32).clone()
        if not bool(self._x.any()):
            self._served = None
            return
        wide = torch.promote_types(torch.float32, self.model.dtype)
        self._served = self._x.to(wide), self.whitening.to(wide), self._r_inverse.to(wide)

    def loss(self, pieces: Sequence[Piece], temperature: float = 1.0) -> SoftmaxKL:
        hidden = hidden_rows(pieces)
        target = torch.cat([self.common_law(piece.target_probs) for piece in pieces])
        with torch.inference_mode():
            base = self.model.head(hidden)[:, : self.common].float()
        return adapter_loss(hidden.float(), target, base, self.whitening, self.q, temperature)

    def state(self) -> dict[str, Tensor]:
        """The whitening, or the burn-in so far."""
        tensors = {"ready": torch.tensor(self._ready), "whitening": self.whitening, "burned": self._burned}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._ready = bool(state["ready"])
        self.whitening = state["whitening"].to(self.whitening)
        self._burned = state["burned"].to(self._burned)
        self.load(self._x)


def hidden_rows(pieces: Sequence[Piece]) -> Tensor:
    """The features of all positions, in order ``[n, d]``; ValueError if a piece came without them."""
    rows = [piece.features for piece in pieces if piece.features is not None]
    if len(rows) < len(pieces):
        raise ValueError(
            "features=None: the adapter's loss needs the features of every piece; take them from the drafter"
        )
    return torch.cat(rows)
