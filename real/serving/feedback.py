"""What serving reveals: counts of a request, one line a round, and losses whose gradients are looked at."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from real.serving.step import Step
from theory.loss import Loss
from theory.speculation.acceptance import alpha


class NonFiniteGradient(ValueError):
    """A loss gradient held nan or infinity; nothing was updated."""


@dataclass
class Counts:
    """What serving one request did; sums add up over requests.

    ``verified`` positions are those verification examined, ``alpha_sum`` the sum of Σ_y min(target, draft) over them.
    """

    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    verified: int = 0
    rejections: int = 0
    alpha_sum: float = 0.0

    def add(self, step: Step) -> None:
        """Count one step."""
        committed = len(step.tokens)
        examined = step.accepted + step.rejected
        self.tokens += committed
        self.steps += 1
        self.drafted += step.drafted
        self.accepted += step.accepted
        self.verified += examined
        self.rejections += step.rejected
        if step.draft_probs is None or step.verified_laws is None:
            self.alpha_sum += step.accepted
        elif examined:
            self.alpha_sum += float(alpha(step.verified_laws[:examined], step.draft_probs[:examined]).sum())


@dataclass(frozen=True)
class RoundLog:
    """One round as the learner saw it: KL at x_t, ‖grad_t‖² and ‖grad_t − hint_t‖²."""

    round: int
    loss: float
    gradient: float
    hint_error: float


class Watched(Loss):
    """A loss that remembers the gradient it gave at x_t and refuses to give one that is not finite."""

    def __init__(self, loss: Loss, name: str):
        self.loss, self.name = loss, name
        self.last: Tensor | None = None

    def value(self, x: Tensor) -> Tensor:
        return self.loss.value(x)

    def grad(self, x: Tensor) -> Tensor:
        grad = self.last = self.loss.grad(x)
        if not bool(torch.isfinite(grad.abs().max())):
            bad = int((~torch.isfinite(grad)).sum())
            raise NonFiniteGradient(
                f"{self.name}: {bad} of {grad.numel()} gradient entries are not finite (|x| up to "
                f"{float(x.abs().max()):.3g}); nothing was updated. Take a smaller step_size or float32 models"
            )
        return grad

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(x), self.grad(x)


class Updated(NamedTuple):
    """One update: the learner's state before it, the loss, the state after it, the outside hint if any."""

    before: Any
    loss_t: Watched
    after: Any
    hint_t: Tensor | None
