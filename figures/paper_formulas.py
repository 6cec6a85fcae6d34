"""Tokens per step against mean KL: what the divergence implies, the paper's limits, and where those are impossible."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import stream, style
from figures.results import MissingResult, Table, groups, labelled, stack
from theory.speculation.paper_speed import paper_tokens_per_step
from theory.speculation.speedup import rejection_bound, tokens_per_step_lower

WIDTH = style.COLUMN


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream, seed and learner: mean KL a committed token over its rounds, tokens per step, gamma."""
    tables = []
    for name, runs_of_seeds in stream.streams(root, patterns).items():
        for seed, runs in runs_of_seeds.items():
            for method, trace in runs.items():
                losses = trace.header.get("rounds", {}).get("loss")
                if losses and trace.header["settings"].get("sampling", {}).get("temperature") != 0:
                    columns = {
                        "mean_divergence": np.array([np.mean(losses)]),
                        "tokens_per_step": np.array([trace.columns["tokens"].sum() / trace.columns["steps"].sum()]),
                        "gamma": np.array([trace.header["settings"]["gamma"]]),
                    }
                    tables.append(labelled(columns, stream=name, seed=seed, method=method))
    if not tables:
        raise MissingResult(f"no sampled runs of learners under {root}: the figure needs the losses of rounds")
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """Measured runs; the lower limit through Pinsker and the counts; Lemma 1 of the paper, hatched where impossible."""
    figure, axes = style.panels(1, 1, width, width * 0.85)
    panel, gamma = axes[0, 0], int(table["gamma"].max())
    divergence = np.geomspace(1e-3, max(1.0, 1.5 * table["mean_divergence"].max()), 300)
    lower = tokens_per_step_lower(rejection_bound(divergence), gamma)
    theirs, their_cap = paper_tokens_per_step(divergence, gamma)
    most = gamma + 1
    panel.fill_between(divergence, lower, most, color=style.FAINT, alpha=0.5, linewidth=0)
    panel.plot(divergence, lower, color=style.MUTED, linewidth=0.9)
    panel.axhline(most, color=style.MUTED, linewidth=0.9)
    shown = np.minimum(theirs, 2 * most)
    panel.plot(divergence, shown, color=style.INK, linewidth=0.9, linestyle=style.DASHED)
    panel.axhline(their_cap, color=style.INK, linewidth=0.9, linestyle=(0, (1, 1)))
    impossible = {"facecolor": "none", "edgecolor": style.MUTED, "hatch": "////", "linewidth": 0}
    panel.fill_between(divergence, most, shown, where=theirs > most, **impossible)
    for method, rows in groups(table, "method"):
        panel.plot(
            rows["mean_divergence"], rows["tokens_per_step"], "o", color=style.color(method), markersize=3.5, mew=0
        )
    panel.set(xscale="log", xlabel="mean KL a committed token", ylabel="tokens per step", ylim=(1, 1.6 * most))
    kinds = [
        Patch(facecolor=style.FAINT, edgecolor=style.MUTED, linewidth=0.8, label="possible at this KL"),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle=style.DASHED, label="paper, lower limit"),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle=(0, (1, 1)), label="paper, upper limit"),
        Patch(**impossible, label="no decoder can"),
    ]
    style.legend(figure, style.order(table["method"].tolist()), kinds, marker="o")
    return figure
