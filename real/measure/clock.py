"""How long a block took: on the wall, on the processor, and inside the forwards of models."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from real.models.device import drain


class Stopwatch:
    """``with Stopwatch(device) as watch: …``; ``watch.columns`` then has the seconds, the device's queue drained."""

    def __init__(self, device: torch.device):
        self.device = device
        self.columns: dict[str, float] = {}

    def __enter__(self) -> "Stopwatch":
        self._begin = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        drain(self.device)
        wall, processor = self._begin
        seconds = {"seconds_total": time.perf_counter() - wall, "seconds_cpu": time.process_time() - processor}
        self.columns = seconds


class Forwards:
    """Calls and seconds of every wrapped function, by name. A GPU's seconds are known when the block has ended."""

    def __init__(self, names: Iterable[str], device: torch.device):
        self.device = device
        self.calls = dict.fromkeys(names, 0)
        self.seconds = dict.fromkeys(names, 0.0)
        self._spans: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def time(self, name: str, forward: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """``forward(*args, **kwargs)``, counted and timed; on a GPU without waiting for it."""
        self.calls[name] += 1
        if self.device.type != "cuda":
            start = time.perf_counter()
            output = forward(*args, **kwargs)
            self.seconds[name] += time.perf_counter() - start
            return output
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(self.device)
        start.record(stream)
        output = forward(*args, **kwargs)
        end.record(stream)
        self._spans.append((name, start, end))
        return output

    def settle(self) -> None:
        """Add up what a GPU has timed."""
        drain(self.device)
        for name, start, end in self._spans:
            self.seconds[name] += start.elapsed_time(end) / 1e3
        self._spans = []

    @property
    def inside(self) -> float:
        """Seconds of all forwards."""
        return sum(self.seconds.values())


@contextmanager
def timed_forwards(
    functions: Mapping[str, Sequence[tuple[Any, str]]], device: torch.device | str = "cpu"
) -> Iterator[Forwards]:
    """Time methods, given as (object, name), while the block runs; those under one heading are summed."""
    record = Forwards(functions, torch.device(device))

    def wrap(heading: str, forward: Callable) -> Callable:
        return lambda *args, **kwargs: record.time(heading, forward, args, kwargs)

    for heading, methods in functions.items():
        for owner, name in methods:
            setattr(owner, name, wrap(heading, getattr(owner, name)))
    try:
        yield record
    finally:
        for methods in functions.values():
            for owner, name in methods:
                delattr(owner, name)  # the class's own again
    record.settle()
