"""A trace: named columns and a provenance header; one CSV with a JSON header beside it, per run.

Figures and checks read only this. A file is written whole or not at all, never over another run's, and a run that is
already there with the same settings need not be made again.
"""

import csv
import json
import platform
import re
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import numpy as np

from theory.runs.files import owned, write_whole
from theory.runs.kind import POINTER, read, stamped
from theory.runs.measured import measured_hash, today
from theory.runs.reading import decoded
from theory.runs.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages."""
NUMBERS = re.compile(r'\[\n([^\[\]{}"]*)\]')
"""A list without text, lists or objects in it, as ``json`` indents it."""


KIND = "trace"
"""What headers say they are (``theory/runs/kind.py``)."""


CHECKSUM = "csv_sha256"
"""The header's entry that ties its CSV to it."""


class SettingsDiffer(ValueError):
    """A result file made with other settings is in the way."""


@dataclass(frozen=True)
class Trace:
    """Columns ``[rows]`` or ``[rows, copies]`` of equal length, and a JSON-able header with a ``settings`` entry."""

    header: dict[str, Any]
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def rounded(self, digits: int) -> "Trace":
        """The same with columns kept to so many significant digits."""
        return Trace(self.header, {name: significant(column, digits) for name, column in self.columns.items()})

    def to_frame(self) -> Any:
        """The columns as a tidy pandas DataFrame: one row a round and copy, the copy's number in the column ``copy``.

        A trace without copies has one row a row, and no such column.

            >>> import numpy as np
            >>> trace = Trace({}, {"round": np.array([1, 2]), "regret": np.array([[0.5, 0.25], [1.0, 0.75]])})
            >>> {name: column.tolist() for name, column in trace.tidy().items()}
            {'round': [1, 1, 2, 2], 'copy': [0, 1, 0, 1], 'regret': [0.5, 0.25, 1.0, 0.75]}

        Raises:
            ModuleNotFoundError: without pandas.
            ValueError: if the columns differ in length, or have different numbers of copies.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "to_frame needs pandas, which is not installed: pip install pandas; or use columns, a dict of arrays"
            ) from None
        return DataFrame(self.tidy())

    def tidy(self) -> dict[str, np.ndarray]:
        """The columns of ``to_frame``, each ``[rows · copies]``."""
        rows = {name: len(column) for name, column in self.columns.items()}
        copies = {name: column.shape[1] for name, column in self.columns.items() if column.ndim == 2}
        for what, counts in (("length", rows), ("number of copies", copies)):
            if len(set(counts.values())) > 1:
                raise ValueError(f"Trace columns differ in {what}: {counts}; they do not make one table")
        if not copies:
            return dict(self.columns)
        count, length = next(iter(copies.values())), next(iter(rows.values()))
        tall = {
            name: column.ravel() if column.ndim == 2 else np.repeat(column, count)
            for name, column in self.columns.items()
        }
        first = {name: tall[name] for name in ("round",) if name in tall}
        return first | {"copy": np.tile(np.arange(count), length)} | tall

    def save(self, path: Path | str, private: bool = False) -> Path:
        """Write ``path``.csv and ``path``.json atomically; ``private``: for the user's eyes alone (mode 0600).

        Raises:
            SettingsDiffer: if a trace with other settings is there; nothing is overwritten.
            ValueError: if the columns differ in length.
            OSError: if it cannot be written (disk full, no permission); no partial file remains.
        """
        path = _stem(path)
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Trace columns differ in length: {lengths}; every column needs one entry a row")
        flat = dict(_flatten(self.columns))
        rows = [list(flat), *zip(*(_cells(column) for column in flat.values()), strict=True)]
        table = StringIO()
        csv.writer(table, lineterminator="\n").writerows(rows)
        content = table.getvalue().encode()
        with owned(_part(path, ".csv"), wait=True):
            done(path, self.header.get("settings"))
            write_whole(_part(path, ".csv"), content, private)
            header = {CHECKSUM: sha256(content).hexdigest(), **self.header}
            save_json(_part(path, ".json"), stamped(KIND, header), private)  # last: a trace exists once its header does
        return path

    @classmethod
    def load(cls, path: Path | str) -> "Trace":
        """Read a trace back; ``name[0], name[1], …`` become one two-dimensional column.

        Raises:
            FileNotFoundError: if the CSV or its header is missing, with the path and the remedy.
            ValueError: if one of them is not whole or not that of a trace, or the CSV not the header's, with the same.
        """
        path = _stem(path)
        header = read(_part(path, ".json"), KIND)
        lines = _lines(_part(path, ".csv"), header.pop(CHECKSUM, None))
        names, *rows = lines
        groups: dict[str, list[np.ndarray]] = {}
        for name, column in zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True):
            groups.setdefault(name, []).append(_parse(column))
        merged: dict[str, np.ndarray] = {}
        wide: dict[str, list[np.ndarray]] = {}
        for name, (column, *_) in groups.items():
            stem, bracket, _index = name.partition("[")
            (wide.setdefault(stem, []).append(column)) if bracket else merged.update({name: column})
        return cls(header, merged | {stem: np.stack(parts, axis=1) for stem, parts in wide.items()})


def _lines(table: Path, checksum: str | None) -> list[list[str]]:
    """The CSV's cells by line, if it is the one whose header has this checksum; older headers have none.

    Raises:
        FileNotFoundError: if it is missing, with the path and the remedy.
        ValueError: if it is not whole, or another, with the same.
    """
    if not table.exists():
        raise FileNotFoundError(f"no trace at {table}: run the command that writes it first")
    content = table.read_bytes()
    again = "remove it with its .json and run the command that writes it again"
    if content.startswith(POINTER):
        raise ValueError(f"{table}: is a pointer of git-lfs, not the trace itself; fetch it (git lfs pull), or {again}")
    text = decoded(content, str(table))
    lines = list(csv.reader(StringIO(text, newline="")))
    if not lines or any(len(line) != len(lines[0]) for line in lines):
        raise ValueError(
            f"{table}: {'rows differ in length' if lines else 'is empty'}, but a trace has a line of names and as "
            f"many values in every row; {again}"
        )
    if checksum is not None and sha256(text.encode()).hexdigest() != checksum:
        raise ValueError(f"{table}: is cut, changed, or of another run than its .json, by its checksum; {again}")
    return lines


def significant(column: np.ndarray, digits: int) -> np.ndarray:
    """Floats rounded to so many significant digits; integers as they are."""
    if column.dtype.kind != "f":
        return column
    return np.array([float(f"{value:.{digits}g}") for value in column.ravel()]).reshape(column.shape)


def _stem(path: Path | str) -> Path:
    """The name without .csv or .json; any other dot belongs to it."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".csv", ".json") else path


def _part(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _flatten(columns: dict[str, np.ndarray]):
    for name, column in columns.items():
        column = np.asarray(column)
        if column.ndim == 1:
            yield name, column
        else:
            yield from ((f"{name}[{i}]", column[:, i]) for i in range(column.shape[1]))


def _cells(column: np.ndarray) -> list[str]:
    return [repr(value) if isinstance(value, float) else str(value) for value in column.tolist()]


def _parse(cells: tuple[str, ...]) -> np.ndarray:
    for kind in (int, float):
        with suppress(ValueError):
            return np.array([kind(cell) for cell in cells])
    return np.array(cells)


def done(path: Path | str, settings: Any) -> bool:
    """Whether the trace at ``path`` is there with these settings, and whole.

    Raises:
        SettingsDiffer: if one made with other settings is there, with the entries that differ.
        ValueError: if what is there is no header of a trace.
    """
    header_path = _part(_stem(path), ".json")
    if not header_path.exists():
        return False
    header: Any = read(header_path, KIND)
    theirs, ours = header.get("settings"), plain(settings)
    if theirs == ours:
        try:
            return bool(_lines(_part(_stem(path), ".csv"), header.get(CHECKSUM)))
        except (FileNotFoundError, ValueError):
            return False
    keys = sorted({*(theirs or {}), *(ours or {})}) if isinstance(theirs, dict) and isinstance(ours, dict) else []
    differ = {k: (theirs.get(k), ours.get(k)) for k in keys if theirs.get(k) != ours.get(k)}
    raise SettingsDiffer(
        f"{header_path} was made with other settings (there, here): {differ or (theirs, ours)}; "
        "nothing was overwritten. Choose another folder, or remove the file if it is no longer wanted"
    )


def save_json(path: Path, content: Any, private: bool = False) -> None:
    """Write ``content`` atomically as JSON, indented but for lists of numbers; dataclasses become ``{"class": name,
    …fields}``.

    A file that says the same already, its provenance aside, stays: what was computed again and came out alike keeps the
    provenance of the first time. ``private``: for the user's eyes alone (mode 0600).
    """
    text = json.dumps(plain(content), indent=1, ensure_ascii=False, sort_keys=False) + "\n"
    text = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    if path.exists() and _said(path.read_bytes()) == _said(text):
        return
    write_whole(path, text, private)


def _said(text: str | bytes) -> Any:
    """What a JSON file says without its provenance; None if it is not JSON."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return {k: v for k, v in content.items() if k != "provenance"} if isinstance(content, dict) else content


LATER = "later"
"""Key of a field's metadata: results are kept that are older than the field."""


def plain(value: Any) -> Any:
    """JSON-able form of dataclasses, numpy scalars, paths and tuples, nested as they come.

    A field with ``LATER`` in its metadata is left out at its default, as in results that are older than the field.
    """
    if is_dataclass(value) and not isinstance(value, type):
        told = (one for one in fields(value) if not one.metadata.get(LATER) or getattr(value, one.name) != one.default)
        return {"class": type(value).__name__, **{one.name: plain(getattr(value, one.name)) for one in told}}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not isfinite(value):
        return None if isnan(value) else str(value)
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}:{getattr(value, '__qualname__', type(value).__name__)}"
    return str(value) if isinstance(value, Path) else value


def _git(*arguments: str) -> str | None:
    """What git says in the folder that holds the package; None if it refuses or is not there."""
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return None


def _own_repository() -> bool:
    """Whether the repository around the package is its own.

    An installed or copied package may lie in someone else's, whose commit says nothing about this code.
    """
    top = _git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != ROOT or _git("ls-files", "--error-unmatch", "theory/runs/trace.py") is None:
        return False
    with suppress(OSError, ValueError):
        return (
            tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")).get("project", {}).get("name") == "onlinespec"
        )
    return False


def _command() -> str:
    """The command line of this process, as one would type it."""
    script = Path(sys.argv[0])
    start = f"python -m {script.parent.name}" if script.name == "__main__.py" else f"python {script.name}"
    return " ".join([start.strip(), *sys.argv[1:]])


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Where a result comes from: versions, commit, changes since, command, device, time.

    What was measured on a GPU also has the hash of the code that served, ``measured_hash``: such machines come without
    a repository. ``commit`` and ``dirty`` (whether anything but results/ was changed since) are those of the package's
    own repository. Both are None where it lies in none: installed, unpacked, or copied into another project.
    """
    own = _own_repository()
    changed = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    versions = {"onlinespec": VERSION, "python": platform.python_version()}
    for package in ("numpy", "scipy", "torch", "transformers"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    served = {} if device.startswith("cpu") else {"measured_hash": measured_hash("decoder", today())}
    return served | {
        "commit": _git("rev-parse", "HEAD") if own else None,
        "dirty": bool(_git(*changed)) if own else None,
        "versions": versions,
        "command": _command(),
        "device": device,
        "processor": platform.machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
