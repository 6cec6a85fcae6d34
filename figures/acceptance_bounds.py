"""Token rows: acceptance and tokens per step at the horizon, measured, and the lower bounds their regret implies."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.results import Table, groups, labelled, stack, traces

WIDTH = style.PAGE
NAMES = {"alpha": "acceptance rate alpha", "tokens_per_step": "tokens per step"}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per row, quantity and seed: the value over all rounds and its lower bound."""
    needs = [name + suffix for name in NAMES for suffix in ("", "_bound")]
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=needs).items():
        environment, _, learner = name.rpartition("/")
        for quantity in NAMES:
            value, bound = trace.columns[quantity][-1], trace.columns[f"{quantity}_bound"][-1]
            columns = {"seed": np.arange(len(value)), "value": value, "bound": bound}
            tables.append(labelled(columns, environment=environment, learner=learner, quantity=quantity))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A panel per quantity, a line per row from the bound (open) to the measured value (filled); bars span seeds."""
    rows = dict(groups(table, "environment", "learner"))
    height = 0.85 + 0.15 * (len(rows) + 1.5 * len(set(table["environment"])))
    figure, axes = style.panels(1, len(NAMES), width, height, sharey=True)
    places = style.row_axis(axes[0, 0], rows)
    for panel, quantity in zip(axes[0], NAMES, strict=True):
        for row, y in places.items():
            mask, color = rows[row]["quantity"] == quantity, style.color(row[1])
            value, bound = rows[row]["value"][mask], rows[row]["bound"][mask]
            panel.plot([bound.mean(), value.mean()], [y, y], color=color, linewidth=0.8, alpha=0.5)
            for points, fill in ((value, color), (bound, "white")):
                panel.plot([points.min(), points.max()], [y, y], color=color, linewidth=2.2, alpha=0.35)
                panel.plot(points.mean(), y, "o", color=color, markerfacecolor=fill, markersize=4, mew=0.9)
        panel.set_xlabel(NAMES[quantity])
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color=style.FAINT, linewidth=0.5)
    kinds = [
        Line2D([], [], color=style.MUTED, marker="o", markersize=4, markerfacecolor=fill, linestyle="", label=label)
        for fill, label in ((style.MUTED, "measured"), ("white", "lower bound"))
    ]
    style.legend(figure, [], kinds)
    return figure
