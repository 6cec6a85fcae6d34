"""Tables and numbers in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Interval = Mapping[str, float | None]
"""``value`` and its 95 % limits ``low`` and ``high``; None where there is none."""
NONE = "–"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, numbers to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, places: int = 2) -> str:
    """A number with so many decimal places; a dash if there is none. Never a zero with a sign."""
    return NONE if value is None else f"{round(value, places) + 0.0:,.{places}f}"


def percent(share: float | None, places: int = 1) -> str:
    """A share of one in per cent."""
    return NONE if share is None else f"{100 * share:.{places}f} %"


def limits(interval: Interval, places: int = 2) -> str:
    """``1.34 [1.32, 1.37]``; the value alone where it has no limits."""
    if interval["value"] is None or interval.get("low") is None:
        return number(interval["value"], places)
    return (
        f"{number(interval['value'], places)} [{number(interval['low'], places)}, {number(interval['high'], places)}]"
    )


def counted(value: Any) -> str:
    """A whole number with a comma between thousands; a dash if there is none."""
    return NONE if value is None else f"{round(value):,}"


def yes(holds: bool) -> str:
    """A verdict in a table."""
    return "yes" if holds else "**no**"
