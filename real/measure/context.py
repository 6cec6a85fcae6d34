"""`python -m real context`: a long text on an embedded pair, what it costs and how much memory it takes.

The embedded models were made for 1,024 tokens; their positions are rotations without a table, so that longer texts run,
if not well. What is asked here is the decoder's part: prefill in pieces, steps at the end of a long text, and the most
memory above the weights: the key/value caches, one attention mask of a piece, and what a forward of a piece holds.
"""

import ctypes
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, cycle, islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch

from real.drafters import make_drafter
from real.models.cache import SlotCache
from real.models.device import drain
from real.models.hf import CHUNK, Pair
from real.models.load import load_model, load_tokenizer
from real.models.sampling import Sampling
from real.serving.step import alone, generate
from real.traffic.streams import mixed
from real.traffic.turns import encoded


def lengthened(target: str, draft: str, context: int, dtype: str = "float32", device: str = "cpu") -> Pair:
    """A pair for texts of up to ``context`` tokens, whatever it was made for."""
    big, small = (load_model(path, dtype, device, "model", context) for path in (target, draft))
    return Pair(big, small, load_tokenizer(target, "target"))


def long_prompt(pair: Pair, tokens: int) -> list[int]:
    """So many tokens of the embedded requests, one after the other, domains mixed."""
    texts = encoded(pair, mixed(0).prompts, False)
    return list(islice(cycle(chain.from_iterable(texts)), tokens))


def measure(pair: Pair, drafter: str, prompt: Sequence[int], new: int, gamma: int) -> dict[str, Any]:
    """Serve one prompt greedily, plainly if ``drafter`` is empty: the text, seconds, and bytes above the weights.

    ``peak`` is the most held at once, ``caches`` the slots of the key/value caches, ``mask`` the largest attention mask
    of a piece of the prompt, in float32.

    Raises:
        ValueError: if the prompt does not fit the target's context.
    """
    made = make_drafter(drafter, pair) if drafter else None
    peak, start = watched_peak(pair.device), time.perf_counter()
    session = alone(pair.target, made, list(prompt), new, eos=frozenset())
    drain(pair.device)
    prefilled = time.perf_counter()
    steps = sum(1 for _ in generate(session, gamma if drafter else 0, Sampling(0.0)))
    drain(pair.device)
    seconds = time.perf_counter() - prefilled
    memories = [session.memory, *([] if made is None else made.memories)]
    held = [memory.cache for memory in memories]
    text = session.texts[0].committed
    return {
        "tokens": len(prompt),
        "prefill_seconds": prefilled - start,
        "tokens_per_second": len(text) / seconds,
        "tokens_per_step": len(text) / steps,
        "peak": peak(),
        "caches": sum(map(bytes_of, held)),
        "mask": max(4 * (stop - start) * stop for start, stop in pieces(len(prompt))),
        "text": text,
    }


def pieces(length: int) -> list[tuple[int, int]]:
    """Where the pieces of a prompt of so many tokens begin and end."""
    return [(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK)]


def bytes_of(cache: SlotCache) -> int:
    """Of keys and values, whether their slots are filled or not."""
    parts = [part for layer in cache.slots for part in (layer.keys, layer.values) if part is not None]
    return sum(part.numel() * part.element_size() for part in parts)


def watched_peak(device: torch.device) -> Callable[[], int]:
    """Begins to watch; what it gives, when called, is the most bytes held since above those held at the beginning."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return lambda: torch.cuda.max_memory_allocated(device) - before
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():  # not on Linux: the peak of the whole process, which may be older
        before = getrusage(RUSAGE_SELF).ru_maxrss
        return lambda: getrusage(RUSAGE_SELF).ru_maxrss - before
    with suppress(AttributeError):  # only glibc has it: what is free but kept would be held again without a trace
        ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _resident("VmRSS")
    return lambda: _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines[name].split()[0])
