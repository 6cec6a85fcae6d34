"""Token rows: acceptance and tokens per step of the whole run, measured, and their analytic lower bounds."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import Table, copies, groups, labelled, stack, traces

WIDTH = style.PAGE
NAMES = {"alpha": "acceptance rate alpha", "tokens_per_step": "tokens per step"}
KINDS = {
    "": ("o", True, "measured"),
    "_pathwise": ("D", False, "bound from the rejections counted"),
    "_bound": ("o", False, "bound from measured regret"),
    "_guarantee": ("|", True, "a priori"),
}
"""Column suffix → marker, whether filled, and what it is."""


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per row, quantity, kind and seed: the value over all rounds, or a lower bound of it."""
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=[*NAMES, *(f"{name}_bound" for name in NAMES)]).items():
        environment, _, learner = name.rpartition("/")
        for quantity in NAMES:
            for suffix, (_marker, _filled, kind) in KINDS.items():
                column = copies(trace, quantity + suffix)
                if column is not None:
                    columns = {"seed": np.arange(column.shape[1]), "value": column[-1]}
                    labels = {"environment": environment, "learner": learner, "quantity": quantity, "kind": kind}
                    tables.append(labelled(columns, **labels))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A panel per quantity, a line per row: the measured value right, its lower bounds left; bars span the seeds."""
    rows = dict(groups(table, "environment", "learner"))
    height = 0.85 + 0.15 * (len(rows) + 1.5 * len(set(table["environment"])))
    figure, axes = style.panels(1, len(NAMES), width, height, sharey=True)
    heights = style.row_axis(axes[0, 0], rows)
    for panel, quantity in zip(axes[0], NAMES, strict=True):
        for (environment, learner), y in heights.items():
            row, color = rows[environment, learner], style.color(learner)
            chosen = row["quantity"] == quantity
            means = {}
            for marker, filled, kind in KINDS.values():
                values = row["value"][chosen & (row["kind"] == kind)]
                if len(values):
                    means[kind] = values.mean()
                    panel.plot([values.min(), values.max()], [y, y], color=color, linewidth=2.2, alpha=0.35)
                    fill = color if filled else "white"
                    panel.plot(means[kind], y, marker, color=color, markerfacecolor=fill, markersize=3.6, mew=0.9)
            panel.plot(
                [min(means.values()), max(means.values())], [y, y], color=color, linewidth=0.7, alpha=0.5, zorder=1
            )
        panel.set_xlabel(NAMES[quantity])
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color=style.FAINT, linewidth=0.5)
        panel.set_axisbelow(True)
    kinds = [style.key(marker, kind, filled) for marker, filled, kind in KINDS.values() if kind in table["kind"]]
    style.legend(figure, [], kinds)
    return figure
