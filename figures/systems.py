"""The systems on every domain and target family: net speedup, and what learning adds to the same drafter at rest."""

import csv
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import MissingResult, Table, groups

WIDTH = style.PAGE
PANELS = {"speedup": "net speedup over plain decoding", "relative_speedup": "net speed over the drafter at rest"}
BLOCKS = {"generalist": ("o", "#d55e00"), "greedy": ("s", "#0072b2"), "specialist": ("D", "#009e73")}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per block, system, family and domain.

    Raises:
        MissingResult: if there is no table of any block in ``root/table1``.
    """
    folder, rows = root / "table1", []
    for path in (folder / f"{block}.csv" for block in BLOCKS):
        if path.exists():
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows += [row for row in csv.DictReader(file) if row["system"] != "plain" and not _beside(row)]
    if not rows:
        raise MissingResult(f"no table in {folder}: run `python -m real table1 --out {folder}` first")
    table = {name: np.array([row[name] for row in rows]) for name in ("block", "family", "domain", "system")}
    return table | {name: np.array([float(row[name] or "nan") for row in rows]) for name in PANELS}


def _beside(row: dict[str, str]) -> bool:
    """Whether it is a generalist at rest, served beside specialists for what they could come to."""
    return row["block"] == "specialist" and not row["system"].startswith("specialist-") and row["system"] != "ngram"


def draw(table: Table, width: float) -> Figure:
    """A row per system: a faint dot per family and domain, the median of each block as a marker."""
    names = list(dict.fromkeys(name.removeprefix("specialist-") for name in table["system"].tolist()))
    figure, axes = style.panels(1, len(PANELS), width, 0.8 + 0.19 * len(names), sharey=True)
    blocks = [block for block in BLOCKS if block in table["block"]]
    for (block, system), rows in groups(table, "block", "system"):
        marker, color = BLOCKS[block]
        height = names.index(system.removeprefix("specialist-")) + 0.2 * (blocks.index(block) - (len(blocks) - 1) / 2)
        for quantity, panel in zip(PANELS, axes[0], strict=True):
            values = rows[quantity][np.isfinite(rows[quantity])]
            if len(values):
                panel.plot(values, np.full(len(values), height), "|", color=color, alpha=0.35, markersize=3.5, mew=0.7)
                panel.plot(median(values), height, marker, color=color, markersize=3.6, mew=0)
    for quantity, panel in zip(PANELS, axes[0], strict=True):
        panel.axvline(1, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlabel=PANELS[quantity])
        panel.tick_params(axis="y", length=0)
    handles = [style.key(BLOCKS[block][0], block) for block in blocks]
    for handle, block in zip(handles, blocks, strict=True):
        handle.set(color=BLOCKS[block][1], markerfacecolor=BLOCKS[block][1])
    style.legend(figure, [], handles)
    return figure
