"""What learning has saved after n tokens: seconds against the draft at rest, from 100 tokens on, with all zeros."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from figures import style
from figures.results import MissingResult, Table, groups, labelled, result, stack

WIDTH = style.PAGE
KINDS = {"measured": "measured here", "predicted": "predicted, GPU"}
COLORS = {
    "adapter-ensemble": "#d55e00",
    "memory": "#56b4e9",
    "tv-mixture": "#009e73",
    "tv-mixture-shared": "#cc79a7",
}
OTHERS = "#a04040"
BETWEEN = re.compile(r",(?![^(]*\))")
"""Between the parts of a schedule, not inside brackets."""


def rows_of(root: Path, patterns: list[str]) -> list[dict[str, Any]]:
    """The recordings whose ``family/start/schedule`` matches; of the first family there is, without patterns.

    Raises:
        MissingResult: if ``root/curves/curves.json`` is not there, or none matches.
    """
    path = root / "curves" / "curves.json"
    rows = result(path, "curves", f"run `python -m real curves --out {path.parent}` first")["rows"]
    patterns = patterns or [f"{rows[0]['family']}/*"]
    names = [f"{row['family']}/{row['start']}/{row['schedule']}" for row in rows]
    chosen = [row for name, row in zip(names, rows, strict=True) if any(fnmatchcase(name, p) for p in patterns)]
    if not chosen:
        raise MissingResult(f"no recording in {path} matches {' '.join(patterns)}; there: {', '.join(names[:6])}")
    return chosen


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per recording, system, kind of seconds and point of its curve; ``zero`` marks a crossing of the mean.

    Raises:
        MissingResult: as ``rows_of``.
    """
    tables = []
    for row in rows_of(root, patterns):
        for system, entry in row["systems"].items():
            for kind in [kind for kind in KINDS if kind in entry]:
                curve = entry[kind]
                zeros = [0.0] * len(curve["crossings"])
                columns = {"committed_tokens": np.array([*curve["tokens"], *curve["crossings"]], float)}
                for end in ("value", "low", "high"):
                    columns[end] = np.array([*curve[end], *zeros], float)
                columns["zero"] = np.repeat([False, True], [len(curve["tokens"]), len(zeros)])
                place = {"stream": f"{row['family']} {row['schedule']}", "start": row["start"]}
                tables.append(labelled(columns, **place, kind=kind, system=system))
    return stack(tables)


def draw(table: Table, width: float) -> Figure:
    """A row per stream, a column per start and kind of seconds; a dot wherever the mean crosses zero."""
    streams = list(dict.fromkeys(table["stream"].tolist()))
    columns = list(dict.fromkeys(zip(table["start"].tolist(), table["kind"].tolist(), strict=True)))
    figure, axes = style.panels(len(streams), len(columns), width, 1.25, sharex="row")
    for (stream, start, kind, system), rows in groups(table, "stream", "start", "kind", "system"):
        panel, color = axes[streams.index(stream), columns.index((start, kind))], COLORS.get(system, OTHERS)
        along = {name: column[~rows["zero"]] for name, column in rows.items()}
        panel.plot(along["committed_tokens"], along["value"], color=color)
        panel.fill_between(along["committed_tokens"], along["low"], along["high"], color=color, alpha=0.13, linewidth=0)
        zeros = rows["committed_tokens"][rows["zero"]]
        panel.plot(zeros, np.zeros(len(zeros)), "o", color=color, markersize=2.6, mew=0)
    for panel in axes.flat:
        panel.axhline(0, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.set_xscale("log")
        largest = max(map(abs, panel.get_ylim()))
        panel.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(largest / 30)), linscale=0.4)
        panel.xaxis.set(major_formatter="{x:,.0f}", minor_formatter=NullFormatter())
        panel.yaxis.set(major_formatter="{x:g}", minor_locator=NullLocator())
    for panel, (start, kind) in zip(axes[0], columns, strict=True):
        panel.set_title(f"{start},\n{KINDS[kind]}")
    for panel, stream in zip(axes[:, 0], streams, strict=True):
        panel.set_ylabel(label(stream), fontsize=7)
    figure.supxlabel("committed tokens", fontsize="small")
    figure.supylabel("seconds saved against the draft at rest", fontsize="small")
    style.legend(figure, [], handles(table))
    return figure


def label(stream: str) -> str:
    """A recording's family and domains, in lines."""
    family, _, schedule = stream.partition(" ")
    domains = [part.partition(":")[0] for part in BETWEEN.split(schedule)]
    return fill(f"{family}: {' → '.join(domains)}", 16)


def handles(table: Table) -> list[Line2D]:
    """A legend entry for every system of a table."""
    systems = dict.fromkeys(table["system"].tolist())
    known = [*(name for name in COLORS if name in systems), *(name for name in systems if name not in COLORS)]
    return [Line2D([], [], color=COLORS.get(name, OTHERS), label=name) for name in known]
