"""What must be kept to go on later: named tensors in one safetensors file, written whole or not at all, no pickle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from theory.runs.trace import atomic

Named = dict[str, Tensor]


def save(path: Path, tensors: Named, about: dict[str, str]) -> None:
    """Write ``tensors`` and the texts ``about`` them; what cannot be written leaves the old file whole.

    Raises:
        ValueError: for an entry that holds nan or infinity.
        OSError: for a full disk, or no permission.
    """
    bad = not_finite(tensors)
    if bad:
        raise ValueError(f"{path}: not written, for {', '.join(bad)} hold nan or infinity; what was there before stays")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = to_bytes(tensors, about)
    with atomic(path) as partial:
        partial.write_bytes(content)


def load(path: Path) -> tuple[Named, dict[str, str]]:
    """What ``save`` wrote, on the CPU.

    Raises:
        FileNotFoundError, ValueError: if there is no file, or it is damaged or something else.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a state; name the file to keep it in")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no state there; `python -m real run --state {path}` writes one")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a readable state ({error}); give one that a run wrote, or remove it and start over"
        ) from None


def under(prefix: str, named: Named) -> Named:
    """The entries whose names begin with ``prefix``, without it."""
    return {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}


def not_finite(named: Named) -> list[str]:
    """The entries that hold nan or infinity. A finite sum says that there is none: every entry is read once."""
    floating = {name: part for name, part in named.items() if part.is_floating_point()}
    return [
        name
        for name, part in floating.items()
        if not (bool(torch.isfinite(part.sum())) or bool(torch.isfinite(part).all()))
    ]


def flatten(name: str, state: Any) -> Iterator[tuple[str, Tensor]]:
    """(dotted name, tensor) of a learner's state, nested NamedTuples included; a number becomes a tensor.

    Raises:
        ValueError: for anything else in it.
    """
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, int | float):
        yield name, torch.tensor(state, dtype=torch.float64 if isinstance(state, float) else torch.int64)
    elif hasattr(state, "_asdict"):
        for key, value in state._asdict().items():
            yield from flatten(f"{name}.{key}", value)
    else:
        raise ValueError(
            f"{name}: a state must be a NamedTuple of arrays, but has a {type(state).__name__}; keep torch tensors"
        )


def rebuild(name: str, template: Any, named: Named) -> Any:
    """The state that ``flatten`` took apart, shaped like ``template`` and on its device.

    Raises:
        ValueError: if an entry is missing or has another shape (the entry and both shapes).
    """
    if not hasattr(template, "_asdict"):
        ((_, wanted),) = flatten(name, template)
        found = named.get(name)
        if found is None or found.shape != wanted.shape:
            raise _another(name, wanted, found)
        return found.to(template) if isinstance(template, Tensor) else type(template)(found.item())
    return type(template)(**{key: rebuild(f"{name}.{key}", value, named) for key, value in template._asdict().items()})


def check(template: Named, named: Named) -> None:
    """Hold ``named`` against the entries of ``template``, whose first axis may have grown or shrunk since.

    Raises:
        ValueError: if an entry is missing or has another last axis or number of axes (the entry and both shapes).
    """
    for name, tensor in template.items():
        found = named.get(name)
        if found is None or found.ndim != tensor.ndim or found.shape[-1:] != tensor.shape[-1:]:
            raise _another(name, tensor, found)


def _another(name: str, template: Tensor, found: Tensor | None) -> ValueError:
    theirs = None if found is None else tuple(found.shape)
    return ValueError(
        f"state entry {name!r}: shape {theirs} in the file, {tuple(template.shape)} here; "
        "it was saved with another learner, drafter or setting; use the same ones or another file"
    )
