"""Reading result files into tables: what is there, which rows are asked for, a clear error when nothing is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from theory.runs.kind import kind_of
from theory.runs.result import load_result
from theory.runs.trace import KIND, Trace

Table = dict[str, np.ndarray]
"""Named columns of equal length, one entry a plotted point."""


class MissingResult(FileNotFoundError):
    """A figure needs result files that are not there."""


@dataclass(frozen=True)
class Given:
    """Traces by id, at hand, in the place of a folder of results."""

    figure: str
    traces: dict[str, Trace]

    def __truediv__(self, part: str) -> Path:
        raise ValueError(f"figure {self.figure!r} cannot be drawn from traces: it reads {part}; give a results folder")

    def chosen(self, patterns: list[str], needs: list[str]) -> dict[str, Trace]:
        """Those that match a pattern and have the columns ``needs``.

        Raises:
            ValueError: if there is none.
        """
        named = {name: one for name, one in self.traces.items() if any(fnmatchcase(name, p) for p in patterns)}
        found = {name: one for name, one in named.items() if set(needs) <= set(one.columns)}
        if not found:
            lacking = {name: sorted(set(needs) - set(one.columns)) for name, one in named.items()}
            why = f"they lack columns: {lacking}" if named else f"none matches {' '.join(patterns)}"
            raise ValueError(f"figure {self.figure!r} needs traces with the columns {', '.join(needs)}; {why}")
        return found


def given(figure: str, traces: Trace | Iterable[Trace] | Mapping[str, Trace]) -> Given:
    """Traces in the place of a folder: one, several that know their names (``header["name"]``), or name → trace.

    Raises:
        ValueError: for what is no trace, a trace without a name, or two of one name.
    """
    if isinstance(traces, Mapping):
        named = [(str(name), trace) for name, trace in traces.items()]
    else:
        several = [traces] if isinstance(traces, Trace) else list(traces)
        named = [(trace.header.get("name") if isinstance(trace, Trace) else None, trace) for trace in several]
    if strange := [trace for _, trace in named if not isinstance(trace, Trace)]:
        raise ValueError(f"traces: {type(strange[0]).__name__} is no Trace; give traces, or a results folder's path")
    names = [name for name, _ in named]
    if not named or None in names or len(set(names)) < len(names):
        raise ValueError(f"traces: named {names}; every trace needs a name of its own: give a dict, name → trace")
    return Given(figure, {str(name): trace for name, trace in named})


def traces(root: Path | Given, part: str, patterns: Iterable[str] = (), needs: Iterable[str] = ()) -> dict[str, Trace]:
    """Traces under ``root/part`` by id (path without suffix) that match a pattern and have the columns ``needs``.

    Raises:
        MissingResult: if there is none, with what was looked for and which command writes it.
        ValueError: if there is none among traces that were given.
    """
    patterns, needs = list(patterns) or ["*"], list(needs)
    if isinstance(root, Given):
        return root.chosen(patterns, needs)
    folder = root / part
    names = [
        path.relative_to(folder).with_suffix("").as_posix()
        for path in sorted(folder.rglob("*.json"))
        if path.with_suffix(".csv").exists() or kind_of(path) == KIND
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
