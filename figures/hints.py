"""Does a hint help where theory says so? Hint gain against acceptance over gradient descent with the same step size."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import MissingResult, Table, groups, result

WIDTH = style.PAGE
RIVALS = {"alpha": "over gradient descent", "prompted": "over one that learns the prompt too"}
MARKERS = "ovs^D"
"""By round length, the shortest first."""
COLORS = {
    "hint-last": "#cc79a7",
    "hint-average": "#e69f00",
    "hint-prompt-0.1": "#56b4e9",
    "hint-prompt-0.3": "#0072b2",
    "hint-prompt-1": "#003d66",
}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per stream, round length, hint and rival: hint_gain and the ratio of alpha, with 95 % intervals.

    Raises:
        MissingResult: if ``root/claims/claims.json`` is not there or has no hint.
    """
    path = root / "claims" / "claims.json"
    command = f"run `python -m real claims --out {path.parent}` first"
    rows = result(path, "claims", command)["hints"]
    if not rows:
        raise MissingResult(f"no hints in {path}: {command}")
    pairs = [(row, rival) for row in rows for rival in RIVALS]
    table = {name: np.array([row[name] for row, _ in pairs]) for name in ("stream", "nu", "hint")}
    table["rival"] = np.array([rival for _, rival in pairs])
    for end in ("value", "low", "high"):
        table[f"hint_gain_{end}"] = np.array([row["hint_gain"][end] for row, _ in pairs], float)
        table[f"alpha_{end}"] = np.array([row[rival][end] for row, rival in pairs], float)
    return table


def draw(table: Table, width: float) -> Figure:
    """A panel per rival, a marker per stream; below 1 on the left a hint should help, that is, lie above 1."""
    figure, axes = style.panels(1, len(RIVALS), width, 2.6, sharex=True, sharey=True)
    lengths = sorted(set(table["nu"].tolist()))
    for (rival, hint, nu), rows in groups(table, "rival", "hint", "nu"):
        panel = axes[0, list(RIVALS).index(rival)]
        bars = {}
        for name, axis in (("hint_gain", "xerr"), ("alpha", "yerr")):
            value = rows[f"{name}_value"]
            bars[axis] = np.array([value - rows[f"{name}_low"], rows[f"{name}_high"] - value]).clip(min=0)
        marker = MARKERS[lengths.index(nu) % len(MARKERS)]
        looks = {"fmt": marker, "markersize": 4, "mew": 0, "elinewidth": 0.6, "color": COLORS.get(hint, style.INK)}
        panel.errorbar(rows["hint_gain_value"], rows["alpha_value"], **bars, **looks)
    for rival, panel in zip(RIVALS, axes[0], strict=True):
        panel.axhline(1, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.axvline(1, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.set(xlabel="hint gain (below 1, the hint is closer than none)", title=RIVALS[rival])
    axes[0, 0].set_ylabel("alpha, ratio")
    hints = [name for name in COLORS if name in table["hint"]]
    handles = [style.key("o", hint) for hint in hints]
    for handle, hint in zip(handles, hints, strict=True):
        handle.set(color=COLORS[hint], markerfacecolor=COLORS[hint])
    rounds = [style.key(MARKERS[i % len(MARKERS)], f"ν = {nu}") for i, nu in enumerate(lengths)]
    style.legend(figure, [], [*handles, *rounds])
    return figure
