"""Reading result files into tables: what is there, which rows are asked for, a clear error when nothing is."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from theory.runs.result import load_result
from theory.runs.trace import Trace

Table = dict[str, np.ndarray]
"""Named columns of equal length, one entry a plotted point."""


class MissingResult(FileNotFoundError):
    """A figure needs result files that are not there."""


def traces(root: Path, part: str, patterns: Iterable[str] = (), needs: Iterable[str] = ()) -> dict[str, Trace]:
    """Traces under ``root/part`` by id (path without suffix) that match a pattern and have the columns ``needs``.

    Raises:
        MissingResult: if there is none, with what was looked for and which command writes it.
    """
    folder, patterns, needs = root / part, list(patterns) or ["*"], list(needs)
    names = [
        path.relative_to(folder).with_suffix("").as_posix()
        for path in sorted(folder.rglob("*.json"))
        if path.with_suffix(".csv").exists()
    ]
    chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if names and not chosen:
        raise MissingResult(f"no result under {folder} matches {' '.join(patterns)}; there: {', '.join(names[:6])}")
    loaded = {name: Trace.load(folder / name) for name in chosen}
    fitting = {name: trace for name, trace in loaded.items() if set(needs) <= set(trace.columns)}
    if not fitting:
        wanted = f" with columns {', '.join(needs)}" if chosen else ""
        raise MissingResult(
            f"no result files{wanted} under {folder}: run `python -m {part} … --out {folder}` or `make demo`"
        )
    return fitting


def copies(trace: Trace, name: str) -> np.ndarray | None:
    """Column ``name`` as [rows, seeds], or None; a column in which all seeds agree is stored once."""
    if name not in trace.columns:
        return None
    column = np.asarray(trace.columns[name], float)
    return np.repeat(column[:, None], trace.header["seeds"], axis=1) if column.ndim == 1 else column


def result(path: Path, kind: str, made_by: str) -> dict[str, Any]:
    """The result file at ``path``; ``made_by`` says what writes it.

    Raises:
        MissingResult: if it is not there.
        ValueError: if it is of another kind.
    """
    if not path.exists():
        raise MissingResult(f"no {path}: {made_by}")
    return load_result(path, kind)


def summary(root: Path) -> dict[str, Any]:
    """``root/summary.json``.

    Raises:
        MissingResult: if it is not there.
    """
    return result(root / "summary.json", "summary", "`make demo` or `make results` writes it when its runs are done")


def stack(tables: Iterable[Table]) -> Table:
    """Tables with the same columns, one after the other."""
    tables = list(tables)
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def labelled(columns: dict[str, np.ndarray], **labels: str) -> Table:
    """``columns`` with constant label columns in front."""
    length = len(next(iter(columns.values())))
    return {name: np.array([value] * length) for name, value in labels.items()} | columns


def groups(table: Table, *keys: str) -> Iterator[tuple[Any, Table]]:
    """(key or tuple of keys, rows with it), in order of first appearance."""
    labels = list(zip(*(table[key].tolist() for key in keys), strict=True))
    for label in dict.fromkeys(labels):
        mask = np.array([other == label for other in labels])
        yield label if len(keys) > 1 else label[0], {name: column[mask] for name, column in table.items()}
