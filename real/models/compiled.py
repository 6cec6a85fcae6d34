"""A model's body compiled for a few numbers of queries, over a cache whose memory never moves.

A decoder's step asks for the same few shapes again and again: one token to draft, a draft and its pending token to
verify. Each is compiled once by ``torch.compile``; on CUDA it is then captured in a graph, so that a forward is one
launch. Fewer queries than a width are padded: what padding writes lies beyond what the cache holds and is written over.
The eager forward of ``real/models/hf.py`` stays the reference, and what is compiled is held against it before it
serves.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FunctionType
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from real.models.cache import BLOCK, SlotCache

__all__ = ["Compiled", "slots"]


def slots(tokens: int, device: torch.device) -> int:
    """Slots for texts of so many tokens. On a GPU in whole blocks: attention over a mask wants its rows aligned, and
    runs that differ little then share what the compiler keeps."""
    return BLOCK * -(-tokens // BLOCK) if device.type == "cuda" else tokens


@contextmanager
def _tuning() -> Iterator[None]:
    """What is compiled inside may take its weights for constants, and times kernels of its matrices without a word."""
    from torch._inductor import config, select_algorithm  # seconds to import, and seldom needed

    loud, select_algorithm.PRINT_AUTOTUNE = select_algorithm.PRINT_AUTOTUNE, False
    settings = {"freezing": True, "max_autotune_gemm": True, "max_autotune_report_choices_stats": False}
    try:
        with config.patch(settings), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TypedStorage is deprecated")  # of torch's own making
            yield
    finally:
        select_algorithm.PRINT_AUTOTUNE = loud


class Compiled:
    """Last hidden states of a body for up to ``max(widths)`` queries after a cache.

    The memory is one, and lent to one text at a time: ``new_cache`` takes it from whoever had it before, whose text
    then goes on eagerly in a copy. Compiling takes from seconds to a minute a width.

    Args:
        body: a transformers model without its head, of so many decoder ``layers``.
        widths: numbers of queries to compile for. size: slots of the cache; what needs more runs eagerly.
        tuned: on a CPU, search for the fastest kernel of every matrix, which takes minutes, and keep the matrices as it
            wants them, once more for every width: weights must never change. Ignored on a GPU.

    Raises:
        ValueError: if a width is not from 1 to ``size``, or a layer does not attend to the whole text. Whatever
            ``torch.compile`` or the capture raises.
    """

    def __init__(self, body: Any, layers: int, widths: Sequence[int], size: int, tuned: bool = False):
        if not widths or min(widths) < 1 or size < max(widths):
            raise ValueError(f"widths={tuple(widths)!r}, size={size!r}: there must be widths, each from 1 to size")
        config = body.config.get_text_config()
        window = ["sliding_attention"] if getattr(config, "sliding_window", None) else []
        kinds = set(getattr(config, "layer_types", None) or window) - {"full_attention"}
        if kinds:
            raise ValueError(f"layers of {', '.join(sorted(kinds))}: every layer must attend to the whole text")
        device = next(body.parameters()).device
        self.body, self.size, self.widths = body, size, sorted(set(widths))
        self.tuned = tuned and device.type == "cpu"
        self._ids = {width: torch.zeros(1, width, dtype=torch.long, device=device) for width in self.widths}
        self._at = {width: torch.arange(width, device=device) for width in self.widths}
        self._offsets = torch.arange(self.widths[-1], device=device)
        self._memory = SlotCache(layers, size)
        self._lent: Callable[[], SlotCache | None] = lambda: None
        with torch.inference_mode(), torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            body(input_ids=self._ids[self.widths[0]], past_key_values=self._memory, use_cache=True)  # takes the memory
            with _tuning() if self.tuned else nullcontext():
                self._runs = {width: self._run(width) for width in self.widths}

    def new_cache(self) -> SlotCache:
        """An empty cache in the memory."""
        before = self._lent()
        if before is not None:
            before.move()
        made = self._memory.sharing()
        self._lent = ref(made)
        return made

    def width(self, count: int, cache: SlotCache) -> int | None:
        """The width that ``count`` queries after ``cache`` are padded to; None if they are to run eagerly."""
        if cache is not self._lent() or cache.size > self.size:
            return None
        return next((w for w in self.widths if w >= count and cache.length + w <= self.size), None)

    def __call__(self, ids: Tensor, cache: SlotCache, width: int) -> Tensor:
        """Hidden states ``[1, n, d]`` of ``ids`` ``[1, n]``, n ≤ ``width``, appended to the lent ``cache``."""
        count = ids.shape[1]
        self._ids[width][:, :count] = ids
        torch.add(self._offsets[:width], cache.length, out=self._at[width])
        hidden = self._runs[width]()[:, :count]
        cache.extend(count)
        return hidden

    def _run(self, width: int) -> Callable[[], Tensor]:
        """The forward of so many queries on their own static inputs, compiled; on CUDA the replay of its graph."""
        ids, at = self._ids[width], self._at[width]
        compiled = torch.compile(self._forward(at), fullgraph=True, dynamic=False)
        compiled(ids, at)
        if ids.device.type != "cuda":
            return lambda: compiled(ids, at)
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # what is set up at a first call must not be captured
            compiled(ids, at)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = compiled(ids, at)

        def replay() -> Tensor:
            graph.replay()
            return output.clone()  # the next replay writes over it

        return replay

    def _forward(self, at: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        body, size, memory = self.body, self.size, self._memory.sharing(at)

        def forward(ids: Tensor, at: Tensor) -> Tensor:
            visible = torch.arange(size, device=ids.device) <= at[:, None]
            output = body(
                input_ids=ids,
                position_ids=at[None],
                attention_mask=visible[None, None],
                past_key_values=memory,
                use_cache=True,
            )
            return output.last_hidden_state

        # dynamo keeps what it compiles with the code object, and only so much of it: each width has one of its own
        return FunctionType(forward.__code__.replace(), globals(), "forward", None, forward.__closure__)
