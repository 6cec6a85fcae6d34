"""What runs say, as tables on the screen."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from real.measure.floor import LEAST
from real.measure.profile import Profile
from real.verify.audit import Audited

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


def profile(found: Profile, foretold: Sequence[dict[str, Any]]) -> Table:
    """Costs by draft length, and the speed-ups they foretell beside those measured on other requests."""
    title = f"cost_ratio {found.cost_ratio:.3f}; a draft after plain steps costs {found.switch_cost:.2f} more"
    shown = Table(title=title, box=None, title_justify="left")
    headings = ("drafted", "cost, plain steps", "verify, plain", "ms", "tokens/step", "foretold", "measured", "holds")
    for heading in headings:
        shown.add_column(heading, justify="right")
    shown.add_row("0", "1.000", "1.000", f"{1e3 * found.step[0]:.2f}")
    for row in foretold:
        gamma, holds = row["gamma"], "yes" if row["holds"] else "no"
        numbers = (f"{found.costs[gamma]:.3f}", f"{found.verify_curve[gamma]:.3f}", f"{1e3 * found.step[gamma]:.2f}")
        told = (f"{row['tokens_per_step']:.2f}", f"{row['predicted']:.2f}", _cell(row["measured"]), holds)
        shown.add_row(f"{gamma}", *numbers, *told)
    return shown


def floor(rows: Sequence[dict[str, Any]]) -> Table:
    """Net speed over plain by drafter and domain, the lowest limits first."""
    title = f"draft length by cost ÷ plain decoding; it holds where the one-sided limit is at least {LEAST}"
    shown = Table(title=title, box=None, title_justify="left")
    for heading in ("drafter", "domain", "net speedup", "one-sided 95 %", "drafted a step", "tokens/step", "holds"):
        shown.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: row["one_sided"] or 0):
        low = "" if row["one_sided"] is None else f"{row['one_sided']:.3f}"
        holds = "" if row["one_sided"] is None else "yes" if row["holds"] else "no"
        numbers = (f"{row['drafted_per_step']:.2f}", f"{row['tokens_per_step']:.2f}", holds)
        shown.add_row(row["drafter"], row["domain"], _cell(row["speedup"]), low, *numbers)
    return shown


def headroom(rows: Sequence[dict[str, Any]]) -> Table:
    """The net speed-up of a run, and what it would have been without each limit alone."""
    shown = Table(title="net speedup without …", box=None, title_justify="left")
    limits = list(rows[0]["without"])
    for heading in ("", "as it is", *limits, "binds", "accepted", "1 − TV", "of memory's limit"):
        shown.add_column(heading, justify="right")
    for row in rows:
        bars = [f"{row['speedup']:.2f}", *(_number(row["without"][limit]) for limit in limits)]
        shares = (f"{row['accepted']:.3f}", _number(row["overlap"], 3), f"{100 * row['of_memory']:.0f} %")
        shown.add_row(row["domain"], *bars, row["binds"], *shares)
    return shown


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def claim(found: dict[str, Any]) -> str:
    """The claim made beforehand, last half of the shifted segment, and whether it holds."""
    pace, net = _cell(found["relative_tokens_per_step"]), _cell(found["relative_speedup"])
    return (
        f"{found['learner']} × frozen: tokens/step {pace}, net {net}: {'holds' if found['holds'] else 'does not hold'}"
    )


def audited(row: Audited) -> str:
    """One system of the audit as a line."""
    verdict = "ALARM" if row.alarm else "clean"
    served = f"{row.family:9} {row.system:16} {row.rule:6} {row.tokens:6d} tokens, {row.tokens_per_step:4.2f} a step"
    return f"{served}   log wealth {row.log_wealth:7.2f}, peak {row.log_peak:6.2f}   {verdict}"


def context(rows: dict[str, dict[str, Any]]) -> Iterator[Table]:
    """What ``real/measure/context.py`` measured, memory in MiB."""
    shown = Table(title="one long prompt; MiB above the weights", box=None, title_justify="left")
    headings = ("tokens", "prefill s", "tokens/s", "tokens/step", "peak", "caches", "one mask", "the rest")
    for heading in ("", *headings):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        rest = row["peak"] - row["caches"] - row["mask"]
        sizes = (f"{value / 2**20:,.0f}" for value in (row["peak"], row["caches"], row["mask"], rest))
        pace = f"{row['tokens_per_second']:.1f}", f"{row['tokens_per_step']:.2f}"
        shown.add_row(name, f"{row['tokens']:,}", f"{row['prefill_seconds']:.1f}", *pace, *sizes)
    yield shown


def claims(content: dict[str, Any]) -> Iterator[Table]:
    """What ``real/studies/claims.py`` reports: ensembles by stream, then hints by stream and round length."""
    shown = Table(title="net speed over that of the step size best in hindsight", box=None, title_justify="left")
    for heading in ("stream", "best step", "ensemble", "tuned on the first stream", "last-loss ensemble"):
        shown.add_column(heading, no_wrap=True)
    for row in content["ensembles"]:
        shown.add_row(row["stream"], row["best"], *(_cell(row[key]) for key in ("ensemble", "tuned", "last_loss")))
    yield shown
    shown = Table(title="hints: over gradient descent at the same step size", box=None, title_justify="left")
    headings = ("hint_gain", "alpha", "alpha ÷ prompt reader's", "net", "net ÷ prompt reader's")
    for heading in ("stream", "nu", "hint", *headings, "sign as told", "÷ prompt reader's"):
        shown.add_column(heading, no_wrap=True)
    for row in content["hints"]:
        numbers = (_cell(row[key]) for key in ("hint_gain", "alpha", "prompted", "net", "net_prompted"))
        told = [{True: "yes", False: "no", None: "open"}[row[key]] for key in ("agrees", "agrees_prompted")]
        shown.add_row(row["stream"], str(row["nu"]), row["hint"], *numbers, *told)
    yield shown
    shown = Table(title="verdict", box=None, title_justify="left", show_header=False)
    for key, value in content["verdict"].items():
        shown.add_row(key.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value))
    yield shown


SYSTEM_COLUMNS = {
    "tokens_per_step": "tokens/step",
    "alpha": "alpha",
    "speedup": "net speedup",
    "generation_speedup": "learning left out",
    "relative_speedup": "net ÷ frozen draft's",
}


def systems(rows: list[dict[str, Any]]) -> Iterator[Table]:
    """The systems' table, one for each family and domain."""
    for cell in dict.fromkeys((row["block"], row["family"], row["domain"]) for row in rows):
        title = f"{' · '.join(cell)}: totals over totals, 95 % intervals by a paired bootstrap over prompts"
        shown = Table(title=title, box=None, title_justify="left")
        shown.add_column("")
        for heading in (*SYSTEM_COLUMNS.values(), "learning", "hint_gain", "certificate_ratio"):
            shown.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            if (row["block"], row["family"], row["domain"]) == cell:
                numbers = [
                    {"value": row[key], "low": row[f"{key}_low"], "high": row[f"{key}_high"]} for key in SYSTEM_COLUMNS
                ]
                rest = ["" if row[key] is None else f"{row[key]:.2f}" for key in ("hint_gain", "certificate_ratio")]
                share = f"{100 * row['learn_share']:.1f} %"
                shown.add_row(row["system"], *(_cell(number) for number in numbers), share, *rest)
        yield shown


def headline(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Medians over cells of every learning system, by block."""
    shown = Table(title="medians over domains and families, the tuning domain left out", box=None, title_justify="left")
    names = (SYSTEM_COLUMNS["relative_speedup"], "net speedup", "learning left out", "tokens/step", "cells")
    for heading in ("block", "system", *names):
        shown.add_column(heading, no_wrap=True)
    for block, systems in found.items():
        for system, of in systems.items():
            *medians, cells = of.values()
            shown.add_row(block, system, *(f"{value:.3f}" for value in medians), f"{cells}")
    return shown


def certified(rows: list[dict[str, Any]]) -> str:
    """How many certificates a systems' table holds, their least slack, and how many say something."""
    ratios = [row["certificate_ratio"] for row in rows if row["certificate_ratio"] is not None]
    least = min((row["slack"] for row in rows if row["slack"] is not None), default=float("nan"))
    below = sum(ratio < 1 for ratio in ratios)
    return f"{len(ratios)} certificates, least slack {least:.2g}, certificate_ratio below 1 in {below}"
