"""One printer of tables: rows, and what each column shows of a row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from theory.runs.console import new_console, visible

console = new_console()
if not console.is_terminal:
    console = new_console(width=200)  # tables go to files whole

Form = str | Callable[[Any], str]


class Column(NamedTuple):
    """What a table shows under one heading.

    Attributes:
        name: of the entry of a row; an entry that is missing or None is shown as an empty cell.
        heading: above the column.
        form: a format such as ``".2f"``, or what turns the entry into text; empty for text as it is, on the left.
    """

    name: str
    heading: str
    form: Form = ""

    def cell(self, row: Mapping[str, Any]) -> str:
        """What the column shows of a row, in one line."""
        value = row.get(self.name)
        if value is None:
            return ""
        return visible(format(value, self.form) if isinstance(self.form, str) else self.form(value))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], title: str = "") -> Table:
    """The rows as a table; without any heading it has no head."""
    shown = Table(
        title=visible(title) or None, box=None, title_justify="left", show_header=any(c.heading for c in columns)
    )
    for column in columns:
        shown.add_column(visible(column.heading), justify="right" if column.form else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(column.cell(row) for column in columns))
    return shown


def limits(found: Mapping[str, float | None], digits: int = 2, large: float = 20) -> str:
    """``{value, low, high}`` as ``1.23 [1.20, 1.26]``; the value alone without limits, or above ``large``."""
    value, low, high = (found[name] for name in ("value", "low", "high"))
    if value is None:
        return ""
    if value > large:
        return f"{value:.0f}"
    return f"{value:.{digits}f}" + ("" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def percent(share: float) -> str:
    """``0.123`` as ``12.3 %``."""
    return f"{100 * share:.1f} %"


def yes(holds: bool) -> str:
    """A yes or a no."""
    return "yes" if holds else "no"
