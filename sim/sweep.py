"""Many rows: skipped where done, run one after another or several at once, each saved the moment it ends."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from sim.experiments import Match
from theory.runs.experiment import result_path, run_once
from theory.runs.reading import read_text
from theory.runs.trace import done
from theory.runs.workers import Tell, at_once


class Finished(NamedTuple):
    """One row's outcome."""

    name: str
    path: Path
    ran: bool
    """False where the result was there already."""
    seconds: float
    header: dict


def run_row(name: str, row: Match, out: Path, tell: Tell = print) -> Finished:
    """Run and save one row unless it is done with the same settings; it has nothing to ``tell``."""
    start = perf_counter()
    path, ran = run_once(name, row.settings, out, row.run)
    return Finished(name, path, ran, perf_counter() - start, json.loads(read_text(path.with_suffix(".json"))))


def sweep(rows: Mapping[str, Match], out: Path | str, jobs: int = 1) -> Iterator[Finished]:
    """Run every row, ``jobs`` at a time: what is done first, then the others in the order they end.

    All settings are checked, and all results already there compared, before the first row runs.

    Raises:
        ValueError: for a row that cannot be built, a result made with other settings (``SettingsDiffer``), or one that
            another process is making (``Owned``).
        ChildProcessError: if a process of those that run rows was killed.
    """
    there = {name: done(result_path(out, name), row.settings) for name, row in rows.items()}
    yield from (run_row(name, row, Path(out)) for name, row in rows.items() if there[name])
    yield from at_once(run_row, [(name, row, Path(out)) for name, row in rows.items() if not there[name]], jobs)
