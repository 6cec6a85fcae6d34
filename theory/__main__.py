"""``python -m theory check | certify | tightness | audit | exact | import-time``."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from theory.checker import certificate, exact
from theory.checker import tightness as tight
from theory.checker.checks import checks
from theory.checker.claims import BoundRaised, Claim, Finding, claims, load_bound, within, written
from theory.checker.counterexample import script, shrink, summary
from theory.checker.search import Search
from theory.domain import Ball, Box, Domain, Simplex
from theory.learner import Learner
from theory.problem import Problem
from theory.runs.choose import learner_class, make_learner, parse_settings
from theory.runs.import_time import import_seconds
from theory.runs.terminal import Commands, complaints, explained
from theory.runs.trace import Trace
from theory.speculation.hazards import hazards

app = Commands(no_args_is_help=True, help="Theorems, and anyone's learner held against them.")
console = Console(soft_wrap=True, emoji=False)

DOMAINS: dict[str, Domain] = {"ball": Ball(1.0), "box": Box(-1.0, 1.0), "simplex": Simplex()}

HONEST = ("causal", "pure", "repeatable", "settled", "without_side_effects")
"""Laws without which a game played twice is not the same game."""


@app.command()
def check(
    learner: Annotated[str, typer.Argument(help="NAME or file.py:Class.")],
    bound: Annotated[str | None, typer.Option(help="file.py:function of a theory.checker.claims.Played.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Setting, key=value; repeatable.")] = None,
    domain: Annotated[str, typer.Option(help="ball, box or simplex; by default what the learner plays on.")] = "",
    dimension: Annotated[int, typer.Option(min=2, help="d.")] = 3,
    horizon: Annotated[int, typer.Option(min=1, help="T the learner is tuned for.")] = 64,
    gradient_bound: Annotated[float, typer.Option(help="G the learner is tuned for.")] = 1.0,
    only_within: Annotated[bool, typer.Option("--only-within", help="Search gradients up to G only.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Of the search, at most.")] = 40.0,
) -> None:
    """Run every law on a learner, then search for a game that breaks its bound. Status 1 if something is broken."""
    with explained():
        default = getattr(learner_class(learner), "domain", None)
        name = domain or ("simplex" if isinstance(default, Simplex) else "ball")
        if name not in DOMAINS:
            raise ValueError(f"--domain {domain!r}: one of {', '.join(DOMAINS)}")
        problem = Problem(DOMAINS[name], dimension, horizon, gradient_bound)
        given = parse_settings(settings or [])
        subject = make_learner(learner, given, problem)
        function = None if bound is None else load_bound(bound)
    console.print(f"{subject}, d = {dimension}", markup=False)
    broken = laws(subject, dimension)
    if dishonest := [name for name in broken if name in HONEST]:
        names = ", ".join(dishonest)
        console.print(f"note: no search for a game that breaks its bound before {names} holds: repair that first")
        raise typer.Exit(1)
    try:
        claimed = claims(subject, problem, function, bound or "")
        if "feasible" in broken and not claimed:
            claimed = [Claim("domain", lambda played: inf)]  # for a game in which it leaves it
        if only_within:
            claimed = [within(claim, gradient_bound) for claim in claimed]
        search = Search(subject, problem, claimed, seconds, not only_within)
        failed = hunt(search)
        if function is not None:
            failed = [smaller(search, finding) for finding in failed]
    except BoundRaised as error:
        complaints.print(f"error: --bound {bound}: {error}", style="red", markup=False)
        raise typer.Exit(2) from None
    except Exception as error:
        complaints.print(f"broken: the search raised {type(error).__name__}: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    for finding in failed:
        explain(finding, script(finding, f"make_learner({learner!r}, {given}, {written(problem)})", problem))
    raise typer.Exit(1 if broken or failed else 0)


def laws(subject: Learner, dimension: int) -> list[str]:
    """Print a table of the laws → those broken."""
    results: dict[str, str] = {}
    for title, one in checks(subject, dimension):
        name = title.partition("[")[0]
        message = ""
        try:
            one()
        except AssertionError as error:
            message = str(error)
        except Exception as error:
            message = f"{name}: raised {type(error).__name__}: {error}"
        results[name] = results.get(name) or message
    table = Table("law", "", "", box=None)
    for name, message in results.items():
        fault, *_ = message.removeprefix(f"{name}: ").splitlines() or [""]
        table.add_row(name, "[red]broken[/]" if message else "[green]ok[/]", escape(fault))
    console.print(table)
    broken = [name for name, message in results.items() if message]
    for name in broken:
        _, *game = results[name].splitlines()
        if game:
            console.print(f"{name}:", *game, sep="\n  ", markup=False, highlight=False)
    return broken


def hunt(search: Search) -> list[Finding]:
    """Print the largest regret/bound of every claim → the broken ones, shrunk; of plays outside the domain one."""
    if not search.claims:
        console.print("the learner claims no bound; give one with --bound file.py:function")
        return []
    with console.status("searching for a game that breaks it …"):
        findings = search.run()
    for note in search.notes:
        console.print(f"note: {note}", markup=False)
    table = Table("claim", "largest regret/bound", "", "in", "rounds", box=None)
    for found in findings:
        verdict = "[red]broken[/]" if found.broken else "[green]holds[/]"
        table.add_row(found.claim.name, f"{found.ratio:.6f}", verdict, found.family, str(found.played.horizon))
    console.print(table)
    broken = [shrink(found) for found in findings if found.broken]
    return [found for i, found in enumerate(broken) if i == 0 or not found.outside]


def smaller(search: Search, found: Finding) -> Finding:
    """A finding with gradients up to G, if one breaks the claim, too; else the finding, and a note."""
    g, largest = search.problem.gradient_bound, float(found.played.gradient_bound)
    if found.outside or largest <= g * (1 + 1e-9):
        return found
    again = replace(search, claims=[within(found.claim, g)], scales=False, best={}, notes=[])
    with console.status(f"searching for one with gradients up to {g} …"):
        breaking = [shrink(one) for one in again.run() if one.broken]
    if not breaking:
        console.print(
            f"note: it is broken by gradients up to {largest:.3g}; with gradients up to G = {g} no game does so."
        )
        console.print("If the bound is stated for those, search with --only-within")
    return breaking[0] if breaking else found


def explain(finding: Finding, code: str) -> None:
    """Print the game that breaks a claim, and the Python that plays it."""
    fault = "leaves the domain" if finding.outside else f"breaks its {finding.claim.name}"
    console.print(f"\n[red]The learner {fault}[/] in this game:")
    table = Table(box=None, show_header=False)
    for key, value in summary(finding).items():
        table.add_row(key, str(value).replace("[", r"\["))
    console.print(table)
    console.print("Again, in Python:")
    console.print(code, markup=False, highlight=False)


@app.command()
def certify(
    log: Annotated[Path, typer.Argument(help="A log of theory.checker.certificate.Recorder, .csv beside its .json.")],
    switches: Annotated[int, typer.Option(min=0, help="Of the S-switch comparator.")] = 2,
    segments: Annotated[int, typer.Option(min=1, help="Of the per-segment comparator.")] = 4,
) -> None:
    """Recompute regret, bound and certificate ratio from a log alone, for a finite set of comparator sequences."""
    with explained():
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
def tightness(
    patterns: Annotated[list[str] | None, typer.Argument(help="Rows or patterns (ogd*); by default all.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table there, too.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of the search, per row, at most.")] = 20.0,
) -> None:
    """Print the largest regret/bound found of every bound, with the game. Status 1 if one is broken."""
    table = Table(Column("bound", no_wrap=True), "ratio", "game", "rounds", box=None)
    with explained():
        chosen = tight.chosen(patterns or [])
        found = []
        for name in chosen:
            with console.status(name):
                found += tight.measure(name, seconds)
        if csv is not None:
            tight.save(found, csv)
    for row in found:
        table.add_row(row.bound, f"{row.ratio:.4f}", row.game, str(row.rounds))
    console.print(table)
    for row in found:
        if row.note:
            console.print(f"{row.bound}: {row.note}", highlight=False)
    if any(row.broken for row in found):
        complaints.print(f"error: broken: {[row.bound for row in found if row.broken]}", style="red")
        raise typer.Exit(1)


@app.command()
def audit(streams: Annotated[int, typer.Option(min=1, help="Independent streams a hazard.")] = 5) -> None:
    """Print each hazard of a learning decoder: its total variation, exact, and the tokens until the audit sees it."""
    table = Table("hazard", "total variation", "tokens to detection (median)", box=None)
    with console.status("decoding with each hazard …"):
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
    with explained():
        rows = exact.table(longest)
    for row in rows:
        console.print(",".join(str(value) for value in row.values()), highlight=False)


if __name__ == "__main__":
    app()
