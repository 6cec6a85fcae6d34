"""Where the time of a committed token goes, learning included; what no line of the ledger claims is shown too."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures import stream, style
from figures.results import Table, groups, labelled, stack

WIDTH = style.PAGE
LINES = {
    "prefill": "#c9ced6",
    "verify": "#7f8ea3",
    "draft": "#56b4e9",
    "learn": "#d55e00",
    "other": "#e0c15a",
    "unattributed": "#f2f2f2",
}
"""Lines of the ledger in the order of the bars; plain decoding's steps are its ``verify``."""


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream, method and line: milliseconds a committed token, all seeds together."""
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        for method in style.order(method for runs in runs_of_seeds.values() for method in runs):
            runs = [runs[method].columns for runs in runs_of_seeds.values() if method in runs]
            tokens = sum(columns["tokens"].sum() for columns in runs)
            lines = [line for line in LINES if all(f"seconds_{line}" in columns for columns in runs)]
            spent = [1000 * sum(columns[f"seconds_{line}"].sum() for columns in runs) / tokens for line in lines]
            columns = {"line": np.array(lines), "milliseconds_per_token": np.array(spent)}
            tables.append(labelled(columns, stream=name, method=method))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A panel per stream, a stacked bar per method."""
    panels = list(groups(table, "stream"))
    methods = style.order(table["method"].tolist())
    figure, axes = style.panels(1, len(panels), width, 0.85 + 0.2 * len(methods), sharey=True)
    for panel, (name, rows) in zip(axes[0], panels, strict=True):
        for method, bar in groups(rows, "method"):
            left = 0.0
            for line, spent in zip(bar["line"].tolist(), bar["milliseconds_per_token"].tolist(), strict=True):
                edge = style.MUTED if line == "unattributed" else "none"
                panel.barh(methods.index(method), spent, 0.68, left, color=LINES[line], edgecolor=edge, linewidth=0.4)
                left += spent
        panel.set(yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.4, -0.6))
        panel.set_xlabel("milliseconds per committed token")
        panel.tick_params(axis="y", length=0)
        if len(panels) > 1:
            panel.set_title(name)
    shown = [line for line in LINES if line in table["line"]]
    style.legend(figure, [], [Patch(color=LINES[line], label=line) for line in shown])
    return figure
