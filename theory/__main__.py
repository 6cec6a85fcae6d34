"""``python -m theory check | new | replay | certify | bounds | tightness | audit | exact | import-time``."""

from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from theory.catalogue import BOUNDS, Bound
from theory.checker import breach, certificate, counterexample, exact, kept, trial
from theory.checker import tightness as tight
from theory.checker.breach import Breach
from theory.checker.search import GAMES
from theory.checker.worst import WORST
from theory.domain import Ball, Box, Domain, Simplex
from theory.runs.choose import parse_settings
from theory.runs.console import new_console
from theory.runs.experiment import select
from theory.runs.files import write_whole
from theory.runs.import_time import import_seconds
from theory.runs.outputs import FILE, FOLDER
from theory.runs.terminal import Commands, busy, complaints
from theory.runs.trace import Trace
from theory.speculation.hazards import hazards

app = Commands(no_args_is_help=True, help="Theorems, and anyone's learner held against them.")
console = new_console(soft_wrap=True)

DOMAINS: dict[str, Domain] = {"ball": Ball(1.0), "box": Box(-1.0, 1.0), "simplex": Simplex()}


@app.command()
def check(
    learner: Annotated[str, typer.Argument(help="NAME or file.py:Class.")],
    bound: Annotated[str | None, typer.Option(help="file.py:function of a theory.checker.claims.Played.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value. May be repeated.")] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="ball, box or simplex; by default what the learner plays on, if bounded, else the ball."),
    ] = None,
    dimension: Annotated[int, typer.Option(min=2, help="How many coordinates a decision has.")] = 3,
    horizon: Annotated[int, typer.Option(min=1, help="T the learner is tuned for.")] = 64,
    gradient_bound: Annotated[float, typer.Option(help="G the learner is tuned for.")] = 1.0,
    only_within: Annotated[bool, typer.Option("--only-within", help="Search gradients up to G only.")] = False,
    games: Annotated[int, typer.Option(min=1, help="Games after which the search ends.")] = GAMES,
    tightness_at_least: Annotated[
        float | None, typer.Option(help="A share of --bound that regret is to reach in some game.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write each game that breaks a claim or law there, as JSON and as a test."),
        FOLDER,
    ] = None,
) -> None:
    """Run every law on a learner, then search for a game that breaks its bound.

    Status 1 if something is broken, 3 if nothing is but there was no bound to try.
    """
    if domain is not None and domain not in DOMAINS:
        raise ValueError(f"--domain {domain!r}: one of {', '.join(DOMAINS)}")
    where = None if domain is None else DOMAINS[domain]
    problem = trial.default_problem(learner, where, dimension, horizon, gradient_bound)
    given = parse_settings(settings or [])
    with busy("trying its laws, then searching for a game that breaks its bound"):
        report = trial.check(
            learner,
            bound,
            problem,
            settings=given,
            only_within=only_within,
            games=games,
            tightness_at_least=tightness_at_least,
        )
    console.print(str(report), highlight=False)
    for number, broken in enumerate([*report.broken, *report.unlawful] if out is not None else [], 1):
        assert out is not None
        if broken.kept is not None:
            kept.save(out / f"counterexample-{number}.json", broken.kept)
        write_whole(out / f"test_counterexample_{number}.py", broken.test)
    raise typer.Exit(1 if not report.holds else 0 if report.findings else 3)


@app.command()
def replay(
    game: Annotated[Path, typer.Argument(help="A counterexample-*.json of check --out.")],
    trust: Annotated[bool, typer.Option("--trust", help="Run what it names besides theory.")] = False,
) -> None:
    """Play a game that broke a claim or a law again, by the code of today. Status 1 if it is still broken."""
    found = kept.replayed(game, trust)
    if isinstance(found, Breach):
        name, told = found.law.__name__, breach.summary(found)
    else:
        name, told = found.claim.name, counterexample.summary(found)
    for said, value in (told | {name: "still broken" if found.broken else "holds now"}).items():
        console.print(f"{said}: {value}", highlight=False)
    raise typer.Exit(1 if found.broken else 0)


@app.command()
def certify(
    log: Annotated[Path, typer.Argument(help="A log of theory.checker.certificate.Recorder, .csv beside its .json.")],
    switches: Annotated[int, typer.Option(min=0, help="How often the switching comparator may switch.")] = 2,
    segments: Annotated[int, typer.Option(min=1, help="Into how many segments the run is cut.")] = 4,
) -> None:
    """Recompute regret, bound and certificate ratio from a log alone, for a finite set of comparator sequences."""
    trace = Trace.load(log)
    rows = {
        name: certificate.certificate(trace, sequence)
        for name, sequence in certificate.sequences(trace, segments, switches).items()
    }
    table = Table("comparator", *certificate.Certificate._fields, box=None)
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.6g}" for value in row))
    console.print(table)
    if any(row.slack < -1e-9 * (1 + abs(row.bound)) for row in rows.values()):
        complaints.print(
            "error: regret exceeds its certificate in some round: the log or the learner is wrong", style="red"
        )
        raise typer.Exit(1)


@app.command()
def bounds(
    names: Annotated[list[str] | None, typer.Argument(help="Bounds or patterns (ogd*); by default all.")] = None,
) -> None:
    """Print every bound: its formula and where it is from; one alone with all that is known of it."""
    found = select(BOUNDS, names) if names else BOUNDS
    if len(found) == 1:
        for what, said in in_full(*found.values()).items():
            console.print(f"{what}: {said}", highlight=False, markup=False)
        return
    table = Table(Column("bound", no_wrap=True), "statement", "source", box=None)
    for name, bound in found.items():
        table.add_row(name, escape(bound.statement), escape(bound.source))
    console.print(table, highlight=False)


def in_full(bound: Bound) -> dict[str, str]:
    """What is printed of one bound alone."""
    return {
        "bound": bound.name,
        "statement": bound.statement,
        "hypotheses": bound.given,
        "constants": ", ".join(bound.constants),
        "source": bound.source,
        "function": bound.function,
        "test": ", ".join(f"tests/theory/{test}" for test in bound.tests),
        "tightest": f"{WORST[bound.name].game}; python -m theory tightness 'worst of {bound.name}'",
        "slack": bound.slack or "none: it is attained, or within 5 %",
    }


@app.command()
def tightness(
    patterns: Annotated[list[str] | None, typer.Argument(help="Rows or patterns (ogd*); by default all.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table there, too."), FILE] = None,
    games: Annotated[int, typer.Option(min=1, help="Games after which the search of a row ends.")] = GAMES,
) -> None:
    """Print the largest regret/bound known of every bound, with the game. Status 1 if one is broken."""
    table = Table(Column("bound", no_wrap=True), "ratio", "game", "rounds", box=None)
    chosen = tight.chosen(patterns or [])
    found = []
    for name in chosen:
        with busy(name):
            found += tight.measure(name, games)
    if csv is not None:
        tight.save(found, csv)
    for row in found:
        table.add_row(row.bound, f"{row.ratio:.4f}", row.game, str(row.rounds))
    console.print(table)
    for row in found:
        if row.note:
            console.print(f"{row.bound}: {row.note}", highlight=False)
    best = tight.tightest(found)
    if best:
        console.print(
            f"the tightest row of each of {len(best)} bounds: median {median(best.values()):.3f}, least "
            f"{min(best.values()):.3f}"
        )
    if any(row.broken for row in found):
        complaints.print(f"error: broken: {[row.bound for row in found if row.broken]}", style="red")
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the file and, in CamelCase, of the class: my_learner.")],
    folder: Annotated[Path, typer.Option(help="Where the file goes."), FOLDER] = Path(),
) -> None:
    """Write a learner to begin with, commented; it passes ``check``."""
    from theory.runs import own_learner
    from theory.runs.scaffold import begin, class_name

    path = begin(own_learner, "OwnLearner", name, folder)
    console.print(f"{path}; next: python -m theory check {path}:{class_name(name)}", soft_wrap=True)


@app.command()
def audit(streams: Annotated[int, typer.Option(min=1, help="Independent streams a hazard.")] = 5) -> None:
    """Print each hazard of a learning decoder: its total variation, exact, and the tokens until the audit sees it."""
    table = Table("hazard", "total variation", "tokens to detection (median)", box=None)
    with busy("decoding with each hazard"):
        rows = hazards(streams=streams)
    for row in rows:
        table.add_row(row.name, f"{row.total_variation:.4f}", f"{row.tokens:,.0f}")
    console.print(table)


@app.command("import-time")
def import_time(
    repeats: Annotated[int, typer.Option(min=1, help="Fresh interpreters; the median counts.")] = 5,
) -> None:
    """Seconds to import theory beyond numpy and scipy."""
    for name, seconds in import_seconds(repeats).items():
        console.print(f"{name:24s} {seconds:.3f} s", highlight=False)


@app.command("exact")
def exact_worst_cases(longest: Annotated[int, typer.Option(min=1, help="Largest horizon.")] = 4) -> None:
    """Exact worst regret of OGD and OptimisticOGD at short horizons (needs the extra 'pep')."""
    rows = exact.table(longest)
    for row in rows:
        console.print(",".join(str(value) for value in row.values()), highlight=False)


if __name__ == "__main__":
    app()
