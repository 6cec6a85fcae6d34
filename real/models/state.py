"""What must be kept to go on later: named tensors in one safetensors file, written whole or not at all, no pickle."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from theory.runs.files import write_whole

Named = dict[str, Tensor]
DIGESTS, DIGITS = "sha256", 16
"""Where a file says what its entries' digests are, and how many hexadecimal digits."""
MOST = 2**53
"""Of a count."""
REMEDY = "nothing was taken up. Use the file that a run wrote"


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
    write_whole(path, to_bytes(tensors, {**about, DIGESTS: json.dumps(_digests(tensors))}), private=True)


def load(path: Path) -> tuple[Named, dict[str, str]]:
    """What ``save`` wrote, on the CPU, read whole: what becomes of the file later changes nothing.

    Raises:
        FileNotFoundError, ValueError: if there is no file, or it is damaged or something else (the entry), or an entry
            holds nan or infinity.
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
    about = json.loads(header).get("__metadata__") or {}
    found = _digests(tensors)
    wanted = json.loads(about.pop(DIGESTS)) if DIGESTS in about else found  # other programs write none
    bad = sorted(name for name in {**found, **wanted} if found.get(name) != wanted.get(name))
    if bad:
        raise ValueError(
            f"{path}: {', '.join(bad)} are not what was written; nothing was taken up. Remove it and start over"
        )
    return tensors, about


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
        ValueError: if an entry is missing, or has another shape or dtype (the entry and both).
    """
    if not hasattr(template, "_asdict"):
        ((_, wanted),) = flatten(name, template)
        found = named.get(name)
        if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise _another(name, wanted, found)
        taken = found.to(wanted.device)
        return taken if isinstance(template, Tensor) else type(template)(taken.item())
    return type(template)(**{key: rebuild(f"{name}.{key}", value, named) for key, value in template._asdict().items()})


def check(template: Named, named: Named, rounded: bool = False) -> None:
    """Hold ``named`` against the entries of ``template``; of one that is empty there the first axis may have grown.

    ``rounded``: floating numbers may be of another precision.

    Raises:
        ValueError: if an entry is missing, or has another shape or dtype (the entry and both).
    """
    for name, tensor in template.items():
        found = named.get(name)
        grows = tensor.ndim > 0 and not len(tensor)
        if found is None or found.ndim != tensor.ndim or found.shape[grows:] != tensor.shape[grows:]:
            raise _another(name, tensor, found)
        if found.dtype != tensor.dtype and not (rounded and found.is_floating_point() and tensor.is_floating_point()):
            raise _another(name, tensor, found)


def between(name: str, numbers: Tensor, least: float, most: float = MOST) -> None:
    """ValueError, with the name of their entry, for numbers outside of a range."""
    bad = numbers[~((numbers >= least) & (numbers <= most))]  # also what is no number
    if len(bad):
        raise ValueError(f"state entry {name!r}: holds {bad[0].item()}, which must be from {least} to {most}; {REMEDY}")


def alike(named: Named, most: int, at: str = "") -> None:
    """ValueError, with the name of the entry, where entries have not one length, of at most ``most``."""
    lengths = {name: len(tensor) for name, tensor in named.items()}
    for name, length in lengths.items():
        if length != min(lengths.values()) or length > most:
            raise ValueError(
                f"state entry {at + name!r}: has {length} rows, not {min(lengths.values())}, {most} at most; {REMEDY}"
            )


def generator(name: str, state: Tensor) -> torch.Generator:
    """A CPU generator of this state; ValueError, with the name of its entry, for what is none."""
    made = torch.Generator()
    try:
        made.set_state(state.cpu())
    except (RuntimeError, TypeError):
        raise ValueError(f"state entry {name!r}: is no state of a torch.Generator; {REMEDY}") from None
    return made


def _another(name: str, template: Tensor, found: Tensor | None) -> ValueError:
    theirs, ours = None if found is None else tuple(found.shape), tuple(template.shape)
    differ = f"shape {theirs} in the file, {ours} here"
    if found is not None and theirs == ours:
        differ = f"{found.dtype} in the file, {template.dtype} here"
    return ValueError(
        f"state entry {name!r}: {differ}; "
        "it was saved with another learner, drafter or setting; use the same ones or another file"
    )


def _digests(tensors: Named) -> dict[str, str]:
    """Of every entry: dtype, shape and numbers."""
    found = {}
    for name, tensor in tensors.items():
        digest = sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        found[name] = digest.hexdigest()[:DIGITS]
    return found
