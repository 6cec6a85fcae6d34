"""Whether models gave laws at all: logits of which one is NaN or +inf, or all are -inf, have none.

What tells it is a witness of each law (``Sampling.judge``), whose bits come to the host among the tokens of the step:
two small operations, and a step waits for the device once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models.sampling import has_law
from real.models.text import Text

TARGET = "serve the model in float32, or load another checkpoint"
SHAPED = (
    "its generation config shapes them, and may leave no token: take suppress_tokens, sequence_bias, "
    "no_repeat_ngram_size and the like out of generation_config.json, or serve the model in float32"
)
DRAFTER = "the text before it is the target's own; serve with another drafter, or its model in float32"

EXPONENT = 0x7FF << 52
"""Of a float64's bits."""


class NoLaw(ValueError):
    """A model gave nothing that a token could be chosen by; nothing of the step was committed."""

    def __init__(self, whose: str, position: int, request: int | None, remedy: str):
        self.parts, text = (whose, position, remedy), "the text" if request is None else f"request {request}"
        super().__init__(
            f"{whose}: no law of token {position} of {text}, for its logits are NaN or +inf, or all are -inf; {remedy}"
        )


@contextmanager
def serving_request(number: int) -> Iterator[None]:
    """What has no law within was asked by the request of this number, from 1."""
    try:
        yield
    except NoLaw as error:
        whose, position, remedy = error.parts
        raise NoLaw(whose, position, number, remedy) from None


def as_bits(witnesses: Sequence[Tensor]) -> Tensor:
    """Witnesses ``[n, w]``, ``[n, w']``, … as the bits of float64 numbers, int64 ``[n, w + w' + …]``."""
    return torch.cat(list(witnesses), 1).double().view(torch.int64)


def is_finite(bits: int) -> bool:
    """Whether these are the bits of a finite float64: its exponent is not all ones."""
    return bits & EXPONENT != EXPONENT


def check_step(
    text: Text, witness: Sequence[int], width: int, examined: int, drafted: int, drafter: Drafter | None
) -> None:
    """One text's step, by the bits of the target's witnesses at ``width`` positions and of the drafter's after them.

    The target must have a law at its first ``examined``, as far as the text goes, and the drafter at its first
    ``drafted``, if it tells.

    Raises:
        NoLaw: with the request and the position.
    """
    if all(map(is_finite, witness)):
        return
    for bits, whose, remedy in (
        (witness[: min(examined, text.end - len(text.tokens))], "target", TARGET),
        (witness[width:][:drafted], f"drafter={type(drafter).__name__}", DRAFTER),
    ):
        _check([is_finite(number) for number in bits], text, len(text.tokens), whose, remedy)


def check_prompt(text: Text) -> None:
    """The same of the target's kept logits at the prompt's positions 1 … n − 1; waits for the device."""
    if text.prompt_logits is not None:
        _check(has_law(text.prompt_logits).tolist(), text, 1, "target", TARGET)


def _check(sound: list[bool], text: Text, start: int, whose: str, remedy: str) -> None:
    if not all(sound):
        remedy = remedy if text.shape is None or start < text.prompt_length else SHAPED
        raise NoLaw(whose, start + sound.index(False), text.number, remedy)
