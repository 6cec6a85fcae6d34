"""Commands about speed: bench, throughput, context, profile, floor and headroom."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from real.cli import run as running
from real.cli import tables
from real.cli.options import (
    BurnIn,
    Device,
    Draft,
    Dtype,
    Gamma,
    Kept,
    New,
    Prompts,
    Target,
    Tune,
    advance,
    bar,
    console,
)
from real.measure import floor as flooring
from real.measure import profile as profiling
from real.measure.context import lengthened, long_prompt
from real.measure.context import measure as measure_context
from real.measure.headroom import measure as measure_headroom
from real.measure.rivals import CONTENDERS, SAMPLINGS
from real.measure.rivals import bench as run_bench
from real.measure.served import device_name
from real.measure.throughput import AT_ONCE
from real.measure.throughput import show as show_rows
from real.measure.throughput import throughput as measure_rows
from real.models.sampling import Sampling
from real.serving.decoder import Serving
from real.systems.loaded import Models
from real.traffic.streams import ASSETS, domains
from theory.runs.result import save_result
from theory.runs.terminal import explained

app = typer.Typer()


@app.command()
def bench(
    target: Target = "",
    draft: Draft = "",
    prompts: Prompts = "prose:24",
    new: New = 64,
    gamma: Gamma = 4,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    contender: Annotated[
        list[str] | None, typer.Option(help=f"Repeatable, or patterns; all if left out: {'; '.join(CONTENDERS)}.")
    ] = None,
    out: Kept = None,
) -> None:
    """Our frozen decoder against transformers' assisted generation, interleaved."""
    with explained():
        turns = [prompt.turns for prompt in running.stream_of(prompts, 0).prompts]
        chat = None if target else False  # the embedded target continues text
        target, draft = target or str(ASSETS / "target"), draft or str(ASSETS / "specialist")
        run_bench(target, draft, turns, new, gamma, dtype, device, chat, contender, out)


@app.command()
def throughput(
    target: Target = "",
    draft: Draft = "",
    prompts: Prompts = "prose:64",
    rows: Annotated[list[int] | None, typer.Option(help="Requests at once, repeatable; 1, 4, 16 if left out.")] = None,
    new: New = 64,
    gamma: Gamma = 4,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    out: Kept = None,
) -> None:
    """Several requests at once: ours, plain and drafting, against transformers' batched generate, interleaved."""
    with explained():
        if gamma < 1 or new < 1:
            raise ValueError(f"gamma={gamma!r}, new={new!r}: both must be at least 1")
        models, stream = Models(target, draft, dtype, device), running.stream_of(prompts, 0)
        ids = [models.pair.encode(list(prompt.turns), models.chat) for prompt in stream.prompts]
        found = {
            drawn: measure_rows(models.pair, ids, new, sampling, gamma, rows or AT_ONCE)
            for drawn, sampling in SAMPLINGS.items()
        }
        show_rows(found)
        if out is not None:
            settings = {"models": models.names, "prompts": prompts, "new": new, "gamma": gamma, "dtype": dtype}
            save_result(out, "throughput", {**settings, "rows": found}, device_name(device))


@app.command()
def context(
    tokens: Annotated[int, typer.Option(help="Of the prompt: requests of every domain, one after the other.")] = 32_768,
    new: Annotated[int, typer.Option(help="New tokens after it.")] = 64,
    gamma: Gamma = 4,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    out: Kept = None,
) -> None:
    """A long text on the embedded pair, plain and drafting, greedily: seconds, and memory above the weights."""
    with explained():
        pair = lengthened(str(ASSETS / "target"), str(ASSETS / "specialist"), tokens + new, dtype, device)
        prompt, rows = long_prompt(pair, tokens), {}
        for name, drafter in (("plain", ""), ("draft", "independent")):
            with console.status(f"{name}, {tokens:,} tokens"):
                rows[name] = measure_context(pair, drafter, prompt, new, gamma)
        same = rows["plain"].pop("text") == rows["draft"].pop("text")
        for shown in tables.context(rows):
            console.print(shown)
        console.print(f"the same text both times: {'yes' if same else 'no'}")
        if out is not None:
            settings = {"models": "target with specialist", "new": new, "gamma": gamma, "dtype": dtype, "same": same}
            save_result(out, "context", {**settings, "rows": rows}, device_name(device))
    if not same:
        raise typer.Exit(1)


@app.command("profile")
def profile_command(
    row: Annotated[
        str, typer.Argument(help="A named system, whose drafter is profiled at rest; sd, frozen on models of your own.")
    ] = "",
    target: Target = "",
    draft: Draft = "",
    prompts: Annotated[str, typer.Option(help="JSONL, or a schedule; half of them are foretold.")] = "prose:32",
    gamma: Annotated[int, typer.Option(help="Longest draft.")] = 8,
    new: New = 64,
    temperature: Annotated[float, typer.Option(help="0 decodes greedily.")] = 1.0,
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "qwen3",
    compiled: Annotated[bool, typer.Option("--compile/--eager", help="torch.compile the models first.")] = False,
    tune: Tune = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Keep it in this JSON file.")] = None,
) -> None:
    """What a step costs by the tokens it drafts, and whether the speed law foretells runs from it."""
    with explained():
        running.check_tune(tune, compiled, device)
        method = running.row(row or ("frozen" if target or draft else "sd"), {})
        serving = Serving(gamma, max(Serving.nu, gamma + 1), Sampling(temperature), new)
        stream = running.stream_of(prompts, 0)
        if len(stream.prompts) < 2:
            raise ValueError(f"--prompts {prompts}: one request; take two or more, half of them are foretold")
        models = Models(target, draft, dtype, device, family)
        if compiled:
            with console.status("compiling"):
                running.compile_for(models, method, stream, serving, tune, varied=True)
        ids = [models.pair.encode(list(prompt.turns), models.chat) for prompt in stream.prompts]
        with bar() as progress:
            tasks = [progress.add_task(of, total=None) for of in ("measuring", "foretelling")]
            runs = [
                profiling.measure(models, method, serving, ids[half::2], partial(advance, progress, task))
                for half, task in enumerate(tasks)
            ]
        found = profiling.profile(runs[0])
        rows = profiling.foretold(found, runs[1])
        console.print(tables.profile(found, rows))
        if min(found.step) < found.step[0]:
            console.print("a drafting step was measured faster than a plain one: the machine was busy, measure again")
        kept = [profiling.place(models, method, serving), *([] if out is None else [out])]
        for path in kept:
            profiling.keep(path, profiling.settings_of(models, method, serving), found, rows)
        console.print(f"kept in {kept[0]}: --by-cost takes it up where models, drafter and options are the same")


@app.command("floor")
def floor_command(
    prompts: Annotated[int, typer.Option(help="Requests of every domain.")] = 12,
    new: New = 64,
    gamma: Gamma = 4,
    temperature: Annotated[float, typer.Option(help="0 decodes greedily.")] = 1.0,
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "qwen3",
    drafter: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(flooring.DRAFTERS)}; repeatable, all if left out.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Repeatable; all if left out.")] = None,
    out: Kept = None,
) -> None:
    """Is a draft whose length is chosen by cost ever slower than plain decoding? Every drafter, every domain."""
    with explained():
        models, serving = Models(family=family), Serving(gamma, sampling=Sampling(temperature), max_new_tokens=new)
        with bar() as progress:
            tasks = {name: progress.add_task(name, total=None) for name in drafter or flooring.DRAFTERS}

            def report(name: str, done: int, total: int) -> None:
                advance(progress, tasks[name], done, total)

            rows = flooring.floor(models, serving, domain or domains(), prompts, list(tasks), report)
        console.print(tables.floor(rows))
        if out is not None:
            settings = {"gamma": gamma, "new": new, "temperature": temperature, "prompts": prompts, "family": family}
            save_result(out, "floor", {**settings, "rows": rows}, device_name(models.device))


@app.command("headroom")
def headroom_command(
    row: Annotated[str, typer.Argument(help="A named system; adapter-ensemble, ensemble on models of your own.")] = "",
    target: Target = "",
    draft: Draft = "",
    prompts: Annotated[int, typer.Option(help="Requests of every domain.")] = 8,
    gamma: Gamma = 4,
    temperature: Annotated[float, typer.Option(help="0 decodes greedily.")] = 1.0,
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "qwen3",
    burn_in: BurnIn = Serving.burn_in,
    compiled: Annotated[bool, typer.Option("--compile/--eager", help="torch.compile the models first.")] = False,
    tune: Tune = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    domain: Annotated[list[str] | None, typer.Option(help="Repeatable; all if left out.")] = None,
    out: Kept = None,
) -> None:
    """What each limit costs a system on every domain, and which one binds."""
    with explained():
        running.check_tune(tune, compiled, device)
        serving = Serving(gamma, sampling=Sampling(temperature), burn_in=burn_in)
        models = Models(target, draft, dtype, device, family)
        row = row or ("ensemble" if target or draft else "adapter-ensemble")
        method = running.row(row, {})
        if compiled:
            every = ",".join(f"{name}:{prompts}" for name in domain or domains())
            with console.status("compiling"):
                running.compile_for(models, method, running.stream_of(every, 0), serving, tune)
        with bar() as progress:
            task = progress.add_task(row, total=None)
            rows = measure_headroom(
                models, row, method, serving, domain or domains(), prompts,
                partial(advance, progress, task),
            )  # fmt: skip
        console.print(tables.headroom(rows))
        if out is not None:
            save_result(out, "headroom", {"rows": rows, "gamma": gamma}, device_name(models.device))
