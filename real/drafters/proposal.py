"""What was drafted in a step, and where its drafts end."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from real.models.sampling import has_law


class Proposal(NamedTuple):
    """What was drafted for n texts.

    ``tokens`` int64 ``[n, g]``; ``probs`` ``[n, g, V]``, the law of each, None when greedy (one-hot); ``counts``: how
    many of a row's g tokens are drafted ones, the rest is padding.
    """

    tokens: Tensor
    probs: Tensor | None
    counts: list[int]


def ended(laws: Tensor, token: Tensor, lengths: Sequence[int], drafted: int, confidence: float) -> list[int]:
    """The lengths of drafts of which those end whose newest token was given less probability than ``confidence``.

    laws ``[n, V]``, token ``[n]``: the newest, the ``drafted``-th. Waits for a GPU.
    """
    sure = (laws.gather(-1, token[:, None])[:, 0] >= confidence).tolist()
    return [length if sure[row] else min(length, drafted) for row, length in enumerate(lengths)]


def before_empty(raw: Tensor, served: Tensor, lengths: Sequence[int], drafted: int) -> list[int]:
    """The lengths of drafts of which those end whose logits ``raw`` ``[n, V]`` have a law after ``drafted`` tokens, and
    shaped as ``served`` have none: every id that a generation config leaves may be one that only the target has.

    Waits for a GPU where a text is shaped.
    """
    if served is raw:
        return list(lengths)
    empty = (has_law(raw) & ~has_law(served)).tolist()
    return [min(length, drafted) if none else length for length, none in zip(lengths, empty, strict=True)]


def agreeing(drafted: Sequence[int], committed: Sequence[int]) -> int:
    """Drafted positions whose law was that of the committed text: the first whose token differs is the last."""
    for i, (token, found) in enumerate(zip(drafted, committed, strict=False)):
        if token != found:
            return i + 1
    return min(len(drafted), len(committed))


def chain(tokens: Sequence[Tensor], like: Tensor) -> Tensor:
    """Drafted tokens, each ``[n]``, as one chain ``[n, g]`` on the device of ``like`` ``[n, V]``; g may be 0."""
    return torch.stack(list(tokens), 1) if tokens else like.new_empty(len(like), 0, dtype=torch.long)
