"""What a model holds of the texts in flight: one memory for a text alone, one for several texts side by side.

Both read new inputs after what they hold, a row for each text, and forget what lies beyond a length. Alone, the inputs
are appended to a contiguous cache: no mask, no scatter, and the forward may be compiled. Beside others, every row is
written at positions of its own (``RowCache``); a row with fewer inputs than the widest repeats its last one in place.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from real.models.cache import RowCache, SlotCache, rollback
from real.models.device import sent

__all__ = ["Memory", "OneText", "Reader", "Rows", "memory_of"]


class Reader(Protocol):
    """What can be read into a memory: a model over token ids, or a layer over vectors."""

    layers: int
    context: int

    def new_cache(self, length: int = 0) -> Any:
        """An empty cache of one text."""
        ...

    def hidden(self, inputs: Tensor, cache: Any = None) -> Tensor:
        """States ``[1, n, d]`` of inputs ``[1, n, …]`` after what ``cache`` holds, which are appended to it; the same
        without the first axis."""
        ...

    def hidden_rows(self, inputs: Tensor, at: Tensor, reach: int, cache: RowCache) -> Tensor:
        """States ``[n, w, d]`` of inputs ``[n, w, …]`` at positions ``at`` ``[n, w]`` below ``reach``."""
        ...

    def check_rows(self) -> None:
        """ValueError if it cannot read several texts at once."""
        ...


class Memory(Protocol):
    """See ``OneText`` and ``Rows``; ``lengths`` is how many inputs of each row are held."""

    lengths: list[int]
    cache: Any

    def enter(self, inputs: Tensor, room: int = 0) -> Tensor | None: ...
    def read(self, inputs: Tensor, counts: Sequence[int]) -> Tensor: ...
    def keep(self, row: int, length: int) -> None: ...
    def leave(self, row: int) -> None: ...


def memory_of(reader: Reader, rows: int) -> Memory:
    """The memory for up to ``rows`` texts at once.

    Raises:
        ValueError: for several texts, if the reader cannot keep them apart.
    """
    if rows == 1:
        return OneText(reader)
    reader.check_rows()
    return Rows(reader, rows)


class OneText:
    """The memory of one text: a contiguous cache, rolled back to what is kept."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.cache: Any = None
        self.lengths: list[int] = []

    def enter(self, inputs: Tensor, room: int = 0) -> Tensor | None:
        """Read a new text ``[n, …]`` into an empty cache with room for ``room`` inputs: its states, None if n = 0."""
        self.cache, self.lengths = self.reader.new_cache(room), [len(inputs)]
        return self.reader.hidden(inputs, self.cache) if len(inputs) else None

    def read(self, inputs: Tensor, counts: Sequence[int]) -> Tensor:
        """Read inputs ``[1, w, …]`` after what is held: states ``[1, w, d]``; ``counts`` is [w]."""
        (count,) = counts
        assert count == inputs.shape[1]
        self.lengths[0] += count
        return self.reader.hidden(inputs, self.cache)

    def keep(self, row: int, length: int) -> None:
        """Forget all but the first ``length`` inputs."""
        rollback(self.cache, self.lengths[row] - length)
        self.lengths[row] = length

    def leave(self, row: int) -> None:
        """The text has ended."""
        self.lengths.pop(row)
        self.cache = None  # a compiled model lends one memory, and would copy what is still held


class Rows:
    """The memory of up to ``rows`` texts, each of a length of its own.

    Nothing is rolled back: what lies beyond a row's length is written over before anything may see it.
    """

    def __init__(self, reader: Reader, rows: int):
        self.reader = reader
        self.cache = RowCache(reader.layers, rows)
        self.lengths: list[int] = []

    def enter(self, inputs: Tensor, room: int = 0) -> Tensor | None:
        """Read a new text ``[n, …]`` alone, then copy it into the next row: its states ``[n, d]``, None if n = 0."""
        states, alone = None, SlotCache(self.reader.layers)
        if len(inputs):
            states = self.reader.hidden(inputs, alone)
            self.cache.put(len(self.lengths), alone)
        self.lengths.append(len(inputs))
        return states

    def read(self, inputs: Tensor, counts: Sequence[int]) -> Tensor:
        """Read ``counts[i]`` inputs of row i of ``inputs`` ``[n, w, …]`` after what it holds: states ``[n, w, d]``.

        Beyond its count a row repeats its last input in its place; a row with none writes where nothing is held yet.
        States there mean nothing.
        """
        width, device = inputs.shape[1], inputs.device
        columns = torch.arange(width, device=device)
        starts = sent([[length] for length in self.lengths], device)
        if all(count == width for count in counts):
            at = starts + columns
        else:
            last = sent([[max(count - 1, 0)] for count in counts], device)
            columns = columns.minimum(last)  # [n, w]
            index = columns.view(*columns.shape, *[1] * (inputs.dim() - 2))
            inputs = inputs.gather(1, index.expand_as(inputs))
            at = (starts + columns).clamp(max=self.reader.context - 1)
        reach = max(length + max(count, 1) for length, count in zip(self.lengths, counts, strict=True))
        states = self.reader.hidden_rows(inputs, at, min(reach, self.reader.context), self.cache)
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        return states

    def keep(self, row: int, length: int) -> None:
        """Forget all but the first ``length`` inputs of a row."""
        self.lengths[row] = length

    def leave(self, row: int) -> None:
        """A text has ended; the last row takes its place."""
        last = len(self.lengths) - 1
        if row < last:
            self.cache.move(last, row)
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
