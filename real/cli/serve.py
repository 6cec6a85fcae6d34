"""Commands that serve: run on any models and prompts, what names there are, prompts from benchmarks."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from real.cli.asked import LearningOptions, PairOptions
from real.cli.options import Family, Prompts, Room, Trust
from real.serving.settings import Serving
from real.traffic.benchmarks import BENCHMARKS
from theory.divergence import DIVERGENCES
from theory.runs.console import visible
from theory.runs.files import owned
from theory.runs.outputs import FILE, FOLDER, TRACE, Output
from theory.runs.table import console
from theory.runs.terminal import INTERRUPTED, Progress, complaints

if TYPE_CHECKING:
    from theory.checker.certificate import Certificate

app = Room(panel="Serve")


@app.command()
def run(
    context: typer.Context,
    row: Annotated[str, typer.Argument(help="A named system (python -m real list); or give drafter and learner.")] = "",
    prompts: Prompts = "prose:8,c:16",
    pair: PairOptions = PairOptions(dtype="", device="", compiled=None),
    learning: LearningOptions = LearningOptions(),
    serving: Serving = Serving(),
    by_cost: Annotated[
        bool,
        typer.Option(
            "--by-cost", help="Choose draft lengths up to gamma by cost; profiles the pair first, on first turns."
        ),
    ] = False,
    low_noise: Annotated[
        bool,
        typer.Option(
            "--low-noise/--measured-only",
            help="Also net speed on one shared text, without the luck of each method's own samples.",
        ),
    ] = True,
    seed: int = 0,
    state: Annotated[
        Path | None, typer.Option(help="Resume the learner from this file, and save it there."), Output("state")
    ] = None,
    keep_text: Annotated[
        bool,
        typer.Option(
            "--keep-text", help="Save with --state what texts can be read from too: n-grams, the round under way."
        ),
    ] = False,
    certify: Annotated[Path | None, typer.Option(help="Write the regret certificate's log here."), TRACE] = None,
    certify_every: Annotated[
        int, typer.Option(min=0, help="Rounds between certificates on the screen; 0 shows the last alone.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for texts, per-prompt traces and every number; an interrupted run goes on there."),
        FOLDER,
    ] = None,
) -> None:
    """Serve prompts with plain, frozen and learning decoders, interleaved, and compare them.

    Turns of a prompt are asked in sequence, each decoder's after its own answers: at temperature 0 these are the same,
    sampled they differ. A turn that no longer fits ends its conversation, and is named.

    On the GPU, if there is one, in bfloat16 and compiled, unless you say otherwise.
    """
    from real.cli.kept import Kept, check_free, folder_of
    from real.cli.prepare import costed, stream_of
    from real.cli.report import certified, show, too_short
    from real.cli.run import Run
    from real.measure.served import CHECKPOINT_EVERY
    from real.systems.choose import beside_plain

    if out is not None:
        check_free(out, seed)
    for own in (state, None if out is None else folder_of(out, seed)):
        if own is not None:
            context.with_resource(owned(own))
    methods = beside_plain(learning.methods(row, serving.sampling.temperature, not given(context, "nu")))
    stream, pair = stream_of(prompts, seed), fitting(pair)
    models, last = pair.load(), list(methods.values())[-1]
    pair.compile(models, list(methods.values()), stream, serving, by_cost or serving.confidence > 0)
    if by_cost:
        serving = costed(models, last, stream, serving, console)
    served = Run(models, methods, stream, serving, seed, certify is not None, low_noise)
    if certify is not None:
        served.keep_certificate(certify)
    if state is not None:
        served.keep_state(state, keep_text)
    kept = None if out is None else Kept(out, served.comparison, prompts, CHECKPOINT_EVERY if state is None else 1)
    if kept is not None:
        served.after.insert(0, kept.add)  # the state is never ahead of the checkpoint
        if kept.resumed:
            served.go_on(kept.folder)
    for line in too_short(served.too_short()):
        complaints.print(line)
    with Progress() as progress:

        def show_so_far(rounds: int, found: "dict[str, Certificate]") -> None:
            for line in certified(found, served.certified_tenant):
                progress.say(f"round {rounds}: {line}")

        if certify is not None:
            served.certify_every(certify_every, show_so_far)
        whole = served.serve(progress.task(", ".join(methods)))
    report = served.report()
    show(report, console)
    if kept is not None:
        kept.finish(report, whole)
        console.print(f"kept in {kept.folder}; draw it: python -m figures speed {out}", highlight=False)
    if certify is not None:
        for line in certified(served.certified(certify), served.certified_tenant):
            console.print(line, highlight=False)
    if not whole:
        further = "" if kept is None else "; the same command serves the others"
        complaints.print(f"interrupted: {report.served} of {report.asked} requests were served{further}")
        raise typer.Exit(INTERRUPTED)


def fitting(pair: PairOptions) -> PairOptions:
    """The pair where this machine runs it best, in what was left open."""
    import torch

    device = pair.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    compiled = on_gpu if pair.compiled is None else pair.compiled
    return replace(pair, device=device, dtype=pair.dtype or ("bfloat16" if on_gpu else "float32"), compiled=compiled)


def given(context: typer.Context, name: str) -> bool:
    """Whether the user gave this option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@app.command("list")
def list_names() -> None:
    """Show the experiments and the systems, and every name that options take."""
    from real.build.inflate import SHAPES
    from real.drafters import DRAFTERS
    from real.measure.rivals import CONTENDERS
    from real.studies.experiments import EXPERIMENTS
    from real.systems.loaded import FAMILIES
    from real.systems.rows import METHODS, SYSTEMS
    from real.traffic.streams import domains, large
    from theory.learners import LEARNERS

    for name, experiment in EXPERIMENTS.items():
        seeds = ", ".join(map(str, experiment.seeds))
        methods = ", ".join(experiment.methods)
        console.print(f"{name:8} {experiment.schedule}  seeds {seeds}  {methods}", highlight=False)
    for name, method in {**METHODS, **SYSTEMS}.items():
        console.print(f"  {name:24} {method}", highlight=False, soft_wrap=True)
    console.print(
        "  specialist-*             the systems again, from drafters that have seen one domain", highlight=False
    )
    names = {
        "drafters": DRAFTERS, "learners": LEARNERS, "losses": DIVERGENCES, "families": FAMILIES, "domains": domains(),
        "larger": large(), "contenders": CONTENDERS, "sizes": SHAPES, "benchmarks": BENCHMARKS,
    }  # fmt: skip
    for kind, known in names.items():
        console.print(f"{kind:11} {'; '.join(known)}", highlight=False, soft_wrap=True)


@app.command(models=False)
def prepare(
    benchmark: Annotated[str, typer.Argument(help=", ".join(BENCHMARKS))],
    file: Annotated[Path, typer.Argument(help="Published .jsonl, .json, .csv, or .gz of one, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write; it must not be there."), FILE],
) -> None:
    """Turn a benchmark's published file into prompts."""
    from real.traffic.benchmarks import prepare as write

    console.print(f"{out}: {write(benchmark, file, out)} prompts of {benchmark}", highlight=False)


@app.command()
def prompts(
    file: Annotated[
        str,
        typer.Argument(help="JSONL in Spec-Bench's schema or of chat messages, or a schedule; all that is shipped."),
    ] = "",
    show: Annotated[int, typer.Option(min=0, help="Prompts to show as they will be asked.")] = 1,
    target: Annotated[
        str, typer.Option(help="Folder or hub name of the target that is to read it; the embedded one if left out.")
    ] = "",
    family: Family = "qwen3",
    trust: Trust = None,
) -> None:
    """Check a prompts file as a run does before it serves, count its domains, and show what will be asked.

    The target's chat template renders it. Without one, it is joined by newlines, and continued as plain text. A prompt
    repeats if more than half of its pieces of 40 characters stood in earlier ones, which flatters what remembers.
    """
    from real.cli.prepare import stream_of
    from real.systems.loaded import check_prompts
    from real.traffic.overlap import MOST, overlapping
    from real.traffic.streams import domains, file_of, large
    from real.traffic.turns import script

    if not file:
        for domain in (*domains(), *large()):
            shares = overlapping(stream_of(str(file_of(domain)), 0).prompts)
            console.print(f"{domain}: {len(shares)} prompts, {sum(share > MOST for share in shares)} repeat")
        return
    found = stream_of(file, 0).prompts
    check_prompts(found, target, family, trust or ())
    repeats = [share > MOST for share in overlapping(found)]
    for category in dict.fromkeys(prompt.category for prompt in found):
        own = [i for i, prompt in enumerate(found) if prompt.category == category]
        turns, again = sum(len(found[i].turns) for i in own), sum(repeats[i] for i in own)
        asked = f" of {turns} turns" if turns > len(own) else ""
        console.print(f"{visible(category)}: {len(own)} prompts{asked}{f', {again} repeat' if again else ''}")
    for prompt in found[:show]:
        console.print(f"question_id {visible(str(prompt.question_id))} is asked:", highlight=False)
        for role, text in script(prompt):
            console.print(f"  {role}: {text}", highlight=False, soft_wrap=True)
