"""Speed over the stream: rolling tokens per step, and cumulative net speedup over plain decoding, learning charged."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import stream, style
from figures.results import MissingResult, Table, groups, stack

WIDTH = style.PAGE
LABELS = {"tokens_per_step": "tokens per step (rolling)", "speedup": "net speedup so far\n(all costs charged)"}


def collect(root: Path, patterns: list[str]) -> Table:
    """tokens_per_step over the last window; speedup = (Σtokens/Σseconds) / plain's, from the start of the stream.

    Raises:
        MissingResult: if a stream has no plain run to compare with.
    """
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        if not all("plain" in runs for runs in runs_of_seeds.values()):
            raise MissingResult(f"stream {name} has no run of plain decoding: speedup is relative to it")
        window, marks = stream.window_of(runs_of_seeds), stream.shifts(runs_of_seeds)
        steps = stream.ratio(runs_of_seeds, "tokens", "steps", stream.grid_of(runs_of_seeds), window)
        steps.pop("plain")
        tables.append(stream.long(steps, name, "tokens_per_step", *marks))
        tables.append(stream.long(speedup(runs_of_seeds, window), name, "speedup", *marks))
    return stack(tables)


def speedup(runs_of_seeds: dict, window: float) -> dict[str, Table]:
    """Tokens per second so far relative to plain, pooled over seeds; extremes of the seeds' own ratios.

    Before ``window`` tokens are served there is too little to divide, and nothing is shown (nan).
    """
    grid = stream.grid_of(runs_of_seeds)
    shown = np.where(grid >= window, 1.0, np.nan)
    pooled = stream.ratio(runs_of_seeds, "tokens", "seconds_total", grid)
    alone = [stream.ratio({seed: runs}, "tokens", "seconds_total", grid) for seed, runs in runs_of_seeds.items()]
    curves = {}
    for method, curve in pooled.items():
        each = [one[method]["value"] / one["plain"]["value"] for one in alone if method in one]
        value = shown * curve["value"] / pooled["plain"]["value"]
        curves[method] = curve | {
            "value": value,
            "low": shown * np.min(each, axis=0),
            "high": shown * np.max(each, axis=0),
        }
    curves.pop("plain")
    return curves


def draw(table: Table, width: float) -> Figure:
    """A column per stream: tokens per step above, net speedup below with plain decoding at 1."""
    names = list(dict.fromkeys(table["stream"].tolist()))
    figure, axes = style.panels(len(LABELS), len(names), width, 2.1, sharex="col", sharey="row")
    ends: dict[tuple[int, int], dict[str, float]] = {}
    for (name, quantity), rows in groups(table, "stream", "quantity"):
        row, column = list(LABELS).index(quantity), names.index(name)
        panel = axes[row, column]
        ends[row, column] = style.curves(panel, rows, shift_names=row == 0)
        panel.set_ylabel(LABELS[quantity] if column == 0 else "")
        if quantity == "speedup":
            panel.axhline(1, color=style.COLORS["plain"], linewidth=0.8)
            ends[row, column]["plain"] = 1.0
            panel.set_xlabel("committed tokens" + (f" ({name})" if len(names) > 1 else ""))
    for place, last in ends.items():  # once every curve is there: panels of a row share their limits
        style.end_labels(axes[place], last)
    return figure
