"""Curves over a served stream: all methods on one axis of committed tokens, prompt by prompt, seeds pooled."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from figures.results import Table, labelled, stack, traces
from theory.runs.trace import Trace

NEEDS = ("segment", "tokens", "steps", "alpha_sum", "verified", "seconds_total")
POINTS = 160


def streams(root: Path, patterns: list[str]) -> dict[str, dict[str, dict[str, Trace]]]:
    """stream → seed → method → trace, from files ``real/stream/seed/method``.

    Without patterns, the streams that were served under the most seeds; ``--rows 'greedy/*'`` shows another.
    """
    found: dict[str, dict[str, dict[str, Trace]]] = defaultdict(lambda: defaultdict(dict))
    for name, trace in traces(root, "real", patterns, needs=NEEDS).items():
        stream, seed, method = ["stream", "0", *name.split("/")][-3:]
        found[stream][seed][method] = trace
    most = 0 if patterns else max(map(len, found.values()))
    return {stream: runs_of_seeds for stream, runs_of_seeds in found.items() if len(runs_of_seeds) >= most}


def place(runs: dict[str, Trace]) -> np.ndarray:
    """Committed tokens after 0, 1, … prompts, mean over the methods: the axis on which prompts and shifts line up.

    Raises:
        ValueError: if the methods served different numbers of prompts.
    """
    served = {method: len(trace.columns["tokens"]) for method, trace in runs.items()}
    if len(set(served.values())) > 1:
        raise ValueError(f"methods of one stream and seed must serve the same prompts; prompts served: {served}")
    return np.mean([cumulative(trace, "tokens") for trace in runs.values()], axis=0)


def cumulative(trace: Trace, column: str) -> np.ndarray:
    """Running total of ``column``, starting at 0."""
    return np.concatenate([[0.0], np.cumsum(trace.columns[column], dtype=float)])


def firsts(runs: dict[str, Trace]) -> np.ndarray:
    """Prompts that begin a segment."""
    segment = next(iter(runs.values())).columns["segment"]
    return np.flatnonzero(np.diff(segment, prepend=segment[0] - 1))


def shifts(runs_of_seeds: dict[str, dict[str, Trace]]) -> tuple[list[float], list[str]]:
    """Where segments start (mean over seeds, committed tokens) and their names."""
    starts = [place(runs)[firsts(runs)] for runs in runs_of_seeds.values()]
    number = min(map(len, starts))
    runs = next(iter(runs_of_seeds.values()))
    trace = next(iter(runs.values()))
    given, codes = trace.header.get("segments") or [], trace.columns["segment"][firsts(runs)].tolist()
    names = [str(given[code]) if code < len(given) else f"segment {code}" for code in codes]
    return np.mean([start[:number] for start in starts], axis=0).tolist(), names[:number]


def grid_of(runs_of_seeds: dict[str, dict[str, Trace]]) -> np.ndarray:
    """Where curves are shown: evenly over the shortest seed's stream."""
    end = min(place(runs)[-1] for runs in runs_of_seeds.values())
    return np.linspace(end / POINTS, end, POINTS)


def ratio(
    runs_of_seeds: dict[str, dict[str, Trace]], above: str, below: str, grid: np.ndarray, window: float | None = None
) -> dict[str, Table]:
    """method → curve of Σ``above`` / Σ``below`` over the last ``window`` committed tokens (all so far if None).

    A window never reaches back over a shift; until a quarter of it has passed since, nothing is shown (nan).
    ``value`` pools the seeds; ``low`` and ``high`` are the extremes over seeds.
    """
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for runs in runs_of_seeds.values():
        axis = place(runs)
        begin = np.zeros_like(grid)
        if window is not None:
            starts = axis[firsts(runs)]
            since = starts[np.searchsorted(starts, grid, side="right") - 1]
            begin = np.where(grid - since >= window / 4, np.maximum(grid - window, since), np.nan)
        for method, trace in runs.items():
            totals = [cumulative(trace, above), cumulative(trace, below)]
            parts[method].append(np.array([np.interp(grid, axis, t) - np.interp(begin, axis, t) for t in totals]))
    return {method: curve(np.array(pairs), grid) for method, pairs in parts.items()}


def curve(pairs: np.ndarray, grid: np.ndarray) -> Table:
    """``pairs`` [seeds, 2, points] of sums → pooled ratio and its extremes over seeds."""
    above, below = np.moveaxis(pairs, 1, 0)
    each = above / np.where(below > 0, below, np.nan)
    pooled = above.sum(0) / np.where(below.sum(0) > 0, below.sum(0), np.nan)
    return {"committed_tokens": grid, "value": pooled, "low": each.min(0), "high": each.max(0)}


def long(curves: dict[str, Table], stream: str, quantity: str, starts: list[float], names: list[str]) -> Table:
    """One table of all methods' curves, each entry with its segment's name and start."""
    tables = []
    for method, curve in curves.items():
        place_of = np.searchsorted(starts, curve["committed_tokens"], side="right") - 1
        columns = curve | {"segment": np.array(names)[place_of], "segment_start": np.array(starts)[place_of]}
        tables.append(labelled(columns, stream=stream, quantity=quantity, method=method))
    return stack(tables)


def window_of(runs_of_seeds: dict[str, dict[str, Trace]]) -> float:
    """Width of the rolling mean: 1,000 committed tokens, less on a short stream."""
    return min(1000.0, min(place(runs)[-1] for runs in runs_of_seeds.values()) / 10)
