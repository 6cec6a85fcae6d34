"""Acceptance over the stream: rolling mean of alpha per method, restarted at the domain shifts marked."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import stream, style
from figures.results import Table, groups, stack

WIDTH = style.PAGE


def collect(root: Path, patterns: list[str]) -> Table:
    """alpha = Σ alpha_sum / Σ verified positions over the last window of committed tokens, every drafting method."""
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        window = stream.window_of(runs_of_seeds)
        grid = stream.grid_of(runs_of_seeds)
        curves = stream.ratio(runs_of_seeds, "alpha_sum", "verified", grid, window)
        curves = {method: curve for method, curve in curves.items() if method != "plain"}
        table = stream.long(curves, name, "alpha", *stream.shifts(runs_of_seeds))
        tables.append(table | {"window": np.full(len(table["value"]), window)})
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """One panel per stream."""
    panels = list(groups(table, "stream"))
    figure, axes = style.panels(len(panels), 1, width, 2.5)
    for panel, (name, rows) in zip(axes[:, 0], panels, strict=True):
        ends = style.curves(panel, rows)
        panel.set_ylabel("acceptance rate alpha")
        which = f"{name}; " if len(panels) > 1 else ""
        panel.set_xlabel(f"committed tokens ({which}mean over the last {rows['window'][0]:,.0f}, since the shift)")
        style.end_labels(panel, ends)
    return figure
