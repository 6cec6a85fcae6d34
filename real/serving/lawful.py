"""Whether models gave laws at all: logits of which one is NaN or +inf, or all are -inf, have none.

What tells it is a witness of each law (``Sampling.judge``), which comes to the host with the tokens of the step, so
that a step waits for the device once.
"""

from collections.abc import Sequence

from torch import Tensor

from real.drafters.base import Drafter
from real.models.text import Text

TARGET = "serve the model in float32, or load another checkpoint"
DRAFTER = "the text before it is the target's own; serve with another drafter, or its model in float32"


class NoLaw(ValueError):
    """A model gave nothing that a token could be chosen by; nothing of the step was committed."""

    def __init__(self, whose: str, position: int, request: int | None, remedy: str):
        self.parts, text = (whose, position, remedy), "the text" if request is None else f"request {request}"
        super().__init__(
            f"{whose}: no law of token {position} of {text}, for its logits are NaN or +inf, or all are -inf; {remedy}"
        )

    def of(self, request: int) -> "NoLaw":
        """The same about the request of this number."""
        whose, position, remedy = self.parts
        return NoLaw(whose, position, request, remedy)


def lawful(witness: Tensor) -> Tensor:
    """Whether there is a law, by its witness: bool of the same shape."""
    return witness.abs() < float("inf")


def check_step(
    text: Text, sound: Sequence[int], width: int, examined: int, drafted: int, drafter: Drafter | None
) -> None:
    """One text's step: ``sound`` is whether the target has a law at ``width`` positions, and then the drafter.

    The target must have one at its first ``examined``, the drafter at its first ``drafted``, if it tells.

    Raises:
        NoLaw: with the request and the position.
    """
    if not all(sound):
        _check(sound[:examined], text, len(text.tokens), "target", TARGET)
        _check(sound[width:][:drafted], text, len(text.tokens), f"drafter={type(drafter).__name__}", DRAFTER)


def check_prompt(text: Text) -> None:
    """The same of the target's kept logits at the prompt's positions 1 … n − 1; waits for the device."""
    if text.prompt_logits is not None:
        _check(lawful(text.prompt_logits.amax(-1)).tolist(), text, 1, "target", TARGET)


def _check(sound: Sequence[int], text: Text, start: int, whose: str, remedy: str) -> None:
    if not all(sound):
        raise NoLaw(whose, start + list(sound).index(0), text.number, remedy)
