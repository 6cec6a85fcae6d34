"""Vectors, and what is drawn in another library's arrays."""

from importlib import import_module
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.checker.games import Game
from theory.runs.extras import needs

T = TypeVar("T")
Drawn = T | st.SearchStrategy[T]
"""A value, or a strategy for it."""
LIBRARIES = ("numpy", "torch")


def value(draw: st.DrawFn, drawn: Drawn[T]) -> T:
    """The value itself, or one that its strategy draws."""
    return draw(drawn) if isinstance(drawn, st.SearchStrategy) else drawn


def vectors(*shape: int, size: float = 3.0) -> st.SearchStrategy[np.ndarray]:
    """Arrays of the shape with entries in [−size, size]."""
    return arrays(float, shape, elements=st.floats(-size, size, allow_subnormal=False))


def in_library(drawn: st.SearchStrategy[Any], library: str) -> st.SearchStrategy[Any]:
    """What ``drawn`` gives, with the same numbers in arrays of ``library``.

    Args:
        drawn: a strategy for arrays, for games, or for tuples of these.
        library: "numpy" or "torch"; float64 stays float64.

    Raises:
        ValueError: for another library.
        ModuleNotFoundError: where it is not installed.
    """
    if library not in LIBRARIES:
        raise ValueError(f"in_library(library={library!r}): must be one of {', '.join(LIBRARIES)}")
    if library == "numpy":
        return drawn
    try:
        tensor = import_module(library).as_tensor
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(needs(f"in_library({library!r})", library), name=error.name) from None

    def turned(what: Any) -> Any:
        if isinstance(what, tuple):
            return tuple(map(turned, what))
        return what.each(tensor) if isinstance(what, Game) else tensor(what)

    return drawn.map(turned)
