"""Dynamic regret and its bound against the round: mean over seeds, band from the 10th to the 90th percentile."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.results import Table, groups, labelled, stack, traces

WIDTH = style.PAGE


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per environment, learner and shown round: regret's mean and band, the mean bound (nan: none)."""
    tables = []
    for name, trace in traces(root, "sim", patterns, needs=["round", "dynamic_regret"]).items():
        environment, _, learner = name.rpartition("/")
        rounds = np.asarray(trace.columns["round"], float)
        shown = np.unique(np.searchsorted(rounds, np.geomspace(rounds[0], rounds[-1], 60)).clip(max=len(rounds) - 1))
        regret = trace.columns["dynamic_regret"][shown]
        bound = trace.columns.get("bound", np.full_like(trace.columns["dynamic_regret"], np.nan, float))[shown]
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
            panel.fill_between(t, positive(curve["low"]), positive(curve["high"]), color=color, alpha=0.18, linewidth=0)
            panel.plot(t, curve["bound"], color=color, linestyle=(0, (3, 2)), linewidth=0.9)
        panel.set(xscale="log", yscale="log", title=environment.replace("/", " · "))
    for panel in axes.flat[len(environments) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel("dynamic regret (loss)")
    for column in range(across):
        visible = [panel for panel in axes[:, column] if panel.get_visible()]
        visible[-1].set_xlabel("round t")
        visible[-1].tick_params(labelbottom=True)
    kinds = [
        Line2D([], [], color=style.MUTED, label="measured"),
        Line2D([], [], color=style.MUTED, linestyle=(0, (3, 2)), linewidth=0.9, label="bound"),
    ]
    style.legend(figure, style.order(table["learner"]), kinds)
    return figure


def positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show; regret below zero (ahead of the comparator) is left out."""
    return np.where(values > 0, values, np.nan)
