"""Where a drafter starts: the x and the state that an offline warm-up left in a file (``real/build/warm.py``)."""

from pathlib import Path

from real.drafters.base import Drafter
from real.models.state import load, save, under


def save_start(path: Path, drafter: Drafter, about: dict[str, str]) -> None:
    """x and the drafter's state, floats in bfloat16, as one safetensors file."""
    tensors = {"x": drafter.x, **{f"state.{name}": part for name, part in drafter.state().items()}}
    small = {name: part.bfloat16() if part.is_floating_point() else part for name, part in tensors.items()}
    save(path, {name: part.contiguous().cpu() for name, part in small.items()}, about)


def load_start(path: Path, drafter: Drafter) -> dict[str, str]:
    """Take up what ``save_start`` wrote → what was said about it.

    Raises:
        ValueError: if the file is damaged, or belongs to another drafter or another target.
    """
    tensors, about = load(path)
    if "x" not in tensors or tensors["x"].shape != (drafter.dimension,):
        found = tuple(tensors["x"].shape) if "x" in tensors else None
        raise ValueError(
            f"{path}: holds a decision of shape {found}, {type(drafter).__name__} has {drafter.dimension} here; it "
            "was trained for another drafter or another target"
        )
    drafter.restore(under("state.", tensors))
    drafter.load(tensors["x"].float())
    return about
