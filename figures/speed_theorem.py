"""Measured tokens per step within the limits that rejections alone impose, positions independent or not."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures import stream, style
from figures.results import Table, groups, labelled, stack

WIDTH = style.COLUMN


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream, method, seed and segment: rejections per committed token, tokens per step, gamma."""
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        for seed, runs in runs_of_seeds.items():
            for method, trace in runs.items():
                if method == "plain":
                    continue
                segment = trace.columns["segment"]
                sums = {
                    key: np.array([trace.columns[key][segment == s].sum() for s in np.unique(segment)], float)
                    for key in ("tokens", "steps", "rejections")
                }
                columns = {
                    "segment": np.unique(segment),
                    "rejections_per_token": sums["rejections"] / sums["tokens"],
                    "tokens_per_step": sums["tokens"] / sums["steps"],
                    "gamma": np.full(len(sums["tokens"]), trace.header["settings"]["gamma"]),
                }
                tables.append(labelled(columns, stream=name, seed=seed, method=method))
    return stack(tables)


def limits(rejections_per_token: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest tokens per step that so many rejections leave possible (THEORY: pathwise, Theorem 0)."""
    return (gamma + 1) / (1 + gamma * rejections_per_token), np.minimum(gamma + 1, 1 / rejections_per_token)


def draw(table: Table, width: float) -> Figure:
    """Rejections per committed token against tokens per step; the limits shaded for every gamma that occurs."""
    figure, axes = style.panels(1, 1, width, width * 0.85)
    panel = axes[0, 0]
    low, high = table["rejections_per_token"].min(), table["rejections_per_token"].max()
    margin = 0.12 * (high - low) + 0.005
    x = np.linspace(max(low - margin, 1e-3), high + margin, 200)
    for gamma in np.unique(table["gamma"]):
        lower, upper = limits(x, gamma)
        panel.fill_between(x, lower, upper, color=style.FAINT, alpha=0.45, linewidth=0)
        for limit in (lower, upper):
            panel.plot(x, limit, color=style.MUTED, linewidth=0.8)
    for method, rows in groups(table, "method"):
        panel.plot(
            rows["rejections_per_token"], rows["tokens_per_step"], "o", color=style.color(method), markersize=3.5, mew=0
        )
    panel.set(xlabel="rejections per committed token", ylabel="tokens per step", xlim=(x[0], x[-1]))
    band = Patch(facecolor=style.FAINT, edgecolor=style.MUTED, linewidth=0.8, label="possible")
    style.legend(figure, style.order(table["method"].tolist()), [band], marker="o")
    return figure
