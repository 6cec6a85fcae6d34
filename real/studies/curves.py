"""`python -m real curves`: what learning has saved after n tokens, from 100 on, and what returning shifts cost.

From a recording (``replayed.py``) follow the steps that every system is expected to take over the first n tokens, for
every n (``theory.speculation.speedup.steps_begun``), and with seconds a step (``step_costs.py``) the curve

    G(n) = steps at rest over n tokens × seconds a step at rest − the same of the system,

all its zeros included. Its band resamples requests, texts and timed ones apart; those of the first n tokens stand for n
tokens each time. A mixture is held against the best of its parts and the best fixed mixture in hindsight.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real.measure.contest import Totals
from real.measure.intervals import Interval, draws, half_width, interval
from real.studies import step_costs
from real.studies.replayed import FROZEN, SHARED, STATIC, Recording, recordings, system_of
from real.studies.step_costs import PLAIN, Machine, Seconds
from theory.runs.trace import significant
from theory.speculation.speedup import steps_begun

FIRST = 100
"""Tokens after which a curve begins."""
POINTS = 48
"""Where a curve has its band: evenly over the logarithm of n."""
AFTER = 1000
"""Tokens after a shift that are looked at on their own, and before one that they are held against."""
LEAST = 0.99
"""Of the best part's tokens per step, which a mixture is to reach."""
AGREES = 0.03
"""How far a replay may be from a real run, relative; or the interval, if that is wider."""


class Along:
    """Expected steps along a recording, request by request.

    Args:
        begun: of each system, the steps that begin at each token ``[n]``.
    """

    def __init__(self, recording: Recording, begun: Mapping[str, np.ndarray]):
        self.ends = np.cumsum(recording.lengths)
        self.begins = self.ends - recording.lengths
        self.units = np.unique(recording.units, return_inverse=True)[1]
        self.so_far = {name: np.concatenate([[0.0], np.cumsum(column)]) for name, column in begun.items()}
        self.so_far["tokens"] = np.arange(self.tokens + 1.0)

    @classmethod
    def of(cls, recording: Recording, gamma: int) -> "Along":
        """The steps of all systems, mixtures' parts and mixtures in hindsight at ``gamma`` drafted tokens."""
        rates = dict(recording.rates)
        for name, parts in recording.parts.items():
            rates |= {of_part(name, i): column for i, column in enumerate(parts.T)}
            rates[of_hindsight(name)] = recording.hindsight[name]
        inside = np.arange(recording.lengths.max()) < recording.lengths[:, None]
        rows = np.zeros((len(rates), *inside.shape))
        rows[:, inside] = np.stack(list(rates.values()))
        return cls(recording, dict(zip(rates, steps_begun(rows, gamma)[:, inside], strict=True)))

    @property
    def tokens(self) -> int:
        """Of all texts."""
        return int(self.ends[-1])

    def span(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Sums over the tokens ``start … stop − 1`` and over resamples of their requests ``[resamples + 1]``.

        Every resample is scaled to as many tokens.
        """
        low, high = np.clip(self.begins, start, stop), np.clip(self.ends, start, stop)
        met = high > low
        _, unit = np.unique(self.units[met], return_inverse=True)
        sums = {name: np.bincount(unit, column[high[met]] - column[low[met]]) for name, column in self.so_far.items()}
        weights = draws(len(sums["tokens"]))
        scale = (stop - start) / (weights @ sums["tokens"])
        return {name: scale * (weights @ column) for name, column in sums.items()}

    def relative(self, name: str, start: int, stop: int, base: str = FROZEN) -> np.ndarray:
        """Tokens a step over those of ``base`` between two tokens ``[resamples + 1]``."""
        sums = self.span(start, stop)
        return sums[base] / sums[name]


def of_part(mixture: str, number: int) -> str:
    """How one part of a mixture is called among systems."""
    return f"{mixture}, part {number}"


def of_hindsight(mixture: str) -> str:
    """How the best fixed mixture of the same parts is called."""
    return f"{mixture}, in hindsight"


def points(tokens: int) -> list[int]:
    """Where curves have bands: from ``FIRST`` tokens, or the last if there are fewer, to all."""
    return np.unique(np.geomspace(min(FIRST, tokens), tokens, POINTS).round().astype(int)).tolist()


def saved(along: Along, names: Sequence[str], seconds: Seconds) -> dict[str, dict[str, Any]]:
    """G of each system at ``points``, ``{tokens, value, low, high}``, and all its ``crossings`` of zero."""
    grid, curves = points(along.tokens), {name: list[Interval]() for name in names}
    for n in grid:
        sums = along.span(0, n)
        for name in names:
            curves[name].append(interval(sums[FROZEN] * seconds[FROZEN] - sums[name] * seconds[name]))
    return {
        name: {"tokens": grid}
        | {end: _short([point[end] for point in curve]) for end in ("value", "low", "high")}
        | {"crossings": crossings(mean(along, name, seconds), grid[0])}
        for name, curve in curves.items()
    }


def _short(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else float(significant(np.array(value), 4)) for value in values]


def mean(along: Along, name: str, seconds: Seconds) -> np.ndarray:
    """G after 0, 1, … tokens, of the sample itself."""
    return along.so_far[FROZEN] * seconds[FROZEN][0] - along.so_far[name] * seconds[name][0]


def crossings(curve: np.ndarray, first: int) -> list[float]:
    """Tokens n ≥ ``first`` at which the curve changes sign, straight between whole n; zeros that it only touches are
    none."""
    places = np.arange(len(curve))[first:]
    values = curve[first:]
    places, values = places[values != 0], values[values != 0]
    at = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
    low, high = values[at], values[at + 1]
    return (places[at] + (places[at + 1] - places[at]) * low / (low - high)).tolist()


def mixtures(recording: Recording, along: Along) -> dict[str, dict[str, Any]]:
    """Each mixture's tokens per step, over the best of its parts alone and over the best fixed mixture in hindsight."""
    sums, found = along.span(0, along.tokens), {}
    for name, told in recording.header["mixtures"].items():
        pace = {part: along.tokens / float(sums[of_part(name, i)][0]) for i, part in enumerate(told["parts"])}
        best = max(range(len(pace)), key=list(pace.values()).__getitem__)
        over_best, over_fixed = (sums[rival] / sums[name] for rival in (of_part(name, best), of_hindsight(name)))
        found[name] = told | {
            "tokens_per_step": along.tokens / float(sums[name][0]),
            "parts_tokens_per_step": pace,
            "best_part": told["parts"][best],
            "of_best_part": interval(over_best),
            "of_hindsight": interval(over_fixed),
            "holds": bool(over_best[0] >= LEAST),
        }
    return found


def stretches(recording: Recording, along: Along) -> list[dict[str, Any]]:
    """Every stretch between shifts: tokens per step over those at rest, in all of it and in its first ``AFTER`` tokens.

    Where a stretch's domain was there before, ``before`` are the last ``AFTER`` tokens of that visit and ``kept`` is
    the first ones' ratio over it: below 1, something was forgotten. ``sharing`` is the sharing mixture over the static.
    """
    names = [name for name in recording.rates if name != FROZEN]
    limits, found, last = _stretch_limits(recording, along), list[dict[str, Any]](), dict[str, tuple[int, int]]()
    for name, (start, stop) in limits:
        head = min(start + AFTER, stop)
        row: dict[str, Any] = {"name": name, "start": start, "tokens": stop - start, "returns": name in last}
        row["systems"] = {one: _of_stretch(along, one, start, head, stop, last.get(name)) for one in names}
        if {SHARED, STATIC} <= set(names):
            sides = {"whole": stop, "first": head}
            row["sharing"] = {key: interval(along.relative(SHARED, start, to, STATIC)) for key, to in sides.items()}
        last[name] = (max(start, stop - AFTER), stop)
        found.append(row)
    return found


def _of_stretch(
    along: Along, name: str, start: int, head: int, stop: int, before: tuple[int, int] | None
) -> dict[str, Interval]:
    first = along.relative(name, start, head)
    found = {"whole": interval(along.relative(name, start, stop)), "first": interval(first)}
    if before is not None:
        earlier = along.relative(name, *before)
        found |= {"before": interval(earlier), "kept": interval(_apart(first, earlier))}
    return found


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The ratio of two resampled numbers of different requests: the other's resamples in another order."""
    order = np.random.default_rng(0).permutation(len(other) - 1) + 1
    return one / np.concatenate([other[:1], other[order]])


def _stretch_limits(recording: Recording, along: Along) -> list[tuple[str, tuple[int, int]]]:
    """Each stretch's name, and its tokens from … to."""
    names, found = recording.header["segments"], []
    for number, name in enumerate(names):
        there = recording.segment == number
        found.append((name, (int(along.begins[there].min()), int(along.ends[there].max()))))
    return found


def agreement(along: Along, timed: Totals) -> dict[str, dict[str, Any]]:
    """Tokens per step of the timed requests, which were served, over what replay expects of the same requests."""
    found, served = {}, len(next(iter(timed.columns.values()))["steps"])
    lengths = along.ends[:served] - along.begins[:served]
    for name in timed.names:
        if name in along.so_far:
            steps = along.so_far[name][along.ends[:served]] - along.so_far[name][along.begins[:served]]
            expected = (timed.weights @ lengths) / (timed.weights @ steps)
            ratio = timed.rate(name, "steps") / expected
            limit = max(AGREES, half_width(ratio))
            found[name] = {"served": float(timed.rate(name, "steps")[0]), "replayed": float(expected[0])}
            found[name] |= {"ratio": interval(ratio), "holds": bool(abs(ratio[0] - 1) <= limit)}
    return found


def everything(out: Path, at: Machine | None = None) -> list[dict[str, Any]]:
    """A row for every recording under ``out``; ``at``: the machine that curves are foretold for as well.

    Raises:
        ValueError: if there is no recording. FileNotFoundError: if one has no costs.
    """
    found, kept = [], recordings(out)
    for (_, recording), (here, timed) in zip(kept, step_costs.kept([path for path, _ in kept]), strict=True):
        header = recording.header
        gamma, seconds = header["serving"]["gamma"], {"measured": here}
        if at is not None and PLAIN in here:
            seconds["predicted"] = step_costs.there(here, at, gamma)
        seconds = {kind: {name: one[system_of(name)] for name in recording.rates} for kind, one in seconds.items()}
        row = {key: header[key] for key in ("family", "start", "schedule", "seed", "segments", "provenance")}
        found.append(row | report(recording, gamma, seconds, timed))
    if not found:
        raise ValueError(f"out={str(out)!r}: no recording there; run `python -m real curves` with that folder")
    return found


def report(
    recording: Recording, gamma: int, seconds: Mapping[str, Seconds], timed: Totals | None = None
) -> dict[str, Any]:
    """One recording: paces, curves by each kind of ``seconds``, its mixtures, its stretches, and agreement.

    Args:
        recording: what was replayed.
        gamma: drafted tokens a step.
        seconds: a step, ``measured`` here and ``predicted`` elsewhere.
        timed: requests that were served.
    """
    along = Along.of(recording, gamma)
    names = [name for name in recording.rates if name != FROZEN]
    whole, head = along.span(0, along.tokens), along.span(0, min(AFTER, along.tokens))
    systems: dict[str, dict[str, Any]] = {}
    for name in recording.rates:
        systems[name] = {"tokens_per_step": interval(along.tokens / whole[name])}
        systems[name] |= {"relative": interval(whole[FROZEN] / whole[name])}
        systems[name] |= {"relative_first": interval(head[FROZEN] / head[name])}
        systems[name] |= {"seconds_per_step": {kind: interval(one[name]) for kind, one in seconds.items()}}
    for kind, one in seconds.items():
        for name, curve in saved(along, names, one).items():
            final = whole[FROZEN] * one[FROZEN] / (whole[name] * one[name])
            systems[name] |= {kind: curve | {"net": interval(final)}}
    found = {"tokens": along.tokens, "requests": len(recording.lengths), "systems": systems}
    found |= {"mixtures": mixtures(recording, along), "stretches": stretches(recording, along)}
    return found | {"agreement": {} if timed is None else agreement(along, timed)}
