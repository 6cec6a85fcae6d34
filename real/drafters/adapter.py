r"""Convex output adapters on a small language model: logits affine in the decision, so the theorems apply.

    adapter   logits_x(h) = W·h + Q·Xᵀ·M·h = head(h + B·h),     B = R⁻¹·Xᵀ·M,     W = Q·R,     X ``[d, d]``
    matrix    logits_x(h) = W·h + Xᵀ·M·h                                                       X ``[d, V']``
    bias      logits_x(h) = W·h + Xᵀ                                                           X ``[1, V']``

h is the draft's last hidden state, W its output embeddings, x the matrix X flattened, V' the ids that target and draft
share, M a whitening matrix frozen after a burn-in; the arithmetic is ``theory/speculation/adapter.py``. The hidden
states, hence the cache, do not depend on x, so a swap costs nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from real.drafters.independent import Independent
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, features_of
from real.drafters.whitening import Whitening, factors
from real.models.hf import CausalLM
from theory.learners.ogd import OGD
from theory.loss import SoftmaxKL
from theory.runs.practice import ADAPTER_LEARNERS
from theory.speculation.adapter import adapted, adapter_loss, whitening

PARTS = ("adapter", "matrix", "bias")


class Adapter(Independent):
    """Independent draft whose output is adapted; x = 0 is the untouched draft, and it stays 0 until the burn-in ends.

    Args:
        burn_in: positions whose features set the whitening; learning begins after them. A bias needs none.
        ridge: of the whitening, see ``Whitening``. part: which affine part is learned, see above.

    Attributes:
        q: Q float32 ``[V', d]``, orthonormal columns.
    """

    trains = True
    convex = True
    whitens = True
    keeps_states = True
    records = True
    trial = OGD(8.0)
    learners = ADAPTER_LEARNERS

    def __init__(
        self, model: CausalLM, vocab: int, burn_in: int = 2000, ridge: float = 1e-2, part: str = "adapter"
    ):  # fmt: skip
        super().__init__(model, vocab)
        if part not in PARTS:
            raise ValueError(f"part={part!r}: must be one of {', '.join(PARTS)}")
        self.part, self.width = part, model.width
        self.ridge = ridge
        self.whitener = Whitening(self.width, burn_in, ridge, model.device)
        self.q, self._r_inverse = factors(model.scores.matrix[: self.common])
        shapes = {"adapter": (self.width, self.width), "matrix": (self.width, self.common), "bias": (1, self.common)}
        self.shape = shapes[part]
        self._x = torch.zeros(self.dimension, device=model.device)
        self._served: tuple[Tensor, ...] | None = None  # X, M, R⁻¹ in the dtype served; None while x = 0

    @property
    def dimension(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    @property
    def ready(self) -> bool:
        return self.part == "bias" or self.whitener.ready

    @property
    def whitening(self) -> Tensor:
        """M ``[d, d]``."""
        return self.whitener.matrix

    def logits(self, hidden: Tensor) -> Tensor:
        if self._served is None:
            return self.model.head(hidden)
        x, whitening, r_inverse = self._served
        if self.part == "adapter":
            return self.model.head(adapted(hidden.to(x.dtype), x, whitening, r_inverse).to(hidden.dtype))
        logits = self.model.head(hidden)
        matrix = x.view(self.shape)
        added = matrix if self.part == "bias" else hidden.to(x.dtype) @ whitening @ matrix
        logits[..., : self.common] += added.to(logits.dtype)
        return logits

    def absorb(self, pieces: Sequence[Piece]) -> None:
        """Collect burn-in features; the call that brings the count to ``burn_in`` freezes the whitening."""
        if not self.ready:
            self.whitener.absorb(features_of(pieces))

    def load(self, x: Tensor) -> None:
        self._x = x.detach().to(self.model.device, torch.float32).clone()
        if not bool(self._x.any()):
            self._served = None
            return
        wide = torch.promote_types(torch.float32, self.model.dtype)
        self._served = self._x.to(wide), self.whitening.to(wide), self._r_inverse.to(wide)

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> SoftmaxKL:
        hidden = features_of(pieces)
        target = torch.cat([self.common_law(piece.target_probs) for piece in pieces])
        chosen = objective.chosen(pieces)
        if chosen is not None:
            hidden, target = hidden[chosen], target[chosen]
        with torch.inference_mode():
            base = self.model.head(hidden)[:, : self.common].float()
        if self.part == "adapter":
            loss = adapter_loss(hidden.float(), target, base, self.whitening, self.q, objective.temperature)
        else:
            ones = torch.ones(len(hidden), 1, device=base.device)
            features = ones if self.part == "bias" else hidden.float() @ self.whitening
            loss = SoftmaxKL(features, target, base, None, objective.temperature)
        return replace(loss, divergence=objective.formula)

    def learnable(self, target_probs: Tensor) -> Tensor:
        return self.common_law(target_probs)

    def recording(self, pieces: Sequence[Piece], burn_in: int) -> dict[str, Tensor]:
        if self.part != "adapter":
            raise ValueError(f"part={self.part!r}: the simulator replays the part 'adapter' alone; record that")
        rows = features_of(pieces)
        ready = whitening(rows[:burn_in].double(), self.ridge) if burn_in else self.whitening
        return {"features": rows.float(), "head": self.model.scores.matrix[: self.common].float(), "whitener": ready}

    def state(self) -> dict[str, Tensor]:
        """The whitening, or the burn-in so far."""
        return self.whitener.state()

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.whitener.textless(state)

    def restore(self, state: dict[str, Tensor]) -> None:
        self.whitener.restore(state)
        self.load(self._x)
