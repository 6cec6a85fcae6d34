"""``python -m sim list | run | play | new | replay | foretell | confirm | hardest | bench``."""

import json
from math import isnan
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table

from sim.bench import LEARNERS as TIMED
from sim.bench import speeds
from sim.confirm import LIMIT, confirmed, confirming
from sim.engine import ENGINES
from sim.environments.recording import Recording
from sim.experiments import EXPERIMENTS, Match, altered_name, file_name
from sim.foretell import foretell, planned, player, rounds, settings_of, write
from sim.games import grid, values_of
from sim.hardest import hardest
from sim.simulator import ROUNDING
from sim.statistics import rates, summary
from sim.sweep import Finished, sweep
from theory.runs.choose import parse_settings
from theory.runs.console import new_console
from theory.runs.experiment import result_path, select
from theory.runs.files import owned
from theory.runs.outputs import FILE, FOLDER
from theory.runs.reading import read_text
from theory.runs.result import save_result
from theory.runs.terminal import Commands, Progress, busy, complaints, explained
from theory.runs.trace import done
from theory.runs.users_file import source, users_own
from theory.runs.workers import at_once

app = Commands(no_args_is_help=True, help="Learners against synthetic and recorded streams.")
console = new_console()
SWEEP = "simulator sweep"
"""The kind of the files that ``--summary`` writes."""

Rows = Annotated[
    list[str] | None, typer.Argument(help="Row names or patterns (drift/*), or 'demo', or 'results'; by default all.")
]
LearnerName = Annotated[str | None, typer.Option("--learner", help="Another learner: NAME or file.py:Class.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the learner, key=value. May be repeated.")
]
Out = Annotated[Path, typer.Option(help="Directory of the results."), FOLDER]


def chosen(patterns: list[str] | None) -> dict[str, Match]:
    """Rows by pattern; ``demo`` stands for the rows of ``make demo``, ``results`` for those kept, nothing for all."""
    demo = {name: row for name, row in EXPERIMENTS.items() if row.demo}
    kept = {name: row for name, row in EXPERIMENTS.items() if row.kept}
    rows = {}
    for pattern in patterns or ["*"]:
        rows |= {"demo": demo, "results": kept}.get(pattern) or select(EXPERIMENTS, [pattern])
    return {name: row for name, row in EXPERIMENTS.items() if name in rows}


@app.command("list")
def list_rows(rows: Rows = None) -> None:
    """Show the experiment rows."""
    name = Column("row", no_wrap=True)
    table = Table(name, "demo", "rounds", "seeds", "dimension", "path length", "domain", box=None)
    with explained():
        for name, row in chosen(rows).items():
            problem = row.environment.problem
            numbers = f"{problem.horizon}", f"{row.seeds}", f"{problem.dimension}", f"{problem.path_length:.4g}"
            table.add_row(name, "✓" if row.demo else "", *numbers, type(problem.domain).__name__)
    console.print(table)


@app.command()
def run(
    rows: Annotated[
        list[str], typer.Argument(help="Row names or patterns (drift/*), or 'demo', or 'results' for those kept.")
    ],
    learner: LearnerName = None,
    settings: Settings = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Independent copies, instead of the row's.")] = None,
    out: Out = Path("out/sim"),
    jobs: Annotated[int, typer.Option(min=1, help="Rows run at once.")] = 1,
    summary: Annotated[
        Path | None, typer.Option(help="Write violations and every row's tightness there."), FILE
    ] = None,
) -> None:
    """Run rows; one result file each. Rows already done with the same settings are skipped."""
    with explained():
        named = chosen(rows)
        overrides = parse_settings(settings or [])
        if learner is not None or overrides or seeds is not None:
            named = {
                altered_name(name, learner, overrides, seeds): row.altered(learner, overrides, seeds)
                for name, row in named.items()
            }
        finished = report(sweep(named, out, jobs), list(named))
    broken = {f.name: f.header["violations_of"] for f in finished if f.header["violations"]}
    tight = [f.header["tightness"] for f in finished if f.header["tightness"] is not None]
    typical = f", median tightness {median(tight):.3f}" if tight else ""
    if summary is not None:
        save_result(summary, SWEEP, summarised(finished))
    console.print(
        f"{len(finished)} rows, {sum(f.ran for f in finished)} run now, {len(broken)} with violations{typical}"
    )
    if broken:
        complaints.print(f"error: bounds violated: {broken}", style="red")
        raise typer.Exit(1)


def report(results, names: list[str]) -> list[Finished]:
    """Print one line a row as the rows end, columns under one another whatever the rows are called."""
    finished, width, total = [], max([36, *map(len, names)]), len(names)
    with Progress(transient=True) as progress:
        tell = progress.task("rows")
        for result in results:
            finished.append(result)
            header, state = result.header, f"{result.seconds:5.1f} s" if result.ran else "   done"
            tight = "no bound" if header["tightness"] is None else f"{header['tightness']:.3f}"
            regret = header["final"]["dynamic_regret"]
            name = f"{result.name:{width}s} {state}"
            line = f"{name}  regret {regret:9.2f}  violations {header['violations']}  tightness {tight}"
            console.print(line, highlight=False, soft_wrap=True)
            tell(len(finished), total)
    return finished


def summarised(finished: list[Finished]) -> dict[str, Any]:
    """What a sweep showed: how many rows, those that claim a bound, the fewest copies, violations, every tightness."""
    headers = {one.name: one.header for one in sorted(finished, key=lambda one: one.name)}
    claimed = {name: header for name, header in headers.items() if header["checked"]}
    return {
        "rows": len(headers),
        "with_bounds": len(claimed),
        "copies": min(header["seeds"] for header in headers.values()),
        "violations": sum(header["violations"] for header in headers.values()),
        "tightness": {name: header["tightness"] and round(header["tightness"], 4) for name, header in claimed.items()},
    }


@app.command()
def play(
    learner: Annotated[str, typer.Argument(help="NAME or file.py:Class.")],
    environment: Annotated[str, typer.Argument(help="A stream's name (drift/P8), or file.py:Class.")],
    settings: Settings = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help="A setting's values: step_size=1e-3:1:50log, or =a,b,c. May be repeated.")
    ] = None,
    horizon: Annotated[str, typer.Option(help="Rounds, 1e2,1e3,1e4, instead of the stream's own.")] = "",
    copies: Annotated[int, typer.Option(min=1, help="Independent draws, the same for every setting.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the generator that draws the truth.")] = 0,
    engine: Annotated[str, typer.Option(help="numpy, or jax where it is installed.")] = "numpy",
    batch: Annotated[int | None, typer.Option(min=1, help="Copies of a task; all of them if left out.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Tasks at a time.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="local, or the address of a Dask scheduler.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table, .csv or .parquet."), FILE] = None,
) -> None:
    """Play one learner over settings and horizons: regret with its interval, bounds held, a tidy table."""
    with explained(), Progress(transient=True) as progress:
        over = dict(values_of(one) for one in sweep or [])
        horizons = [int(float(one)) for one in horizon.split(",")] if horizon else []
        more = parse_settings(settings or [])
        found = grid(learner, environment, over, horizons=horizons, copies=copies, seed=seed, engine=engine,
                     settings=more, batch=batch, jobs=jobs, cluster=cluster, tell=progress.task("games"))  # fmt: skip
        if out is not None:
            found.save(out)
    table = Table(*over, "rounds", "regret", "95 %", "median", "10 % to 90 %", "broken", box=None)
    for row in summary(found):
        numbers = [f"{row[key]:.4g}" for key in over]
        numbers += [str(row["horizon"]), f"{row['mean']:.4g}", f"{row['low']:.4g} to {row['high']:.4g}"]
        table.add_row(
            *numbers, f"{row['median']:.4g}", f"{row['lower']:.4g} to {row['upper']:.4g}", str(row["violations"])
        )
    console.print(table)
    if len(horizons) > 2:
        for row in rates(found):
            told = " ".join(f"{key}={row[key]:.4g}" for key in over)
            declared = "" if isnan(row["declared"]) else f"; the guarantee grows as T^{row['declared']:.3f}"
            console.print(
                f"{told} regret grows as T^{row['slope']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{declared}".strip()
            )
    broken = int(found.columns["violations"].sum())
    if broken:
        complaints.print("error: bounds violated", style="red")
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the file and, in CamelCase, of the class: my_stream.")],
    folder: Annotated[Path, typer.Option(help="Where the file goes."), FOLDER] = Path(),
) -> None:
    """Write an environment to begin with, commented; every learner can play it."""
    from sim import own_environment
    from theory.runs.scaffold import begin, class_name

    with explained():
        path = begin(own_environment, "OwnEnvironment", name, folder)
    console.print(f"{path}; next: python -m sim play ogd {path}:{class_name(name)}", soft_wrap=True)


@app.command()
def replay(
    recording: Annotated[Path, typer.Argument(help="The .npz of a recorded frozen run.")],
    learner: Annotated[str, typer.Option("--learner", help="NAME or file.py:Class.")] = "frozen",
    gamma: Annotated[int | None, typer.Option(min=1, help="Draft length; by default the recorded one.")] = None,
    settings: Settings = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Draws of the acceptance (a run greedy or by the Gumbel rule has one).")
    ] = 32,
    seed: Annotated[int, typer.Option(help="The seed of the generator that draws the acceptance.")] = 0,
    out: Out = Path("out/replay"),
) -> None:
    """Predict the decoder's run under a learner and a draft length from one recording."""
    with explained():
        recorded = Recording.load(recording)
        overrides = parse_settings(settings or [])
        played = player(recorded, learner, overrides)
        length = int(recorded.header["gamma"]) if gamma is None else gamma
        made = settings_of(recorded, played, length, 1 if recorded.decided else seeds, seed) | source(learner)
        path = result_path(out, f"{recording.stem}/{file_name(learner, overrides)}-gamma{length}")
        with owned(path):
            if not done(path, made):
                with users_own(learner):
                    write(recorded, played, made, path, rounds(recorded, played))
        header = json.loads(read_text(path.with_suffix(".json")))
    counts = ", ".join(f"{name} {mean(header[name]):.6g}" for name in ("steps", "accepted", "recovered", "bonus"))
    rates = f"tokens_per_step {mean(header['tokens_per_step']):.4f}, alpha {header['alpha']:.4f}"
    console.print(f"{path}\n{rates}, mean KL {header['loss']:.4f}; {counts}", highlight=False, soft_wrap=True)


@app.command("foretell")
def foretell_plan(
    plan: Annotated[Path, typer.Argument(help="The plan.json that `python -m real matrix --plan` wrote.")],
    jobs: Annotated[int, typer.Option(min=1, help="Recordings replayed at once.")] = 1,
) -> None:
    """Predict every run of a plan, beside it in predicted/; those that are there are skipped."""
    with explained(), Progress(transient=True) as progress:
        tasks = [(path, runs, plan.parent / "predicted") for path, runs in planned(plan).items()]
        tell, total, count = progress.task("runs"), sum(len(runs) for _, runs, _ in tasks), 0
        for made in at_once(foretell, tasks, jobs, lambda name: None):
            tell(count := count + made, total)
    console.print(f"{count} runs are foretold")


@app.command()
def confirm(
    recordings: Annotated[list[Path], typer.Argument(help="The .npz of recorded frozen runs, or the .json of a plan.")],
    learner: Annotated[
        list[str] | None, typer.Option(help="NAME, repeatable; all that replay knows if left out.")
    ] = None,
    gamma: Annotated[list[int] | None, typer.Option(min=1, help="Draft length, repeatable; the recorded one.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the generator that draws the acceptance.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Recordings played at once.")] = 1,
    out: Annotated[Path, typer.Option(help="The JSON file to write."), FILE] = Path("out/confirm.json"),
) -> None:
    """Hold the replay against the papers' pseudocode, which shares nothing with it, column by column.

    Of a plan every run is played by its own learner and draft length.
    """
    rows = []
    with explained():
        tasks = [task for path in recordings for task in confirming(path, learner or [], gamma or [], seed)]
        with busy("playing"):
            for found in at_once(confirmed, tasks, jobs):
                rows += found
                for row in found:
                    console.print(f"{row['name']}, {row['learner']}, gamma {row['gamma']}: counts differ at "
                                  f"{row['counted']} of {row['positions']} positions; largest difference "
                                  f"{np.max([*row['differences'].values()]):.1e}", highlight=False)  # fmt: skip
    rows.sort(key=lambda row: (row["name"], row["learner"], row["gamma"]))
    save_result(out, "confirmed", {"rows": rows, "limit": LIMIT})
    wrong = [row for row in rows if not row["holds"]]
    console.print(f"of {len(rows)} runs {len(rows) - len(wrong)} hold", highlight=False)
    if wrong:
        complaints.print(f"error: {len(wrong)} runs differ from the pseudocode; see {out}", style="red")
        raise typer.Exit(1)


@app.command("hardest")
def hardest_rows(
    rows: Annotated[list[str], typer.Argument(help="Row names or patterns (drift/*).")],
    learner: LearnerName = None,
    settings: Settings = None,
    steps: Annotated[int, typer.Option(min=1, help="How many steps the solver may take.")] = 50_000,
) -> None:
    """Regret of one copy against the hardest comparators whose path is no longer than the truth's."""
    table = Table(Column("row", no_wrap=True), "truth", "hardest", "at most", "guarantee", box=None)
    broken = []
    with explained():
        for name, row in chosen(rows).items():
            row = row.altered(learner, parse_settings(settings or []), None)
            player = row.build()
            with users_own(row.learner), busy(name):
                found = hardest(player, row.environment, np.random.default_rng(row.seed), steps=steps)
            table.add_row(name, *("none" if number is None else f"{number:.2f}" for number in found))
            if found.guarantee is not None and found.hardest > found.guarantee * (1 + ROUNDING):
                broken.append(name)
    console.print(table)
    if broken:
        complaints.print(f"error: guarantees violated: {broken}", style="red")
        raise typer.Exit(1)


@app.command()
def bench(
    copies: Annotated[int, typer.Option(min=1, help="Copies at once.")] = 32,
    dimension: Annotated[int, typer.Option(min=2, help="Of the decision.")] = 10,
    rounds: Annotated[int, typer.Option(min=100, help="Of a turn.")] = 2000,
    turns: Annotated[int, typer.Option(min=1, help="Of every contender; they take turns.")] = 3,
    learner: Annotated[list[str] | None, typer.Option(help="Name, repeatable; six of them if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the rates in this JSON file."), FILE] = None,
) -> None:
    """Rounds × copies per CPU-second of both engines, and of loops that people write, on a drifting quadratic."""
    from importlib.util import find_spec

    engines = tuple(engine for engine in ENGINES if engine == "numpy" or find_spec(engine))
    found: dict[str, dict[str, float]] = {}
    with explained(), Progress(transient=True) as progress:
        names = learner or [*TIMED]
        tell = progress.task("learners")
        for number, name in enumerate(names, 1):
            found[name] = speeds(name, copies, dimension, rounds, turns, engines)
            tell(number, len(names))
    heads = list(dict.fromkeys(head for speeds_of in found.values() for head in speeds_of))
    table = Table("learner", *heads, box=None, title="rounds × copies per CPU-second; drawing is apart")
    for name, own in found.items():
        table.add_row(name, *(f"{own[head]:,.0f}" if head in own else "" for head in heads))
    console.print(table)
    if out is not None:
        save_result(
            out, "simulator speed", {"copies": copies, "dimension": dimension, "rounds": rounds, "rates": found}
        )


if __name__ == "__main__":
    app()
