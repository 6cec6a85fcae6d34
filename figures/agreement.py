"""Predicted against measured: tokens per step of runs the simulator foretold from one recording, then made."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import MissingResult, Table, groups, result

WIDTH = style.COLUMN
MARKERS = {"greedy": ("s", False), "sampled": ("o", True), "heads, greedy": ("D", False), "heads, sampled": ("^", True)}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per run: learner, gamma, kind (drafter and sampling), predicted and measured tokens_per_step with its
    95 % interval.

    Raises:
        MissingResult: if ``root/agreement.json`` is not there or has no rows.
    """
    path = root / "agreement.json"
    command = f"run `python -m real agree --out {root}` first"
    rows = result(path, "agreement", command)["rows"]
    if not rows:
        raise MissingResult(f"no compared runs in {path}: {command}")
    names = ("learner", "gamma", "sampling", "predicted", "measured", "low", "high")
    table = {name: np.array([row[name] for row in rows]) for name in names}
    drafters = ["" if row.get("drafter", "adapter") == "adapter" else f"{row['drafter']}, " for row in rows]
    return table | {"kind": np.array([a + row["sampling"] for a, row in zip(drafters, rows, strict=True)])}


def draw(table: Table, width: float) -> Figure:
    """One marker per run, the measured interval as a bar: against the identity above, the difference below."""
    figure = Figure(figsize=(width, 1.35 * width), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    for (learner, kind), rows in groups(table, "learner", "kind"):
        x, y = rows["predicted"], rows["measured"]
        bars = np.array([y - rows["low"], rows["high"] - y]).clip(min=0)
        marker, filled = MARKERS[kind]
        looks = {"fmt": marker, "markersize": 4.5, "mew": 0.9, "elinewidth": 0.9, "color": style.color(learner)}
        looks["markerfacecolor"] = style.color(learner) if filled else "white"
        above.errorbar(x, y, bars, **looks)
        below.errorbar(x, 100 * (y / x - 1), 100 * bars / x, **looks)
    everything = np.concatenate([table[name] for name in ("predicted", "low", "high")])
    margin = 0.06 * (np.ptp(everything) or 1.0)
    ends = (everything.min() - margin, everything.max() + margin)
    above.axline((ends[0], ends[0]), slope=1, color=style.MUTED, linewidth=0.8, zorder=0)
    above.set(xlim=ends, ylim=ends, ylabel="measured tokens per step (decoder)")
    below.axhline(0, color=style.MUTED, linewidth=0.8, zorder=0)
    below.set(xlabel="predicted tokens per step (simulator)", ylabel="difference (%)")
    kinds = [style.key(MARKERS[kind][0], kind, MARKERS[kind][1]) for kind in MARKERS if kind in table["kind"]]
    style.legend(figure, style.order(table["learner"].tolist()), kinds, marker="o")
    return figure
