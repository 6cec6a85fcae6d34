"""Overlap of prompts: how much of a prompt stood in those before it.

A drafter that remembers what was served is flattered by prompts that repeat. ``overlapping`` says by how much each
does, in shingles: the pieces of 40 characters that a text has at every place. A measurement drops the prompts more than
half of whose shingles stood in earlier ones: ``Sample(…, keep=little_overlap)`` in ``real/measure/summary.py``.
"""

from collections.abc import Iterable

from real.traffic.prompts import Prompt

SHINGLE = 40
"""Characters."""
MOST = 0.5
"""Of a prompt's shingles: where more stood in earlier prompts, it is one that repeats."""


def shingles(text: str) -> set[int]:
    """Hashes of the text's pieces of 40 characters, one at every place; of all of it where it is shorter."""
    return {hash(text[i : i + SHINGLE]) for i in range(max(1, len(text) - SHINGLE + 1))}


def overlapping(prompts: Iterable[Prompt]) -> list[float]:
    """For every prompt, in serving order, the share of its shingles that stood in earlier ones, in [0, 1].

    A prompt's text is that of its turns, joined by newlines.
    """
    seen: set[int] = set()
    found = []
    for prompt in prompts:
        own = shingles("\n".join(prompt.turns))
        found.append(len(own & seen) / len(own))
        seen |= own
    return found
