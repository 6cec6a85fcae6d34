"""Text from tokens as they come, cut at whole characters."""

from typing import Any

INCOMPLETE = "\ufffd"
"""What a tokenizer makes of bytes that do not end a character yet."""


class Pieces:
    """Turns tokens into text piece by piece; the pieces joined are the text of all tokens.

    A tokenizer may need the tokens before one to know its text (a leading space), so the last piece is decoded again
    with what follows it, and what is new is the difference.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.tokens: list[int] = []
        self._known = self._told = 0  # tokens[_known:_told] is the last piece that was given out

    def add(self, tokens: list[int]) -> str:
        """The text that these tokens complete; empty while a character is not whole."""
        self.tokens += tokens
        new = self._new()
        if not new or new.endswith(INCOMPLETE):
            return ""
        self._known, self._told = self._told, len(self.tokens)
        return new

    def rest(self) -> str:
        """What is left when no token follows, whole or not."""
        new, self._told = self._new(), len(self.tokens)
        return new

    def _new(self) -> str:
        before, after = self._decoded(self._told), self._decoded(len(self.tokens))
        return after[len(before) :]

    def _decoded(self, stop: int) -> str:
        return self.tokenizer.decode(self.tokens[self._known : stop], skip_special_tokens=True)
