"""How every figure looks: sizes, fonts, one fixed colour per learner, and how it is saved."""

import csv
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from theory.runs.files import write_whole

COLUMN = 3.25
"""Width of one text column, inches."""
PAGE = 6.75
"""Width of two columns, inches."""
DPI = 160
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"

COLORS = {
    "plain": "#8c8c8c",
    "frozen": "#222222",
    "ngram": "#b79f6b",
    "generalist": "#7a5c3e",
    "generalist-ensemble": "#b5855a",
    "ogd": "#0072b2",
    "optimistic": "#e69f00",
    "ensemble": "#d55e00",
    "adam": "#009e73",
    "weights-adam": "#005c43",
    "momentum": "#cc79a7",
    "hedge": "#56b4e9",
    "adahedge": "#7a4fbf",
    "sword": "#a3482f",
    "fixed_share": "#2f6f8f",
    "optimistic_hedge": "#9a7bd1",
    "mixture": "#4f8f6f",
    "coin_betting": "#8f8f2f",
    "tracking": "#5f7fbf",
    "last_loss": "#d58fb0",
}
"""Okabe and Ito's colours, safe for colour-blind readers; references (plain, frozen, …) are greys."""
DASHED = (0, (4, 1.5))
DASHES = {"generalist": DASHED, "generalist-ensemble": DASHED, "weights-adam": DASHED, "ngram": (0, (1, 1))}

RC = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a name may hold dollars
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
    "savefig.dpi": DPI,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "legend.columnspacing": 1.2,
}


def look() -> AbstractContextManager[None]:
    """``with look():`` what is drawn or saved looks like this; the settings of whoever draws stay what they were."""
    return matplotlib.rc_context(RC)  # pyright: ignore[reportArgumentType]


def color(method: str) -> str:
    """The fixed colour of a learner or method; variants (``ogd-16``, ``ogd_x4``) share their family's."""
    family = next((name for name in COLORS if method.lower() == name), None)
    family = family or next((name for name in COLORS if method.lower().startswith(name)), None)
    return COLORS[family] if family else "#a04040"


def rank(method: str) -> tuple[int, str]:
    """Sorting key: references first, then learners in the order of their colours, others last."""
    return (list(COLORS).index(method) if method in COLORS else len(COLORS), method)


def order(methods: Iterable[str]) -> list[str]:
    """Distinct methods in the order of ``rank``."""
    return sorted(dict.fromkeys(methods), key=rank)


def dashes(method: str):
    """Line style: references are told apart by dashes as well as by grey."""
    return DASHES.get(method, "-")


def panels(rows: int, columns: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """``rows × columns`` axes, each ``height`` inches high, all ``width`` wide → figure, axes [rows, columns]."""
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def key(marker: str, label: str, filled: bool = True) -> Line2D:
    """A legend entry for a kind of marker, in grey."""
    face = MUTED if filled else "white"
    return Line2D([], [], color=MUTED, marker=marker, markersize=4, markerfacecolor=face, linestyle="", label=label)


def legend(figure: Figure, methods: list[str], extra: Sequence[Artist] = (), marker: str | None = None) -> None:
    """One legend above all panels: a coloured line (or ``marker``) per method, then the ``extra`` handles."""
    shape = {"marker": marker, "linestyle": "", "markersize": 4, "mew": 0} if marker else {}
    handles = [Line2D([], [], label=m, **({"color": color(m), "linestyle": dashes(m)} | shape)) for m in methods]
    entries = [*handles, *extra]
    figure.legend(handles=entries, loc="outside upper left", ncols=fitting(entries, figure), borderaxespad=0.1)


def fitting(entries: Sequence[Artist], figure: Figure) -> int:
    """The most legend columns whose estimated widths fit the figure."""
    widths = [0.4 + 0.056 * len(str(entry.get_label())) for entry in entries]
    for columns in range(len(widths), 1, -1):
        if sum(part.max() for part in np.array_split(np.array(widths), columns)) <= figure.get_figwidth():
            return -(-len(widths) // -(-len(widths) // columns))  # as many rows, evenly filled
    return 1


def end_labels(axes: Axes, ends: dict[str, float], size: float = 7) -> None:
    """Names each curve at its right end, apart where they would overlap. ``ends``: name → last y. Call it last."""
    names = sorted((name for name in ends if np.isfinite(ends[name])), key=lambda name: ends[name])
    options: Any = {"textcoords": "offset points", "fontsize": size, "va": "center", "annotation_clip": False}
    labels = [
        axes.annotate(name, (1, 0.5), xycoords="axes fraction", xytext=(4, 0), color=color(name), **options)
        for name in names
    ]
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()  # labels take room: lay out first, then measure
    gap = size * 1.2 / 72 * figure.dpi / axes.bbox.height
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
    for environment, learner in sorted(rows, key=lambda row: (row[0], rank(row[1]))):
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
    axes.xaxis.set_major_locator(MaxNLocator(4))
    mark_shifts(axes, starts, names, shift_names)
    return ends


def save(figure: Figure, table: dict[str, np.ndarray], out: Path, name: str) -> list[Path]:
    """Write ``out/name``.pdf, .png (256 colours, a third of the size) and .csv (the table drawn) → their paths."""
    page, picture, small, data = BytesIO(), BytesIO(), BytesIO(), StringIO()
    with look():
        figure.savefig(page, format="pdf", metadata={"CreationDate": None})
        figure.savefig(picture)
    Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    writer = csv.writer(data, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(np.asarray(column).tolist() for column in table.values()), strict=True))
    contents = {"pdf": page.getvalue(), "png": small.getvalue(), "csv": data.getvalue()}
    for kind, content in contents.items():
        write_whole(out / f"{name}.{kind}", content)
    return [out / f"{name}.{kind}" for kind in contents]
