"""What is done before requests are served: prompts are read, models compiled, the costs of draft lengths measured."""

from pathlib import Path

from rich.console import Console

from real.measure.profile import cached, place
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.prompts import read_prompts
from real.traffic.streams import Stream, as_given, scheduled
from theory.runs.outputs import FILE
from theory.runs.terminal import busy

PROFILED = 8
"""Requests of the stream that a profile is measured on, if there is none yet."""


def stream_of(prompts: str, seed: int) -> Stream:
    """A JSONL file's prompts in order, or a schedule over the shipped domains."""
    if Path(prompts).suffix == ".jsonl" or Path(prompts).is_file():
        return as_given(read_prompts(prompts))
    return scheduled(prompts, seed)


def costed(models: Models, chosen: Method, stream: Stream, serving: Serving, console: Console) -> Serving:
    """The serving with costs of every draft length and of a switch, from the profile on disk or a fresh one.

    Raises:
        ValueError: for a system that drafts nothing, or requests too short to be profiled.
    """
    if chosen.drafter is None:
        raise ValueError(
            f"--by-cost: {chosen} drafts nothing, so there is no length to choose; take a row with a drafter"
        )
    prompts = models.encoded(stream.prompts)[:PROFILED]
    FILE.check("--by-cost keeps", place(models, chosen, serving))
    with busy("profiling"):
        found = cached(models, chosen, serving, prompts)
    costs = ", ".join(f"{cost:.2f}" for cost in found.cautious)
    console.print(
        f"steps of 0 … {serving.gamma} drafted tokens cost {costs} plain ones, the first after a plain one "
        f"{found.switch_cost:.2f} more (upper limits, kept in {place(models, chosen, serving)}; without that file "
        "they are measured again)"
    )
    return found.applied(serving)
