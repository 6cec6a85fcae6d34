"""What a run says on the screen: the comparison, where the time went, whether learning paid, what is certified."""

from collections.abc import Mapping
from math import isnan

from rich.console import Console
from rich.table import Table

from real.cli.run import Report
from real.cli.tables import comparison
from real.serving.ledger import LINES
from theory.checker.certificate import Certificate
from theory.runs.table import Column, percent, table
from theory.runs.trace import Trace


def show(report: Report, console: Console) -> None:
    """Print all of it."""
    console.print(comparison(report.methods, "totals over totals, 95 % intervals by a paired bootstrap over prompts"))
    for name, why in report.unfollowed.items():
        console.print(f"no low-noise net of {name}: {why}", highlight=False)
    console.print(ledger(report.traces))
    after = report.break_even_tokens
    paid = "not within this run" if after is None else f"after {after:.0f} committed tokens"
    if list(report.traces)[-1] not in ("plain", "frozen"):
        console.print(f"break-even against frozen: {paid}")
    if report.hint_gain is not None:
        console.print(f"hint_gain {report.hint_gain:.3f}")
    if report.beside is not None:
        console.print(f"learned for {report.beside:.1f} s beside decoding, on a thread that may hold another core")
    if report.idle:
        console.print(
            f"nothing was learned, and nothing certified: {report.idle} tokens are not more than the burn-in and one "
            "round; serve more requests, or set --burn-in and --nu lower"
        )
    for line in certified(report.certificates):
        console.print(line, highlight=False)


def ledger(traces: Mapping[str, Trace]) -> Table:
    """Every method's share of the time by line."""
    rows, lines = [], (*LINES, "unattributed")
    for name, trace in traces.items():
        seconds = {line: float(trace.columns[f"seconds_{line}"].sum()) for line in (*lines, "total")}
        rows.append({"name": name, **seconds, **{line: seconds[line] / seconds["total"] for line in lines}})
    columns = [Column(line, line, percent) for line in lines]
    total = Column("total", "total", lambda seconds: f"{seconds:.1f} s")
    return table(rows, (Column("name", ""), *columns, total), "ledger: share of the time")


def certified(found: Mapping[str, Certificate]) -> list[str]:
    """Certificates by comparator, a line each."""
    lines = []
    for comparator, one in found.items():
        ratio = "" if isnan(one.certificate_ratio) else f", certificate_ratio {one.certificate_ratio:.2f}"
        said = (
            f"regret {one.dynamic_regret:.2f} ≤ bound {one.bound:.2f}; over all rounds slack ≥ {one.slack:.2g}{ratio}"
        )
        lines.append(f"certificate against {comparator}: {said}")
    return lines
