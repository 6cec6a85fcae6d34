"""How every figure looks: sizes, fonts, one fixed colour per learner, and how it is saved."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLUMN = 3.25
"""Width of one text column, inches."""
PAGE = 6.75
"""Width of two columns, inches."""
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"

COLORS = {
    "plain": "#8c8c8c",
    "frozen": "#222222",
    "ngram": "#b79f6b",
    "generalist": "#8c8c8c",
    "ogd": "#0072b2",
    "optimistic": "#e69f00",
    "ensemble": "#d55e00",
    "adam": "#009e73",
    "momentum": "#cc79a7",
    "hedge": "#56b4e9",
    "adahedge": "#7a4fbf",
}
"""Okabe and Ito's colours, safe for colour-blind readers; references (plain, frozen, …) are greys."""
DASHES = {"generalist": (0, (4, 1.5)), "ngram": (0, (1, 1)), "frozen": "-"}

RC = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 220,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "legend.columnspacing": 1.2,
}
plt.rcParams.update(RC)


def color(method: str) -> str:
    """The fixed colour of a learner or method; variants (``ogd-16``, ``ogd_x4``) share their family's."""
    family = next((name for name in COLORS if method.lower() == name), None)
    family = family or next((name for name in COLORS if method.lower().startswith(name)), None)
    return COLORS[family] if family else "#a04040"


def order(methods: Iterable[str]) -> list[str]:
    """Distinct methods: references first, then learners in the order of their colours, others last."""
    return sorted(dict.fromkeys(methods), key=lambda m: (list(COLORS).index(m) if m in COLORS else len(COLORS), m))


def dashes(method: str):
    """Line style: references are told apart by dashes as well as by grey."""
    return DASHES.get(method, "-")


def panels(rows: int, columns: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """``rows × columns`` axes, each ``height`` inches high, all ``width`` wide → figure, axes [rows, columns]."""
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def legend(figure: Figure, methods: list[str], extra: Sequence[Artist] = (), marker: str | None = None) -> None:
    """One legend above all panels: a coloured line (or ``marker``) per method, then the ``extra`` handles."""
    shape = {"marker": marker, "linestyle": "", "markersize": 4, "mew": 0} if marker else {}
    handles = [Line2D([], [], label=m, **({"color": color(m), "linestyle": dashes(m)} | shape)) for m in methods]
    columns = max(2, min(len(handles) + len(extra), int(figure.get_figwidth() / (0.8 if marker else 0.95))))
    figure.legend(handles=[*handles, *extra], loc="outside upper left", ncols=columns, borderaxespad=0.1)


def end_labels(axes: Axes, ends: dict[str, float], size: float = 7) -> None:
    """Names each curve at its right end, apart where they would overlap. ``ends``: name → last y. Call it last."""
    names = sorted((name for name in ends if np.isfinite(ends[name])), key=lambda name: ends[name])
    for name in names:  # they take room, so the layout must know them before distances are measured
        axes.annotate(
            name,
            (1, 0.5),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            color=color(name),
            fontsize=size,
            va="center",
            annotation_clip=False,
        )
    labels = axes.texts[len(axes.texts) - len(names) :]
    axes.figure.draw_without_rendering()
    gap = size * 1.2 / 72 * axes.figure.dpi / axes.bbox.height
    low, high = axes.get_ylim()
    places = np.array([(ends[name] - low) / (high - low) for name in names])
    for _ in range(500):
        push = np.maximum(gap - np.diff(places), 0) / 2
        if push.max(initial=0) < 1e-4:
            break
        places[:-1] -= push
        places[1:] += push
    for label, place in zip(labels, places, strict=True):
        label.xy = (1, place)


def row_axis(axes: Axes, rows: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Rows of (environment, learner) from the top, learners grouped under their environment → row → height."""
    heights, top, last = {}, 0.0, None
    for environment, learner in sorted(
        rows, key=lambda row: (row[0], order(COLORS).index(row[1]) if row[1] in COLORS else 99)
    ):
        if environment != last:
            top, last = top - (1.0 if last is None else 1.5), environment
            axes.annotate(
                environment.replace("/", " · "),
                (0, top),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                fontweight="bold",
            )
        top -= 1
        heights[environment, learner] = top
    axes.set(yticks=list(heights.values()), yticklabels=[learner for _, learner in heights], ylim=(top - 0.7, -0.4))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    return heights


def mark_shifts(axes: Axes, starts: list[float], names: list[str], label: bool = True) -> None:
    """A thin line at every domain shift, and the segments' names above the axes."""
    for start in starts[1:]:
        axes.axvline(start, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)
    if label:
        for start, name in zip(starts, names, strict=True):
            axes.annotate(
                name,
                (start, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize=7,
                color=MUTED,
                va="bottom",
            )


def curves(axes: Axes, table: dict[str, np.ndarray], shift_names: bool = True) -> dict[str, float]:
    """Every method's curve over committed tokens with its band, shifts marked → name → last y, for ``end_labels``."""
    ends = {}
    for method in reversed(order(table["method"].tolist())):
        mask = table["method"] == method
        x, value, low, high = (table[name][mask].astype(float) for name in ("committed_tokens", "value", "low", "high"))
        axes.plot(x, value, color=color(method), linestyle=dashes(method))
        axes.fill_between(x, low, high, color=color(method), alpha=0.13, linewidth=0)
        ends[method] = float(value[-1])
    starts = sorted(set(table["segment_start"].tolist()))
    names = [str(table["segment"][table["segment_start"] == start][0]) for start in starts]
    axes.set_xlim(0, float(table["committed_tokens"].max()))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    mark_shifts(axes, starts, names, shift_names)
    return ends


def save(figure: Figure, table: dict[str, np.ndarray], out: Path, name: str) -> list[Path]:
    """Write ``out/name``.pdf, .png and .csv (the table that was drawn) → their paths."""
    out.mkdir(parents=True, exist_ok=True)
    pdf, png, data = (out / f"{name}.{kind}" for kind in ("pdf", "png", "csv"))
    figure.savefig(pdf, metadata={"CreationDate": None})
    figure.savefig(png)
    with data.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(np.asarray(column).tolist() for column in table.values()), strict=True))
    return [pdf, png, data]
