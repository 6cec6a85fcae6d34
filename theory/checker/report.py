"""What a trial of a learner found, and how it is printed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from theory.checker.breach import Breach
from theory.checker.claims import Finding
from theory.checker.counterexample import summary
from theory.learner import Learner
from theory.problem import Problem


class Broken(NamedTuple):
    """A game that breaks a claim, made short.

    Attributes:
        finding: the game. code: Python that plays it again. test: the same as a test. kept: what ``kept.save`` takes;
            None where no file can tell it.
    """

    finding: Finding
    code: str
    test: str
    kept: dict[str, Any] | None


class Unlawful(NamedTuple):
    """A game that breaks a law, made short; ``test`` and ``kept`` as of ``Broken``."""

    breach: Breach
    test: str
    kept: dict[str, Any] | None


@dataclass(frozen=True)
class Report:
    """What a trial found; ``print`` shows all of it.

    Attributes:
        learner: what was tried; problem: the constants that its claims were asked for.
        laws: by the law's name, what broke it; None where it holds. untried: of other laws, why they were not tried.
        findings: for every claim the game in which regret came nearest to the bound.
        broken: of those that break their claim, the short game and its Python.
        unlawful: of every law that is broken, the same.
        notes: what else there is to know.
        raised: the exception that ended the search; None if nothing did.
        loose: claims of which regret came to less than the share ``asked`` in every game.
        games: how many the searches played in all.
    """

    learner: Learner
    problem: Problem
    laws: dict[str, str | None]
    findings: list[Finding] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    unlawful: list[Unlawful] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raised: str | None = None
    untried: dict[str, str] = field(default_factory=dict)
    loose: list[Finding] = field(default_factory=list)
    asked: float | None = None
    games: int = 0

    @property
    def failed(self) -> dict[str, str]:
        """The laws that are broken, and what broke each."""
        return {name: fault for name, fault in self.laws.items() if fault is not None}

    @property
    def holds(self) -> bool:
        """Whether every law holds, no game was found that breaks a claim, and none is looser than asked."""
        return not (self.failed or self.broken or self.raised or self.loose)

    @property
    def counterexample(self) -> str | None:
        """Python that plays the first game that breaks a claim; None without one."""
        return self.broken[0].code if self.broken else None

    def __str__(self) -> str:
        parts = [f"{self.learner}, d = {self.problem.dimension}", *self._laws(), *self._claims()]
        parts += [f"{self.games:,} games played"] if self.games else []
        parts += [f"note: {note}" for note in self.notes]
        parts += [f"broken: the search raised {self.raised}"] if self.raised else []
        parts += [
            f"loose: regret comes to {one.ratio:.3f} of the {one.claim.name} at most, {self.asked:g} is asked"
            for one in self.loose
        ]
        return "\n".join(parts + [line for broken in self.broken for line in _told(broken)])

    def _laws(self) -> list[str]:
        first = {name: (fault or "").partition("\n")[0] for name, fault in self.laws.items()}
        shown = [("law", "", ""), *((name, "broken" if self.laws[name] else "ok", first[name]) for name in self.laws)]
        shown += [(name, "not tried", why) for name, why in self.untried.items()]
        games = {name: fault.split("\n")[1:] for name, fault in self.failed.items()}
        table = aligned(shown) if self.laws else []
        return table + ["\n  ".join([f"{name}:", *game]) for name, game in games.items() if game]

    def _claims(self) -> list[str]:
        heading = "claim", "largest regret/bound", "", "in", "rounds"
        rows = [
            (one.claim.name, f"{one.ratio:.6f}", "broken" if one.broken else "holds", one.family, one.played.horizon)
            for one in self.findings
        ]
        return aligned([heading, *rows]) if rows else []


def aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows of cells as lines whose columns begin at the same place."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _told(broken: Broken) -> list[str]:
    """The game that breaks a claim, and how to play it again."""
    finding = broken.finding
    fault = "leaves the domain" if finding.outside else f"breaks its {finding.claim.name}"
    game = aligned([(f" {name}", value) for name, value in summary(finding).items()])
    return ["", f"The learner {fault} in this game:", *game, "Again, in Python:", broken.code]
