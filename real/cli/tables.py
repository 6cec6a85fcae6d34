"""What runs say, as tables on the screen."""

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


ENSEMBLE_COLUMNS = (
    Column("stream", "stream"),
    Column("best", "best step"),
    Column("ensemble", "ensemble", limits),
    Column("tuned", "tuned on the first stream", limits),
    Column("last_loss", "last-loss ensemble", limits),
)


def told(agrees: bool | None) -> str:
    """Whether a sign came as the theorem tells."""
    return "open" if agrees is None else yes(agrees)


HINT_COLUMNS = (
    Column("stream", "stream"),
    Column("nu", "nu", "d"),
    Column("hint", "hint"),
    Column("hint_gain", "hint_gain", limits),
    Column("alpha", "alpha", limits),
    Column("prompted", "alpha ÷ prompt reader's", limits),
    Column("net", "net", limits),
    Column("net_prompted", "net ÷ prompt reader's", limits),
    Column("sign", "sign as told"),
    Column("sign_prompted", "÷ prompt reader's"),
)


def claims(content: dict[str, Any]) -> Iterator[Table]:
    """What ``real/studies/claims.py`` reports: ensembles by stream, then hints by stream and round length."""
    yield table(content["ensembles"], ENSEMBLE_COLUMNS, "net speed over that of the step size best in hindsight")
    hints = [
        row | {"sign": told(row["agrees"]), "sign_prompted": told(row["agrees_prompted"])} for row in content["hints"]
    ]
    yield table(hints, HINT_COLUMNS, "hints: over gradient descent at the same step size")
    lines = [{"name": key.replace("_", " "), "value": value} for key, value in content["verdict"].items()]
    yield table(lines, (Column("name", ""), Column("value", "", plainly)), "verdict")


def plainly(value: Any) -> str:
    """A number to three digits, anything else as it is."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


SYSTEM_COLUMNS = (
    Column("system", ""),
    Column("tokens_per_step", "tokens/step", limits),
    Column("alpha", "alpha", limits),
    Column("speedup", "net speedup", limits),
    Column("generation_speedup", "learning left out", limits),
    Column("relative_speedup", "net ÷ frozen draft's", limits),
    Column("learn_share", "learning", percent),
    Column("hint_gain", "hint_gain", ".2f"),
    Column("certificate_ratio", "certificate_ratio", ".2f"),
)


def systems(rows: list[dict[str, Any]]) -> Iterator[Table]:
    """The systems' table, one for each family and domain."""
    for cell in dict.fromkeys((row["block"], row["family"], row["domain"]) for row in rows):
        title = f"{' · '.join(cell)}: totals over totals, 95 % intervals by a paired bootstrap over prompts"
        here = [row | _intervals(row) for row in rows if (row["block"], row["family"], row["domain"]) == cell]
        yield table(here, SYSTEM_COLUMNS, title)


def _intervals(row: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """The numbers of a row of the table that have limits, as intervals."""
    names = [name for name in row if f"{name}_low" in row]
    return {name: {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]} for name in names}


RANKS = (
    Column("drafter", "drafter"),
    Column("loss", "lower"),
    Column("speed", "goes with higher"),
    Column("pairs", "pairs", "d"),
    Column("decided", "decided", "d"),
    Column("agreeing", "agreeing", "d"),
    Column("share", "share", limits),
)


def ranks(shares: list[dict[str, Any]]) -> Table:
    """How often a lower loss goes with a higher speed."""
    return table(shares, RANKS, "pairs whose loss and speed both differ surely; intervals resample streams")


PAYS = (
    Column("block", "block"),
    Column("family", "family"),
    Column("domain", "domain"),
    Column("system", "system"),
    Column("tokens", "tokens", "d"),
    Column("tokens_per_step", "tokens/step", limits),
    Column("steps_ratio", "÷ the draft's", limits),
    Column("net", "net ÷ the draft's", limits),
    Column("net_calm", "low-noise net", limits),
    Column("net_first", "first 1,000 tokens", limits),
    Column("learn_share", "learning", percent),
)
OF_BLOCK = (
    Column("block", "block"),
    Column("family", "family"),
    Column("cells", "cells", "d"),
    Column("median_net", "median net", ".3f"),
    Column("least", "asked", ".2f"),
    Column("pooled", "pooled", limits),
    Column("pooled_limit", "one-sided 95 %", ".3f"),
    Column("median_against_best_rival", "÷ best that learns nothing", ".3f"),
    Column("median_first", "first 1,000", ".3f"),
    Column("median_calm", "low-noise", ".3f"),
    Column("median_calm_first", "its first 1,000", ".3f"),
)


def pays(rows: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> Iterator[Table]:
    """Every cell of every system, and every block."""
    yield table([row | _intervals(row) for row in rows], PAYS, "net: total tokens over total seconds, learning charged")
    yield table(blocks, OF_BLOCK, "the mixture over the domains but session; pooled over all their tokens and seconds")


HEADLINE = (
    Column("block", "block"),
    Column("system", "system"),
    Column("relative_speedup", "net ÷ frozen draft's", ".3f"),
    Column("speedup", "net speedup", ".3f"),
    Column("generation_speedup", "learning left out", ".3f"),
    Column("tokens_per_step", "tokens/step", ".3f"),
    Column("cells", "cells", "d"),
)


def headline(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Medians over cells of every learning system, by block."""
    rows = [
        {"block": block, "system": system, **medians}
        for block, systems in found.items()
        for system, medians in systems.items()
    ]
    return table(rows, HEADLINE, "medians over domains and families, the tuning domain left out")


def certified(rows: list[dict[str, Any]]) -> str:
    """How many certificates a systems' table holds, their least slack, and how many say something."""
    ratios = [row["certificate_ratio"] for row in rows if row["certificate_ratio"] is not None]
    least = min((row["slack"] for row in rows if row["slack"] is not None), default=float("nan"))
    below = sum(ratio < 1 for ratio in ratios)
    return f"{len(ratios)} certificates, least slack {least:.2g}, certificate_ratio below 1 in {below}"


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


CURVES = (
    Column("stream", "stream"),
    Column("start", "start"),
    Column("system", "system"),
    Column("tokens_per_step", "tokens/step", limits),
    Column("relative", "÷ frozen", limits),
    Column("relative_first", "first 1,000", limits),
    Column("net", NET, limits),
    Column("saved", "seconds saved", limits),
    Column("zeros", "zeros", "d"),
    Column("last", "last at", ".0f"),
    Column("foretold", "predicted net", limits),
)
MIXTURES = (
    Column("stream", "stream"),
    Column("start", "start"),
    Column("system", "mixture"),
    Column("tokens_per_step", "tokens/step", ".2f"),
    Column("best_part", "best part"),
    Column("of_best_part", "÷ best part", limits),
    Column("of_hindsight", "÷ best fixed mixture", limits),
    Column("holds", "holds", yes),
)
STRETCHES = (
    Column("stream", "stream"),
    Column("start", "start"),
    Column("stretch", "stretch"),
    Column("system", "system"),
    Column("whole", "tokens/step ÷ frozen", limits),
    Column("first", "first 1,000", limits),
    Column("before", "last 1,000 there before", limits),
    Column("kept", "first ÷ last before", limits),
)
AGREEMENT = (
    Column("stream", "stream"),
    Column("start", "start"),
    Column("system", "system"),
    Column("served", "tokens/step served", ".2f"),
    Column("replayed", "replayed", ".2f"),
    Column("ratio", "ratio", limits),
    Column("holds", "agree", yes),
)


def curves(content: Mapping[str, Any]) -> Iterator[Table]:
    """What replay says: systems, mixtures against their parts, stretches of streams that shift, served against read."""
    systems, mixtures, stretches, agreement = list[dict](), list[dict](), list[dict](), list[dict]()
    for row in content["rows"]:
        place = {"stream": f"{row['family']} {row['schedule']}", "start": row["start"]}
        systems += [place | {"system": name} | _of_curve(one) for name, one in row["systems"].items()]
        mixtures += [place | {"system": name} | one for name, one in row["mixtures"].items()]
        agreement += [place | {"system": name} | one for name, one in row["agreement"].items()]
        if len(row["stretches"]) > 1:
            for part in row["stretches"]:
                place |= {"stretch": part["name"]}
                stretches += [place | {"system": name} | one for name, one in part["systems"].items()]
    at = content["machine"]
    foretold = f"; predicted for {at['name']}, cost_ratio {at['cost_ratio']:.3f}" if at else ""
    yield table(systems, CURVES, f"learning by replay, everything charged{foretold}")
    yield table(mixtures, MIXTURES, "mixtures against the best of their parts and the best fixed mixture")
    if stretches:
        yield table(stretches, STRETCHES, "stretch by stretch")
    if agreement:
        yield table(agreement, AGREEMENT, "requests served for real against the replay of the same")


def _of_curve(one: Mapping[str, Any]) -> dict[str, Any]:
    """A system's row: the end of its measured curve, and where its mean is zero."""
    found = {key: one[key] for key in ("tokens_per_step", "relative", "relative_first")}
    curve = one.get("measured")
    if curve is not None:
        found |= {"net": curve["net"], "saved": {end: curve[end][-1] for end in ("value", "low", "high")}}
        found |= {"zeros": len(curve["crossings"]), "last": (curve["crossings"] or [None])[-1]}
        found |= {"foretold": one.get("predicted", {}).get("net")}
    return found
