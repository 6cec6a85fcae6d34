"""What each limit costs: the net speed-up of a run, and what it would have been without one limit at a time."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.results import Table, result

WIDTH = style.PAGE
LIMITS = {
    "learning": "learning takes no time",
    "overhead": "no overhead",
    "drafting": "drafting takes no time",
    "rule": "block rule",
    "one draft": "best of two drafts",
    "memory": "verification at copy bandwidth",
    "draft": "a perfect draft",
}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per domain and limit.

    Raises:
        MissingResult: if ``root/headroom.json`` is not there.
    """
    path = root / "headroom.json"
    rows = result(path, "headroom", f"run `python -m real headroom --out {path}` first")["rows"]
    entries = [(row, limit) for row in rows for limit in LIMITS if row["without"][limit] is not None]
    return {
        "domain": np.array([row["domain"] for row, _ in entries]),
        "limit": np.array([limit for _, limit in entries]),
        "speedup": np.array([row["speedup"] for row, _ in entries]),
        "without": np.array([row["without"][limit] for row, limit in entries]),
        "binds": np.array([row["binds"] == limit for row, limit in entries]),
    }


def draw(table: Table, width: float) -> Figure:
    """A panel per domain: a bar from the speed-up measured to the one without the limit; the longest binds."""
    domains = list(dict.fromkeys(table["domain"].tolist()))
    limits = [limit for limit in LIMITS if limit in table["limit"]]
    figure, axes = style.panels(1, len(domains), width, 0.8 + 0.2 * len(limits), sharey=True)
    for domain, panel in zip(domains, axes[0], strict=True):
        here = table["domain"] == domain
        columns = (table[name][here] for name in ("limit", "speedup", "without", "binds"))
        for limit, now, without, binds in zip(*columns, strict=True):
            color = style.color("ensemble" if binds else "ogd")
            panel.barh(limits.index(limit), without - now, left=now, height=0.6, color=color)
        panel.axvline(table["speedup"][here][0], color=style.INK, linewidth=0.8)
        panel.axvline(1, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.set(title=domain, yticks=range(len(limits)), yticklabels=[LIMITS[limit] for limit in limits])
        panel.set(ylim=(len(limits) - 0.4, -0.6))
        panel.tick_params(axis="y", length=0)
    figure.supxlabel("net speedup: measured (line), and without one limit (bar)", fontsize="small")
    return figure
