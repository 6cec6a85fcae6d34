"""Where a drafter starts: the x and the state that an offline warm-up left in a file (``real/build/warm.py``).

x is kept in 8 bits: each block of ``BLOCK`` entries is whole numbers from −127 to 127 times one scale. What a drafter
keeps besides x, such as a whitening matrix, is small and stays in bfloat16.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from real.drafters.base import Drafter
from real.models.state import Named, check, load, not_finite, save, under

BLOCK = 64
LARGEST = 127


def save_start(path: Path, drafter: Drafter, about: dict[str, str]) -> None:
    """Write x and the drafter's state as one safetensors file.

    Raises:
        ValueError: if x is not finite.
    """
    x, state = drafter.x, {f"state.{name}": part for name, part in drafter.state().items()}
    if not bool(x.isfinite().all()):
        raise ValueError(
            f"{type(drafter).__name__}: {int((~x.isfinite()).sum())} of the {len(x)} entries of x are not finite; the "
            "warm-up diverged, repeat it with a smaller lr"
        )
    small = {name: part.bfloat16() if part.is_floating_point() else part for name, part in state.items()}
    save(path, {name: part.contiguous().cpu() for name, part in (small | packed(x)).items()}, about)


def load_start(path: Path, drafter: Drafter) -> dict[str, str]:
    """Take up what ``save_start`` wrote → what was said about it.

    Raises:
        ValueError: if the file is damaged, or belongs to another drafter or another target.
    """
    tensors, about = load(path)
    x, state = unpacked(tensors), under("state.", tensors)
    if x is None:
        raise ValueError(f"{path}: holds no decision in 8 bits; give a file that save_start wrote, or warm up again")
    if len(x) != drafter.dimension:
        raise ValueError(
            f"{path}: holds a decision of {len(x)} entries, {type(drafter).__name__} has {drafter.dimension} here; it "
            "was trained for another drafter or another target, give the start that belongs to this one"
        )
    if not_finite({"x": x}):
        raise ValueError(f"{path}: x.int8 times x.scale is beyond float32; give a file that save_start wrote")
    check(drafter.state(), state, rounded=True)
    drafter.restore(state)
    drafter.load(x)
    return about


def packed(x: Tensor) -> Named:
    """Float ``[n]`` as int8 ``[n]`` and a scale a block, bfloat16 ``[⌈n/BLOCK⌉]``: its largest entry over 127."""
    blocks = in_blocks(x.float())
    scale = (blocks.abs().amax(-1) / LARGEST).bfloat16()
    numbers = blocks / scale.float().where(scale > 0, 1.0)[:, None]
    return {"x.int8": numbers.round().clamp(-LARGEST, LARGEST).to(torch.int8).flatten()[: len(x)], "x.scale": scale}


def unpacked(tensors: Named) -> Tensor | None:
    """The float32 ``[n]`` that ``packed`` took apart; None where the two tensors are missing or do not fit."""
    numbers, scale = tensors.get("x.int8"), tensors.get("x.scale")
    if numbers is None or scale is None or numbers.dtype != torch.int8 or numbers.ndim != 1:
        return None
    blocks = in_blocks(numbers.float())
    return None if scale.shape != blocks.shape[:1] else (blocks * scale.float()[:, None]).flatten()[: len(numbers)]


def in_blocks(x: Tensor) -> Tensor:
    """``[n]`` as ``[⌈n/BLOCK⌉, BLOCK]``, filled up with zeros."""
    return pad(x, (0, -len(x) % BLOCK)).view(-1, BLOCK)
