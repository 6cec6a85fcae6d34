"""What must be kept to go on later: named tensors in one safetensors file, written whole or not at all, no pickle."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from theory.runs.files import write_whole

Named = dict[str, Tensor]


def save(path: Path, tensors: Named, about: dict[str, str]) -> None:
    """Write ``tensors`` and the texts ``about`` them, for the user's eyes alone (mode 0600).

    What cannot be written leaves the old file whole.

    Raises:
        ValueError: for an entry that holds nan or infinity.
        OSError: for a full disk, or no permission.
    """
    bad = not_finite(tensors)
    if bad:
        raise ValueError(f"{path}: not written, for {', '.join(bad)} hold nan or infinity; what was there before stays")
    write_whole(path, to_bytes(tensors, about), private=True)


def load(path: Path) -> tuple[Named, dict[str, str]]:
    """What ``save`` wrote, on the CPU, read whole: what becomes of the file later changes nothing.

    Raises:
        FileNotFoundError, ValueError: if there is no file, or it is damaged or something else, or an entry holds nan or
            infinity.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a state; name the file to keep it in")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no state there; `python -m real run --state {path}` writes one")
    content = path.read_bytes()
    try:
        tensors = from_bytes(content)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a readable state ({error}); give one that a run wrote, or remove it and start over"
        ) from None
    bad = not_finite(tensors)
    if bad:
        raise ValueError(
            f"{path}: {', '.join(bad)} hold nan or infinity; nothing was taken up. Remove it and start over"
        )
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]  # its length, then JSON (the format's own rule)
    return tensors, json.loads(header).get("__metadata__") or {}


def copied(named: Named) -> Named:
    """A state of its own; ValueError for an entry that is no tensor."""
    for key, value in named.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"state entry {key!r}={value!r}: must be a tensor; make it one in the drafter's state()")
    return {key: value.contiguous().clone() for key, value in named.items()}


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
        taken = found.to(wanted)
        if not_finite({name: taken}):
            raise ValueError(f"state entry {name!r}: too large for {wanted.dtype}; use the file that a run wrote")
        return taken if isinstance(template, Tensor) else type(template)(taken.item())
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
