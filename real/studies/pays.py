"""`python -m real pays`: does learning pay on the clock? A mixture against what learns nothing, each by its own costs.

A cell is one domain served to one target, all systems side by side, prompt by prompt, learning charged; draft lengths
and resting parts are chosen by costs that were measured before, alike for every system. Streams are the large ones,
whose prompts are all different. A block is all cells of one family, start, temperature and way to run the models; its
pooled ratio is over the tokens and seconds of all cells together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from real.measure.contest import SECONDS, verdict
from real.measure.intervals import interval, lower_limit
from real.measure.low_noise import expected_tokens, without_luck
from real.measure.summary import Sample, by_question, little_overlap, load_runs, net_over_cells, whole
from real.models.sampling import Sampling
from real.serving.settings import Serving
from real.studies.experiments import Experiment
from real.systems.loaded import FAMILIES
from real.traffic.streams import domains
from theory.runs.trace import Trace

TUNED = "session"
"""The domain on which hyper-parameters were set; no claim is about it."""
HELD_OUT = ("javascript", "cmake")
"""Domains made after that, on whose kind no embedded model has trained; they are reported beside the others."""
HOME = "prose"
"""The domain that a specialist was trained on; the others are shifts to it."""
RETURNS = "returns"
"""A cell that leaves home twice and returns; it is in no median, its stretches at home after a shift are pooled."""
EARLY = 1000
"""Committed tokens that count as the first after a shift."""
POOLED = 0.985
"""Of frozen's speed over all cells of a block together, by the one-sided 95 % limit."""


class BlockOf(NamedTuple):
    """Cells that are judged together. ``net`` and ``reach``: of frozen's speed, the least median and what is hoped.

    ``gamma``: the longest draft that costs may choose.
    """

    start: str
    sampling: Sampling
    compiled: bool
    net: float
    reach: float
    gamma: int = 4


BLOCKS = {
    "specialist": BlockOf("specialist", Sampling(1.0), False, 1.10, 1.15),
    "generalist": BlockOf("generalist", Sampling(1.0), False, 1.02, 1.05),
    "specialist-compiled": BlockOf("specialist", Sampling(1.0), True, 1.06, 1.10),
    "generalist-compiled": BlockOf("generalist", Sampling(1.0), True, 1.00, 1.02),
    "specialist-greedy": BlockOf("specialist", Sampling(0.0), False, 1.9, 1.9, 8),
    "generalist-greedy": BlockOf("generalist", Sampling(0.0), False, 1.9, 1.9, 8),
}
FROZEN, LEARNS, MEMORY, COPIES, FIXED = "draft", "copies-mixture", "tv-mixture", "copies", "fixed-mixture"
ADAPTERS = ("adapter-ogd", "adapter-ensemble")
"""Named before the runs: the draft alone, the system whose gain is the claim, the same with a residual memory, what
learns nothing from traffic, and the learners of an adapter."""


def name_of(system: str, start: str) -> str:
    """The name of a row for a start, as in ``ROWS``."""
    if system in (FROZEN, COPIES, FIXED):
        return f"{start}-{system}"
    return system if start == "generalist" or system == "ngram" else f"{start}-{system}"


def systems(block: str) -> dict[str, str]:
    """The systems of a block by the name of their row; where decoding is greedy n-grams and adapters are the rivals."""
    start, sampling = BLOCKS[block][:2]
    rivals = ("ngram", *ADAPTERS) if sampling.greedy else (COPIES, FIXED)
    return {system: name_of(system, start) for system in (FROZEN, LEARNS, MEMORY, *rivals)}


def cells(
    chosen: Sequence[str], families: Sequence[str], names: Sequence[str], tokens: int, seed: int = 0
) -> dict[str, Experiment]:
    """One experiment for every block, family and domain, of so many new tokens, or fewer where texts end.

    Raises:
        ValueError: for a block, family or domain that is not there, or too few tokens for an interval.
    """
    for name, given, known in (
        ("block", chosen, BLOCKS),
        ("family", families, FAMILIES),
        ("domain", names, (*domains(), *HELD_OUT, RETURNS)),
    ):
        for value in given:
            if value not in known:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(known)}")
    new = Serving().max_new_tokens
    if tokens < 8 * new:
        raise ValueError(f"tokens={tokens!r}: at least {8 * new}, eight requests, or there is no interval")
    return {
        f"{block}/{family}/{name}": Experiment(
            schedule(name, -(-tokens // new)),
            tuple(systems(block).values()),
            Serving(BLOCKS[block].gamma, sampling=BLOCKS[block].sampling),
            (seed,),
            family,
            by_cost=True,
            compiled=BLOCKS[block].compiled,
        )
        for block in chosen
        for family in families
        for name in names
    }


def schedule(name: str, prompts: int) -> str:
    """The stream of a cell: so many prompts of a domain; for ``RETURNS`` 7/3 as many, 4/7 of these at home after a
    shift."""
    if name != RETURNS:
        return f"{name}-large:{prompts}"
    short, long = -(-prompts // 3), -(-2 * prompts // 3)
    parts = ((HOME, short), ("sql", short), (HOME, long), ("python", short), (HOME, long))
    return ",".join(f"{domain}-large:{count}" for domain, count in parts)


def finished(out: Path) -> list[str]:
    """Cells all of whose systems have results under ``out``, whichever call made them."""
    found = [path.parent.relative_to(out).as_posix() for path in sorted(out.glob("*/*/*/0"))]
    known = {name: systems(block).values() for name in found if (block := name.split("/")[0]) in BLOCKS}
    return [name for name, rows in known.items() if all((out / name / "0" / f"{row}.json").exists() for row in rows)]


def early(columns: Mapping[str, np.ndarray], limit: int = EARLY) -> np.ndarray:
    """The requests that begin within the first ``limit`` committed tokens: bool ``[requests]``."""
    tokens = columns["tokens"]
    return np.cumsum(tokens) - tokens < limit


def table(out: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """One row a system and cell: tokens, tokens a step, and net speed over frozen's, whole and at first.

    ``net_calm`` is the low-noise net: without the luck of verification. ``net_apart``: without the prompts that overlap
    with earlier ones.
    """
    rows = []
    for name in names:
        runs = load_runs(out / name)
        sample, apart = (Sample(runs, keep, units=by_question) for keep in (whole, little_overlap))
        block, family, domain = name.split("/")
        known = systems(block)
        frozen = known[FROZEN]
        first = sample.part(early(sample.columns[frozen]))
        for system, row in known.items():
            entry = {"block": block, "family": family, "domain": domain, "system": system}
            entry |= {"tokens": int(sample.columns[row]["tokens"].sum()), "seconds": float(sample.sum(row, SECONDS)[0])}
            entry |= _limits("tokens_per_step", sample.rate(row, "steps"))
            entry |= _limits("steps_ratio", sample.ratio(row, frozen, "steps"))
            entry |= _limits("net", sample.ratio(row, frozen))
            entry |= _limits("net_calm", without_luck(sample, row) / without_luck(sample, frozen))
            entry |= _limits("net_apart", apart.ratio(row, frozen))
            entry |= _limits("net_first", first.ratio(row, frozen))
            entry |= _limits("net_calm_first", without_luck(first, row) / without_luck(first, frozen))
            entry |= {"learn_share": float(sample.per(row, "seconds_learn", SECONDS)[0])}
            rows.append(entry)
    return rows


def _limits(name: str, ratio: np.ndarray) -> dict[str, float | None]:
    found = interval(ratio)
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def pooled(
    out: Path, names: Sequence[str], one: str, other: str, keep: Callable[[Trace], np.ndarray] = whole
) -> np.ndarray:
    """Net ratio of two systems over all cells together, each cell's requests resampled on their own."""
    known = [(out / name, systems(name.split("/")[0])) for name in names]
    return net_over_cells([(folder, row[one], row[other]) for folder, row in known], keep)


def best_rival(rows: Sequence[Mapping[str, Any]], rivals: Sequence[str]) -> dict[tuple[str, str], float]:
    """The net ratio of the best of these systems, by family and domain."""
    found: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["system"] in rivals and row["net"] is not None:
            place = row["family"], row["domain"]
            found[place] = max(found.get(place, 0.0), row["net"])
    return found


def headline(out: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For every block and family: medians over the domains but ``TUNED``'s and those held out, pooled limits, and
    whether they hold. Against the best rival, and in the first tokens, ``HOME`` is left out too: it is no shift."""
    found = []
    for block, family in dict.fromkeys((row["block"], row["family"]) for row in rows):
        ours = [row for row in rows if (row["block"], row["family"]) == (block, family)]
        ours = [row for row in ours if row["domain"] not in (TUNED, *HELD_OUT, RETURNS)]
        if not ours:
            continue
        names = [f"{block}/{family}/{domain}" for domain in dict.fromkeys(row["domain"] for row in ours)]
        learns = [row for row in ours if row["system"] == LEARNS]
        known, wanted = systems(block), BLOCKS[block]
        rivals = [system for system in known if system not in (LEARNS, MEMORY)]
        best = best_rival(ours, rivals)
        shifted = [row for row in learns if row["domain"] != HOME]
        against = [row["net"] / best[family, row["domain"]] for row in shifted]
        first = [row["net_first"] for row in shifted if row["net_first"] is not None]
        calm_first = [row["net_calm_first"] for row in shifted if row["net_calm_first"] is not None]
        all_cells = pooled(out, names, LEARNS, FROZEN)
        entry = {"block": block, "family": family, "cells": len(names), "tokens": sum(row["tokens"] for row in learns)}
        entry |= {"median_net": median(row["net"] for row in learns), "least": wanted.net, "reach": wanted.reach}
        entry |= {"steps_ratios": sorted((row["steps_ratio"] for row in learns), reverse=True)}
        entry |= {"pooled": interval(all_cells), "pooled_limit": lower_limit(all_cells)}
        entry |= {"pooled_holds": verdict(all_cells, POOLED, one_sided=True).holds}
        entry |= {"median_against_best_rival": median(against) if against else None}
        entry |= {"median_calm": median(row["net_calm"] for row in learns)}
        unlike = [row["net_apart"] for row in learns if row["net_apart"] is not None]
        entry |= {"median_apart": median(unlike) if unlike else None}
        entry |= {"median_first": median(first) if first else None}
        entry |= {"median_calm_first": median(calm_first) if calm_first else None}
        if wanted.sampling.greedy:
            whole = {rival: pooled(out, names, rival, FROZEN) for rival in rivals if rival != FROZEN}
            leader = max(whole, key=lambda rival: whole[rival][0])
            entry |= {"best_rival": leader, "pooled_against_best_rival": interval(all_cells / whole[leader])}
        found.append(entry)
    return found


def home(out: Path, names: Iterable[str]) -> dict[str, Any] | None:
    """What the mixture costs where nothing shifts: a specialist's home cells, all families together; None without.

    ``calm`` is the low-noise net, which decides.
    """
    return _at_home(out, [name for name in names if name.endswith(f"/{HOME}")], whole)


def returns(out: Path, names: Iterable[str]) -> dict[str, Any] | None:
    """The same at home after shifts, of the cells that return."""
    return _at_home(out, [name for name in names if name.endswith(f"/{RETURNS}")], returned)


def returned(trace: Trace) -> np.ndarray:
    """The requests of stretches whose domain was there before."""
    segments = trace.header["segments"]
    again = [name in segments[:place] for place, name in enumerate(segments)]
    return np.array(again)[trace.columns["segment"].astype(int)]


def _at_home(out: Path, cells: Sequence[str], keep: Callable[[Trace], np.ndarray]) -> dict[str, Any] | None:
    cells = [name for name in cells if name.startswith("specialist")]
    if not cells:
        return None
    known = [(out / name, systems(name.split("/")[0])) for name in cells]
    pairs = [(folder, row[LEARNS], row[FROZEN]) for folder, row in known]
    measured, calm = net_over_cells(pairs, keep), net_over_cells(pairs, keep, expected_tokens)
    found = {"net": interval(measured), "limit": lower_limit(measured)}
    return {"cells": cells} | found | {"calm": interval(calm), "calm_limit": lower_limit(calm)}
