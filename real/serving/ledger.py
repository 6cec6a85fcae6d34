"""Where the time went: one monotonic clock, every millisecond of serving charged to a line.

    with ledger.serving():              the whole request
        with ledger("draft"): ...       a line of it

``measure`` holds what only the experiment needs (the overlap of two laws, the loss's value); it is timed but taken out
of the total, for every method alike. What no line claims is shown as ``unattributed``.
"""

from collections.abc import Callable
from time import perf_counter

import torch

from real.models.device import drain

LINES = ("prefill", "draft", "verify", "learn", "other")
"""Charged lines: prompt processing, proposing, verifying (for plain decoding: the step), learning, bookkeeping."""


class _Stopwatch:
    """Adds the time between entry and exit to one line."""

    def __init__(self, ledger: "Ledger", line: str):
        self.ledger, self.line, self.begin = ledger, line, 0.0

    def __enter__(self) -> None:
        self.begin = self.ledger.now()

    def __exit__(self, *error: object) -> None:
        self.ledger.seconds[self.line] += self.ledger.now() - self.begin


class Ledger:
    """Seconds by line. On a GPU the clock waits for the device, so that work is charged where it was asked for."""

    def __init__(self, device: torch.device | str = "cpu", clock: Callable[[], float] = perf_counter):
        self.clock, self.device = clock, torch.device(device)
        self.seconds: dict[str, float] = dict.fromkeys((*LINES, "measure", "whole"), 0.0)
        self._watches = {line: _Stopwatch(self, line) for line in self.seconds}

    def now(self) -> float:
        """Seconds on the clock, the device's queue drained."""
        drain(self.device)
        return self.clock()

    def __call__(self, line: str) -> _Stopwatch:
        """Charge a block to ``line``; lines do not nest."""
        return self._watches[line]

    def serving(self) -> _Stopwatch:
        """Time a request from end to end."""
        return self._watches["whole"]

    @property
    def total(self) -> float:
        """Seconds of serving: the whole, without what was only measured."""
        return self.seconds["whole"] - self.seconds["measure"]

    @property
    def unattributed(self) -> float:
        """Seconds of the total that no line claims."""
        return self.total - sum(self.seconds[line] for line in LINES)

    def row(self) -> dict[str, float]:
        """``seconds_<line>`` of every line, the unattributed part and the total."""
        lines = {f"seconds_{line}": self.seconds[line] for line in LINES}
        return lines | {"seconds_unattributed": self.unattributed, "seconds_total": self.total}
