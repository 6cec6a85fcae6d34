"""A text in flight: what was asked, what was committed since, and where it ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from real.models.generation import Shape, Stops


def check_length(length: int, context: int) -> None:
    """ValueError unless a prompt of so many tokens can be served by a target of this context."""
    if not 1 <= length <= context:
        raise ValueError(f"prompt of {length} tokens: needs 1 to {context}, the target's context; shorten the prompt")


@dataclass(eq=False)
class Text:
    """One request's text. Whoever decodes appends to it, whoever drafts follows it.

    Attributes:
        tokens: prompt and committed tokens, one live list.
        prompt_length: where the committed ones start.
        end: the longest that the text may become.
        eos: ids that end it.
        hidden: the target's hidden states ``[end, D]``, of which len(tokens) − 1 rows are filled, for drafters that
            read them; row i is the state after input token i. Otherwise None.
        prompt_logits: the target's logits at prompt positions 1 … n − 1 ``[n − 1, V]`` if they were asked for.
        rng: the text's own generator, on the CPU; None where it shares one.
        key: of its noise (``theory/speculation/gumbel_rule.py``), no other text's; None where none is asked for.
        shape: what shapes its logits; stops: what ends it besides end tokens (``real/models/generation.py``).
        done: whether an end token was committed or the end is reached.
        number: its place among the requests that it came with, from 1, for messages; None outside a decoder.
    """

    tokens: list[int]
    prompt_length: int = 0
    end: int = 2**31
    eos: frozenset[int] = frozenset()
    hidden: Tensor | None = None
    prompt_logits: Tensor | None = None
    rng: torch.Generator | None = None
    key: int | None = None
    shape: Shape | None = None
    stops: Stops | None = None
    done: bool = False
    number: int | None = None

    @property
    def committed(self) -> list[int]:
        """The tokens after the prompt."""
        return self.tokens[self.prompt_length :]

    def until(self, length: int) -> "Text":
        """Its first ``length`` tokens, as a text that is shaped alike."""
        return Text(self.tokens[:length], shape=self.shape)

    def commit(self, tokens: list[int], hidden: Tensor) -> list[int]:
        """Append what a step found, cut where the text ends, and say what was appended.

        hidden: the target's states of the step's inputs, the pending token's first ``[len(tokens) or more, D]``.
        """
        tokens = tokens[: self.end - len(self.tokens)]
        for i, token in enumerate(tokens):
            if token in self.eos or (self.stops and self.stops(torch.tensor([[*self.tokens, *tokens[: i + 1]]]))):
                tokens = tokens[: i + 1]
                self.done = True
                break
        if self.hidden is not None:
            read = len(self.tokens) - 1
            self.hidden[read : read + len(tokens)] = hidden[: len(tokens)]
        self.tokens += tokens
        self.done = self.done or len(self.tokens) >= self.end
        return tokens


def close_up(rows: list, row: int) -> None:
    """Take ``row`` out of what is kept for every text: the last one takes its place."""
    rows[row] = rows[-1]
    rows.pop()


def shaped(texts: Sequence[Text], drafted: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Logits ``[n, V]`` of the token after every text and its drafted ones, each int64 ``[n]``, as it shapes them."""
    if all(text.shape is None for text in texts):
        return logits
    rows = list(logits if logits.dtype.itemsize == 8 else logits.float())  # as transformers does
    for i, text in enumerate(texts):
        if text.shape is not None:
            ids = torch.tensor(text.tokens, device=logits.device)
            ids = torch.cat([ids, *(tokens[i : i + 1] for tokens in drafted)])
            rows[i] = text.shape(ids[None], rows[i][None].clone())[0]
    return torch.stack(rows)


def shaped_along(texts: Sequence[Text], drafts: Tensor, logits: Tensor) -> Tensor:
    """The same at every position of drafts ``[n, g]``: logits ``[n, g + 1, V]``, the first after no drafted token."""
    if all(text.shape is None for text in texts):
        return logits
    drafted = list(drafts.unbind(1))
    return torch.stack([shaped(texts, drafted[:i], part) for i, part in enumerate(logits.unbind(1))], 1)
