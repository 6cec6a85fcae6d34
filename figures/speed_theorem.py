"""Measured tokens per step within the limits that the share of rejections alone imposes, independence or not."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import stream, style
from figures.results import Table, groups, labelled, stack
from theory.speculation.speedup import tokens_per_step, verified_lower, verified_upper

WIDTH = style.COLUMN
SUMMED = ("tokens", "steps", "rejections", "verified")


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream, seed, method and segment: rejections per verified position, tokens per step, gamma."""
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        for seed, runs in runs_of_seeds.items():
            for method, trace in runs.items():
                segment = trace.columns["segment"]
                parts = np.unique(segment)
                sums = {key: np.array([trace.columns[key][segment == s].sum() for s in parts], float) for key in SUMMED}
                if method == "plain" or not sums["verified"].all():
                    continue
                columns = {
                    "segment": parts,
                    "rejections_per_verified": sums["rejections"] / sums["verified"],
                    "tokens_per_step": sums["tokens"] / sums["steps"],
                    "gamma": np.full(len(parts), trace.header["settings"]["gamma"]),
                }
                tables.append(labelled(columns, stream=name, seed=seed, method=method))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A point per run and segment; the possible region shaded, and what independent positions would give, per gamma."""
    figure, axes = style.panels(1, 1, width, width * 0.85)
    panel, shares = axes[0, 0], table["rejections_per_verified"]
    margin = 0.12 * np.ptp(shares) + 0.01
    r = np.linspace(max(shares.min() - margin, 1e-3), min(shares.max() + margin, 1), 200)
    for gamma in np.unique(table["gamma"]).tolist():
        limits = np.asarray(verified_lower(r, gamma)), np.asarray(verified_upper(r, gamma))
        panel.fill_between(r, *limits, color=style.FAINT, alpha=0.5, linewidth=0)
        for limit in limits:
            panel.plot(r, limit, color=style.MUTED, linewidth=0.8)
        panel.plot(r, tokens_per_step(r, gamma), color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    for method, rows in groups(table, "method"):
        x, y = rows["rejections_per_verified"], rows["tokens_per_step"]
        panel.plot(x, y, "o", color=style.color(method), markersize=3.5, mew=0)
    panel.set(xlabel="rejections per verified position", ylabel="tokens per step", xlim=(r[0], r[-1]))
    kinds = [
        Patch(facecolor=style.FAINT, edgecolor=style.MUTED, linewidth=0.8, label="possible"),
        Line2D([], [], color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)), label="if independent"),
    ]
    style.legend(figure, style.order(table["method"].tolist()), kinds, marker="o")
    return figure
