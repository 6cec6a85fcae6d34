"""A learner in the decoder's hands: what it gives is looked at before it is served, taken up or saved.

Once a round: the decision is a finite float32 tensor ``[d]``, the state a NamedTuple of finite arrays. What a user's
own code raises is told as its author's error, as in the simulator (``theory/runs/users_file.py``). Whatever is refused
was not taken up: the state from before is kept.
"""

from typing import Any

import torch
from torch import Tensor

from real.models.state import flatten, not_finite
from real.serving.feedback import NonFiniteGradient
from theory.learner import Learner, one_decision
from theory.loss import Loss
from theory.runs.users_file import called, users_own


class Guarded:
    """A learner whose every answer is held to what a drafter can serve and a file can keep.

    Args:
        dimension: d of the decision.
    """

    def __init__(self, learner: Learner, dimension: int):
        self.learner, self.dimension, self.name = learner, dimension, called(learner)

    def init(self, x_1: Tensor) -> Any:
        """The state before round 1."""
        with users_own(self.learner):
            state = self.learner.init(x_1)
        self._named(state, "init")
        return state

    def predict(self, state: Any, hint: Tensor | None = None, rounds: int = 0) -> Tensor:
        """x_t ``[d]``, after so many rounds.

        Raises:
            ValueError: for what is no float32 tensor of that shape. NonFiniteGradient: for nan or infinity in it.
        """
        with users_own(self.learner):
            x_t = self.learner.predict(state, hint)
        if not isinstance(x_t, Tensor):
            raise ValueError(f"{self.name}: predict gave a {type(x_t).__name__}, {self._wanted()}")
        rule = f"the drafter serves one decision of {self.dimension} entries"
        one_decision(self.learner, tuple(x_t.shape), (self.dimension,), rule)
        if x_t.dtype != torch.float32:
            raise ValueError(f"{self.name}: predict gave {x_t.dtype}, {self._wanted()}")
        if not bool(torch.isfinite(x_t.abs().max())):
            raise NonFiniteGradient(
                f"{self.name}, round {rounds}: the next decision is not finite; it was not served. Take a smaller "
                "step_size"
            )
        return x_t

    def update(self, state: Any, loss_t: Loss, hint: Tensor | None = None, rounds: int = 0) -> Any:
        """The state after loss_t, of the round after ``rounds``; ValueError where it holds what is no array."""
        with users_own(self.learner):
            after = self.learner.update(state, loss_t, hint)
        self._named(after, f"round {rounds + 1}")
        return after

    def check_finite(self, state: Any, rounds: int) -> None:
        """NonFiniteGradient for nan or infinity in the state after so many rounds."""
        bad = not_finite(self._named(state, f"round {rounds}"))
        if bad:
            raise NonFiniteGradient(
                f"{self.name}, round {rounds}: {', '.join(bad)} hold nan or infinity; the state from before is kept. "
                "Take a smaller step_size, or repair update"
            )

    def _named(self, state: Any, when: str) -> dict[str, Tensor]:
        try:
            return dict(flatten("state", state))
        except ValueError as error:
            raise ValueError(f"{self.name}, {when}: {error}") from None

    def _wanted(self) -> str:
        return f"but a drafter serves a float32 tensor [{self.dimension}], as x_1 is; compute it from x_1 and gradients"
