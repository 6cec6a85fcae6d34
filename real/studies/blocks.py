"""Many blocks, several at once: a block is one experiment's stream under one seed, served by every method in turn.

Methods of a block share a process, so their seconds can be compared; blocks share nothing but the machine.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from real.measure.served import run_block
from real.models.load import quiet
from real.studies.experiments import Experiment
from real.systems.loaded import Models
from real.systems.rows import ROWS
from real.traffic.streams import scheduled
from theory.runs.workers import at_once


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
    ran = run_block(
        Models(family=experiment.family),
        {name: ROWS[name] for name in experiment.methods},
        experiment.schedule,
        stream,
        experiment.serving,
        block.seed,
        out / block.name / str(block.seed),
        lambda done, total: progress(block, done, total),
        experiment.certify,
    )
    return block, ran
