"""Result files of one folder, read once each, and what their headers say of where they come from."""

import csv
import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple


class Origin(NamedTuple):
    """The command that made a result, the commit it ran at, and whether the sources had changes beside that commit.

    ``measured_hash``: of the code that ran, where the result says it itself, as those of a GPU do.
    """

    command: str
    commit: str | None
    dirty: bool
    device: str
    date: str
    measured_hash: str | None = None


class Results:
    """A folder of results, as ``results/``; every file is named by its path in it."""

    def __init__(self, root: Path):
        self.root = root
        self.json = cache(self._json)
        self.rows = cache(self._rows)
        self.text = cache(self._text)

    def _text(self, name: str) -> str:
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"no result file {path}: the page of numbers needs all of results/")
        return path.read_text("utf-8-sig")

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads(self.text(name))

    def _rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self.text(name).splitlines()))

    def has(self, name: str) -> bool:
        """Whether a file is there, of one that may still be made."""
        return (self.root / name).is_file()

    def headers(self, part: str) -> dict[str, dict[str, Any]]:
        """Header of every run under the folder ``part``, by its path in it without the suffix."""
        folder = self.root / part
        paths = sorted(folder.rglob("*.json"))
        if not paths:
            raise FileNotFoundError(f"no result files under {folder}: the page of numbers needs all of results/")
        return {
            path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text("utf-8-sig"))
            for path in paths
        }

    def origins(self, name: str) -> list[Origin]:
        """Where a file comes from, or all files of a folder: one entry a command and commit, the latest last.

        A file that sums up runs comes from where they were made, whenever that was done.
        """
        headers = [self.json(name)] if name.endswith(".json") else list(self.headers(name).values())
        found = {}
        for header in sorted(headers, key=lambda header: header["provenance"]["time"]):
            for made in header.get("runs") or [header["provenance"]]:
                key = made["commit"], made["command"]
                dirty = made["dirty"] or found.get(key, made)["dirty"]
                found[key] = {"time": header["provenance"]["time"]} | made | {"dirty": dirty}
        return [
            Origin(
                made["command"],
                made["commit"],
                made["dirty"],
                made["device"],
                made["time"][:10],
                made.get("measured_hash"),
            )
            for made in found.values()
        ]

    def digest(self, name: str) -> str:
        """The first digits of a hash of a file, or of all tables and headers of a folder with their names."""
        place = self.root / name
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*.*") if path.is_file())
        content = [path.relative_to(place).as_posix().encode() + b"\0" + path.read_bytes() for path in paths]
        return sha256(b"\0".join(content)).hexdigest()[:12]
