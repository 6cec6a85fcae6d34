"""What runs and checks say, as tables on the screen; studies over many runs have ``study_tables``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from theory.runs.table import Column, limits, percent, table, yes

if TYPE_CHECKING:
    from real.measure.profile import Profile
    from real.verify.audit import Audited

NET = "net ÷ frozen's"
COMPARISON = (
    Column("tokens_per_step", "tokens/step", limits),
    Column("alpha", "alpha", limits),
    Column("speedup", "net speedup", limits),
    Column("generation_speedup", "learning left out", limits),
    Column("relative_tokens_per_step", "tokens/step ÷ frozen's", limits),
    Column("relative_speedup", NET, limits),
    Column("tokens_per_second", "tokens/s", limits),
    Column("learn_share", "learning", percent),
)
LOW_NOISE = (
    Column("low_noise_speedup", "low-noise net speedup", limits),
    Column("low_noise_net", "low-noise net ÷ frozen's", limits),
)
"""Beside the measured ones, where a shared text was followed (``real/measure/low_noise.py``)."""


def comparison(methods: dict[str, dict[str, Any]], title: str) -> Table:
    """Every method's numbers with 95 % intervals."""
    rows = [{"name": name, **entry} for name, entry in methods.items()]
    low_noise = [column for column in LOW_NOISE if any(column.name in row for row in rows)]
    return table(rows, (Column("name", ""), *COMPARISON, *low_noise), title)


def experiment(name: str, part: dict[str, Any]) -> Iterator[Table]:
    """One experiment of ``summary.json``: the whole stream, home, the last half of the shift, home again."""
    schedule, seeds = part["settings"]["schedule"], part["seeds"]
    title = f"{name} ({schedule}; {seeds} {'seed' if seeds == 1 else 'seeds'})"
    yield comparison(part["methods"], f"{title}: whole stream")
    titles = {"shifted_last_half": "last half of the shifted segment"}
    for key, methods in part["parts"].items():
        yield comparison(methods, f"{title}: {titles.get(key) or 'segment ' + key}")


PROFILE = (
    Column("gamma", "drafted", "d"),
    Column("cost", "cost, plain steps", ".3f"),
    Column("verify", "verify, plain", ".3f"),
    Column("milliseconds", "ms", ".2f"),
    Column("tokens_per_step", "tokens/step", ".2f"),
    Column("predicted", "foretold", ".2f"),
    Column("measured", "measured", limits),
    Column("holds", "holds", yes),
)


def profile(found: Profile, foretold: Sequence[dict[str, Any]]) -> Table:
    """Costs by draft length, and the speed-ups they foretell beside those measured on other requests."""
    title = f"cost_ratio {found.cost_ratio:.3f}; a draft after plain steps costs {found.switch_cost:.2f} more"
    told = {row["gamma"]: row for row in foretold}
    rows = [
        {"gamma": gamma, "cost": cost, "verify": verify, "milliseconds": 1e3 * seconds}
        for gamma, (cost, verify, seconds) in enumerate(zip(found.costs, found.verify_curve, found.step, strict=True))
    ]
    return table([told.get(row["gamma"], {}) | row for row in rows], PROFILE, title)


WIDE = (
    Column("drafter", "drafter"),
    Column("learner", "learner"),
    Column("dimension", "decision", ",d"),
    Column("milliseconds_step", "ms a step", ".1f"),
    Column("milliseconds_update", "ms an update", ".1f"),
    Column("drafter_bytes", "drafter, MB", lambda count: f"{count / 1e6:.1f}"),
    Column("learner_bytes", "learner, MB", lambda count: f"{count / 1e6:.1f}"),
    Column("loss", "loss", ".4f"),
    Column("top_k_error", "of a cut law", "+.1e"),
)


def wide(rows: Sequence[dict[str, Any]], top_k: int) -> Table:
    """What a large vocabulary costs every drafter and learner."""
    return table(rows, WIDE, f"the loss's last column: how much more it is on laws cut to {top_k} tokens")


FLOOR = (
    Column("drafter", "drafter"),
    Column("domain", "domain"),
    Column("speedup", "net speedup", limits),
    Column("one_sided", "one-sided 95 %", ".3f"),
    Column("drafted_per_step", "drafted a step", ".2f"),
    Column("tokens_per_step", "tokens/step", ".2f"),
    Column("holds", "holds", yes),
)


def floor(rows: Sequence[dict[str, Any]]) -> Table:
    """Net speed over plain by drafter and domain, the lowest limits first."""
    from real.measure.floor import LEAST

    title = f"draft length by cost ÷ plain decoding; it holds where the one-sided limit is at least {LEAST}"
    known = [row | ({"holds": None} if row["one_sided"] is None else {}) for row in rows]
    return table(sorted(known, key=lambda row: row["one_sided"] or 0), FLOOR, title)


def headroom(rows: Sequence[dict[str, Any]]) -> Table:
    """The net speed-up of a run, and what it would have been without each limit alone."""
    columns = (
        Column("domain", ""),
        Column("speedup", "as it is", ".2f"),
        *(Column(limit, limit, ".2f") for limit in rows[0]["without"]),
        Column("binds", "binds"),
        Column("accepted", "accepted", ".3f"),
        Column("overlap", "1 − TV", ".3f"),
        Column("of_memory", "of memory's limit", ".0%"),
    )
    return table([row | row["without"] for row in rows], columns, "net speedup without …")


def claim(found: dict[str, Any]) -> str:
    """The claim made beforehand, last half of the shifted segment, and whether it holds."""
    pace, net = limits(found["relative_tokens_per_step"]), limits(found["relative_speedup"])
    held = "holds" if found["holds"] else "does not hold"
    return f"{found['learner']} × frozen: tokens/step {pace}, net {net}: {held}"


def audited(row: Audited) -> str:
    """One system of the audit as a line."""
    verdict = "ALARM" if row.alarm else "clean"
    served = f"{row.family:9} {row.system:16} {row.rule:6} {row.tokens:6d} tokens, {row.tokens_per_step:4.2f} a step"
    return f"{served}   log wealth {row.log_wealth:7.2f}, peak {row.log_peak:6.2f}   {verdict}"


def mebibytes(size: int) -> str:
    """Bytes in MiB."""
    return f"{size / 2**20:,.0f}"


CONTEXT = (
    Column("name", ""),
    Column("tokens", "tokens", ",d"),
    Column("prefill_seconds", "prefill s", ".1f"),
    Column("tokens_per_second", "tokens/s", ".1f"),
    Column("tokens_per_step", "tokens/step", ".2f"),
    Column("peak", "peak", mebibytes),
    Column("caches", "caches", mebibytes),
    Column("mask", "one mask", mebibytes),
    Column("rest", "the rest", mebibytes),
)


def context(rows: dict[str, dict[str, Any]]) -> Iterator[Table]:
    """What ``real/measure/context.py`` measured, memory in MiB."""
    whole = [{"name": name, **row, "rest": row["peak"] - row["caches"] - row["mask"]} for name, row in rows.items()]
    yield table(whole, CONTEXT, "one long prompt; MiB above the weights")


def laws(checked: Mapping[str, Callable], faults: Mapping[str, str]) -> Iterator[Table | str]:
    """Every law in a line, those without an entry in ``faults`` not tried; then what breaks those that do not hold."""
    shown = Table(box=None)
    for heading in ("law", "", "what it says"):
        shown.add_column(heading)
    for name, law in checked.items():
        state = "not tried" if name not in faults else Text("broken", "red") if faults[name] else Text("ok", "green")
        shown.add_row(name, state, (law.__doc__ or "").splitlines()[0])
    yield shown
    for name, fault in faults.items():
        if fault:
            yield f"{name}: {fault}"
