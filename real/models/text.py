"""A text in flight: what was asked, what was committed since, and where it ends."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        done: whether an end token was committed or the end is reached.
    """

    tokens: list[int]
    prompt_length: int = 0
    end: int = 2**31
    eos: frozenset[int] = frozenset()
    hidden: Tensor | None = None
    prompt_logits: Tensor | None = None
    rng: torch.Generator | None = None
    done: bool = False

    @property
    def committed(self) -> list[int]:
        """The tokens after the prompt."""
        return self.tokens[self.prompt_length :]

    def commit(self, tokens: list[int], hidden: Tensor) -> list[int]:
        """Append what a step found, cut at the first end token and at the longest text, and say what was appended.

        hidden: the target's states of the step's inputs, the pending token's first ``[len(tokens) or more, D]``.
        """
        tokens = tokens[: self.end - len(self.tokens)]
        for i, token in enumerate(tokens):
            if token in self.eos:
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
