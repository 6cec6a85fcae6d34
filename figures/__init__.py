"""Figures and the report, drawn from result files alone: a picture cannot disagree with the run behind it.

A figure is a module with ``collect(root, patterns)``, which reads result files into one table of columns, and
``draw(table, width)``, which draws that table and nothing else; the table is saved as CSV beside the picture.

From Python, ``figures.draw`` takes a results folder, or traces that are at hand.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from figures.results import Given, Table
    from theory.runs.trace import Trace

__all__ = ["FIGURES", "draw"]

FIGURES = {
    "regret": "figures.regret",
    "tightness": "figures.tightness",
    "acceptance_bounds": "figures.acceptance_bounds",
    "acceptance": "figures.acceptance",
    "speed": "figures.speed",
    "ledger": "figures.ledger",
    "headroom": "figures.headroom",
    "speed_theorem": "figures.speed_theorem",
    "paper_formulas": "figures.paper_formulas",
    "agreement": "figures.agreement",
    "systems": "figures.systems",
    "step_sizes": "figures.step_sizes",
    "hints": "figures.hints",
    "curves": "figures.curves",
    "returning": "figures.returning",
    "regret_speed": "figures.regret_speed",
}
"""Name → module, in the order of the report."""


def draw(
    name: str,
    traces: "Path | str | Trace | Iterable[Trace] | Mapping[str, Trace]",
    width: float | None = None,
    rows: Sequence[str] = (),
) -> "Figure":
    """Draw one figure.

        >>> import numpy as np
        >>> import figures
        >>> from theory import Trace
        >>> rounds = np.arange(1, 101)
        >>> columns = {"round": rounds, "dynamic_regret": rounds**0.5}
        >>> figure = figures.draw("regret", {"drift/ogd": Trace({"seeds": 1}, columns)}, width=3.25)
        >>> print(figure.get_figwidth(), len(figure.axes))
        3.25 1

    Args:
        name: of ``FIGURES``.
        traces: a folder of results; a trace, or several, that ``sim.play`` has returned; or a dict, name → trace.
            Names say what is drawn together: ``environment/learner`` of the simulator, ``stream/seed/method`` or
            ``method`` of the decoder.
        width: in inches, for example 3.25 for one column of a paper; by default the figure's own.
        rows: patterns of names, for example ``drift/*``; by default all.

    Returns:
        A matplotlib Figure; ``figure.savefig("regret.pdf")`` keeps it.

    Raises:
        ValueError: for an unknown figure, a figure that is not drawn from traces, traces without the columns it needs,
            or a width that is not between 1 and 20 inches.
        FileNotFoundError: if the folder lacks the results that the figure needs.
    """
    from figures.results import given

    if name not in FIGURES:
        raise ValueError(f"figure {name!r}: no such figure; give one of {', '.join(FIGURES)}")
    if width is not None and not 1 <= width <= 20:
        raise ValueError(f"width={width!r}: must be in inches, between 1 and 20")
    figure, _ = drawn(name, Path(traces) if isinstance(traces, str | Path) else given(name, traces), rows, width)
    return figure


def drawn(name: str, source: "Path | Given", rows: Sequence[str], width: float | None) -> "tuple[Figure, Table]":
    """A figure and the table that it shows."""
    from figures import style

    module = import_module(FIGURES[name])
    table = module.collect(source, list(rows))
    with style.look():
        figure = module.draw(table, width or module.WIDTH)
        figure.draw_without_rendering()  # ticks are made when they are first drawn, and are to have this look
    return figure, table
