"""`python -m real table1`: the systems × domains × target families, learning charged; the table R1 of the paper, whole.

A cell is one domain served to one target with all systems side by side, prompt by prompt, so that a noisy machine
disturbs all alike. Systems start each cell from their warm-up: the table is about learning a domain from its traffic.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import median, stdev
from typing import Any

import numpy as np

from real.measure.intervals import UNKNOWN, interval
from real.measure.summary import Sample, break_even, by_question, hint_gains, load_runs, measures, net_over_cells
from real.models.sampling import Sampling
from real.serving.settings import Serving
from real.studies.experiments import Experiment
from real.systems.loaded import FAMILIES, start_path
from real.systems.rows import SPECIALISTS, SYSTEMS, Method
from real.traffic.streams import domains, large
from theory.runs.experiment import select
from theory.runs.files import write_whole

GENERALISTS = ("sd", "heads", "hydra", "eagle")
"""Systems at rest that have seen every domain: how far a specialist's learning could come."""

TUNED = "session"
"""The domain on which step sizes were read (``python -m real tune``); medians over domains leave it out."""
BLOCKS: dict[str, tuple[Mapping[str, Method], Serving]] = {
    "generalist": (SYSTEMS, Serving()),
    "greedy": (SYSTEMS, Serving(sampling=Sampling(0.0))),
    "specialist": (SPECIALISTS, Serving()),
}
"""What a table is made of: where drafters start, and the temperature. The first is the headline."""


def cells(
    block: str,
    families: Sequence[str],
    names: Sequence[str],
    prompts: int,
    seeds: Sequence[int],
    systems: Sequence[str] = (),
) -> dict[str, Experiment]:
    """One experiment for every family and domain; a system whose warm-up is not shipped for a family is left out.

    Raises:
        ValueError: for a block, family, domain or system that is not there, or fewer than one prompt or seed.
    """
    for name, given, known in (
        ("block", [block], BLOCKS),
        ("family", families, FAMILIES),
        ("domain", names, domains() + large()),
    ):
        for value in given:
            if value not in known:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(known)}")
    if prompts < 1 or not seeds:
        raise ValueError(f"prompts={prompts!r}, seeds={len(seeds)}: at least one of each")
    rows, serving = BLOCKS[block]
    chosen = select(rows, systems) if systems else rows
    found = {}
    for family in families:
        shipped = {name: row for name, row in chosen.items() if not row.start or start_path(family, row).is_file()}
        beside = {*shipped, *still(shipped, rows).values(), *generalists(shipped).values()}
        methods = tuple(n for n, row in {**rows, **SYSTEMS}.items() if n in beside or row.drafter is None)
        for name in names:
            row = Experiment(f"{name}:{prompts}", methods, serving, tuple(seeds), family, certify=True)
            found[f"{block}/{family}/{name}"] = row
    return found


SMALL = ("adapter", "weights", "mixture")
"""Drafters that are the small model, at rest; a mixture holds it beside others."""


def still(chosen: Iterable[str], rows: Mapping[str, Method]) -> dict[str, str]:
    """For each system, the row with the same drafter that does not learn."""

    def kind(method: Method) -> tuple:
        if method.drafter in SMALL:
            return "small", method.draft
        return method.drafter, method.start, method.settings

    frozen = {kind(row): name for name, row in rows.items() if not row.learner.learns and row.drafter}
    return {name: frozen[kind(rows[name])] for name in chosen if kind(rows[name]) in frozen}


def generalists(rows: Mapping[str, Method]) -> dict[str, str]:
    """For each specialist, the same drafter that has seen every domain, at rest."""
    drafters = {"small" if row.drafter in SMALL else row.drafter: name for name, row in SYSTEMS.items()
                if name in GENERALISTS}  # fmt: skip
    return {
        name: drafters["small" if row.drafter in SMALL else str(row.drafter)]
        for name, row in rows.items()
        if row.draft == "specialist" and row.drafter in (*SMALL, *drafters)
    }


COLUMNS = ("tokens_per_step", "alpha", "speedup", "generation_speedup", "relative_speedup", "gap_closed")
"""Numbers of a row that have an interval."""


def finished(out: Path, block: str) -> list[str]:
    """Cells of the block that have results under ``out``, ``<block>/<family>/<domain>``, whichever call made them."""
    names = (f"{block}/{family}/{domain}" for family in FAMILIES for domain in domains() + large())
    return [name for name in names if any((out / name).glob("*/*.json"))]


def rows(out: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """One row a system and cell of those that are done: every number with its interval.

    ``relative_speedup`` is net, over the frozen drafter of the same family: that of a mixture or of routing is the
    small model alone. ``certified_seeds`` have a certificate.
    """
    found = []
    for name in names:
        runs = load_runs(out / name)
        if not runs:
            continue
        block, family, domain = name.split("/")
        systems = {**BLOCKS[block][0], **SYSTEMS}
        at_rest = still(systems, systems)
        table = measures(Sample(runs, units=by_question), at_rest, generalists(systems))
        gains = hint_gains(runs)
        for system, entry in table.items():
            per_seed = [run[system].columns for run in runs.values()]
            pace = [columns["tokens"].sum() / columns["steps"].sum() for columns in per_seed]
            row = {"block": block, "family": family, "domain": domain, "system": system, "seeds": len(runs)}
            row |= {"tokens": entry["tokens"], "tokens_per_step_sd": stdev(pace) if len(pace) > 1 else None}
            for key in COLUMNS:
                value = entry.get(key) or UNKNOWN
                row |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
            row["learn_share"] = entry["learn_share"]
            learns = system in at_rest and at_rest[system] in table and at_rest[system] != system
            row["break_even_tokens"] = break_even(runs, system, at_rest[system]) if learns else None
            hinted = systems[system].learner.takes_hints
            row["hint_gain"] = gains[system]["value"] if hinted and system in gains else None
            certified = [
                run[system].header["certificate"] for run in runs.values() if "certificate" in run[system].header
            ]
            fixed = [(one["fixed"]["bound"], one["fixed"]["certificate_ratio"]) for one in certified]
            frozen = [bound / ratio for bound, ratio in fixed if ratio is not None and np.isfinite(ratio)]
            row["certified_seeds"] = len(certified)
            whole = 0 < len(fixed) == len(frozen)
            row["certificate_ratio"] = sum(bound for bound, _ in fixed) / sum(frozen) if whole else None
            row["slack"] = min((one["slack"] for proven in certified for one in proven.values()), default=None)
            found.append(row)
    return found


MEDIANS = ("relative_speedup", "speedup", "generation_speedup", "tokens_per_step")
"""What the headline has medians of; the first orders it."""


def headline(table: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over cells but ``TUNED``'s, by block and learning system, the best in net ``relative_speedup`` first."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for block in dict.fromkeys(row["block"] for row in table):
        known, medians = {**BLOCKS[block][0], **SYSTEMS}, {}
        for system in dict.fromkeys(row["system"] for row in table if row["block"] == block):
            cells = [row for row in table if (row["block"], row["system"]) == (block, system) and row["domain"] != TUNED
                     and row["relative_speedup"] is not None]  # fmt: skip
            if cells and known[system].learner.learns:
                medians[system] = {name: median(row[name] for row in cells) for name in MEDIANS} | {"cells": len(cells)}
        found[block] = dict(sorted(medians.items(), key=lambda item: -item[1][MEDIANS[0]]))
    return found


def by_kl(rows: Mapping[str, Method]) -> dict[str, str]:
    """For each row that descends TV, the same row descending KL."""
    plain = {name: replace(row, loss="kl", anchor=0.0) for name, row in rows.items()}
    return {
        name: other
        for name, row in rows.items()
        for other in rows
        if row.loss == "tv" and other != name and plain[name] == rows[other]
    }


def against_kl(out: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Net speed of each row that descends TV over the same row descending KL, all cells of a family together."""
    found = []
    for family in dict.fromkeys(name.split("/")[1] for name in names):
        own = [name for name in names if name.split("/")[1] == family and not name.endswith(f"/{TUNED}")]
        there = {name: next(iter(load_runs(out / name).values())) for name in own}
        for system, other in by_kl({**SPECIALISTS, **SYSTEMS}).items():
            cells = [(out / name, system, other) for name, run in there.items() if {system, other} <= set(run)]
            if cells:
                entry = {"family": family, "system": system, "against": other, "cells": len(cells)}
                found.append(entry | {"net": interval(net_over_cells(cells))})
    return found


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def write(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """The rows as CSV of six digits, replaced whole; empty cells where a number does not exist."""
    text = StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in table)
    write_whole(path, text.getvalue())
