"""Seconds a step of each system: measured side by side on the first requests of a stream, or foretold for a GPU.

All systems serve the same requests in turn, from day 0, everything charged but prefill, which all pay alike. A step
costs the same whatever the stream, so all requests that were timed alike count together. What a system pays beyond the
draft at rest, in plain steps, is taken to another machine as it is:

    seconds a step there = plain step there · (1 + γ·c + (step − step at rest)/(plain step)),

c being what that machine measured of the draft at rest, verification counted as one plain step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real.measure.contenders import Asked, Online, warm_up_online
from real.measure.contest import SECONDS, Totals, contest
from real.measure.intervals import FEWEST
from real.measure.served import device_name
from real.models.sampling import Sampling
from real.serving.settings import Serving
from real.studies.replayed import FROZEN, Recording, rows_of, system_of
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.streams import scheduled
from theory.runs.result import load_result, save_result
from theory.speculation.speedup import speedup

PLAIN = "plain"
"""What costs are counted in."""
KEPT = ("tokens", "steps", SECONDS, "seconds_prefill", "seconds_learn")
APART = 1
"""Seed of the resamples of time, which are drawn apart from those of texts."""
Columns = Mapping[str, Mapping[str, Sequence[float]]]
"""Of each system, what was measured of each request."""
Seconds = Mapping[str, np.ndarray]
"""Seconds a step by system, of the measurement and its resamples ``[resamples + 1]``, or one number ``[1]``."""


@dataclass(frozen=True)
class Machine:
    """Plain decoding and a draft at rest on another machine: seconds a plain step, and one drafted token in those."""

    plain: float
    cost_ratio: float
    name: str


def machine(path: Path) -> Machine:
    """What a bench measured (``python -m real bench``), sampled: its draft beside plain decoding, both compiled.

    Raises:
        ValueError: for a bench without them. FileNotFoundError: if none is there.
    """
    bench = load_result(path, "bench")
    rows = bench["rows"]["sampled"]["contenders"]
    lacking = [name for name in ("plain, compiled", "draft, compiled") if name not in rows]
    if lacking:
        raise ValueError(f"{path}: has no contender {lacking[0]!r}; run `python -m real bench` with it")
    plain, draft = (rows[name]["tokens_per_step"] / rows[name]["tokens_per_second"] for name in (
        "plain, compiled", "draft, compiled"))  # fmt: skip
    name = f"{bench['target']} on {bench['provenance']['device']}"
    return Machine(plain, (draft / plain - 1) / bench["gamma"], name)


def measured(
    models: Models, methods: Mapping[str, Method], serving: Serving, asked: Sequence[list[int]], seed: int, tell: Any
) -> dict[str, dict[str, list[float]]]:
    """Columns of every method over the requests, which they serve in turn.

    Raises:
        ValueError: for fewer requests than a spread can be told from.
    """
    if len(asked) < FEWEST:
        raise ValueError(f"timed={len(asked)}: at least {FEWEST} requests are timed, or seconds a step are given")
    warm_up_online(models, methods, serving, asked[0])
    contenders = {name: Online(models, method, serving, seed) for name, method in methods.items()}
    requests = [Asked(prompt, i + 1) for i, prompt in enumerate(asked)]
    runs = contest(contenders, requests, after=lambda served: tell(served, len(requests)))
    return {name: {key: [row[key] for row in run] for key in KEPT} for name, run in runs.items()}


def keep(path: Path, recording: Recording, count: int, given: Mapping[str, float], tell: Any) -> bool:
    """Write beside a recording what its systems cost: ``given`` seconds a step, or ``count`` requests timed.

    What is there of the same systems and as many requests stays as it is → whether anything was timed.

    Raises:
        ValueError: for a system that no seconds are given for, or too few requests.
    """
    header, place = recording.header, beside(path)
    names = [PLAIN, *(name for name in recording.rates if name == system_of(name))]
    if given:
        if lacking := [name for name in names[1:] if name not in given]:
            raise ValueError(f"seconds: none are given for {lacking[0]!r}; give them for every system of {path}")
        save_result(place, "step_costs", {"seconds": {name: given[name] for name in names if name in given}})
        return False
    there = load_result(place, "step_costs") if place.exists() else {}
    if there.get("requests") == count and set(there["columns"]) == set(names):
        return False
    serving = serving_of(header["serving"])
    models, stream = Models(family=header["family"]), scheduled(header["schedule"], header["seed"])
    methods = {name: rows_of(header["start"])[name] for name in names}
    asked = models.encoded(stream.prompts)[:count]
    columns = measured(models, methods, serving, asked, header["seed"], tell)
    save_result(place, "step_costs", {"requests": count, "columns": columns}, device_name(models.device))
    return True


def serving_of(settings: Mapping[str, Any]) -> Serving:
    """The settings that a recording's header has as plain values."""
    named = dict(settings)
    return Serving(**named | {"sampling": Sampling(**named["sampling"]), "costs": tuple(named["costs"])})


def beside(path: Path) -> Path:
    """Where the costs of a recording's systems are kept."""
    return path.with_name(f"{path.stem}-costs.json")


def totals(columns: Columns) -> Totals:
    """Columns of systems, summed and resampled."""
    return Totals({name: {key: np.array(column, float) for key, column in run.items()}
                   for name, run in columns.items()}, seed=APART)  # fmt: skip


def kept(paths: Sequence[Path]) -> list[tuple[Seconds, Totals | None]]:
    """For each recording seconds a step here, and the requests of it that were timed, if they were.

    Requests timed of the same systems, for one family and start, count together, whichever stream they are of.

    Raises:
        FileNotFoundError: if nothing is kept of one.
    """
    contents = [load_result(beside(path), "step_costs") for path in paths]
    alike: dict[Any, list[Columns]] = {}
    for path, content in zip(paths, contents, strict=True):
        if "columns" in content:
            alike.setdefault(_kind(path, content), []).append(content["columns"])
    together = {kind: here(totals(_joined(several))) for kind, several in alike.items()}
    return [
        ({name: np.array([one]) for name, one in content["seconds"].items()}, None)
        if "seconds" in content
        else (together[_kind(path, content)], totals(content["columns"]))
        for path, content in zip(paths, contents, strict=True)
    ]


def _kind(path: Path, content: Mapping[str, Any]) -> tuple[str, str, frozenset[str]]:
    return path.parent.parent.name, path.stem, frozenset(content["columns"])


def _joined(several: Sequence[Columns]) -> Columns:
    """The columns of several contests of the same systems, one after the other."""
    return {
        name: {key: [value for columns in several for value in columns[name][key]] for key in run}
        for name, run in several[0].items()
    }


def here(found: Totals) -> Seconds:
    """As measured on this machine, prefill left out."""
    return {
        name: (found.sum(name, SECONDS) - found.sum(name, "seconds_prefill")) / found.sum(name, "steps")
        for name in found.names
    }


def there(seconds: Seconds, at: Machine, gamma: int) -> Seconds:
    """As foretold by the speed law for another machine, from those here, plain decoding and the draft at rest among
    them."""
    beyond = {name: (one - seconds[FROZEN]) / seconds[PLAIN] for name, one in seconds.items() if name != PLAIN}
    return {name: at.plain / speedup(1.0, gamma, at.cost_ratio, update=more) for name, more in beyond.items()}
