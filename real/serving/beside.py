"""Learning overlapped with decoding: one update at a time, on a thread of its own, beside the round that follows.

What a round revealed is learned while the next one is decoded, and swapped in when that one is complete: every decision
is served one round late, which a seed still determines. The wait for an unfinished update is charged to learning; the
thread's own seconds are told beside it, for they may use a core that decoding does not.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import torch


class Beside:
    """Runs one piece of work at a time; ``seconds`` is what all of it took on the thread.

    On a GPU it has a stream of its own, which begins after what decoding had asked for until then, and is done when the
    work is taken.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None
        # a new thread does not inherit the number of threads that its operators may use
        self._pool = ThreadPoolExecutor(1, "learning", torch.set_num_threads, (torch.get_num_threads(),))
        self._work: Future | None = None
        self.seconds = 0.0

    def start(self, work: Callable[[], Any]) -> None:
        """Begin; ``take`` what was begun before first."""
        assert self._work is None
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        self._work = self._pool.submit(self._timed, work)

    def _timed(self, work: Callable[[], Any]) -> Any:
        begin = perf_counter()
        try:
            with torch.no_grad(), torch.cuda.stream(self._stream):  # modes belong to a thread; no stream, no effect
                return work()
        finally:
            if self._stream is not None:
                self._stream.synchronize()
            self.seconds += perf_counter() - begin

    def take(self) -> Any:
        """Wait for the work → its result, or what it raised; None if there is none."""
        work, self._work = self._work, None
        return None if work is None else work.result()
