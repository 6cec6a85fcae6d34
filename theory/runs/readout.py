"""A draft's readout W in a file of its own, named by its content: recordings of one draft share it."""

import re
from hashlib import file_digest, sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from theory.runs.files import atomic


def save_readout(folder: Path, head: np.ndarray) -> str:
    """Write W ``[V, d]`` into a folder as ``HASH.npy``, unless it is there; returns the SHA-256 of that file."""
    content = sha256()
    np.lib.format.write_array(SimpleNamespace(write=content.update), head, allow_pickle=False)  # pyright: ignore[reportArgumentType]
    name = content.hexdigest()
    path = folder / f"{name}.npy"
    if not path.exists():
        with atomic(path) as partial, partial.open("wb") as file:
            np.lib.format.write_array(file, head, allow_pickle=False)
    return name


def load_readout(folder: Path, name: str) -> np.ndarray:
    """W ``[V, d]`` of that name.

    Raises:
        ValueError: for a name that is no SHA-256, or a file whose content has another.
        FileNotFoundError: if it is not in the folder.
    """
    if not re.fullmatch("[0-9a-f]{64}", str(name)):
        raise ValueError(
            f"readout={name!r}: must be the SHA-256 of a file, 64 hexadecimal digits; record the run again"
        )
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise FileNotFoundError(
            f"no readout at {path}: a portable recording leaves out the draft's output matrix; copy the file of this "
            "name from where the run was recorded"
        )
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
        if found != name:
            raise ValueError(f"{path}: has SHA-256 {found}, not the one that names it; copy the file again")
        file.seek(0)
        return np.load(file, allow_pickle=False)
