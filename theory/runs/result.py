"""Result files: the one writer and the one reader of what commands keep as JSON. Runs are traces (``trace.py``)."""

from pathlib import Path
from typing import Any

from theory.runs.kind import read, stamped
from theory.runs.trace import provenance, save_json


def save_result(path: Path | str, kind: str, content: dict[str, Any], device: str = "cpu", schema: int = 1) -> None:
    """Write ``content`` with its kind, schema and provenance, replaced whole.

    A file that says the same already stays as it is, with the provenance of the first time.

    Args:
        path: the JSON file; folders on the way to it are made.
        kind: what the file is, as its reader asks for it.
        content: what ``theory.runs.trace.plain`` can write.
        device: what it was measured on.
        schema: version of the form that files of this kind have.
    """
    save_json(Path(path), stamped(kind, {**content, "provenance": provenance(device)}, schema))


def load_result(path: Path | str, kind: str, schema: int = 1) -> dict[str, Any]:
    """The content that ``save_result`` was given, with its provenance.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if what is there is no JSON object, of another kind or of another schema.
    """
    return read(Path(path), kind, schema)
