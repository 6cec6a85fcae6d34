"""One spelling, the same numbers, whichever library the arrays come from."""

import numpy as np
import pytest
import torch
from scipy import special

from theory.arrays import namespace

A = np.random.default_rng(0).normal(size=(3, 4, 5))
B = np.random.default_rng(1).normal(size=(3, 4, 5))
INDEX = np.random.default_rng(2).integers(5, size=(3, 4, 2))

CALLS = {
    "exp": lambda xp, a, b, i: xp.exp(a),
    "log": lambda xp, a, b, i: xp.log(a * a + 1),
    "sqrt": lambda xp, a, b, i: xp.sqrt(a * a),
    "abs": lambda xp, a, b, i: xp.abs(a),
    "where": lambda xp, a, b, i: xp.where(a > b, a, b),
    "maximum": lambda xp, a, b, i: xp.maximum(a, b),
    "maximum of a number": lambda xp, a, b, i: xp.maximum(a, 0.3),
    "minimum": lambda xp, a, b, i: xp.minimum(a, b),
    "minimum of a number": lambda xp, a, b, i: xp.minimum(a, 0.3),
    "isfinite": lambda xp, a, b, i: xp.isfinite(a),
    "any": lambda xp, a, b, i: xp.any(a > 0, axis=-1),
    "all": lambda xp, a, b, i: xp.all(a > 0, axis=0),
    "sum": lambda xp, a, b, i: xp.sum(a, axis=1, keepdims=True),
    "sum of everything": lambda xp, a, b, i: xp.sum(a),
    "max": lambda xp, a, b, i: xp.max(a, axis=0),
    "min": lambda xp, a, b, i: xp.min(a, axis=-1, keepdims=True),
    "cumsum": lambda xp, a, b, i: xp.cumsum(a, 1),
    "cumprod": lambda xp, a, b, i: xp.cumprod(a, 1),
    "sort": lambda xp, a, b, i: xp.sort(a),
    "argsort": lambda xp, a, b, i: xp.argsort(a),
    "argsort of ties": lambda xp, a, b, i: xp.argsort(xp.integer(4 * xp.sort(a, axis=1)), 1),
    "argmax": lambda xp, a, b, i: xp.argmax(a, axis=-1),
    "take_along_axis": lambda xp, a, b, i: xp.take_along_axis(a, i, axis=-1),
    "take_along_axis of one for all": lambda xp, a, b, i: xp.take_along_axis(a, i[:, :1], axis=-1),
    "take_along_axis of rows": lambda xp, a, b, i: xp.take_along_axis(
        a, xp.broadcast_to(i[:, :1, :1] % 4, (3, 1, 5)), 1
    ),
    "flip": lambda xp, a, b, i: xp.flip(a, -1),
    "moveaxis": lambda xp, a, b, i: xp.moveaxis(a, 0, -1),
    "broadcast_to": lambda xp, a, b, i: xp.broadcast_to(a[:1], (3, 4, 5)),
    "squeeze": lambda xp, a, b, i: xp.squeeze(a[:1], 0),
    "stack": lambda xp, a, b, i: xp.stack([a, b]),
    "concatenate": lambda xp, a, b, i: xp.concatenate([a, b], axis=1),
    "zeros_like": lambda xp, a, b, i: xp.zeros_like(a),
    "ones_like": lambda xp, a, b, i: xp.ones_like(a),
    "finfo": lambda xp, a, b, i: xp.finfo(a.dtype).eps * a,
    "asarray": lambda xp, a, b, i: xp.asarray((1.0, 2.0), like=a),
    "arange": lambda xp, a, b, i: xp.arange(4, like=a),
    "integer": lambda xp, a, b, i: xp.integer(a > 0),
    "double": lambda xp, a, b, i: xp.double(xp.integer(8 * a)) + 0.5,
    "logsumexp": lambda xp, a, b, i: xp.logsumexp(a),
    "logsumexp kept": lambda xp, a, b, i: xp.logsumexp(a, axis=0, keepdims=True),
    "log_softmax": lambda xp, a, b, i: xp.log_softmax(a),
    "softmax": lambda xp, a, b, i: xp.softmax(a, axis=1),
    "shares": lambda xp, a, b, i: xp.shares(a),
    "norm": lambda xp, a, b, i: xp.norm(a),
    "eigh": lambda xp, a, b, i: xp.eigh(a[:, :, :4] + xp.moveaxis(a[:, :, :4], 1, 2))[0],
    "qr": lambda xp, a, b, i: xp.abs(xp.qr(a)[1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_and_torch_agree(name):
    ours = CALLS[name](namespace(A), A, B, INDEX)
    tensors = [torch.from_numpy(a) for a in (A, B, INDEX)]
    theirs = CALLS[name](namespace(*tensors), *tensors)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)


def test_every_function_of_the_namespace_is_compared():
    spelled = {name.split()[0] for name in CALLS}
    assert set(vars(namespace(A))) == spelled == set(vars(namespace(torch.zeros(1))))


def test_a_tensor_among_arrays_decides():
    assert namespace(A, torch.zeros(1)) is namespace(torch.zeros(1))
    assert namespace(1.0, A) is namespace(A)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_logsumexp_is_stable(shift):
    xp = namespace(A)
    np.testing.assert_allclose(xp.logsumexp(A + shift), special.logsumexp(A + shift, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(np.sum(xp.softmax(A + shift), axis=-1), 1.0, rtol=1e-14)


def test_precision_is_kept():
    for narrow in (A.astype(np.float32), torch.from_numpy(A).float()):
        xp = namespace(narrow)
        for result in (xp.softmax(narrow), xp.norm(narrow), xp.maximum(narrow, 0.0), xp.asarray([1.0], like=narrow)):
            assert result.dtype == narrow.dtype
