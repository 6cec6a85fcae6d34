"""``python -m tests.faults``: 60 learners with a planted fault each, and ten correct ones, before the checker.

Every fault is tried as a user's learner is: ``theory.check``. The game that breaks it is written to a file and played
again by ``python -m theory replay`` in a fresh process. Correct learners are tried in the same way, and by short games
with many seeds. Status 1 if fewer than 57 faults are caught, their games have more than 4 rounds in the median, one of
them does not play again, a fault takes more than 20 s of a processor, or a correct learner is called broken.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import theory
from tests.theory.checker.planted import arrays, bounds, experts, games, held_out, hints, projections, protocol, steps
from theory.checker import kept
from theory.checker.breach import attempts
from theory.checker.claims import claims
from theory.checker.report import Broken, Report, Unlawful
from theory.checker.search import GAMES, Search
from theory.checker.trial import FEW, default_problem
from theory.domain import Ball, Box
from theory.learner import Learner
from theory.learners import OGD, AdaHedge, CoinBetting, Ensemble, FixedShare, Hedge, OptimisticOGD
from theory.learners.delayed import Delayed
from theory.runs.result import save_result
from theory.runs.table import Column, console, table
from theory.runs.terminal import Progress
from theory.step_size import AdaGradNorm, SelfConfident

ROOT = Path(__file__).resolve().parent.parent
KINDS = (steps, projections, hints, protocol, arrays, games, experts, bounds, held_out)
KIND = "planted faults"
WANTED = 57
"""Of 60."""
ROUNDS = 4
"""Of the games that are shown, in the median."""
SECONDS = 20
"""Of a processor, a learner: those of a clock would depend on what else runs."""


@dataclass(frozen=True)
class Planted:
    """A faulty learner, the law or claim that it was made to break, and what kind of fault it is."""

    learner: Learner
    breaks: str
    kind: str

    @property
    def name(self) -> str:
        return type(self.learner).__name__


FAULTS = [
    Planted(learner, breaks, module.__name__.rpartition(".")[2])
    for module in KINDS
    for learner, breaks in module.FAULTS.items()
]
CORRECT: tuple[Learner, ...] = (
    OGD(0.1, Ball(1.0)),
    OGD(AdaGradNorm(2.0), Ball(1.0)),
    OptimisticOGD(0.1, domain=Box(-1.0, 0.5)),
    OptimisticOGD(SelfConfident(2.0, 1.0), domain=Ball(1.0)),
    Hedge(0.5),
    AdaHedge(),
    FixedShare(0.5, 0.1),
    Ensemble(OGD((0.1, 0.5), Ball(1.0))),
    Delayed(OGD(0.1, Ball(1.0)), 2),
    CoinBetting(2.0, 1.0, Ball(1.0)),
)


# A fault


def shown(report: Report) -> Broken | Unlawful | None:
    """The game that a report shows first."""
    return next(iter([*report.broken, *report.unlawful]), None)


def called(game: Broken | Unlawful) -> str:
    """The claim or law that it breaks, whatever the dimension."""
    name = game.finding.claim.name if isinstance(game, Broken) else game.breach.law.__name__
    return name.partition(", d = ")[0]


def rounds(game: Broken | Unlawful) -> int:
    """Its length."""
    return game.finding.played.horizon if isinstance(game, Broken) else len(game.breach.game.slopes)


def plays_again(game: Broken | Unlawful) -> bool:
    """Whether ``theory replay`` finds it broken in a fresh process."""
    if game.kept is None:
        return False
    with TemporaryDirectory() as folder:
        file = Path(folder) / "counterexample.json"
        kept.save(file, game.kept)
        command = [sys.executable, "-m", "theory", "replay", str(file), "--trust"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode == 1 and "still broken" in done.stdout


def judged(planted: Planted, budget: int) -> dict[str, Any]:
    """One row: what caught it, in how many rounds, whether that plays again, and how long it took to find."""
    begun = time.process_time()
    report = theory.check(planted.learner, games=budget)
    seconds = time.process_time() - begun
    game = shown(report)
    everything = [called(one) for one in [*report.broken, *report.unlawful]]
    return {
        "fault": planted.name,
        "kind": planted.kind,
        "made to break": planted.breaks,
        "caught by": None if game is None else called(game),
        "as meant": planted.breaks in everything,
        "rounds": None if game is None else rounds(game),
        "replayed": None if game is None else plays_again(game),
        "seconds": round(seconds, 2),
    }


# Correct learners


def in_full(learner: Learner, budget: int) -> list[str]:
    """Laws and claims of a correct learner that ``theory.check`` calls broken."""
    report = theory.check(learner, games=budget)
    raised = [f"raised {report.raised}"] if report.raised else []
    return [*report.failed, *(called(one) for one in report.broken), *raised]


def false_alarms(learner: Learner, seed: int) -> list[str]:
    """Laws and claims of a correct learner that are called broken, by short games of every stage of the search."""
    problem = default_problem(learner)
    laws = attempts(learner, problem.dimension, seed=seed)
    found = Search(learner, problem, claims(learner, problem), horizons=FEW[:4], seed=seed).run()
    return [name for name, one in laws.items() if one.broken] + [one.claim.name for one in found if one.broken]


# All of it


def summary(rows: Sequence[dict[str, Any]], budget: int) -> dict[str, Any]:
    """What the rows come to."""
    caught = [row for row in rows if row["caught by"] is not None]
    unseen = [row for row in rows if row["kind"] == "held_out"]
    return {
        "games": budget,
        "planted": len(rows),
        "caught": len(caught),
        "held out": len(unseen),
        "held out, caught": sum(row["caught by"] is not None for row in unseen),
        "caught as meant": sum(row["as meant"] for row in rows),
        "median rounds": median(row["rounds"] for row in caught) if caught else None,
        "replayed": sum(bool(row["replayed"]) for row in caught),
        "longest seconds": max(row["seconds"] for row in rows),
    }


COLUMNS = [
    Column("fault", "fault"),
    Column("kind", "kind"),
    Column("made to break", "made to break"),
    Column("caught by", "caught by"),
    Column("rounds", "rounds", "d"),
    Column("replayed", "replayed", lambda yes: "yes" if yes else "no"),
    Column("seconds", "seconds", ".1f"),
]


def trials(chosen: Sequence[Planted], budget: int) -> Iterator[dict[str, Any]]:
    with Progress() as progress:
        tell = progress.task("faults")
        for number, planted in enumerate(chosen, 1):
            yield judged(planted, budget)
            tell(number, len(chosen))


def alarms(seeds: int, budget: int) -> list[str]:
    """Of every correct learner; no seed leaves them out."""
    found = []
    with Progress() as progress:
        tell = progress.task("correct learners")
        for number, learner in enumerate(CORRECT if seeds else (), 1):
            found += [f"{learner}: {what}" for what in in_full(learner, budget)]
            found += [
                f"{learner}, seed {seed}: {what}" for seed in range(seeds) for what in false_alarms(learner, seed)
            ]
            tell(number, len(CORRECT))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for every fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=GAMES, help="that the search may play for a learner")
    parser.add_argument("--seeds", type=int, default=20, help="of every correct learner; 0 leaves these out")
    parser.add_argument("--out", type=Path, help="write the rows there, as JSON")
    parser.add_argument("faults", nargs="*", help="names of classes; all if left out")
    given = parser.parse_args(arguments)
    known = [planted.name for planted in FAULTS]
    if strange := [name for name in given.faults if name not in known]:
        parser.error(f"faults={strange[0]!r}: must be one of {', '.join(known)}")
    rows = list(trials([one for one in FAULTS if one.name in (given.faults or known)], given.games))
    told = summary(rows, given.games)
    false = alarms(given.seeds, given.games)
    correct = {"learners": [str(one) for one in CORRECT], "seeds": given.seeds, "false alarms": false}
    console.print(table(rows, COLUMNS))
    for name, value in (told | {"false alarms": false or 0}).items():
        print(f"{name}: {value}")
    if given.out is not None:
        save_result(given.out, KIND, {**told, "correct": correct, "faults": rows})
    right = told["replayed"] == told["caught"] and not false and told["longest seconds"] <= SECONDS
    short = told["median rounds"] is not None and told["median rounds"] <= ROUNDS
    return int(not (right and short and told["caught"] >= min(WANTED, len(rows))))


if __name__ == "__main__":
    sys.exit(main())
