"""Predicted against measured: tokens per step of runs the simulator foretold from one recording, then made."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.results import MissingResult, Table

WIDTH = style.COLUMN
MARKERS = {"greedy": "s", "sampled": "o"}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per run: learner, gamma, sampling, predicted and measured tokens_per_step with its 95 % interval.

    Raises:
        MissingResult: if ``root/agreement.json`` is not there or has no rows.
    """
    path = root / "agreement.json"
    rows = json.loads(path.read_text()).get("rows", []) if path.exists() else []
    if not rows:
        raise MissingResult(f"no compared runs in {path}: run `python -m real agree --out {root}` first")
    names = ("learner", "gamma", "sampling", "predicted", "measured", "low", "high")
    return {name: np.array([row[name] for row in rows]) for name in names}


def draw(table: Table, width: float) -> Figure:
    """Square, one marker per run, the measured interval as a bar, the identity as a line."""
    figure, axes = style.panels(1, 1, width, width)
    panel = axes[0, 0]
    for sampling, marker in MARKERS.items():
        for learner in style.order(table["learner"].tolist()):
            rows = (table["sampling"] == sampling) & (table["learner"] == learner)
            x, y, low, high = (table[name][rows] for name in ("predicted", "measured", "low", "high"))
            panel.errorbar(
                x,
                y,
                [np.maximum(y - low, 0), np.maximum(high - y, 0)],
                fmt=marker,
                markersize=4.5,
                mew=0.9,
                color=style.color(learner),
                mfc="white" if marker == "s" else None,
                elinewidth=0.9,
            )
    everything = np.concatenate([table[name] for name in ("predicted", "low", "high")])
    margin = 0.06 * (np.ptp(everything) or 1.0)
    ends = [everything.min() - margin, everything.max() + margin]
    panel.axline((ends[0], ends[0]), slope=1, color=style.MUTED, linewidth=0.8, zorder=0)
    panel.set(
        xlim=ends,
        ylim=ends,
        xlabel="predicted tokens per step (simulator)",
        ylabel="measured tokens per step (decoder)",
    )
    panel.set_aspect("equal")
    kinds = [
        Line2D(
            [],
            [],
            color=style.MUTED,
            marker=marker,
            markersize=4.5,
            linestyle="",
            label=sampling,
            markerfacecolor="white" if marker == "s" else style.MUTED,
        )
        for sampling, marker in MARKERS.items()
        if (table["sampling"] == sampling).any()
    ]
    style.legend(figure, style.order(table["learner"].tolist()), kinds, marker="o")
    return figure
