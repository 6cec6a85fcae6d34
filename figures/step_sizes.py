"""An ensemble of step sizes against the one best in hindsight: net speed on every stream, with 95 % intervals."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import MissingResult, Table, groups, result

WIDTH = style.COLUMN
SHOWN = {
    "ensemble": ("ensemble", style.COLORS["ensemble"]),
    "tuned": ("the step tuned on the first stream", style.COLORS["ogd"]),
    "last_loss": ("weights from the last loss", style.COLORS["last_loss"]),
}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream and choice: its net speed over that of the step size best in hindsight.

    Raises:
        MissingResult: if ``root/claims/claims.json`` is not there or has no ensemble.
    """
    path = root / "claims" / "claims.json"
    command = f"run `python -m real claims --out {path.parent}` first"
    rows = result(path, "claims", command)["ensembles"]
    if not rows:
        raise MissingResult(f"no ensembles in {path}: {command}")
    pairs = [(row, choice) for row in rows for choice in SHOWN]
    table = {name: np.array([row[name] for row, _ in pairs]) for name in ("stream", "best")}
    table["choice"] = np.array([choice for _, choice in pairs])
    return table | {end: np.array([row[choice][end] for row, choice in pairs], float)
                    for end in ("value", "low", "high")}  # fmt: skip


def draw(table: Table, width: float) -> Figure:
    """A row per stream, a marker per choice, its interval as a bar; 1 is the best step size in hindsight."""
    names = list(dict.fromkeys(table["stream"].tolist()))
    figure, axes = style.panels(1, 1, width, 0.9 + 0.32 * len(names))
    panel = axes[0, 0]
    for choice, rows in groups(table, "choice"):
        offset = 0.22 * (list(SHOWN).index(choice) - 1)
        heights = np.array([names.index(name) for name in rows["stream"].tolist()]) + offset
        bars = np.array([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(min=0)
        panel.errorbar(rows["value"], heights, xerr=bars, fmt="o", markersize=3.5, mew=0, elinewidth=0.9,
                       color=SHOWN[choice][1])  # fmt: skip
    best = dict(zip(table["stream"].tolist(), table["best"].tolist(), strict=True))
    labels = [f"{name} ({best[name]})" for name in names]
    panel.axvline(1, color=style.MUTED, linewidth=0.8, zorder=0)
    panel.set(yticks=range(len(names)), yticklabels=labels, ylim=(len(names) - 0.5, -0.5))
    panel.set_xlabel("net speed over the best step size's")
    panel.tick_params(axis="y", length=0)
    handles = [style.key("o", label) for label, _ in SHOWN.values()]
    for handle, (_, color) in zip(handles, SHOWN.values(), strict=True):
        handle.set(color=color, markerfacecolor=color)
    style.legend(figure, [], handles)
    return figure
