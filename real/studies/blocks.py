"""Many blocks, several at once: a block is one experiment's stream under one seed, served by every method in turn.

Methods of a block share a process, so their seconds can be compared; blocks share nothing but the machine.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch

from real.measure.costs import Costs, measure
from real.measure.served import device_name, run_block
from real.models.load import quiet
from real.serving.settings import Serving
from real.studies.experiments import Experiment
from real.systems.loaded import Models, compile_for
from real.systems.rows import ROWS, Method
from real.traffic.streams import Stream, scheduled
from theory.runs.result import load_result, save_result
from theory.runs.trace import plain
from theory.runs.workers import at_once

TIMED, TIMED_SEED = "session:16", 1
"""The requests that costs are measured on, of the domain on which hyper-parameters were set."""


class Block(NamedTuple):
    """One experiment under one seed; its results lie in ``out/<name>/<seed>/``."""

    name: str
    seed: int
    experiment: Experiment


def blocks(experiments: Mapping[str, Experiment]) -> list[Block]:
    """Every seed of the experiments, in order."""
    return [Block(name, seed, row) for name, row in experiments.items() for seed in row.seeds]


def run_blocks(
    chosen: list[Block], out: Path, jobs: int, progress: Callable[[Block, int, int], None]
) -> Iterator[tuple[Block, bool]]:
    """Run the blocks, ``jobs`` at a time, one thread each → each as it ends, and whether it had to be run.

    ``progress`` is told (block, prompts done, prompts in all).

    Raises:
        SettingsDiffer: if a result made with other settings is in the way; the other results stay.
        Owned: if another process is serving a block. ChildProcessError: if one that serves blocks was killed.
    """
    yield from at_once(_run, [(block, out) for block in chosen], jobs, progress)


def _run(block: Block, out: Path, progress: Callable[[Block, int, int], Any]) -> tuple[Block, bool]:
    torch.set_num_threads(1)
    quiet()
    experiment = block.experiment
    stream = scheduled(experiment.schedule, block.seed)
    models, methods = Models(family=experiment.family), {name: ROWS[name] for name in experiment.methods}
    ran = run_block(
        models,
        methods,
        experiment.schedule,
        stream,
        _servings(experiment, models, methods, stream, out),
        block.seed,
        out / block.name / str(block.seed),
        lambda done, total: progress(block, done, total),
        experiment.certify,
    )
    return block, ran


def _servings(
    experiment: Experiment, models: Models, methods: Mapping[str, Method], stream: Stream, out: Path
) -> dict[str, Serving]:
    """How each method serves: as the experiment says, or by the costs of its steps, kept under ``out``.

    Models are compiled first, where they are to be.
    """
    serving = experiment.serving
    if experiment.compiled:
        compile_for(models, list(methods.values()), stream, serving)
    if not experiment.by_cost:
        return dict.fromkeys(methods, serving)
    found = _costs_of(experiment, models, methods, out)
    return {name: found[name].applied(serving) if name in found else serving for name in methods}


def _costs_of(experiment: Experiment, models: Models, methods: Mapping[str, Method], out: Path) -> dict[str, Costs]:
    """The costs on disk, or measured and written there."""
    told = {"family": experiment.family, "compiled": experiment.compiled, **plain(experiment.serving)}
    told |= {"methods": {name: plain(row) for name, row in methods.items()}, "device": device_name(models.device)}
    key = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    path = out / "costs" / f"{key}.json"
    if not path.exists():
        asked = models.encoded(scheduled(TIMED, TIMED_SEED).prompts)
        found = measure(models, methods, experiment.serving, asked)
        save_result(path, "costs", {"settings": told, "costs": {name: one._asdict() for name, one in found.items()}})
    kept = load_result(path, "costs")["costs"]
    return {name: Costs(*(tuple(map(tuple, rows)) for rows in one.values())) for name, one in kept.items()}


def costs_first(experiments: Mapping[str, Experiment], out: Path) -> Iterator[str]:
    """Measure the costs that the experiments choose by, one after the other, before anything is served → each's name.

    Experiments that differ in what they serve have the same costs.
    """
    by_cost = {name: row for name, row in experiments.items() if row.by_cost}
    alike = {(row.methods, row.serving, row.family, row.compiled): name for name, row in reversed(by_cost.items())}
    yield from at_once(_measure_costs, [(name, experiments[name], out) for name in reversed(alike.values())], 1)


def _measure_costs(name: str, experiment: Experiment, out: Path, progress: Callable[..., Any]) -> str:
    torch.set_num_threads(1)
    quiet()
    models, methods = Models(family=experiment.family), {name: ROWS[name] for name in experiment.methods}
    _servings(experiment, models, methods, scheduled(experiment.schedule, experiment.seeds[0]), out)
    return name
