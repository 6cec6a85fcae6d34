"""Dynamic regret and its bound against the round: mean over seeds, band from the 10th to the 90th percentile."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.results import Table, copies, groups, labelled, stack, traces

WIDTH = style.PAGE


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per environment, learner and shown round: regret's mean and band, the mean bound (nan: none)."""
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=["round", "dynamic_regret"]).items():
        environment, _, learner = name.rpartition("/")
        rounds = np.asarray(trace.columns["round"], float)
        shown = np.unique(np.searchsorted(rounds, np.geomspace(rounds[0], rounds[-1], 60)).clip(max=len(rounds) - 1))
        regret, bound = copies(trace, "dynamic_regret"), copies(trace, "bound")
        assert regret is not None  # asked for
        bound = np.full_like(regret, np.nan) if bound is None else bound
        regret, bound = regret[shown], bound[shown]
        columns = {
            "round": rounds[shown],
            "dynamic_regret": regret.mean(1),
            "low": np.quantile(regret, 0.1, axis=1),
            "high": np.quantile(regret, 0.9, axis=1),
            "bound": bound.mean(1),
        }
        tables.append(labelled(columns, environment=environment, learner=learner))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """One panel per environment, log–log; regret solid, its bound dashed in the same colour."""
    environments = list(groups(table, "environment"))
    across = min(len(environments), max(1, round(width / 2.2)))
    down = -(-len(environments) // across)
    figure, axes = style.panels(down, across, width, max(1.5, min(2.2, width / across * 0.8)), sharex=True)
    for panel, (environment, rows) in zip(axes.flat, environments, strict=False):
        for learner, curve in groups(rows, "learner"):
            color, t = style.color(learner), curve["round"]
            panel.plot(t, positive(curve["dynamic_regret"]), color=color)
            low, high = positive(curve["low"]), positive(curve["high"])
            panel.fill_between(t, low, high, color=color, alpha=0.18, linewidth=0)
            panel.plot(t, curve["bound"], color=color, linestyle=(0, (3, 2)), linewidth=0.9)
        top = np.nanmax([rows[name] for name in ("high", "dynamic_regret", "bound")])
        bottom = np.min(rows["dynamic_regret"][rows["dynamic_regret"] > 0], initial=top)
        panel.set(xscale="log", yscale="log", title=environment.replace("/", " · "))
        panel.set_ylim(max(bottom, 1e-4 * top) / 1.5, 1.5 * top)
    for panel in axes.flat[len(environments) :]:
        panel.set_visible(False)
    for panel in axes.flat[max(0, len(environments) - across) : len(environments)]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("round t", fontsize=8)
    figure.supylabel("dynamic regret (loss)", fontsize=8)
    kinds = [
        Line2D([], [], color=style.MUTED, label="measured"),
        Line2D([], [], color=style.MUTED, label="bound", linestyle=(0, (3, 2)), linewidth=0.9),
    ]
    style.legend(figure, style.order(table["learner"]), kinds)
    return figure


def positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show: nothing up to the last round in which the comparator was behind."""
    return np.where(np.cumsum(~(values > 0)[::-1])[::-1] == 0, values, np.nan)
