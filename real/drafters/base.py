"""What proposes tokens. A drafter follows one request at a time and reports exactly the law it sampled from.

    drafter.begin(tokens)                                  the live text; all but its last token is processed
    proposal = drafter.propose(gamma, sampling, uniforms)
    ...verification appends the committed tokens to the same list...
    drafter.commit()                                       forget what was rejected

The trainable part is one flat float32 vector: ``drafter.x`` reads it, ``drafter.load(x)`` swaps it at a step boundary,
``drafter.loss(pieces)`` turns served positions into the loss a learner sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from real.sampling import Sampling
from theory.loss import Loss


class Proposal(NamedTuple):
    """``tokens`` int64 ``[gamma]`` and ``probs`` ``[gamma, V]``, the law of each; None when greedy (one-hot)."""

    tokens: Tensor
    probs: Tensor | None


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive positions ``start … stop − 1`` of one request, with what verification revealed about them.

    Attributes:
        tokens: the request's text, at least up to ``stop``; position i is the token ``tokens[i]``, 1 ≤ start < stop.
        target_probs: the target's law at these positions ``[stop − start, V]``.
        features: the drafter's features there ``[stop − start, d]``, or None where the loss needs none.
    """

    tokens: Sequence[int]
    start: int
    stop: int
    target_probs: Tensor
    features: Tensor | None = None


class Drafter(ABC):
    """One way to draft. ``vocab`` is the target's V: every reported law has that width."""

    vocab: int
    trains: bool = True  # has a decision x that a learner may move
    convex: bool = False  # logits affine in x, so that the theorems apply
    context: int = 2**31  # longest text it can follow
    tokens: Sequence[int] = ()

    @property
    def dimension(self) -> int:
        """Length of x; 0 where nothing trains."""
        return 0

    @property
    def x(self) -> Tensor:
        """A copy of the decision being served, float32 ``[dimension]``."""
        return torch.zeros(self.dimension)

    @property
    def ready(self) -> bool:
        """Whether learning may begin (the adapter's burn-in is over)."""
        return True

    @abstractmethod
    def begin(self, tokens: list[int], keep_prompt: bool = False) -> None:
        """Follow a new request; ``tokens`` is the live list that the session appends to.

        keep_prompt: keep the features of the prompt's own positions too (for hints drawn from the prompt).
        """

    @abstractmethod
    def propose(self, gamma: int, sampling: Sampling, uniforms: Tensor) -> Proposal:
        """Draft ``gamma`` ≥ 1 tokens after the text; ``uniforms`` float64 ``[gamma]``, unused when greedy."""

    @abstractmethod
    def commit(self) -> None:
        """The session has appended what verification committed; drop all state beyond it."""

    def catch_up(self) -> None:
        """Process the text up to the pending token, so that the features of every committed position exist."""
        return None

    def features(self, start: int, stop: int) -> Tensor | None:
        """Features ``[stop − start, d]`` of committed positions; they read only the prefix. Call ``catch_up`` first."""
        return None

    def forget(self, before: int) -> None:
        """Positions before this one will not be asked for again."""
        return None

    def absorb(self, pieces: Sequence[Piece]) -> None:
        """Statistics that burn-in collects; ignored once ``ready``."""
        return None

    def load(self, x: Tensor) -> None:
        """Serve decision x ``[dimension]`` from the next step on. Never between ``propose`` and ``commit``."""
        return None

    def loss(self, pieces: Sequence[Piece], temperature: float = 1.0) -> Loss:
        """Mean KL(target ‖ draft_x) over all positions of ``pieces``, the draft's logits divided by ``temperature``."""
        raise ValueError(f"drafter={type(self).__name__}: has nothing to train; use the learner 'frozen' with it")

    def state(self) -> dict[str, Tensor]:
        """What besides x must be saved to resume: named tensors."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a saved ``state``."""
        return None
