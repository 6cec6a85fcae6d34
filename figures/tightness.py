"""How tight the bounds are: bound over measured regret at the horizon, every seed; below 1 would be a violation."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import Table, groups, labelled, stack, traces

WIDTH = style.COLUMN


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per row and seed: final dynamic regret, its bound, their ratio (nan where regret is not positive)."""
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=["dynamic_regret", "bound"]).items():
        environment, _, learner = name.rpartition("/")
        regret, bound = trace.columns["dynamic_regret"][-1], trace.columns["bound"][-1]
        ratio = np.divide(bound, regret, out=np.full_like(bound, np.nan, float), where=regret > 0)
        columns = {"seed": np.arange(len(regret)), "dynamic_regret": regret, "bound": bound, "ratio": ratio}
        tables.append(labelled(columns, environment=environment, learner=learner))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """One line per environment and learner, a dot per seed, the median marked."""
    rows = dict(groups(table, "environment", "learner"))
    figure, axes = style.panels(1, 1, width, 0.6 + 0.135 * (len(rows) + 1.5 * len(set(table["environment"]))))
    panel = axes[0, 0]
    for (environment, learner), height in style.row_axis(panel, rows).items():
        ratio, color = rows[environment, learner]["ratio"], style.color(learner)
        panel.plot(ratio, np.full(len(ratio), height), "o", color=color, markersize=3, alpha=0.35, mew=0)
        if np.isfinite(ratio).any():
            panel.plot(np.nanmedian(ratio), height, "|", color=color, markersize=7, mew=1.6)
    panel.axvline(1, color=style.INK, linewidth=0.8)
    highest = np.nanmax(table["ratio"], initial=8)
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000) if tick <= 1.5 * highest]
    ticks = ticks if highest < 200 else [tick for tick in ticks if str(tick)[0] == "1"]
    panel.set(xscale="log", xlabel="bound / dynamic regret", xlim=(0.8, 1.5 * highest))
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.minorticks_off()
    return figure
