"""What a result file says it is: its kind, and the version of that kind's form, its ``schema``.

Both stand first in every JSON file that a command writes, so that no reader takes one result for another or misreads
one of another form. Whoever changes the form of a kind gives writers and readers the next number.
"""

import json
from pathlib import Path
from typing import Any

from theory.runs.reading import read_text

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for one that git-lfs has not fetched."""


def stamped(kind: str, content: dict[str, Any], schema: int = 1) -> dict[str, Any]:
    """``content`` with its kind and schema in front."""
    return {"kind": kind, "schema": schema, **content}


def kind_of(path: Path) -> str | None:
    """What a JSON file says it is; None if it says nothing, or is no JSON object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    return content.get("kind") if isinstance(content, dict) else None


def read(path: Path, kind: str, schema: int = 1) -> dict[str, Any]:
    """What was ``stamped`` and written to ``path``, without the stamp.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if what is there is no JSON object, of another kind or of another schema.
    """
    if not path.exists():
        raise FileNotFoundError(f"no {kind} at {path}: run the command that writes it first")
    if path.read_bytes().startswith(POINTER):
        raise ValueError(f"{path}: is a pointer of git-lfs, not the {kind} itself; fetch it (git lfs pull)")
    try:
        content = dict(json.loads(read_text(path)))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: a {kind} must be a JSON object, but reading it says {error}; remove it and run the command that "
            "writes it again"
        ) from None
    found = content.pop("kind", None), content.pop("schema", None)
    if found[0] != kind:
        raise ValueError(f"{path}: kind={found[0]!r}, but a {kind} is read here; give the path of a {kind}")
    if found[1] != schema:
        raise ValueError(
            f"{path}: schema={found[1]!r}, but this version reads {kind} files of schema {schema}; read it with the "
            "version that wrote it, or remove it and run the command that writes it again"
        )
    return content
