"""Token streams, laws of the next token, and pairs of a target's and a draft's law."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


@st.composite
def laws(draw: st.DrawFn, *shape: int, positive: bool = False) -> np.ndarray:
    """Probability laws on the last axis; entries may be 0 unless ``positive``."""
    low = 0.01 if positive else 0.0
    weights = draw(arrays(float, shape, elements=st.floats(low, 1.0, allow_subnormal=False)))
    weights = np.where(weights < 1e-6, 0.0, weights)
    weights[..., 0] += np.where(weights.sum(axis=-1) == 0, 1.0, 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


@st.composite
def law_pairs(draw: st.DrawFn, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """A target's and a draft's laws, each of the shape: unrelated, equal, or without a token in common."""
    kind = draw(st.sampled_from(["unrelated", "equal", "apart"] if shape[-1] > 1 else ["equal"]))
    if kind == "apart":
        cut = draw(st.integers(1, shape[-1] - 1))
        first, second = (draw(laws(*shape[:-1], width)) for width in (cut, shape[-1] - cut))
        return np.concatenate([first, 0.0 * second], axis=-1), np.concatenate([0.0 * first, second], axis=-1)
    target = draw(laws(*shape))
    return target, target.copy() if kind == "equal" else draw(laws(*shape))


@st.composite
def token_streams(draw: st.DrawFn, vocabulary: int, longest: int = 60) -> np.ndarray:
    """Token ids ``[n]``, 1 ≤ n ≤ ``longest``: a few phrases again and again, as text has them."""
    token = st.integers(0, vocabulary - 1)
    phrases = draw(st.lists(st.lists(token, min_size=1, max_size=4), min_size=1, max_size=3))
    order = draw(st.lists(st.integers(0, len(phrases) - 1), min_size=1, max_size=longest))
    return np.concatenate([phrases[k] for k in order])[:longest]
