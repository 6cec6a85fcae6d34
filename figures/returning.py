"""Streams that leave a domain and return: tokens per step over the draft at rest, stretch by stretch, and sharing's."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.curves import COLORS, OTHERS, handles, rows_of
from figures.results import MissingResult, Table, groups

WIDTH = style.PAGE
PARTS = {"whole": True, "first": False}
"""Part of a stretch → whether its marker is filled."""
SHARING = "sharing ÷ static"


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per recording that shifts, stretch, system and part of the stretch, with 95 % intervals.

    ``SHARING`` in place of a system is the mixture that shares over the one whose weights do not.

    Raises:
        MissingResult: if there is no recording of a stream that shifts.
    """
    entries = []
    for row in rows_of(root, patterns):
        for number, stretch in enumerate(row["stretches"] if len(row["stretches"]) > 1 else []):
            place = row["start"], f"{row['family']} {row['schedule']}", number, stretch["name"]
            pairs = [*stretch["systems"].items(), *([(SHARING, stretch["sharing"])] if "sharing" in stretch else [])]
            entries += [(*place, name, part, one[part]) for name, one in pairs for part in PARTS]
    if not entries:
        raise MissingResult(f"no stream that shifts in {root / 'curves'}: run `python -m real curves` with one")
    names = ("start", "stream", "number", "stretch", "system", "part")
    table = {name: np.array([entry[i] for entry in entries]) for i, name in enumerate(names)}
    return table | {end: np.array([entry[-1][end] for entry in entries], float) for end in ("value", "low", "high")}


def draw(table: Table, width: float) -> Figure:
    """A column per start and stream; systems above, sharing over static below. Open markers are beginnings."""
    columns = list(dict.fromkeys(zip(table["start"].tolist(), table["stream"].tolist(), strict=True)))
    shared = SHARING in table["system"]
    figure, axes = style.panels(1 + shared, len(columns), width, 2.1, sharex="col", sharey="row")
    systems = [name for name in dict.fromkeys(table["system"].tolist()) if name != SHARING]
    for (start, stream, system, part), rows in groups(table, "start", "stream", "system", "part"):
        row, column = int(system == SHARING), columns.index((start, stream))
        places = 0 if row else systems.index(system) - (len(systems) - 1) / 2
        x = rows["number"] + (0.15 * places) + (-0.03 if part == "first" else 0.03)
        color = style.INK if row else COLORS.get(system, OTHERS)
        bars = np.nan_to_num(np.array([rows["value"] - rows["low"], rows["high"] - rows["value"]])).clip(min=0)
        looks = {"markersize": 4, "elinewidth": 0.6, "color": color, "mfc": color if PARTS[part] else "white"}
        axes[row, column].errorbar(x, rows["value"], bars, fmt="o", mew=0.8, **looks)
    for column, (start, stream) in enumerate(columns):
        here = (table["start"] == start) & (table["stream"] == stream)
        names = dict(zip(table["number"][here].tolist(), table["stretch"][here].tolist(), strict=True))
        axes[0, column].set_title(start)
        axes[-1, column].set(xticks=list(names), xticklabels=list(names.values()))
        for panel in axes[:, column]:
            panel.axhline(1, color=style.MUTED, linewidth=0.8, zorder=0)
    axes[0, 0].set_ylabel("tokens per step ÷ at rest")
    if shared:
        axes[1, 0].set_ylabel(SHARING)
    of_systems = {name: column[table["system"] != SHARING] for name, column in table.items()}
    kinds = [style.key("o", "whole stretch"), style.key("o", "its first 1,000 tokens", filled=False)]
    style.legend(figure, [], [*handles(of_systems), *kinds])
    return figure
