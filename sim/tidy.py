"""A tidy table of many games: one row a learner, setting, environment, horizon and copy, numbers at the horizon."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from theory.runs.extras import needs
from theory.runs.files import atomic, write_whole
from theory.runs.trace import Trace

KEYS = ("environment", "learner", "horizon", "copy")
"""What tells rows apart, with the settings that were swept, which stand behind ``learner``."""


class Tidy:
    """Columns of equal length, and which of them are settings that were swept.

    The others are what a trace has at its horizon: ``dynamic_regret``, ``gradient_energy``, ``path_length``, bounds and
    whatever the environment measures, and ``violations``, how often the copy broke a bound in all its rounds.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], swept: Sequence[str] = ()):
        self.columns, self.swept = dict(columns), tuple(swept)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @classmethod
    def of(cls, games: Iterable[tuple[Mapping[str, Any], Trace]]) -> "Tidy":
        """A table of traces, each with what tells it apart: ``environment``, ``learner``, the settings swept, and the
        number of its first ``copy``."""
        parts, swept = [], list[str]()
        for told, trace in games:
            swept = [key for key in told if key not in KEYS]
            copies = trace.header["seeds"]
            part = {key: np.repeat(value, copies) for key, value in told.items() if key != "copy"}
            part |= {"horizon": np.repeat(trace.header["rounds"], copies)}
            part["copy"] = told.get("copy", 0) + np.arange(copies)
            for name, column in trace.columns.items():
                if name != "round":
                    part[name] = np.broadcast_to(column[-1], copies)
            parts.append(part)
        names = list(dict.fromkeys(name for part in parts for name in part))
        missing = [np.full(len(part["copy"]), np.nan) for part in parts]
        columns = {
            name: np.concatenate([part.get(name, none) for part, none in zip(parts, missing, strict=True)])
            for name in names
        }
        return cls(columns, swept)

    def to_frame(self) -> Any:
        """A pandas DataFrame.

        Raises:
            ModuleNotFoundError: without pandas.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(needs("to_frame", "pandas"), name="pandas") from missing
        return DataFrame(self.columns)

    def save(self, path: Path | str) -> Path:
        """Write a ``.csv``, or a ``.parquet`` where pyarrow is installed.

        Raises:
            ValueError: for another ending.
            ModuleNotFoundError: for Parquet without pyarrow.
        """
        path = Path(path)
        if path.suffix == ".csv":
            lines = [",".join(self.columns)]
            lines += [",".join(map(_shown, row)) for row in zip(*self.columns.values(), strict=True)]
            write_whole(path, "\n".join(lines) + "\n")
        elif path.suffix == ".parquet":
            try:
                import pyarrow  # pyright: ignore[reportMissingImports]
                from pyarrow import parquet  # pyright: ignore[reportMissingImports]
            except ModuleNotFoundError as missing:
                raise ModuleNotFoundError(needs("Parquet", "pyarrow"), name="pyarrow") from missing
            with atomic(path) as partial:
                parquet.write_table(pyarrow.table(self.columns), partial)
        else:
            raise ValueError(f"path={str(path)!r}: tables are .csv or .parquet; give one of these endings")
        return path


def _shown(value: Any) -> str:
    """A cell of a CSV: floats to the last digit, text in quotes where it needs them."""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if set(value) & set(',"\n') else value
    plain = value.item() if isinstance(value, np.generic) else value
    return "" if plain != plain else repr(plain)
