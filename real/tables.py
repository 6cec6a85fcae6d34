"""What runs say, as tables on the screen."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

COLUMNS = {
    "tokens_per_step": "tokens/step",
    "alpha": "alpha",
    "speedup": "net speedup",
    "generation_speedup": "learning left out",
    "relative_tokens_per_step": "tokens/step ÷ frozen's",
    "relative_speedup": "net ÷ frozen's",
    "tokens_per_second": "tokens/s",
}


def comparison(methods: dict[str, dict[str, Any]], title: str) -> Table:
    """Every method's numbers with 95 % intervals."""
    shown = Table(title=title, box=None, title_justify="left")
    shown.add_column("")
    for heading in COLUMNS.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("learning", justify="right")
    for name, entry in methods.items():
        cells = [_cell(entry.get(key)) for key in COLUMNS]
        shown.add_row(name, *cells, f"{100 * entry['learn_share']:.1f} %")
    return shown


def _cell(interval: dict[str, float | None] | None) -> str:
    if not interval or interval["value"] is None:
        return ""
    if interval["value"] > 20:
        return f"{interval['value']:.0f}"
    if interval["low"] is None:
        return f"{interval['value']:.2f}"
    return f"{interval['value']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def experiment(name: str, part: dict[str, Any]) -> Iterator[Table]:
    """One experiment of ``summary.json``: the whole stream, home, the last half of the shift, home again."""
    schedule, seeds = part["settings"]["schedule"], part["seeds"]
    title = f"{name} ({schedule}; {seeds} {'seed' if seeds == 1 else 'seeds'})"
    yield comparison(part["methods"], f"{title}: whole stream")
    titles = {"shifted_last_half": "last half of the shifted segment"}
    for key, table in part["parts"].items():
        yield comparison(table, f"{title}: {titles.get(key) or 'segment ' + key}")


def claim(found: dict[str, Any]) -> str:
    """The claim made beforehand, last half of the shifted segment, and whether it holds."""
    pace, net = _cell(found["relative_tokens_per_step"]), _cell(found["relative_speedup"])
    return (
        f"{found['learner']} × frozen: tokens/step {pace}, net {net}: {'holds' if found['holds'] else 'does not hold'}"
    )
