r"""Linear heads on the target's last hidden state: logits affine in the decision, so the theorems apply.

At a step's start the text is y_0 … y_{n−1}, of which y_{n−1} is pending: the target has not read it. Head k of K drafts
the token at position n − 1 + k from h, the target's hidden state after y_{n−2}, alone:

    logits_k(h) = W·h + Q·X_kᵀ·M·h,     W = Q·R the target's output embeddings,     k = 1 … K

with the adapter's form (``theory/speculation/adapter.py``) for every head. x stacks X_1 … X_K; x = 0 repeats the
target's own law for y_{n−1}, which a warm-up replaces. Drafting needs no small model and costs K narrow products and K
runs of W; the heads do not see the pending token, nor one another's. Reference: Cai et al. 2024 (Medusa-1), with linear
heads.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import LONGEST, Drafter
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, since
from real.drafters.whitening import Whitening, factors
from real.models.hf import CausalLM, Pair
from real.models.text import Text
from theory.learners.ogd import OGD
from theory.loss import Blocks, Loss
from theory.runs.practice import HEADS_LEARNERS
from theory.speculation.adapter import adapted, adapter_loss


def before_pending(texts: Sequence[Text]) -> Tensor:
    """The target's hidden state before each text's pending token ``[n, D]``; the first one where there is none."""
    rows = []
    for text in texts:
        assert text.hidden is not None
        rows.append(text.hidden[max(len(text.tokens) - 2, 0)])
    return torch.stack(rows)


class Heads(Drafter):
    """K linear heads, which draft at most K tokens a step.

    Args:
        heads: K. burn_in, ridge: of the whitening of the target's hidden states, see ``Whitening``.
        decay: head k weighs decay^(k−1) in the loss: it only matters if those before it were right.
    """

    trains = True
    convex = True
    reads_target = True
    whitens = True
    records = True
    trial = OGD(64.0)
    learners = HEADS_LEARNERS

    def __init__(
        self, target: CausalLM, heads: int = 4, burn_in: int = 2000, ridge: float = 1e-2, decay: float = 0.8
    ):  # fmt: skip
        if not 1 <= heads <= LONGEST or not 0 < decay <= 1:
            raise ValueError(f"heads={heads!r}, decay={decay!r}: 1 to {LONGEST} heads, and a decay in (0, 1]")
        self.target, self.vocab, self.heads, self.decay = target, target.vocab, heads, decay
        self.ridge, self.head_weights = ridge, tuple(decay**k for k in range(heads))
        self.whitener = Whitening(target.width, burn_in, ridge, target.device)
        self.q, self._r_inverse = factors(target.scores.matrix)
        self._x = torch.zeros(heads * target.width**2, device=target.device)
        self._served: tuple[Tensor, Tensor, Tensor] | None = None  # x, M, R⁻¹ in the dtype served; None while x = 0

    @classmethod
    def of(cls, pair: Pair, **settings) -> "Heads":
        """Make it for a pair; the draft model, if any, is not used."""
        return cls(pair.target, **settings)

    @property
    def dimension(self) -> int:
        return self._x.numel()

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    def reach(self, text: Text) -> int:
        return self.heads if len(text.tokens) > 1 else 0  # the first token alone has no state before it

    @property
    def ready(self) -> bool:
        return self.whitener.ready

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        return self.target.head(self._moved(before_pending(self.texts), len(drafted)))

    def _moved(self, hidden: Tensor, head: int) -> Tensor:
        """Hidden states ``[n, D]`` as the head, counted from 0, sees them."""
        if self._served is None:
            return hidden
        x, whitening, r_inverse = self._served
        return adapted(hidden.to(x.dtype), x.view(self.heads, -1)[head], whitening, r_inverse).to(hidden.dtype)

    def absorb(self, pieces: Sequence[Piece]) -> None:
        rows = [late.states()[late.start - 2 : late.stop - 2] for late in since(2, pieces)]
        if rows:
            self.whitener.absorb(torch.cat(rows))

    def load(self, x: Tensor) -> None:
        self._x = x.detach().to(self.target.device, torch.float32).clone()
        if not bool(self._x.any()):
            self._served = None
            return
        wide = torch.promote_types(torch.float32, self.target.dtype)
        self._served = self._x.to(wide), self.whitener.matrix.to(wide), self._r_inverse.to(wide)

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        late = since(2, pieces)
        return super().losses(late, objective) if late else []

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> Blocks:
        """Head k at position i reads the state after y_{i−1−k}; positions too early for a head are left out."""
        losses = []
        for k in range(1, self.heads + 1):
            late = since(k + 1, pieces)
            chosen = objective.chosen(late) if late else None
            chosen = slice(None) if chosen is None else chosen
            nothing = torch.zeros(0, self.vocab, device=self.target.device)
            laws = torch.cat([nothing, *(piece.target_probs.float() for piece in late)])[chosen]
            rows = [piece.states()[piece.start - 1 - k : piece.stop - 1 - k] for piece in late]
            hidden = torch.cat([nothing[:, : self.target.width].to(self.target.dtype), *rows])[chosen]
            with torch.inference_mode():
                base = self.target.head(hidden).float()
            loss = adapter_loss(hidden.float(), laws, base, self.whitener.matrix, self.q, objective.temperature)
            losses.append(replace(loss, divergence=objective.formula))
        weights = [self.decay**k if len(loss.features) else 0.0 for k, loss in enumerate(losses)]
        return Blocks(tuple(losses), tuple(weight / sum(weights) for weight in weights))

    def first_in_step(self, loss: Any) -> tuple[Loss, Tensor]:
        return loss.losses[0], self.x[: loss.losses[0].features.shape[-1] ** 2]

    def recording(self, pieces: Sequence[Piece], burn_in: int) -> dict[str, Tensor]:
        if any(piece.start <= self.heads for piece in pieces):
            raise ValueError(f"pieces: a prompt is shorter than {self.heads + 1} tokens, too short for the last head")
        rows = [
            torch.cat([piece.states()[piece.start - 1 - k : piece.stop - 1 - k] for piece in pieces])
            for k in range(1, self.heads + 1)
        ]
        features = torch.stack(rows, 1).float()
        head = self.target.scores.matrix.float()
        return {"features": features, "head": head, "whitener": self.whitener.matrix, "x_1": self.x}

    def state(self) -> dict[str, Tensor]:
        """The whitening, or the burn-in so far."""
        return self.whitener.state()

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.whitener.textless(state)

    def restore(self, state: dict[str, Tensor]) -> None:
        self.whitener.restore(state)
        self.load(self._x)
