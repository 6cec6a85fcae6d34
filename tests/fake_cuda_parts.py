"""Parts of the CUDA device of ``tests/fake_cuda.py``: its allocator, its graphs, its streams."""

import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

CUDA = torch.device("cuda", 0)
ROUND = 512
"""Bytes that an allocation is rounded up to, as CUDA's caching allocator does."""


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """A nest of arguments with every leaf changed; torch's own way costs more than the kernels."""
    if isinstance(value, tuple | list):
        return type(value)([mapped(change, one) for one in value])
    if isinstance(value, dict):
        return {key: mapped(change, one) for key, one in value.items()}
    return change(value)


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a nest of arguments."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [one for part in value for one in tensors(part)] if isinstance(value, tuple | list) else []


def raw_of(value: Any) -> Any:
    return getattr(value, "raw", value)


def is_view(made: Any, args: Any) -> bool:
    """Whether all that was made lies in memory of the arguments."""
    places = {one.untyped_storage().data_ptr() for one in tensors(args)}
    return all(one.untyped_storage().data_ptr() in places for one in tensors(made))


class Memory:
    """What a caching allocator would hold.

    Attributes:
        asked: times that it had to ask the driver. live: bytes of tensors that are alive. kept: bytes it has in all.
    """

    def __init__(self) -> None:
        self.asked = self.live = self.kept = 0
        self._holders: Counter[int] = Counter()
        self._sizes: dict[int, int] = {}
        self._free: Counter[int] = Counter()
        self._held: dict[int, weakref.ref] = {}

    def take(self, tensor: Any) -> None:
        """Count a tensor as a holder of its memory, new memory or that of another one."""
        storage = tensor.raw.untyped_storage()
        place, size = storage.data_ptr(), -(-storage.nbytes() // ROUND) * ROUND
        if not self._holders[place]:
            self._sizes[place] = size
            self.live += size
            if self._free[size]:
                self._free[size] -= 1
            else:
                self.asked, self.kept = self.asked + 1, self.kept + size
        self._holders[place] += 1
        self._held[id(tensor)] = weakref.ref(tensor, partial(self._leave, id(tensor), place))

    def _leave(self, key: int, place: int, _: Any) -> None:
        del self._held[key]
        self._holders[place] -= 1
        if not self._holders[place]:
            size = self._sizes.pop(place)
            self._free[size] += 1
            self.live -= size


class Stream:
    """One of many that all do their work at once; ``wait`` is told of a wait of the host."""

    device = CUDA

    def __init__(self, wait: Callable[[str], None], *args: Any, **kwargs: Any):
        self._wait = wait

    def wait_stream(self, other: "Stream") -> None:
        pass

    def wait_event(self, event: "Event") -> None:
        pass

    def synchronize(self) -> None:
        self._wait("stream.synchronize")


class Event:
    """A moment on the host's clock."""

    def __init__(self, wait: Callable[[str], None], enable_timing: bool = False):
        self._wait, self._at = wait, 0.0

    def record(self, stream: Any = None) -> None:
        self._at = perf_counter()

    def synchronize(self) -> None:
        self._wait("event.synchronize")

    def elapsed_time(self, other: "Event") -> float:
        return 1e3 * (other._at - self._at)


class Graph:
    """What was captured: kernels with their arguments and the memory that they wrote."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        """Run every kernel again, on the same memory."""
        for func, args, kwargs, outs in self.calls:
            args, kwargs, wrote = mapped(raw_of, (args, kwargs, outs))
            made = func(*args, **kwargs)
            if not func._schema.is_mutable:
                for old, new in zip(tensors(wrote), tensors(made), strict=True):
                    old.copy_(new)
