"""What the runs say: totals over totals, intervals by a paired bootstrap over prompts, one ``summary.json``.

A speedup is (Σtokens/Σseconds) of a method over that of plain decoding on the same prompts; each resample draws the
same prompts for every method. Never a mean of ratios.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from real.measure.contest import SECONDS, Totals, quotient
from real.measure.intervals import FEWEST, UNKNOWN, Interval, draws, interval
from real.measure.low_noise import followed, low_noise_net
from real.systems.rows import NAMED
from real.traffic.overlap import MOST, overlapping
from real.traffic.streams import scheduled
from theory.runs.kind import read
from theory.runs.result import load_result
from theory.runs.trace import KIND, Trace


def load_runs(folder: Path) -> dict[int, dict[str, Trace]]:
    """seed → method → trace of one experiment's folder."""
    runs: dict[int, dict[str, Trace]] = {}
    for path in sorted(folder.glob("*/*.json")):
        runs.setdefault(int(path.parent.name), {})[path.stem] = Trace.load(path)
    return runs


def made_by(out: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The different provenances of the cells' runs, without their times."""
    found: list[dict[str, Any]] = []
    for name in names:
        for traces in load_runs(out / name).values():
            made = next(iter(traces.values())).header["provenance"]
            entry = {key: made[key] for key in ("commit", "dirty", "command", "versions", "device")}
            if entry not in found:
                found.append(entry)
    return found


def whole(trace: Trace) -> np.ndarray:
    """Every prompt."""
    return np.ones(len(trace.columns["tokens"]), bool)


def by_place(trace: Trace) -> np.ndarray:
    """Every prompt of a run is a unit of its own."""
    return np.arange(len(trace.columns["tokens"]))


def by_prompt(trace: Trace) -> np.ndarray:
    """The turns of a prompt are drawn together."""
    return trace.columns["prompt"]


def by_question(trace: Trace) -> np.ndarray:
    """Prompts of a scheduled run by domain and question: one that another seed serves too is drawn with its twin."""
    settings = trace.header["settings"]
    served = scheduled(settings["schedule"], settings["seed"]).prompts
    return np.array([f"{prompt.category}/{prompt.question_id}" for prompt in served])


def little_overlap(trace: Trace) -> np.ndarray:
    """Prompts of a scheduled run, at most half of whose shingles stood in those served before: for ``Sample.keep``."""
    settings = trace.header["settings"]
    shares = overlapping(scheduled(settings["schedule"], settings["seed"]).prompts)
    return np.array(shares)[trace.columns["prompt"].astype(int)] <= MOST


def pooled(traces: Sequence[Trace], keep: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
    """The columns that several runs have, one after the other, at the prompts that are kept."""
    names = [name for name in traces[0].columns if all(name in trace.columns for trace in traces)]
    return {name: np.concatenate([trace.columns[name] for trace in traces]).astype(float)[keep] for name in names}


class Sample(Totals):
    """Totals over the prompts of all seeds, resampled alike for every method.

    ``keep`` chooses prompts by a trace's columns, ``units`` names what is drawn together.
    """

    def __init__(
        self,
        runs: dict[int, dict[str, Trace]],
        keep: Callable[[Trace], np.ndarray] = whole,
        seed: int = 0,
        units: Callable[[Trace], np.ndarray] = by_place,
    ):
        firsts = [next(iter(run.values())) for run in runs.values()]
        chosen = np.concatenate([keep(first) for first in firsts])
        names, unit = np.unique(np.concatenate([units(first) for first in firsts])[chosen], return_inverse=True)
        methods = next(iter(runs.values()))
        columns = {name: pooled([run[name] for run in runs.values()], chosen) for name in methods}
        super().__init__(columns, draws(len(names), seed)[:, unit])


def tokens_of(totals: Totals, name: str) -> np.ndarray:
    """The tokens that a system has committed ``[resamples + 1]``."""
    return totals.sum(name, "tokens")


def net_over_cells(
    cells: Iterable[tuple[Path, str, str]],
    keep: Callable[[Trace], np.ndarray] = whole,
    gained: Callable[[Totals, str], np.ndarray] = tokens_of,
) -> np.ndarray:
    """Net ratio of two systems over all cells together, each cell's requests resampled on their own.

    Args:
        cells: a folder of runs, and the names of the two systems there.
        keep: chooses requests, as in ``Sample``.
        gained: what a system has for its seconds ``[resamples + 1]``, if not the tokens that it committed.

    Returns:
        ``[resamples + 1]``, the sample itself first.
    """
    above, below = np.zeros((2, len(draws(2)))), np.zeros((2, len(draws(2))))
    for i, (folder, *pair) in enumerate(cells):
        sample = Sample(load_runs(folder), keep, i, by_question)
        for sums, system in zip((above, below), pair, strict=True):
            sums += np.stack([gained(sample, system), sample.sum(system, SECONDS)])
    return (above[0] / above[1]) / (below[0] / below[1])


def measures(
    sample: Totals, frozen_of: Mapping[str, str] | None = None, generalist_of: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Every method's numbers with intervals: speed, acceptance, and what learning adds and costs.

    frozen_of: the method that stands still beside each; ``frozen`` beside all if left out. generalist_of: the one that
        was trained on everything; ``generalist`` beside all if left out.
    """
    table = {}
    for method in sample.names:
        still = "frozen" if frozen_of is None else frozen_of.get(method, "")
        trained = "generalist" if generalist_of is None else generalist_of.get(method, "")
        seconds, learn = float(sample.sum(method, SECONDS)[0]), float(sample.sum(method, "seconds_learn")[0])
        drafted = sample.per(method, "seconds_draft", "drafted")
        entry = {
            "tokens_per_step": interval(sample.rate(method, "steps")),
            "alpha": interval(sample.per(method, "alpha_sum", "verified")),
            "accepted_fraction": interval(sample.per(method, "accepted", "drafted")),
            "tokens_per_second": interval(sample.rate(method)),
            "speedup": interval(sample.ratio(method, "plain")),
            "generation_speedup": interval(_generating(sample, method) / _generating(sample, "plain")),
            "cost_ratio": interval(drafted * sample.per("plain", "steps", "seconds_verify")),
            "gap_closed": _gap_closed(sample, method, still, trained),
            "tokens": int(sample.sum(method, "tokens")[0]),
            "learn_share": learn / seconds,
            "unattributed_share": float(sample.sum(method, "seconds_unattributed")[0]) / seconds,
        }
        if still in sample.names:
            entry["relative_speedup"] = interval(sample.ratio(method, still))
            entry["relative_tokens_per_step"] = interval(sample.ratio(method, still, "steps"))
        if followed(sample.columns):
            entry["low_noise_speedup"] = low_noise_net(sample, method, "plain")
            entry["low_noise_net"] = low_noise_net(sample, method, still) if still in sample.names else dict(UNKNOWN)
        table[method] = entry
    return table


def _generating(sample: Totals, method: str) -> np.ndarray:
    """Tokens a second with learning left out."""
    return quotient(sample.sum(method, "tokens"), sample.sum(method, SECONDS) - sample.sum(method, "seconds_learn"))


def _gap_closed(sample: Totals, method: str, frozen: str, generalist: str) -> Interval:
    """(alpha − frozen's) / (generalist's − frozen's); None without a frozen draft, a generalist or an alpha."""
    if not {frozen, generalist} <= set(sample.names):
        return dict(UNKNOWN)
    own, least, best = (sample.per(name, "alpha_sum", "verified") for name in (method, frozen, generalist))
    return interval((own - least) / (best - least))


def break_even(runs: dict[int, dict[str, Trace]], method: str, still: str = "frozen") -> float | None:
    """Committed tokens after which the method's time a token so far stays below that of the one that stands still.

    None if never, or where a run has fewer than ``FEWEST`` prompts.
    """
    found = []
    for run in runs.values():
        tokens, theirs_tokens = (np.cumsum(run[name].columns["tokens"]) for name in (method, still))
        if len(tokens) < FEWEST:
            return None
        seconds, theirs_seconds = (np.cumsum(run[name].columns[SECONDS]) for name in (method, still))
        behind = np.flatnonzero(seconds / tokens >= theirs_seconds / theirs_tokens)
        last = int(behind[-1]) + 1 if len(behind) else 0
        found.append(float(tokens[last]) if last < len(tokens) else np.inf)
    middle = float(np.median(found))
    return middle if np.isfinite(middle) else None


def hint_gains(runs: dict[int, dict[str, Trace]], seed: int = 0) -> dict[str, Interval]:
    """Σ‖grad − hint‖²/Σ‖grad‖² by method over all seeds; the interval is a bootstrap over rounds."""
    gains = {}
    for method in next(iter(runs.values())):
        rounds = [run[method].header["rounds"] for run in runs.values() if run[method].header["rounds"]]
        if rounds:
            error, energy = (np.concatenate([r[key] for r in rounds]) for key in ("hint_error", "gradient"))
            counts = draws(len(error), seed)
            gains[method] = interval((counts @ error) / (counts @ energy))
    return gains


def claim(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Does the learner named beforehand pay: +10 % tokens per step over frozen, and surely more of both than frozen?"""
    if NAMED not in table or "frozen" not in table:
        return {}
    pace, net = table[NAMED]["relative_tokens_per_step"], table[NAMED]["relative_speedup"]
    holds = pace["value"] >= 1.1 and (pace["low"] or 0) > 1 and (net["low"] or 0) > 1
    return {"learner": NAMED, "relative_tokens_per_step": pace, "relative_speedup": net, "holds": bool(holds)}


def segments(runs: dict[int, dict[str, Trace]]) -> Iterable[tuple[str, Callable[[Trace], np.ndarray]]]:
    """The parts of a stream that are summed up: whole, each segment, and the last half of the first shifted one."""
    trace = next(iter(next(iter(runs.values())).values()))
    yield "whole", whole
    for number, name in enumerate(trace.header["segments"]):
        key = f"{number}:{name}"
        yield key, lambda trace, number=number: trace.columns["segment"] == number
    if len(trace.header["segments"]) > 1:
        yield "shifted_last_half", _last_half


def _last_half(trace: Trace) -> np.ndarray:
    shifted = np.flatnonzero(trace.columns["segment"] == 1)
    chosen = np.zeros(len(trace.columns["segment"]), bool)
    chosen[shifted[len(shifted) // 2 :]] = True
    return chosen


def real_part(folder: Path) -> dict[str, Any]:
    """One experiment's summary: methods over the whole stream, and over each part of it."""
    runs = load_runs(folder)
    parts = {name: measures(Sample(runs, keep, units=by_question)) for name, keep in segments(runs)}
    methods, gains = parts.pop("whole"), hint_gains(runs)
    for method, entry in methods.items():
        entry["hint_gain"] = gains.get(method, dict(UNKNOWN))
        entry["break_even_tokens"] = break_even(runs, method) if method not in ("plain", "frozen") else None
    shifted = parts.get("shifted_last_half", methods)
    first = next(iter(next(iter(runs.values())).values()))
    settings = {key: value for key, value in first.header["settings"].items() if key not in ("method", "seed")}
    gaps = {
        method: entry["gap_closed"] for method, entry in shifted.items() if entry["gap_closed"]["value"] is not None
    }
    found = {"methods": methods, "gap_closed": gaps, "claim": claim(shifted)}
    return found | {"parts": parts, "seeds": len(runs), "settings": settings}


def sim_part(folder: Path) -> dict[str, Any]:
    """Rows, violated bounds (regret and acceptance) and how tight the bounds are, from the simulator's headers."""
    headers = [read(path, KIND) for path in sorted(folder.rglob("*.json"))]
    tightness = [h["tightness"] for h in headers if h.get("tightness") is not None]
    return {
        "rows": len(headers),
        "checked": sum(bool(h.get("checked")) for h in headers),
        "with_a_regret_bound": sum(bool({"bound", "guarantee"} & {*h.get("checked", ())}) for h in headers),
        "violations": sum(h.get("violations", 0) for h in headers),
        "median_tightness": median(tightness) if tightness else None,
    }


def summarise(out: Path, main: str) -> dict[str, Any]:
    """``summary.json`` of a results folder: ``sim``, ``real`` (experiment ``main``), the others, agreement."""
    folders = [path for path in sorted((out / "real").iterdir()) if any(path.glob("*/*.json"))]
    real = {path.name: real_part(path) for path in folders}
    if main not in real:
        raise ValueError(f"main={main!r}: no results of that experiment under {out / 'real'}; there: {', '.join(real)}")
    summary = {"sim": sim_part(out / "sim"), "main": main, "real": real.pop(main), "others": real}
    agreement = out / "agreement.json"
    return summary | {"agreement": load_result(agreement, "agreement") if agreement.exists() else None}
