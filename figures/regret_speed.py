"""Does lower regret go with higher speed? Every pair of systems that share drafter and stream, by loss and by speed."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from figures import style
from figures.results import MissingResult, Table, groups, result

WIDTH = style.PAGE
LOSSES = {"kl": "KL", "tv": "TV"}
SPEEDS = {"tokens_per_step": "tokens per step, ratio", "net": "net speed, ratio"}
COLORS = {"small model": "#0072b2", "heads": "#d55e00", "hydra": "#009e73", "eagle": "#cc79a7"}


def collect(root: Path, patterns: list[str]) -> Table:
    """One entry per pair, loss and speed: how much higher the first's loss is, and its speed over the second's.

    Each pair is turned so that the first has the higher loss; ``decided`` says whether both differences are sure.

    Raises:
        MissingResult: if ``root/ranks.json`` is not there, or has no pair.
    """
    path = root / "ranks.json"
    command = f"run `python -m real ranks FOLDER --out {path}` first"
    rows = [row for row in result(path, "regret_speed", command)["pairs"] if row["loss"] in LOSSES]
    rows = [row for row in rows if None not in (row["loss_difference"]["value"], row["speed_log_ratio"]["value"])]
    if not rows:
        raise MissingResult(f"no pairs in {path}: {command}")
    table = {name: np.array([row[name] for row in rows]) for name in ("cell", "drafter", "loss", "speed", "decided")}
    higher = np.array([row["loss_difference"]["value"] for row in rows])
    faster = np.array([row["speed_log_ratio"]["value"] for row in rows])
    return table | {"loss_difference": np.abs(higher), "speed_ratio": np.exp(np.where(higher < 0, -faster, faster))}


def draw(table: Table, width: float) -> Figure:
    """A column per loss, a row per speed; below 1 the lower loss is faster. Open markers are not decided."""
    figure, axes = style.panels(len(SPEEDS), len(LOSSES), width, 2.0, sharex="col", sharey="row")
    for (loss, speed, drafter, decided), rows in groups(table, "loss", "speed", "drafter", "decided"):
        panel, color = axes[list(SPEEDS).index(speed), list(LOSSES).index(loss)], COLORS.get(drafter, style.INK)
        looks = {"markersize": 3, "mew": 0.5, "mec": color, "mfc": color if decided else "none"}
        panel.plot(rows["loss_difference"], rows["speed_ratio"], "o", alpha=0.9 if decided else 0.35, **looks)
    for panel in axes.flat:
        panel.axhline(1, color=style.MUTED, linewidth=0.8, zorder=0)
        panel.set_xscale("log")
        panel.xaxis.set(major_formatter="{x:g}", minor_formatter=NullFormatter())
    for panel, name in zip(axes[-1], LOSSES.values(), strict=True):
        panel.set_xlabel(f"{name}, higher by (a position)")
    for panel, name in zip(axes[:, 0], SPEEDS.values(), strict=True):
        panel.set_ylabel(name)
    drafters = [name for name in COLORS if name in table["drafter"]]
    handles = [style.key("o", name) for name in drafters]
    for handle, name in zip(handles, drafters, strict=True):
        handle.set(color=COLORS[name], markerfacecolor=COLORS[name])
    style.legend(figure, [], [*handles, style.key("o", "decided"), style.key("o", "not decided", filled=False)])
    return figure
