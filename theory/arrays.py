"""One spelling for numpy, torch and jax arrays, chosen by the type of the arrays at hand.

Not a backend layer: operators do most of the work, and this file only names the two dozen functions whose spelling
differs. torch and jax are never imported; an array of theirs can only exist if its owner imported them, so they are
found in ``sys.modules``.
"""

import sys
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, torch.Tensor or jax.Array


def namespace(*arrays: Array) -> SimpleNamespace:
    """The functions that fit these arrays: torch's if any is a tensor, jax's if any is a jax array, else numpy's."""
    return _of(tuple(map(type, arrays)))


@lru_cache
def _of(types: tuple[type, ...]) -> SimpleNamespace:
    kinds = {one.__module__.split(".")[0] for one in types}
    if "torch" in kinds:
        return _torch()
    return _numpy_like("jax") if kinds & {"jax", "jaxlib"} else _numpy_like("numpy")


def _with_derived(xp: SimpleNamespace) -> SimpleNamespace:
    """Add what every library can spell through the primitives."""

    def logsumexp(a: Array, axis: int = -1, keepdims: bool = False) -> Array:
        top = xp.max(a, axis=axis, keepdims=True)
        total = xp.log(xp.sum(xp.exp(a - top), axis=axis, keepdims=True)) + top
        return total if keepdims else xp.squeeze(total, axis)

    def log_softmax(a: Array, axis: int = -1) -> Array:
        shifted = a - xp.max(a, axis=axis, keepdims=True)  # first, so that large logits do not cost digits
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))

    xp.logsumexp, xp.log_softmax = logsumexp, log_softmax
    xp.softmax = lambda a, axis=-1: xp.exp(xp.log_softmax(a, axis))

    def shares(a: Array) -> Array:
        """softmax of the last axis as torch rounds it: n equal entries have exactly 1/n, as a rule about ties needs."""
        powers = xp.exp(a - xp.max(a, axis=-1, keepdims=True))
        return powers / xp.sum(powers, axis=-1, keepdims=True)

    xp.shares = shares
    xp.norm = lambda a: xp.sqrt(xp.sum(a * a, axis=-1, keepdims=True))
    return xp


@lru_cache
def _numpy_like(library: str) -> SimpleNamespace:
    m = np if library == "numpy" else sys.modules["jax.numpy"]
    same = (
        *("exp", "log", "sqrt", "abs", "where", "maximum", "minimum", "isfinite", "any", "all", "sum", "max", "min"),
        *("cumsum", "cumprod", "sort", "argmax", "take_along_axis", "flip", "moveaxis", "broadcast_to"),
        *("squeeze", "stack", "concatenate", "zeros_like", "ones_like", "finfo"),
    )
    xp = SimpleNamespace(**{name: getattr(m, name) for name in same})
    if m is np:  # what these functions call in the end, at half the price for small arrays
        reductions = {"sum": np.add, "max": np.maximum, "min": np.minimum, "any": np.logical_or, "all": np.logical_and}
        vars(xp).update({name: _reduction(one) for name, one in reductions.items()})
        xp.moveaxis = _moved
    xp.argsort = lambda a, axis=-1: m.argsort(a, axis=axis, stable=True)
    xp.asarray = lambda value, like: (
        value.astype(like.dtype) if hasattr(value, "astype") else m.asarray(value, dtype=like.dtype)
    )
    xp.arange = lambda n, like: m.arange(n)
    xp.integer, xp.double = lambda a: a.astype("int64"), lambda a: a.astype("float64")
    xp.qr, xp.eigh = m.linalg.qr, m.linalg.eigh
    return _with_derived(xp)


def _reduction(ufunc: np.ufunc) -> Any:
    def reduce(a: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        return ufunc.reduce(a, axis=axis, keepdims=keepdims)

    return reduce


def _moved(a: np.ndarray, source: int, destination: int) -> np.ndarray:
    order = [*range(a.ndim)]
    order.insert(destination % a.ndim, order.pop(source % a.ndim))
    return a.transpose(order)


@lru_cache
def _torch() -> SimpleNamespace:
    t = sys.modules["torch"]
    same = ("exp", "log", "sqrt", "abs", "where", "isfinite", "moveaxis", "broadcast_to", "stack")
    same += ("zeros_like", "ones_like", "finfo")
    xp = SimpleNamespace(**{name: getattr(t, name) for name in same})

    def dim(function):  # numpy's axis= and keepdims= onto torch's dim= and keepdim=
        def call(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
            return function(a) if axis is None else function(a, dim=axis, keepdim=keepdims)

        return call

    xp.sum, xp.max, xp.min, xp.argmax = dim(t.sum), dim(t.amax), dim(t.amin), dim(t.argmax)
    xp.any, xp.all = dim(t.any), dim(t.all)
    xp.maximum = lambda a, b: t.maximum(a, b) if t.is_tensor(b) else t.clamp(a, min=b)
    xp.minimum = lambda a, b: t.minimum(a, b) if t.is_tensor(b) else t.clamp(a, max=b)
    xp.cumsum = lambda a, axis: t.cumsum(a, dim=axis)
    xp.cumprod = lambda a, axis: t.cumprod(a, dim=axis)
    xp.sort = lambda a, axis=-1: t.sort(a, dim=axis).values
    xp.argsort = lambda a, axis=-1: t.argsort(a, dim=axis, stable=True)
    xp.flip = lambda a, axis: t.flip(a, dims=(axis,))
    xp.squeeze = lambda a, axis: t.squeeze(a, dim=axis)
    xp.concatenate = lambda arrays, axis=0: t.cat(tuple(arrays), dim=axis)

    def take_along_axis(a: Array, indices: Array, axis: int) -> Array:
        k = axis % a.ndim
        if a.shape[:k] + a.shape[k + 1 :] == indices.shape[:k] + indices.shape[k + 1 :]:
            return a.gather(k, indices)  # which does not look for negative ones first
        return t.take_along_dim(a, indices, dim=k)

    xp.take_along_axis = take_along_axis
    xp.asarray = lambda value, like: t.as_tensor(value, dtype=like.dtype, device=like.device)
    xp.arange = lambda n, like: t.arange(n, device=like.device)
    xp.integer, xp.double = lambda a: a.long(), lambda a: a.double()
    xp.qr, xp.eigh = t.linalg.qr, t.linalg.eigh
    xp = _with_derived(xp)
    xp.softmax = lambda a, axis=-1: t.softmax(
        a, dim=axis
    )  # one kernel instead of eight: a decoder calls it every token
    xp.log_softmax = lambda a, axis=-1: t.log_softmax(a, dim=axis)
    xp.shares = xp.softmax
    return xp
