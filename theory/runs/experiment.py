"""Experiments are immutable named rows: chosen by pattern, and each run once, into the result file of its name.

What a row holds is its table's affair: the simulator has matches, the decoder streams.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from theory.runs.files import owned
from theory.runs.trace import Trace, done

Row = TypeVar("Row")
FEW = 12
"""Names that fit into a message."""


def select(rows: Mapping[str, Row], patterns: Iterable[str]) -> dict[str, Row]:
    """The rows whose names match any pattern (``drift/*``), in the table's order.

    Raises:
        ValueError: if a pattern matches none, with the nearest names, and all where they are few.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in rows):
            near = ", ".join(get_close_matches(pattern, rows, n=3, cutoff=0.3)) or ", ".join(list(rows)[:5])
            rest = f"All: {'; '.join(rows)}" if len(rows) <= FEW else f"`list` shows all {len(rows)} rows"
            raise ValueError(f"no row matches {pattern!r}; near it: {near}. {rest}")
    return {name: row for name, row in rows.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def result_path(out: Path | str, name: str) -> Path:
    """Where row ``name`` keeps its trace (without suffix): ``out/drift/P8/ogd``."""
    return Path(out) / name


def run_once(name: str, settings: Any, out: Path | str, run: Callable[[], Trace]) -> tuple[Path, bool]:
    """Run and save the row unless its result is there with the same settings → its path, and whether it was run now.

    Raises:
        SettingsDiffer: if a result made with other settings is in the way.
        Owned: if another process is making it.
    """
    path = result_path(out, name)
    with owned(path):
        if done(path, settings):
            return path, False
        return run().save(path), True
