"""What studies over many runs say, as tables on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from real.cli.tables import NET
from theory.runs.table import Column, limits, percent, table, yes

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
