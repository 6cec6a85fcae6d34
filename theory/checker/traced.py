"""Arrays whose values nobody may look at: a stand-in for a compiler's, without a compiler.

jax and ``torch.compile`` run a learner once with arrays that have shapes and no values; what a Python branch decides
then is fixed for ever. ``Traced`` computes like numpy and raises where Python would see a value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class ValueSeen(TypeError):
    """Python looked at the value of an array that is to be traced."""


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A numpy array by its shape and type alone.

    Args:
        value: the array that stands behind it.
    """

    __slots__ = ("_value",)
    __array_priority__ = 1000

    def __init__(self, value: Any):
        self._value = np.asarray(value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **arguments: Any) -> Any:
        return traced(getattr(ufunc, method)(*bare(inputs), **bare(arguments)))

    def __array_function__(self, function: Callable, types: Any, inputs: Any, arguments: Any) -> Any:
        return traced(function(*bare(inputs), **bare(arguments)))

    def __getattr__(self, name: str) -> Any:
        if name in ("item", "tolist", "tobytes", "dump", "dumps", "tofile", "fill", "data"):
            raise ValueSeen(f"asks .{name} of an array")
        found = getattr(self._value, name)
        if not callable(found):
            return traced(found)
        return lambda *inputs, **arguments: traced(found(*bare(inputs), **bare(arguments)))

    def __getitem__(self, index: Any) -> Any:
        return traced(self._value[bare(index)])

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"Traced({self._value.dtype}{list(self._value.shape)})"

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ValueSeen("writes into an array, which a compiler's arrays do not allow")


def _seen(how: str) -> Callable:
    def look(self: Traced, *arguments: Any, **more: Any) -> Any:
        raise ValueSeen(how)

    return look


for _name, _how in {
    "__bool__": "branches on the value of an array",
    "__float__": "makes a Python float of an array",
    "__int__": "makes a Python int of an array",
    "__index__": "uses an array as an index of Python's",
    "__array__": "makes a numpy array of an array",
}.items():
    setattr(Traced, _name, _seen(_how))


def traced(value: Any) -> Any:
    """``value`` with every array and number of numpy in it made ``Traced``; tuples and lists are gone through."""
    if isinstance(value, np.ndarray | np.generic):
        return Traced(value)
    return _each(traced, value)


def bare(value: Any) -> Any:
    """``value`` with the arrays of numpy that stand behind it."""
    return value._value if isinstance(value, Traced) else _each(bare, value)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(change, value))
    if isinstance(value, tuple | list):
        return type(value)(map(change, value))
    if isinstance(value, dict):
        return {key: change(entry) for key, entry in value.items()}
    return value
