"""Prompts as token ids, all checked before the first is served: one that cannot be served is named by its line."""

from collections.abc import Iterable

from real.models.hf import Pair
from real.models.text import check_length
from real.traffic.streams import Prompt


def encoded(
    pair: Pair, prompts: Iterable[Prompt], chat: bool | None = None, context: int | None = None
) -> list[list[int]]:
    """Token ids of every prompt.

    Args:
        pair: whose tokenizer reads them.
        prompts: as they were read.
        chat: see ``Pair.encode``.
        context: of the target; None takes the pair's, which has one then.

    Raises:
        ValueError: for a prompt that cannot be encoded or is too long, with its line and question_id.
    """
    context = pair.target.context if context is None else context
    known: dict[tuple[str, ...], list[int]] = {}  # a schedule serves a prompt again and again
    found = []
    for prompt in prompts:
        if prompt.turns not in known:
            try:
                known[prompt.turns] = pair.encode(list(prompt.turns), chat)
                check_length(len(known[prompt.turns]), context)
            except Exception as error:  # whatever a tokenizer or a chat template raises
                said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                raise ValueError(f"{prompt.told}: {said}") from None
        found.append(known[prompt.turns])
    return found
