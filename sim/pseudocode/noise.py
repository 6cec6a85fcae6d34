"""The noise of the Gumbel rule, by SplitMix64 as its authors write it (Steele, Lea & Flood 2014), on unsigned words.

A state grows by an odd constant; a word is the state mixed. Request, place and token take three such generators, each
begun by a word of the one before: the request's is numpy's seed sequence.
"""

import numpy as np

WORD = 1 << 64
GOLDEN = 0x9E3779B97F4A7C15


def word(state: int) -> int:
    """The state mixed."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WORD
    return state ^ (state >> 31)


def exponentials(seed: int, request: int, place: int, vocabulary: int) -> np.ndarray:
    """The noise of all tokens at a place of a request's text: −log of the uniform in the first 52 bits of a word."""
    first = int(np.random.SeedSequence([seed, request]).generate_state(1, np.uint64)[0])
    state = word((first + place * GOLDEN) % WORD)
    words = (word((state + token * GOLDEN) % WORD) for token in range(vocabulary))
    return -np.log([((bits >> 12) + 0.5) / (1 << 52) for bits in words])
