"""What a run says on the screen: the comparison, where the time went, whether learning paid, certificates."""

from collections.abc import Mapping
from math import isnan

from rich.console import Console
from rich.table import Table

from real.cli.run import Learned, Measured, Short
from real.cli.tables import comparison
from real.serving.ledger import LINES
from theory.checker.certificate import Certificate
from theory.runs.table import Column, limits, percent, table
from theory.runs.trace import Trace

NAMED = 3
"""Tenants that a line names at most."""


def show(report: Measured, console: Console) -> None:
    """Print the comparison, the ledger, and how learning fared."""
    console.print(comparison(report.methods, "totals over totals, 95 % intervals by a paired bootstrap over prompts"))
    for line in report.left_out:
        console.print(line, highlight=False, soft_wrap=True)
    for name, why in report.unfollowed.items():
        console.print(f"no low-noise net of {name}: {why}", highlight=False)
    console.print(ledger(report.traces))
    for name, found in report.learned.items():
        for line in learned(found):
            console.print(line if len(report.learned) == 1 else f"{name}: {line}", highlight=False)


def learned(found: Learned) -> list[str]:
    """What a learner's run has besides the table, a line each."""
    if found.idle:
        of = " of one tenant at most" if found.tenants > 1 else ""
        return [
            f"nothing was learned, and nothing certified: {found.idle} tokens{of} are not more than the burn-in and "
            "one round; serve more requests, or set --burn-in and --nu lower"
        ]
    after = found.break_even_tokens
    paid = "not within this run" if after is None else f"after {after:.0f} committed tokens"
    lines = [f"break-even against frozen: {paid}"]
    if found.hint_gain is not None:
        lines.append(f"hint_gain {found.hint_gain:.3f}")
    if found.beside is not None:
        lines.append(f"learned for {found.beside:.1f} s beside decoding, on a thread that may hold another core")
    if found.net is not None and found.net["value"] is not None and (found.net["high"] or found.net["value"]) < 1:
        lines.append(
            f"learning costs more than it wins here: net speed {limits(found.net)} of frozen's. Take a longer round "
            "(--nu), a cheaper learner (ogd) or --overlap, or serve frozen"
        )
    return lines


def too_short(found: Mapping[str, Short]) -> list[str]:
    """What is known before a run: who will learn nothing, or nothing from whom, a line each."""
    lines = []
    for name, (most, tenants, needed) in found.items():
        of, burn_in = max(most.values()), f"its burn-in and one round take {needed}"
        if tenants == 1:
            told = f"nothing: the stream has {of} tokens at most, {burn_in}"
        elif len(most) == tenants:
            told = f"nothing: of each tenant the stream has {of} tokens at most, {burn_in}"
        else:
            names = ", ".join(map(repr, list(most)[:NAMED])) + f" and {len(most) - NAMED} more" * (len(most) > NAMED)
            told = f"nothing from the tenants {names}: the stream has {of} tokens of each at most, {burn_in}"
        lines.append(f"{name} will learn {told}; serve more requests, or set --burn-in and --nu lower")
    return lines


def ledger(traces: Mapping[str, Trace]) -> Table:
    """Every method's share of the time by line."""
    rows, lines = [], (*LINES, "unattributed")
    for name, trace in traces.items():
        seconds = {line: float(trace.columns[f"seconds_{line}"].sum()) for line in (*lines, "total")}
        rows.append({"name": name, **seconds, **{line: seconds[line] / seconds["total"] for line in lines}})
    columns = [Column(line, line, percent) for line in lines]
    total = Column("total", "total", lambda seconds: f"{seconds:.1f} s")
    return table(rows, (Column("name", ""), *columns, total), "ledger: share of the time")


def certified(found: Mapping[str, Certificate], tenant: str | None = None) -> list[str]:
    """Certificates by comparator, a line each; first whose they are, where there are other tenants."""
    lines = []
    if found and tenant is not None:
        lines.append(f"certificate of tenant {tenant!r}; other tenants are not certified")
    for comparator, one in found.items():
        ratio = "" if isnan(one.certificate_ratio) else f", certificate_ratio {one.certificate_ratio:.2f}"
        said = (
            f"regret {one.dynamic_regret:.2f} ≤ bound {one.bound:.2f}; over all rounds slack ≥ {one.slack:.2g}{ratio}"
        )
        lines.append(f"certificate against {comparator}: {said}")
    return lines
