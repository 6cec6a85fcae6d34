"""How tight the bounds are: dynamic regret over its bound at the horizon; beyond 1 the bound would be violated."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import Table, copies, groups, labelled, stack, traces

WIDTH = style.PAGE
FILLS = {"certificate": True, "bound": False}
"""The sharp bound, recomputable from the log alone, and the same bound with D² + 2·D·P for the comparator's energy."""


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per row, claim and seed: final dynamic regret, the claimed limit and their ratio."""
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=["dynamic_regret", "bound"]).items():
        environment, _, learner = name.rpartition("/")
        for claim in FILLS:
            limit, regret = copies(trace, claim), copies(trace, "dynamic_regret")
            if limit is None or regret is None:
                continue
            columns = {"seed": np.arange(regret.shape[1]), "dynamic_regret": regret[-1], "limit": limit[-1]}
            columns["ratio"] = regret[-1] / limit[-1]
            tables.append(labelled(columns, environment=environment, learner=learner, claim=claim))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A band of lines per environment, a line per learner: seeds from least to greatest, the median as a marker."""
    environments = list(groups(table, "environment"))
    figure, axes = style.panels(1, 1, width, 0.75 + 0.27 * len(environments))
    panel = axes[0, 0]
    for row, (_environment, rows) in enumerate(environments):
        learners = style.order(rows["learner"].tolist())
        for (learner, claim), points in groups(rows, "learner", "claim"):
            height = row + 0.62 * ((learners.index(learner) + 0.5) / len(learners) - 0.5)
            color, ratio = style.color(learner), np.maximum(points["ratio"], 1e-3)
            fill = color if FILLS[claim] else "white"
            panel.plot([ratio.min(), ratio.max()], [height, height], color=color, linewidth=1.2, alpha=0.5)
            panel.plot(np.median(ratio), height, "o", color=color, markerfacecolor=fill, markersize=3.2, mew=0.8)
        if row % 2:
            panel.axhspan(row - 0.5, row + 0.5, color=style.FAINT, alpha=0.3, linewidth=0)
    panel.axvline(1, color=style.INK, linewidth=0.8)
    names = [environment.replace("/", " · ") for environment, _ in environments]
    panel.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    lowest = max(1e-3, 0.7 * float(np.min(table["ratio"])))
    ticks = [tick for tick in (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1) if tick >= lowest]
    panel.set(xscale="log", xlim=(lowest, 1.25), xlabel="dynamic regret / bound at the horizon")
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.tick_params(axis="y", length=0)
    labels = {"certificate": "sharp bound, from the log", "bound": "bound with the path length"}
    kinds = [style.key("o", labels[claim], FILLS[claim]) for claim in FILLS if claim in table["claim"]]
    style.legend(figure, style.order(table["learner"].tolist()), kinds, marker="o")
    return figure
