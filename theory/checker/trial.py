"""A learner on trial: every law, then a search for a game that breaks what it claims; one report of both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any
from warnings import warn

from theory.checker import breach, kept
from theory.checker.breach import Breach, attempts
from theory.checker.checks import DIMENSIONS, untried
from theory.checker.claims import Bound, BoundRaised, Claim, Finding, claims, load_bound, within
from theory.checker.counterexample import as_test, script, shrink
from theory.checker.expression import expression
from theory.checker.report import Broken, Report, Unlawful
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
    laws: bool = True,
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
            rounds in three dimensions, on the domain of ``default_problem``.
        settings: of the learner, on top of its theorem's tuning; dotted keys go deeper.
        only_within: search games with gradients up to G only, for a bound that is stated for those.
        games: after which the search ends, with the batch that it is in. Others follow it, each with a budget of its
            own: a quarter of this in each of the other ``dimensions``; as many again, of smaller gradients, for a bound
            of yours that is broken by larger ones than G. The report says how many were played in all.
        dimensions: in which laws, and what the learner claims itself, are tried besides the problem's; none for one
            that is made for a single dimension.
        tightness_at_least: a share of ``bound`` that regret is to reach in some game; a looser bound does not hold
            either, for a theorem that is proved as tight.
        seed: of what is random.
        laws: whether to try them; without, for a suite that does so itself, they are taken to hold.

    Raises:
        ValueError: for a share without a bound, or outside (0, 1]; for no games; for an unknown learner or setting, a
            missing file, or a bound that raises or gives no number.
    """
    if tightness_at_least is not None and not (bound is not None and 0 < tightness_at_least <= 1):
        raise ValueError(
            f"tightness_at_least={tightness_at_least!r}, bound={bound!r}: a share of a bound, above 0 and at most 1"
        )
    if games < 1:
        raise ValueError(f"games={games!r}: a search plays at least 1")
    problem = problem or default_problem(learner)
    settings = dict(settings or {})
    subject = make_learner(learner, settings, problem)
    spec = bound if isinstance(bound, str) else None
    function = load_bound(bound) if isinstance(bound, str) else bound
    made = expression(learner, settings, problem)
    report = _held_to_laws(subject, problem, made, dimensions, seed) if laws else Report(subject, problem, {})
    if dishonest := [name for name in HONEST if name in report.failed]:
        return replace(report, notes=[repair_first(dishonest)])
    try:
        held = claims(subject, problem, function, spec)
        if "feasible" in report.failed and not held:
            held = [Claim("domain", lambda played: inf)]  # for a game in which it leaves it
        if not held:
            why = untried(subject, problem.dimension).get("within_bound", "the problem's domain has no diameter")
            return replace(report, notes=[f"NO BOUND was tried: {why}; give one as bound"])
        if only_within:
            held = [within(claim, problem.gradient_bound) for claim in held]
        search = Search(subject, problem, held, games, not only_within, seed=seed)
        findings = search.run()
        if function is None and not any(found.broken for found in findings):
            for dimension in dimensions:
                findings += _elsewhere(search, replace(problem, dimension=dimension))
        failing = _distinct([_short(found) for found in findings if found.broken])
        if function is not None:
            failing = [_smaller(search, found) for found in failing]
    except BoundRaised:
        raise
    except (Exception, SystemExit) as error:
        return replace(report, raised=f"{type(error).__name__}: {error}")
    broken = [_broken(found, made, problem, function, spec) for found in failing]
    loose = [f for f in findings if tightness_at_least is not None and f.ratio < tightness_at_least]
    told = {"notes": search.notes, "games": search.played, "asked": tightness_at_least}
    return replace(report, findings=findings, broken=broken, loose=loose, **told)


def repair_first(laws: Sequence[str]) -> str:
    """Why nothing is searched for: these ``HONEST`` laws are broken."""
    return f"no search for a game that breaks its bound before {', '.join(laws)} holds: repair that first"


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
    """The constants that a trial asks for, by default on the domain that the learner plays on.

    An object has one; of a class, or a name, it is the default of its field where that has a diameter, else the unit
    ball.
    """
    if domain is None and isinstance(learner, Learner):
        domain = learner.domain
    elif domain is None:
        own = getattr(learner_class(learner), "domain", None)
        domain = own if isinstance(own, Domain) and isfinite(own.diameter(dimension)) else Ball(1.0)
    return Problem(domain, dimension, horizon, gradient_bound)


def tried(learner: Learner, dimension: int, dimensions: Sequence[int] = DIMENSIONS) -> dict[str, str | None]:
    """Every law → what broke it, None where it holds."""
    return {name: one.fault for name, one in attempts(learner, dimension, dimensions).items()}


def _held_to_laws(
    subject: Learner, problem: Problem, made: tuple[str, dict[str, str]], dimensions: Sequence[int], seed: int
) -> Report:
    """The report before the search."""
    found = attempts(subject, problem.dimension, dimensions, seed)
    faults = {name: one.fault for name, one in found.items()}
    unlawful = [_unlawful(breach.shrink(one), made) for one in found.values() if one.broken]
    return Report(subject, problem, faults, unlawful=unlawful, untried=untried(subject, problem.dimension))


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
    games = max(1, search.games // 4)
    there = Search(search.learner, problem, own, games, search.scales, FEW, search.seed, drawn=False)
    found = there.run()
    _count(search, there, f"d = {problem.dimension}")
    return [one for one in found if one.broken]


def _count(search: Search, there: Search, where: str) -> None:
    """Add to a search what one that followed it played and left out."""
    search.played += there.played
    search.notes += [f"{where}: {note}" for note in there.notes]


def _distinct(found: list[Finding]) -> list[Finding]:
    """At most one play outside the domain, as it breaks every claim alike, and all that break a claim inside."""
    return [finding for number, finding in enumerate(found) if number == 0 or not finding.outside]


def _smaller(search: Search, found: Finding) -> Finding:
    """A finding with gradients up to G, if one breaks the claim, too; else the finding, and a note."""
    g, largest = search.problem.gradient_bound, float(found.played.gradient_bound)
    if found.outside or largest <= g * (1 + 1e-9):
        return found
    again = replace(search, claims=[within(found.claim, g)], scales=False, best={}, notes=[], played=0)
    breaking = [shrink(one) for one in again.run() if one.broken]
    _count(search, again, f"gradients up to {g:g}")
    if not breaking:
        search.notes.append(
            f"it is broken by gradients up to {largest:.3g}; with gradients up to G = {g} no game does so. "
            "If the bound is stated for those, search only within them (only_within)"
        )
    return breaking[0] if breaking else found
