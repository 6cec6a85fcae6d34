"""The commands of the decoder: ``python -m real --help``."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from real.build.export import export as write_checkpoint
from real.build.export import learned
from real.build.inflate import SHAPES
from real.build.inflate import write as write_inflated
from real.build.train import train as train_models
from real.cli import run as running
from real.cli import speed, tables
from real.cli.options import BurnIn, Device, Draft, Dtype, Gamma, Out, Target, Tune, advance, bar, console
from real.measure.profile import place
from real.measure.summary import made_by, summarise
from real.models.hf import quiet
from real.models.sampling import Sampling
from real.serving.decoder import Serving
from real.studies import claims as claiming
from real.studies import systems_table as table
from real.studies.blocks import Block, blocks, run_blocks
from real.studies.experiments import EXPERIMENTS, Experiment
from real.studies.tune import WARM, tune_warm
from real.studies.tune import tune as run_tuning
from real.systems.loaded import FAMILIES, Models
from real.systems.rows import METHODS, SYSTEMS
from real.traffic.benchmarks import BENCHMARKS, prepare
from real.traffic.streams import ASSETS, domains, read_prompts
from real.verify.agree import agree as check_agreement
from real.verify.agree import disagreements
from real.verify.audit import BETTOR
from real.verify.audit import audit as run_audit
from real.verify.lossless import lossless as run_lossless
from real.verify.record import record as write_recording
from theory.runs.choose import parse_settings
from theory.runs.experiment import select
from theory.runs.result import save_result
from theory.runs.terminal import complaints, explained

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Drafts that learn inside a lossless decoder.")
app.command("train")(train_models)
app.add_typer(speed.app)


@app.callback()
def one_thread() -> None:
    """One thread on purpose: on small shared machines two ran ten times slower than one."""
    torch.set_num_threads(1)
    quiet()


def run_experiments(experiments: Mapping[str, Experiment], out: Path, jobs: int = 1) -> None:
    """Run experiments block by block into ``out/<name>/<seed>/``; what is done is skipped."""
    with bar() as progress:
        tasks = {block: progress.add_task(title(block), total=None, visible=False) for block in blocks(experiments)}

        def report(block: Block, done: int, total: int) -> None:
            progress.update(tasks[block], completed=done, total=total, visible=True)

        for block, ran in run_blocks(list(tasks), out, jobs, report):
            console.print(f"{title(block)}: {'run' if ran else 'done before, skipped'}", highlight=False)


def title(block: Block) -> str:
    """How a block is called on the screen."""
    return f"{block.name}, seed {block.seed}"


@app.command("list")
def list_experiments() -> None:
    """Show the experiments and the systems."""
    for name, experiment in EXPERIMENTS.items():
        seeds = ", ".join(map(str, experiment.seeds))
        methods = ", ".join(experiment.methods)
        console.print(f"{name:8} {experiment.schedule}  seeds {seeds}  {methods}", highlight=False)
    for name, method in {**METHODS, **SYSTEMS}.items():
        console.print(f"  {name:24} {method}", highlight=False, soft_wrap=True)
    console.print(
        "  specialist-*             the systems again, from drafters that have seen one domain", highlight=False
    )


@app.command()
def demo(out: Out = Path("out/demo/real")) -> None:
    """One sampled stream, home then one shift, every method side by side."""
    with explained():
        run_experiments({"demo": EXPERIMENTS["demo"]}, out)


@app.command()
def results(
    rows: Annotated[list[str] | None, typer.Argument()] = None,
    out: Out = Path("results/real"),
    jobs: Annotated[int, typer.Option(min=1, help="Blocks (one stream, one seed) run at once, a thread each.")] = 1,
) -> None:
    """The runs behind the README: all experiments but the demo, or those named."""
    with explained():
        chosen = select(EXPERIMENTS, rows or [name for name in EXPERIMENTS if name != "demo"])
        run_experiments(chosen, out, jobs)


@app.command()
def summary(
    out: Annotated[Path, typer.Argument(help="A results directory, with sim/ and real/ in it.")],
    main: Annotated[str, typer.Option(help="The experiment that summary.json reports as real.methods.")] = "",
) -> None:
    """Write OUT/summary.json and print the table."""
    with explained():
        names = [name for name in EXPERIMENTS if any((out / "real" / name).glob("*/*.json"))]
        if not names:
            raise ValueError(f"out={str(out)!r}: no results under {out / 'real'}; run `python -m real demo` first")
        content = summarise(out, main or names[0])
        save_result(out / "summary.json", "summary", content)
        for name, part in {content["main"]: content["real"], **content["others"]}.items():
            for table in tables.experiment(name, part):
                console.print(table)
            if part["claim"]:
                console.print(f"{name}, named beforehand: {tables.claim(part['claim'])}\n", highlight=False)


@app.command()
def run(
    row: Annotated[str, typer.Argument(help="A named system (python -m real list); or give drafter and learner.")] = "",
    target: Target = "",
    draft: Draft = "",
    learner: Annotated[str, typer.Option(help="NAME or file.py:Class; ensemble if left out.")] = "",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Setting of the learner, key=value.")] = None,
    prompts: Annotated[str, typer.Option(help="JSONL in Spec-Bench's schema, or a schedule such as prose:8,c:8.")] = "",
    drafter: Annotated[
        str, typer.Option(help="adapter, heads, weights, hydra, eagle or mixture; adapter if left out.")
    ] = "",
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "qwen3",
    rule: Annotated[str, typer.Option(help="token or block verification of sampled chains.")] = "token",
    confidence: Annotated[float, typer.Option(help="End a draft at the first token less probable than this.")] = 0.0,
    loss: Annotated[str, typer.Option(help="kl, reverse_kl, jsd, tv or speed.")] = "",
    learn_prompt: Annotated[bool, typer.Option("--learn-prompt", help="The prompt is feedback too.")] = False,
    prompt_hint: Annotated[
        float | None, typer.Option(help="So many times the gradient on the prompt is a request's hint.")
    ] = None,
    of_drafter: Annotated[
        list[str] | None, typer.Option("--drafter-set", help="Setting of the drafter, key=value: part=bias, lora=8.")
    ] = None,
    overlap: Annotated[bool, typer.Option("--overlap", help="Learn beside the next round, on a thread.")] = False,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--eager", help="torch.compile the models first; on CUDA if left out.")
    ] = None,
    tune: Tune = False,
    by_cost: Annotated[
        bool, typer.Option("--by-cost", help="Choose draft lengths up to gamma by cost; profiles the pair first.")
    ] = False,
    certify: Annotated[Path | None, typer.Option(help="Write the regret certificate's log here.")] = None,
    certify_every: Annotated[int, typer.Option(help="Rounds between certificates on the screen.")] = 0,
    gamma: Gamma = 4,
    nu: Annotated[int | None, typer.Option(help=f"Committed tokens a round; {Serving.nu}, or the row's own.")] = None,
    burn_in: BurnIn = Serving.burn_in,
    max_new_tokens: Annotated[int, typer.Option(help="Of one request.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 decodes greedily.")] = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    dtype: Dtype = "",
    device: Device = "",
    seed: int = 0,
    state: Annotated[Path | None, typer.Option(help="Resume the learner from this file, and save it there.")] = None,
) -> None:
    """Serve prompts with plain, frozen and learning decoders, interleaved, and compare them."""
    with explained():
        if row and (learner or drafter):
            raise ValueError(f"{row} with --learner {learner!r} --drafter {drafter!r}: a row has its own; give neither")
        sampling = Sampling(temperature, top_k, top_p)
        learner, drafter, chosen = learner or "ensemble", drafter or "adapter", parse_settings(settings or [])
        method = running.row(row, chosen) if row else running.method(learner, chosen, drafter, temperature)
        method = running.changed(method, loss, learn_prompt, prompt_hint, running.drafter_settings(of_drafter or []))
        length = method.nu or Serving.nu if nu is None else nu
        method = replace(method, nu=0)
        serving = Serving(gamma, length, sampling, max_new_tokens, 0, burn_in, rule, confidence, overlap)
        stream = running.stream_of(prompts or "prose:8,c:16", seed)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
        models, name = Models(target, draft, dtype, device, family), row or learner
        if compiled is None:
            compiled = torch.device(device).type == "cuda"
        running.check_tune(tune, compiled, device)
        if compiled:
            with console.status("compiling"):
                running.compile_for(models, method, stream, serving, tune, varied=by_cost or confidence > 0)
        if by_cost:
            with console.status("profiling"):
                serving = running.by_cost(models, method, stream, serving)
            costs = ", ".join(f"{cost:.2f}" for cost in serving.costs)
            console.print(
                f"steps of 0 … {gamma} drafted tokens cost {costs} plain ones, the first after a plain one "
                f"{serving.switch_cost:.2f} more (upper limits, kept in {place(models, method, serving)}; without that "
                "file they are measured again)"
            )
        with bar() as progress:
            task = progress.add_task(", ".join(dict.fromkeys(("plain", "frozen", name))), total=len(stream.prompts))
            report = running.run(
                models, name, method, stream, serving, seed, state,
                partial(advance, progress, task), certify, certify_every, progress.console.print,
            )  # fmt: skip
        running.show(report, console)


@app.command("export")
def export_command(
    state: Annotated[Path, typer.Option(help="What `run --state` left, with the drafter adapter.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there.")],
    target: Target = "",
    draft: Draft = "",
) -> None:
    """Fold a learned adapter into the draft's head: a plain Hugging Face checkpoint."""
    with explained():
        models = Models(target, draft)
        write_checkpoint(learned(models, state), models.pair.tokenizer, out)
        console.print(f"{out}: a draft for any engine that takes a small model of the same tokenizer")


@app.command()
def tune(
    out: Out = Path("results/tuning.json"),
    drafter: Annotated[str, typer.Option(help="Instead: a generalist " + ", ".join(WARM) + ".")] = "",
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "llama",
    schedule: Annotated[str, typer.Option(help="What the generalist serves.")] = "session:40",
) -> None:
    """The tables that hyper-parameters were read from: step sizes on a stream no result shifts to."""
    with explained():
        if not drafter:
            run_tuning(out, console)
            return
        for row in tune_warm(drafter, family, schedule):
            line = f"nu {row['nu']:3}  loss ÷ at rest {row['relative_loss']:.4f}  {row['learner']}"
            console.print(line, highlight=False)


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    schedule: Annotated[str, typer.Option(help="Domains and prompts of each.")] = "prose:20,c:40",
    gamma: Gamma = 4,
    temperature: Annotated[float, typer.Option(help="0 decodes greedily.")] = 1.0,
    law_top_k: Annotated[int, typer.Option(help="Tokens kept of the target's law, in both worlds.")] = 64,
    burn_in: BurnIn = Serving.burn_in,
    system: Annotated[str, typer.Option(help="heads, or the specialist's adapter if left out.")] = "",
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "qwen3",
    seed: int = 0,
) -> None:
    """Record one frozen run, from which ``python -m sim replay`` predicts runs never made."""
    with explained():
        serving = Serving(gamma, sampling=Sampling(temperature), law_top_k=law_top_k, burn_in=burn_in)
        with bar() as progress:
            task = progress.add_task(f"recording {out}", total=None)
            write_recording(
                Models(family=family), schedule, serving, seed, out,
                partial(advance, progress, task), system,
            )  # fmt: skip


@app.command()
def agree(out: Out = Path("out/demo")) -> None:
    """Hold the simulator's predictions against decoder runs: OUT/agreement.json."""
    with explained():
        wrong = disagreements(check_agreement(out, console))
    if wrong:
        complaints.print(f"the two worlds disagree: {', '.join(wrong)}; see {out / 'agreement.json'}", style="red")
        raise typer.Exit(1)


@app.command()
def inflate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there.")],
    like: Annotated[str, typer.Option(help=f"{', '.join(SHAPES)}, or a folder with a configuration.")] = "qwen3-8b",
    model: Annotated[str, typer.Argument(help="Folder or hub name; the embedded target if left out.")] = "",
    dtype: Dtype = "bfloat16",
    device: Annotated[str, typer.Option(help="Where it is made: 8B parameters need 17 GB there.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of the random parts.")] = 0,
) -> None:
    """Write a checkpoint with the model's law and the cost of a larger configuration."""
    with explained(), console.status("inflating"):
        count = write_inflated(model or str(ASSETS / "target"), like, out, seed, dtype, device)
    console.print(f"{out}: {count / 1e9:.3f} billion parameters, the law of {model or 'the embedded target'}")


@app.command()
def lossless(
    prompts: Annotated[int, typer.Option(help="Prompts per model family.")] = 50,
    compiled: Annotated[bool, typer.Option("--compile/--eager", help="torch.compile the models first.")] = False,
) -> None:
    """Greedy output token for token equal to transformers' own; sampled output equal in law."""
    with explained():
        if not run_lossless(prompts=prompts, compiled=compiled):
            raise typer.Exit(1)


@app.command()
def table1(
    prompts: Annotated[int, typer.Option(help="Requests of a cell.")] = 6,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the requests, and of what is sampled: 1 … seeds.")] = 1,
    block: Annotated[str, typer.Option(help="generalist (the headline), greedy or specialist.")] = "generalist",
    family: Annotated[list[str] | None, typer.Option(help="Embedded target, repeatable; all if left out.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Domain, repeatable; all if left out.")] = None,
    system: Annotated[list[str] | None, typer.Option(help="Row or pattern (*-eagle); all if left out.")] = None,
    out: Path = Path("out/table1"),
    jobs: Annotated[int, typer.Option(min=1, help="Cells served at once, a thread each.")] = 1,
) -> None:
    """The systems on every domain and target family, learning charged: OUT/<block>.csv. What is done is skipped."""
    with explained():
        chosen = table.cells(
            block, family or list(FAMILIES), domain or domains(), prompts, range(1, seeds + 1), system or []
        )
        run_experiments(chosen, out, jobs)
        cells = table.finished(out, block)
        rows = table.rows(out, cells)
        table.write(out / f"{block}.csv", rows)
        headline = table.headline(rows)
        save_result(out / f"{block}.json", "systems", {"headline": headline, "runs": made_by(out, cells)})
        for shown in (*tables.systems(rows), tables.headline(headline), tables.certified(rows)):
            console.print(shown)


@app.command()
def claims(
    prompts: Annotated[int, typer.Option(help="Requests of a stream.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the requests, and of what is sampled: 1 … seeds.")] = 5,
    family: Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")] = "llama",
    stream: Annotated[list[str] | None, typer.Option(help="Stream by name, repeatable; all if left out.")] = None,
    out: Path = Path("out/claims"),
    jobs: Annotated[int, typer.Option(min=1, help="Streams served at once, a thread each.")] = 1,
) -> None:
    """Do an ensemble of step sizes and hints pay? Side by side on many streams: OUT/claims.json."""
    with explained():
        run_experiments(claiming.cells(prompts, range(1, seeds + 1), stream or [], family), out, jobs)
        content = claiming.report(out)
        save_result(out / "claims.json", "claims", content)
        for shown in tables.claims(content):
            console.print(shown)
        if not content["ensembles"]:
            console.print(f"nothing about ensembles: OUT lacks the stream {claiming.FIRST!r}, on which a step is tuned")


@app.command("audit")
def audit_command(
    tokens: Annotated[
        int, typer.Option(help="Tokens served in all, at least; requests are served whole, batches too.")
    ] = 100_000,
    family: Annotated[list[str] | None, typer.Option(help="Embedded target, repeatable; all if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the rows in this JSON file.")] = None,
) -> None:
    """Serve with every kind of drafter and bet against the text being the target's own."""
    with explained():
        rows = []
        for row in run_audit(tokens, tuple(family or FAMILIES)):
            rows.append(row)
            console.print(tables.audited(row), highlight=False)
        alarms = [row for row in rows if row.alarm]
        total = sum(row.tokens for row in rows)
        if out is not None:
            content = {"rows": [vars(row) for row in rows], "tokens": total, "false_alarm": BETTOR.false_alarm}
            save_result(out, "audit", content)
        verdict = f"ALARM in {len(alarms)} of {len(rows)} systems" if alarms else f"no alarm in {total:,} tokens"
        console.print(f"{verdict} (each false with probability at most {BETTOR.false_alarm:g}, at any length)")
    if alarms:
        raise typer.Exit(1)


@app.command("prepare")
def prepare_command(
    benchmark: Annotated[str, typer.Argument(help=", ".join(BENCHMARKS))],
    file: Annotated[Path, typer.Argument(help="Published .jsonl, .json, .csv, or .gz of one, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write; it must not be there.")],
) -> None:
    """Turn a benchmark's published file into prompts."""
    with explained():
        console.print(f"{out}: {prepare(benchmark, file, out)} prompts of {benchmark}", highlight=False)


@app.command()
def prompts(file: Path) -> None:
    """Check a prompts file and count its domains."""
    with explained():
        found = read_prompts(file)
        for category in dict.fromkeys(prompt.category for prompt in found):
            console.print(f"{category}: {sum(prompt.category == category for prompt in found)} prompts")


if __name__ == "__main__":
    app()
