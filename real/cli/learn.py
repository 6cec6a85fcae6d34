"""Commands that ask what learning is worth: experiments on streams, the systems' table, step sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from real.cli import study_tables, tables
from real.cli.options import Domains, Families, Family, New, Out, Room, Seeds
from theory.runs.experiment import select
from theory.runs.outputs import FILE
from theory.runs.result import load_result, save_result
from theory.runs.table import console
from theory.runs.terminal import Progress, Tell, busy

if TYPE_CHECKING:
    from real.studies.blocks import Block
    from real.studies.experiments import Experiment

app = Room(panel="Learn")


def run_experiments(experiments: "Mapping[str, Experiment]", out: Path, jobs: int = 1) -> None:
    """Run experiments block by block into ``out/<name>/<seed>/``; what is done is skipped."""
    from real.studies.blocks import blocks, run_blocks

    with Progress() as progress:
        reports: dict[Block, Tell] = {}

        def report(block: "Block", done: int, total: int) -> None:
            if block not in reports:
                reports[block] = progress.task(title(block))
            reports[block](done, total)

        for block, ran in run_blocks(blocks(experiments), out, jobs, report):
            console.print(f"{title(block)}: {'run' if ran else 'done before, skipped'}", highlight=False)


def title(block: "Block") -> str:
    """How a block is called on the screen."""
    return f"{block.name}, seed {block.seed}"


@app.command()
def demo(out: Out = Path("out/demo/real")) -> None:
    """One sampled stream, home then one shift, every method side by side."""
    from real.studies.experiments import EXPERIMENTS

    run_experiments({"demo": EXPERIMENTS["demo"]}, out)


@app.command()
def results(
    rows: Annotated[list[str] | None, typer.Argument(help="Experiments of `python -m real list`.")] = None,
    out: Out = Path("results/real"),
    jobs: Annotated[int, typer.Option(min=1, help="Blocks (one stream, one seed) run at once, a thread each.")] = 1,
) -> None:
    """The runs behind the README: all experiments but the demo, or those named."""
    from real.studies.experiments import EXPERIMENTS

    run_experiments(select(EXPERIMENTS, rows or [name for name in EXPERIMENTS if name != "demo"]), out, jobs)


@app.command()
def summary(
    out: Annotated[Path, typer.Argument(help="A results directory, with sim/ and real/ in it.")],
    main: Annotated[str, typer.Option(help="The experiment that summary.json reports as real.methods.")] = "",
) -> None:
    """Write OUT/summary.json and print the table."""
    from real.measure.summary import summarise
    from real.studies.experiments import EXPERIMENTS

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
def table1(
    prompts: Annotated[int, typer.Option(help="Requests of a cell.")] = 6,
    seeds: Seeds = 1,
    block: Annotated[str, typer.Option(help="generalist (the headline), greedy or specialist.")] = "generalist",
    family: Families = None,
    domain: Domains = None,
    system: Annotated[list[str] | None, typer.Option(help="Row or pattern (*-eagle); all if left out.")] = None,
    out: Out = Path("out/table1"),
    jobs: Annotated[int, typer.Option(min=1, help="Cells served at once, a thread each.")] = 1,
) -> None:
    """The systems on every domain and target family, learning charged: OUT/<block>.csv. What is done is skipped."""
    from real.measure.summary import made_by
    from real.studies import systems_table as table
    from real.systems.loaded import FAMILIES
    from real.traffic.streams import domains

    chosen = table.cells(
        block, family or list(FAMILIES), domain or domains(), prompts, range(1, seeds + 1), system or []
    )
    run_experiments(chosen, out, jobs)
    cells = table.finished(out, block)
    rows = table.rows(out, cells)
    table.write(out / f"{block}.csv", rows)
    headline = table.headline(rows)
    body = {"headline": headline, "against_kl": table.against_kl(out, cells), "runs": made_by(out, cells)}
    save_result(out / f"{block}.json", "systems", body)
    for shown in (*study_tables.systems(rows), study_tables.headline(headline), study_tables.certified(rows)):
        console.print(shown)


@app.command()
def pays(
    block: Annotated[list[str] | None, typer.Option(help="Block by name, repeatable; all if left out.")] = None,
    family: Families = None,
    domain: Domains = None,
    tokens: Annotated[int, typer.Option(help="New tokens of a cell; fewer where texts end.")] = 8000,
    out: Out = Path("out/pays"),
    jobs: Annotated[int, typer.Option(min=1, help="Cells served at once, a thread each.")] = 1,
) -> None:
    """A mixture that learns against what does not, each by its own costs: OUT/<block>.csv. Done cells are skipped."""
    from real.measure.summary import made_by
    from real.studies import pays as study
    from real.studies.blocks import costs_first
    from real.studies.systems_table import write
    from real.traffic.streams import domains

    named = domain or [name for name in (*domains(), *study.HELD_OUT) if name != study.TUNED]
    chosen = study.cells(block or list(study.BLOCKS), family or ["qwen3"], named, tokens)
    for name in costs_first(chosen, out):
        console.print(f"{name}: costs known", highlight=False)
    run_experiments(chosen, out, jobs)
    for name in dict.fromkeys(one.split("/")[0] for one in chosen):
        names = [one for one in study.finished(out) if one.split("/")[0] == name]
        rows = study.table(out, names)
        found = study.headline(out, rows)
        write(out / f"{name}.csv", rows)
        body = {"headline": found, "home": study.home(out, names), "returns": study.returns(out, names)}
        body |= {"runs": made_by(out, names)}
        save_result(out / f"{name}.json", "pays", body)
        for shown in study_tables.pays(rows, found):
            console.print(shown)


@app.command()
def ranks(
    folders: Annotated[list[Path], typer.Argument(help="What `table1` wrote: OUT with a folder a cell.")],
    also: Annotated[Path | None, typer.Option(help="An earlier report, whose other streams are kept."), FILE] = None,
    out: Annotated[Path, typer.Option(help="The JSON file to write."), FILE] = Path("out/ranks.json"),
) -> None:
    """Does lower regret go with higher speed? All pairs of systems that share drafter and stream, by runs of table1."""
    from real.measure.summary import made_by
    from real.studies import regret_speed as study
    from real.studies.systems_table import BLOCKS, finished

    cells = [(folder, name) for folder in folders for block in BLOCKS for name in finished(folder, block)]
    if not cells:
        raise ValueError(f"folders={[str(one) for one in folders]}: no runs there; run `python -m real table1` first")
    rows = study.rows({name: folder / name for folder, name in cells})
    runs = [made for folder in folders for made in made_by(folder, [name for at, name in cells if at == folder])]
    if also:
        earlier = load_result(also, "regret_speed")
        rows, runs = study.beside(rows, earlier["pairs"]), runs + earlier["runs"]
    shares = study.shares(rows)
    save_result(out, "regret_speed", {"expected": study.EXPECTED, "shares": shares, "pairs": rows, "runs": runs})
    console.print(study_tables.ranks(shares))


@app.command()
def claims(
    prompts: Annotated[int, typer.Option(help="Requests of a stream.")] = 30,
    seeds: Seeds = 5,
    family: Family = "llama",
    stream: Annotated[list[str] | None, typer.Option(help="Stream by name, repeatable; all if left out.")] = None,
    out: Out = Path("out/claims"),
    jobs: Annotated[int, typer.Option(min=1, help="Streams served at once, a thread each.")] = 1,
) -> None:
    """Do an ensemble of step sizes and hints pay? Side by side on many streams: OUT/claims.json."""
    from real.studies import claims as study

    run_experiments(study.cells(prompts, range(1, seeds + 1), stream or [], family), out, jobs)
    content = study.report(out)
    save_result(out / "claims.json", "claims", content)
    for shown in study_tables.claims(content):
        console.print(shown)
    if not content["ensembles"]:
        console.print(f"nothing about ensembles: OUT lacks the stream {study.FIRST!r}, on which a step is tuned")


@app.command()
def curves(
    domain: Domains = None,
    schedule: Annotated[
        list[str] | None, typer.Option(help="Stream by its schedule, repeatable; in place of the domains' own.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Of each domain, at least; each stretch has a quarter.")] = 8000,
    family: Family = "qwen3",
    start: Annotated[list[str] | None, typer.Option(help="generalist or specialist, repeatable; both.")] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(help="Row of the systems' table, or NAME@n, n tokens read at a time; repeatable."),
    ] = None,
    new: New = 128,
    seed: Annotated[int, typer.Option(help="Of the prompts, and of what is sampled.")] = 1,
    timed: Annotated[int, typer.Option(min=4, help="Requests of a stream that are served, to time a step.")] = 8,
    seconds: Annotated[list[str] | None, typer.Option(help="SYSTEM=SECONDS a step, for all, instead.")] = None,
    bench: Annotated[Path, typer.Option(help="What `bench` measured where curves are foretold.")] = Path(
        "results/gpu/bench.json"
    ),
    out: Out = Path("out/curves"),
    jobs: Annotated[int, typer.Option(min=1, help="Streams read at once, a thread each.")] = 1,
) -> None:
    """What learning has saved after n tokens, on texts that all systems read: OUT/curves.json. Resumable."""
    from real.serving.settings import Serving
    from real.studies import curves as study
    from real.studies import replayed, step_costs
    from real.traffic.streams import domains

    serving, given = Serving(max_new_tokens=new), numbers("seconds", seconds or [])
    streams = schedule or [replayed.lengthened(name, tokens, serving) for name in domain or domains()]
    if not (schedule or domain):
        streams.append(replayed.returning(tokens // 4, serving))
    chosen = replayed.cells([family], start or list(replayed.STARTS), streams, system or [], serving, seed)
    at = step_costs.machine(bench) if bench.exists() else None
    with Progress() as progress:
        reports: dict[str, Tell] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in reports:
                reports[name] = progress.task(name)
            reports[name](done, total)

        for cell, ran in replayed.record(chosen, out, jobs, lambda cell, *far: report(cell.name, *far)):
            console.print(f"{cell.name}: {'read' if ran else 'read before, skipped'}", highlight=False)
        for cell in chosen:
            path = replayed.place(cell, out)
            step_costs.keep(
                path,
                replayed.load_recording(path),
                timed,
                given,
                lambda *far, name=cell.name: report(f"{name}, timed", *far),
            )
    content = {"rows": study.everything(out, at), "machine": None if at is None else asdict(at)}
    save_result(out / "curves.json", "curves", content)
    for shown in study_tables.curves(content):
        console.print(shown)


def numbers(option: str, pairs: Sequence[str]) -> dict[str, float]:
    """``["sd=0.02"]`` → ``{"sd": 0.02}``.

    Raises:
        ValueError: for what is no name and positive number.
    """
    found = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = 0.0
        if not (name and found[name] > 0):
            raise ValueError(f"{option}={pair!r}: write NAME=NUMBER, a positive number, for example sd=0.02")
    return found


@app.command()
def tune(
    out: Annotated[Path, typer.Option(help="JSON file of the table."), FILE] = Path("results/tuning.json"),
    drafter: Annotated[str, typer.Option(help="Instead: a generalist adapter, heads, hydra, eagle, weights.")] = "",
    family: Family = "llama",
    schedule: Annotated[str, typer.Option(help="What the generalist serves.")] = "session:40",
) -> None:
    """The tables that hyper-parameters were read from: step sizes on a stream no result shifts to."""
    from real.studies.tune import tune as search
    from real.studies.tune import tune_warm

    with busy("tuning"):
        if not drafter:
            search(out, console)
            return
        for row in tune_warm(drafter, family, schedule):
            line = f"nu {row['nu']:3}  loss ÷ at rest {row['relative_loss']:.4f}  {row['learner']}"
            console.print(line, highlight=False)
