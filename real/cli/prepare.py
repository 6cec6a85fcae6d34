"""What is done before requests are served: prompts are read, models compiled, the costs of draft lengths measured."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from real.drafters import drafter_class
from real.measure.profile import cached, place
from real.models.compiled import slots
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.prompts import read_prompts
from real.traffic.streams import Stream, as_given, scheduled
from real.traffic.turns import longest
from theory.runs.outputs import FILE
from theory.runs.terminal import busy

PROFILED = 8
"""Requests of the stream that a profile is measured on, if there is none yet."""


def stream_of(prompts: str, seed: int) -> Stream:
    """A JSONL file's prompts in order, or a schedule over the shipped domains."""
    if Path(prompts).suffix == ".jsonl" or Path(prompts).is_file():
        return as_given(read_prompts(prompts))
    return scheduled(prompts, seed)


def compile_for(
    models: Models,
    methods: Sequence[Method],
    stream: Stream,
    serving: Serving,
    tuned: bool = False,
    varied: bool = False,
) -> None:
    """Compile the models that the methods run, for the longest text of the stream.

    varied: many drafts are shorter than gamma, and worth compiling for: those of 1, 2, 4, 8, … tokens.
    """
    shorter = [2**k for k in range(serving.gamma) if varied and 2**k < serving.gamma]
    most = longest(models.pair, stream.prompts, models.chat, serving.max_new_tokens)
    kinds = [drafter_class(method.drafter) for method in methods if method.drafter]
    on_draft = any(kind.uses_draft for kind in kinds)
    models.compile((*shorter, serving.gamma), slots(most + serving.gamma + 1, models.pair.device), on_draft, tuned)


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
