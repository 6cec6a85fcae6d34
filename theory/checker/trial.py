"""A learner on trial: every law, then a search for a game that breaks what it claims; one report of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, NamedTuple
from warnings import warn

from theory.checker import breach, kept
from theory.checker.breach import Breach, attempts
from theory.checker.checks import DIMENSIONS, untried
from theory.checker.claims import Bound, BoundRaised, Claim, Finding, claims, load_bound, within
from theory.checker.counterexample import as_test, script, shrink, summary
from theory.checker.expression import expression
from theory.checker.search import GAMES, Search
from theory.domain import Ball, Domain, Simplex
from theory.learner import Learner
from theory.problem import Problem
from theory.runs.choose import Choice, learner_class, make_learner

FEW = (1, 2, 4, 16, 64)
"""Horizons of games in other dimensions than the problem's."""
HONEST = ("causal", "pure", "repeatable", "settled", "without_side_effects")
"""Laws without which a game played twice is not the same game."""


class NothingClaimed(UserWarning):
    """A learner passed without a bound having been tried."""


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
        return aligned(shown) + ["\n  ".join([f"{name}:", *game]) for name, game in games.items() if game]

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


def check(
    learner: Choice,
    bound: Bound | str | None = None,
    problem: Problem | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    only_within: bool = False,
    games: int = GAMES,
    dimensions: Sequence[int] = DIMENSIONS,
    tightness_at_least: float | None = None,
    seed: int = 0,
) -> Report:
    """Try every law on a learner, then search for a game that breaks its bound.

        >>> import theory
        >>> report = theory.check(theory.OGD(0.5, theory.Ball(1.0)), bound=lambda game: 0.9 * game.horizon**0.5)
        >>> report.holds, list(report.failed)
        (False, [])
        >>> print(report)                                                   # doctest: +ELLIPSIS
        OGD(step_size=0.5, domain=Ball(radius=1.0)), d = 3
        law
        feasible              ok
        ...
        The learner breaks its bound in this game:
        ...

    Args:
        learner: a name of ``LEARNERS``, ``file.py:Class``, a class, or an object.
        bound: a function of one game (``Played``) that gives a bound on its regret, or ``file.py:function``; by default
            all that the learner claims itself.
        problem: the constants that the learner is tuned for and its claims are asked for; by default G = 1 and 64
            rounds in three dimensions, on the learner's own domain or the unit ball.
        settings: of the learner, on top of its theorem's tuning; dotted keys go deeper.
        only_within: search games with gradients up to G only, for a bound that is stated for those.
        games: of the search, at most.
        dimensions: in which laws, and what the learner claims itself, are tried besides the problem's; none for one
            that is made for a single dimension.
        tightness_at_least: a share of ``bound`` that regret is to reach in some game; a looser bound does not hold
            either, for a theorem that is proved as tight.
        seed: of what is random.

    Raises:
        ValueError: for a share without a bound, or outside (0, 1]; for an unknown learner or setting, a missing file,
            or a bound that raises or gives no number.
    """
    if tightness_at_least is not None and not (bound is not None and 0 < tightness_at_least <= 1):
        raise ValueError(
            f"tightness_at_least={tightness_at_least!r}, bound={bound!r}: a share of a bound, above 0 and at most 1"
        )
    problem = problem or default_problem(learner)
    settings = dict(settings or {})
    subject = make_learner(learner, settings, problem)
    spec = bound if isinstance(bound, str) else None
    function = load_bound(bound) if isinstance(bound, str) else bound
    made = expression(learner, settings, problem)
    laws = attempts(subject, problem.dimension, dimensions, seed)
    unlawful = [_unlawful(breach.shrink(one), made) for one in laws.values() if one.broken]
    faults = {name: one.fault for name, one in laws.items()}
    report = Report(subject, problem, faults, unlawful=unlawful, untried=untried(subject, problem.dimension))
    if dishonest := [name for name in HONEST if name in report.failed]:
        first = f"no search for a game that breaks its bound before {', '.join(dishonest)} holds: repair that first"
        return replace(report, notes=[first])
    try:
        held = claims(subject, problem, function, spec)
        if "feasible" in report.failed and not held:
            held = [Claim("domain", lambda played: inf)]  # for a game in which it leaves it
        if not held:
            return replace(report, notes=["the learner claims NO BOUND, so none was tried; give one as bound"])
        if only_within:
            held = [within(claim, problem.gradient_bound) for claim in held]
        search = Search(subject, problem, held, games, not only_within, seed=seed)
        findings, notes = search.run(), search.notes
        if function is None and not any(found.broken for found in findings):
            for dimension in dimensions:
                findings += _elsewhere(search, replace(problem, dimension=dimension))
        failing = _distinct([_short(found) for found in findings if found.broken])
        if function is not None:
            failing = [_smaller(search, found, notes) for found in failing]
    except BoundRaised:
        raise
    except (Exception, SystemExit) as error:
        return replace(report, raised=f"{type(error).__name__}: {error}")
    broken = [_broken(found, made, problem, function, spec) for found in failing]
    loose = [f for f in findings if tightness_at_least is not None and f.ratio < tightness_at_least]
    return replace(report, findings=findings, broken=broken, notes=notes, loose=loose, asked=tightness_at_least)


def assert_learner(
    learner: Choice,
    bound: Bound | str | None = None,
    problem: Problem | None = None,
    games: int = GAMES,
    tightness_at_least: float | None = None,
) -> None:
    """``check``, as one line of a user's own test suite.

        def test_my_learner():
            assert_learner(MyLearner(step_size=0.1, domain=Ball(1.0)))

        def test_my_theorem():
            assert_learner(MyLearner(step_size=0.1, domain=Ball(1.0)), bound=lambda game: 3 * game.horizon**0.5)

    Arguments and errors are those of ``check``.

    Raises:
        AssertionError: with the report, if a law is broken, a game breaks the bound, or it is looser than asked.

    Warns:
        NothingClaimed: if there is no bound to break, so that the laws alone were tried.
    """
    report = check(learner, bound, problem, games=games, tightness_at_least=tightness_at_least)
    if not report.holds:
        raise AssertionError(str(report))
    if not report.findings:
        warn(f"{report.learner}: no bound was tried, laws alone; {'; '.join(report.notes)}", NothingClaimed, 2)


def default_problem(
    learner: Choice,
    domain: Domain | None = None,
    dimension: int = 3,
    horizon: int = 64,
    gradient_bound: float = 1.0,
) -> Problem:
    """The constants that a trial asks for, by default on the domain that the learner plays on."""
    if domain is None and isinstance(learner, Learner):
        domain = learner.domain
    own = Simplex() if learner_class(learner).weighs_experts() else Ball(1.0)
    return Problem(domain or own, dimension, horizon, gradient_bound)


def tried(learner: Learner, dimension: int, dimensions: Sequence[int] = DIMENSIONS) -> dict[str, str | None]:
    """Every law → what broke it, None where it holds."""
    return {name: one.fault for name, one in attempts(learner, dimension, dimensions).items()}


def _unlawful(found: Breach, made: tuple[str, dict[str, str]]) -> Unlawful:
    try:
        told = kept.content_of_breach(found)
    except ValueError:
        told = None
    return Unlawful(found, breach.as_test(found, *made), told)


def _short(found: Finding) -> Finding:
    """The finding made short, its claim called by the dimension that is left."""
    small = shrink(found)
    name, elsewhere, _ = small.claim.name.partition(", d = ")
    named = f"{name}{elsewhere}{small.played.game.x_1.shape[-1]}" if elsewhere else name
    return replace(small, claim=replace(small.claim, name=named))


def _broken(
    found: Finding, made: tuple[str, dict[str, str]], problem: Problem, bound: Bound | None, spec: str | None
) -> Broken:
    constants = replace(problem, dimension=found.played.game.x_1.shape[-1])
    try:
        told = kept.content(found, constants, bound, spec)
    except ValueError:
        told = None
    return Broken(found, script(found, *made), as_test(found, *made), told)


def _elsewhere(search: Search, problem: Problem) -> list[Finding]:
    """The games that break what the learner claims itself in another dimension."""
    if problem.dimension == 1 and isinstance(problem.domain, Simplex):
        return []
    own = [replace(claim, name=f"{claim.name}, d = {problem.dimension}") for claim in claims(search.learner, problem)]
    if not search.scales:
        own = [within(claim, problem.gradient_bound) for claim in own]
    there = Search(search.learner, problem, own, search.games // 4, search.scales, FEW, search.seed, drawn=False)
    return [one for one in there.run() if one.broken]


def _distinct(found: list[Finding]) -> list[Finding]:
    """At most one play outside the domain, as it breaks every claim alike, and all that break a claim inside."""
    return [finding for number, finding in enumerate(found) if number == 0 or not finding.outside]


def _smaller(search: Search, found: Finding, notes: list[str]) -> Finding:
    """A finding with gradients up to G, if one breaks the claim, too; else the finding, and a note."""
    g, largest = search.problem.gradient_bound, float(found.played.gradient_bound)
    if found.outside or largest <= g * (1 + 1e-9):
        return found
    again = replace(search, claims=[within(found.claim, g)], scales=False, best={}, notes=[], played=0)
    breaking = [shrink(one) for one in again.run() if one.broken]
    if not breaking:
        notes.append(
            f"it is broken by gradients up to {largest:.3g}; with gradients up to G = {g} no game does so. "
            "If the bound is stated for those, search only within them (only_within)"
        )
    return breaking[0] if breaking else found
