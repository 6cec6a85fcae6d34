"""When a loss is shown: at once, rounds later, or with its chunk."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def delays(rounds: int, longest: int = 5) -> st.SearchStrategy[np.ndarray]:
    """How many rounds after its own each loss is shown, ``[rounds]``, at most ``longest``; they may overtake."""
    return arrays(int, rounds, elements=st.integers(0, longest))


def chunks(rounds: int) -> st.SearchStrategy[np.ndarray]:
    """The same where rounds come in chunks of any lengths, and all losses of a chunk are shown after its last round."""

    def late(stays_open: np.ndarray) -> np.ndarray:
        closes = np.where(stays_open, rounds - 1, np.arange(rounds))
        return np.minimum.accumulate(closes[::-1])[::-1] - np.arange(rounds)

    return arrays(bool, rounds).map(late)


def feedback(rounds: int, longest: int = 5) -> st.SearchStrategy[np.ndarray]:
    """Delays up to ``longest``, or chunks."""
    return delays(rounds, longest) | chunks(rounds)


def arriving(late: np.ndarray) -> list[list[int]]:
    """Which rounds' losses are shown after each round, oldest first, counted from 0.

    What would come after the end comes with the last round, so that every loss is shown once.
    """
    shown: list[list[int]] = [[] for _ in late]
    for t, waits in enumerate(late):
        shown[min(t + int(waits), len(late) - 1)].append(t)
    return shown
