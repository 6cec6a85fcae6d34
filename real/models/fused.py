"""A function of tensors whose shapes never change, compiled ahead of time for a CPU: one call instead of many.

``torch.compile`` looks at its guards at every call, which takes longer than a few small operations; what is compiled
ahead of time has none. It is held against the function itself before it is used.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

CLOSE = 1e-4
"""Most that the results may differ by, relative to the largest or 1."""


def fused(function: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]) -> Callable[..., Tensor]:
    """``function`` of contiguous float32 tensors of these shapes, compiled; itself, with a warning, where that fails.

    Compiling takes some ten seconds, once a process for every function, shapes and number of threads.
    """
    return _fused(function, shapes, torch.get_num_threads())


@lru_cache(16)
def _fused(function: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...], threads: int) -> Callable[..., Tensor]:
    rng = torch.Generator().manual_seed(0)
    given = tuple(torch.randn(shape, generator=rng) for shape in shapes)
    try:
        run = _compiled(function, given)
        wanted, found = function(*given), run(*given)
        error = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))
    except Exception as reason:  # whatever a compiler may raise
        return _as_it_is(function, f"{type(reason).__name__}: {str(reason).splitlines()[0] if str(reason) else ''}")
    if not error <= CLOSE:
        return _as_it_is(function, f"its results differ by {error:.1e}, more than {CLOSE:.0e}")
    return run


def _compiled(function: Callable[..., Tensor], given: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    from torch._inductor import aoti_compile_and_package, aoti_load_package  # seconds to import, and seldom needed

    class Module(torch.nn.Module):
        def forward(self, *tensors: Tensor) -> Tensor:
            return function(*tensors)

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own making
        package = str(Path(folder) / "function.pt2")
        aoti_compile_and_package(torch.export.export(Module(), given), package_path=package)
        loaded: Any = aoti_load_package(package)
    boxed = loaded.loader.boxed_run
    return lambda *tensors: boxed(list(tensors))[0]


def _as_it_is(function: Callable[..., Tensor], reason: str) -> Callable[..., Tensor]:
    warnings.warn(f"{getattr(function, '__name__', function)} was not compiled: {reason}", stacklevel=4)
    return function
