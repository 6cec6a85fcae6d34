"""Tables: a column shows its entry in its form, an empty cell where there is none, numbers on the right."""

from rich.console import Console

from theory.runs.table import Column, limits, percent, table, yes

COLUMNS = (
    Column("name", "who"),
    Column("rate", "tokens/s", ".1f"),
    Column("net", "net", limits),
    Column("share", "learning", percent),
    Column("holds", "holds", yes),
)


def printed(shown) -> list[str]:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_table_shows_every_row_in_the_forms_of_its_columns():
    rows = [
        {"name": "plain", "rate": 181.94, "net": {"value": 1.0, "low": None, "high": None}, "holds": False},
        {"name": "draft", "rate": 9.5, "net": {"value": 1.5, "low": 1.4, "high": 1.61}, "share": 0.1234, "holds": True},
        {"name": "nobody", "net": {"value": None, "low": None, "high": None}, "share": None, "other": 3},
    ]
    title, head, *lines = printed(table(rows, COLUMNS, "who is faster"))
    assert title == "who is faster"
    assert head.split() == ["who", "tokens/s", "net", "learning", "holds"]
    assert lines[0].split() == ["plain", "181.9", "1.00", "no"]
    assert lines[1].split() == ["draft", "9.5", "1.50", "[1.40,", "1.61]", "12.3", "%", "yes"]
    assert lines[2].split() == ["nobody"]
    assert lines[0].index("181.9") + len("181.9") == lines[1].index("9.5") + len("9.5")  # on the right
    assert lines[0].index("plain") == lines[1].index("draft")  # on the left


def test_without_headings_there_is_no_head():
    shown = table([{"key": "cells", "value": 3}], (Column("key", ""), Column("value", "", "d")))
    assert [line.split() for line in printed(shown)] == [["cells", "3"]]


def test_limits_have_as_many_digits_as_asked_and_large_numbers_none():
    found = {"value": 1.23456, "low": 1.2, "high": 1.26}
    assert limits(found) == "1.23 [1.20, 1.26]"
    assert limits(found, 3) == "1.235 [1.200, 1.260]"
    assert limits({"value": 188.788, "low": 184.5, "high": 193.0}) == "189"
    assert limits({"value": 188.788, "low": 184.5, "high": 193.0}, large=1000) == "188.79 [184.50, 193.00]"
