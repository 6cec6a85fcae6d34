"""A key/value cache of fixed slots: writing is in place, forgetting is lowering a number.

Transformers' dynamic cache copies itself with every token. Here memory is taken in blocks that double, so a token is
written once, the attention reads a view of what is held, and a rollback touches no memory. A compiled forward
(``real/models/compiled.py``) reads all slots and hides those after each query instead, as its shapes may not change.
"""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from real.models.masks import EVERYTHING, Masks

__all__ = ["BLOCK", "RowCache", "SlotCache", "rollback", "rows_of"]

BLOCK = 256
"""Slots a cache starts with unless told otherwise."""


class Slots(CacheLayerMixin):
    """One layer: keys and values ``[batch, heads, size, width]``, of which the first ``length`` slots are held.

    ``at``: positions ``[n]`` that a compiled forward writes to; it keeps the count itself. None otherwise.
    """

    is_sliding = False
    is_croppable = True

    def __init__(self, size: int):
        super().__init__()
        self.size, self.length = size, 0
        self.at: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the memory; zeros, since what is hidden must still be finite."""
        self.keys, self.values = (_room(states, self.size) for states in (key_states, value_states))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write after what is held; give keys and values to attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        if self.at is not None:
            self.keys.index_copy_(2, self.at, key_states)
            self.values.index_copy_(2, self.at, value_states)
            return self.keys, self.values
        start, stop = self.length, self.length + key_states.shape[-2]
        self._reach(stop)
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def _reach(self, stop: int) -> None:
        """Double the slots until ``stop`` fits."""
        if stop <= self.size:
            return
        while self.size < stop:
            self.size *= 2
        for name in ("keys", "values"):
            old = getattr(self, name)
            grown = _room(old, self.size)
            grown[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, grown)

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return -1


def _room(states: Tensor, size: int) -> Tensor:
    return states.new_zeros(*states.shape[:2], size, states.shape[-1])


class SlotCache(Cache):
    """``layers`` layers of ``size`` slots each, more when they are needed."""

    def __init__(self, layers: int, size: int = BLOCK):
        self.slots = [Slots(size) for _ in range(layers)]
        super().__init__(layers=list(self.slots))

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.slots[0].length

    @property
    def size(self) -> int:
        """Slots a layer."""
        return self.slots[0].size

    def extend(self, count: int) -> None:
        """Hold ``count`` more slots, or fewer than now if it is negative."""
        for layer in self.slots:
            layer.length += count

    def crop(self, count: int) -> None:
        """Forget the last −``count`` tokens (transformers' sign)."""
        self.extend(count)

    def move(self) -> None:
        """Into memory of its own."""
        for layer in self.slots:
            layer.keys, layer.values = (None if t is None else t.clone() for t in (layer.keys, layer.values))

    def sharing(self, at: Tensor | None = None) -> "SlotCache":
        """An empty cache in the same memory, which must be there already; ``at``: see ``Slots``."""
        other = SlotCache(len(self.slots), self.size)
        for ours, theirs in zip(self.slots, other.slots, strict=True):
            theirs.keys, theirs.values, theirs.is_initialized, theirs.at = ours.keys, ours.values, True, at
        return other


class RowSlots(CacheLayerMixin):
    """One layer of several texts: keys and values ``[rows, heads, size, width]``.

    ``at``: positions ``[n, w]`` at which the next forward writes for the first n rows; it sees ``reach`` slots.
    """

    is_sliding = False
    is_croppable = False

    def __init__(self, rows: int, size: int):
        super().__init__()
        self.rows, self.size, self.reach = rows, size, 0
        self.at: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the memory; zeros, since what is hidden must still be finite."""
        like = (states[:1].expand(self.rows, -1, -1, -1) for states in (key_states, value_states))
        self.keys, self.values = (_room(states, self.size) for states in like)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write every row at its own positions; give the rows' keys and values up to ``reach``."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.at is not None
        seen = []
        for memory, states in ((self.keys, key_states), (self.values, value_states)):
            assert memory is not None
            part = memory[: len(states), :, : self.reach]
            part.scatter_(2, self.at[:, None, :, None].expand_as(states), states)
            seen.append(part)
        return seen[0], seen[1]

    def grow(self, reach: int) -> None:
        """Double the slots until ``reach`` fits."""
        while self.size < reach:
            self.size *= 2
        for name in ("keys", "values"):
            old = getattr(self, name) if self.is_initialized else None
            if old is not None and old.shape[2] < self.size:
                grown = _room(old, self.size)
                grown[:, :, : old.shape[2]] = old
                setattr(self, name, grown)

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.reach, 0

    def get_max_length(self) -> int:
        return -1


class RowCache(Cache):
    """Memory of up to ``rows`` texts, each as long as it happens to be: a forward says where every row writes.

    Nothing is rolled back: what was rejected lies after a text and is written over before anything may see it.
    """

    def __init__(self, layers: int, rows: int, size: int = BLOCK):
        self.slots = [RowSlots(rows, size) for _ in range(layers)]
        super().__init__(layers=list(self.slots))

    def open(self, at: Tensor, reach: int) -> None:
        """The next forward writes at ``at`` ``[n, w]`` and sees ``reach`` slots of the first n rows."""
        for layer in self.slots:
            layer.grow(reach)
            layer.at, layer.reach = at, reach

    def put(self, row: int, cache: SlotCache) -> None:
        """Copy a text that was read alone."""
        for layer, alone in zip(self.slots, cache.slots, strict=True):
            if alone.length:
                assert alone.keys is not None
                assert alone.values is not None
                if not layer.is_initialized:
                    layer.lazy_initialization(alone.keys, alone.values)
                layer.grow(alone.length)
                for memory, one in ((layer.keys, alone.keys), (layer.values, alone.values)):
                    assert memory is not None
                    memory[row, :, : alone.length] = one[0, :, : alone.length]

    def move(self, source: int, goal: int) -> None:
        """Copy one row over another."""
        for layer in self.slots:
            for memory in (layer.keys, layer.values):
                if memory is not None:
                    memory[goal] = memory[source]


def rows_of(at: Tensor, reach: int, cache: RowCache, masks: Masks = EVERYTHING) -> dict[str, Any]:
    """What a transformers body is told so that it reads inputs at positions ``at`` ``[n, w]`` of n texts.

    reach: above every position. What lies before a position in its row must have been written.
    """
    cache.open(at, reach)
    return {"position_ids": at, "attention_mask": masks(at, reach), "past_key_values": cache, "use_cache": True}


def rollback(cache: SlotCache, count: int) -> None:
    """Forget the last ``count`` tokens of ``cache``."""
    if count:
        cache.crop(-count)
