"""From a game that breaks a bound to one a person can read: fewer rounds, fewer digits, fewer moves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from theory.checker.claims import Finding, Played, replay
from theory.checker.games import Game
from theory.domain import Domain


@dataclass(frozen=True)
class _Numbers:
    """What is shrunk: x_1 ``[d]``, slopes and comparators ``[T, d]``."""

    x_1: np.ndarray
    slopes: np.ndarray
    comparators: np.ndarray


TRIES = 4000
"""Games that shrinking plays at most."""


def shrink(found: Finding, tries: int = TRIES) -> Finding:
    """The finding made readable: still broken, or, where nothing is broken, within 1 % of its ratio.

    Rounds are dropped, coordinates of a claim that is made in every dimension, comparators stopped, entries set to 0 or
    rounded, first all at once and then one by one, as long as the claim goes on failing (Zeller & Hildebrandt 2002 for
    the dropping).
    """
    played, quadratic = found.played, found.played.game.quadratic
    left = tries

    def again(numbers: _Numbers) -> Finding:
        with np.errstate(all="ignore"):
            new = replay(played.learner, numbers.x_1, numbers.slopes, numbers.comparators, quadratic)
        return replace(found, played=new)

    def keeps(numbers: _Numbers) -> bool:
        nonlocal left
        left -= 1
        if left < 0 or not _feasible(found, np.concatenate([numbers.x_1[None], numbers.comparators])):
            return False
        with np.errstate(all="ignore"):
            try:
                new = again(numbers)
            except Exception:  # a learner that is made for one dimension
                return False
            return new.broken if found.broken else new.ratio >= 0.99 * found.ratio

    best = _Numbers(played.game.x_1, played.game.slopes, played.comparators)
    coordinates = partial(_without_coordinates, domain=played.learner.domain)
    fewer = (_without_rounds, coordinates) if found.claim.anywhere else (_without_rounds,)
    for simpler in (*fewer, _standing, _rounded, _without_entries, *fewer, _rounded_each):
        best = simpler(best, keeps)
    return again(best)


Keeps = Callable[[_Numbers], bool]


def _feasible(found: Finding, points: np.ndarray) -> bool:
    return bool(np.all(found.played.learner.domain.contains(points, 1e-6)))


def _without_rounds(best: _Numbers, keeps: Keeps) -> _Numbers:
    """Drop blocks of rounds, large ones first."""
    block = len(best.slopes) // 2
    while block >= 1:
        begin = 0
        while begin < len(best.slopes) and len(best.slopes) > block:
            stay = np.r_[0:begin, begin + block : len(best.slopes)]
            fewer = replace(best, slopes=best.slopes[stay], comparators=best.comparators[stay])
            if keeps(fewer):
                best = fewer
            else:
                begin += block
        block //= 2
    return best


def _without_coordinates(best: _Numbers, keeps: Keeps, domain: Domain) -> _Numbers:
    """Drop coordinates one by one, the last first; what is left of decisions goes to the nearest in the domain."""
    for index in reversed(range(1, len(best.x_1))):
        x_1, slopes, comparators = (np.delete(a, index, axis=-1) for a in (best.x_1, best.slopes, best.comparators))
        fewer = _Numbers(domain.project(x_1), slopes, domain.project(comparators))
        best = fewer if keeps(fewer) else best
    return best


def _standing(best: _Numbers, keeps: Keeps) -> _Numbers:
    """One comparator for all rounds, if one will do."""
    for u in (best.x_1, *best.comparators[:: max(1, len(best.comparators) // 8)]):
        still = replace(best, comparators=np.tile(u, (len(best.slopes), 1)))
        if keeps(still):
            return still
    return best


def _rounded(best: _Numbers, keeps: Keeps) -> _Numbers:
    """All numbers of one kind to as few digits as will do."""
    for name in ("slopes", "x_1", "comparators"):
        for digits in range(1, 7):
            fewer = replace(best, **{name: significant(getattr(best, name), digits)})
            if keeps(fewer):
                best = fewer
                break
    return best


def _entries(best: _Numbers, change: Callable[[float], Iterator[float]], keeps: Keeps) -> _Numbers:
    for name in ("x_1", "slopes") if len(best.slopes) <= 32 else ("x_1",):
        for index in np.ndindex(getattr(best, name).shape):
            for value in change(float(getattr(best, name)[index])):
                array = getattr(best, name).copy()
                array[index] = value
                if keeps(replace(best, **{name: array})):
                    best = replace(best, **{name: array})
                    break
    return best


def _without_entries(best: _Numbers, keeps: Keeps) -> _Numbers:
    """Single entries to 0."""
    return _entries(best, lambda value: iter([0.0] if value else []), keeps)


def _rounded_each(best: _Numbers, keeps: Keeps) -> _Numbers:
    """Single entries to one or two digits."""

    def shorter(value: float) -> Iterator[float]:
        for digits in (1, 2):
            rounded = float(significant(np.array(value), digits))
            if rounded == value:
                return
            yield rounded

    return _entries(best, shorter, keeps)


def significant(array: np.ndarray, digits: int) -> np.ndarray:
    """To that many digits of the largest entry."""
    largest = np.max(np.abs(array), initial=0.0)
    if largest == 0 or not np.isfinite(largest):
        return array
    return np.round(array, digits - 1 - int(np.floor(np.log10(largest))))


# In print


def numbers(array: np.ndarray) -> str:
    """An array ``[d]`` or ``[T, d]`` as Python, runs and pairs of alternating rows as products."""
    if array.ndim == 1:
        return "[" + ", ".join(_number(value) for value in array) + "]"
    rows = [numbers(row) for row in array]
    pieces, t = [], 0
    while t < len(rows):
        single, double = _repeats(rows, t, 1), _repeats(rows, t, 2)
        period, count = (2, double) if 2 * double > single and double > 1 else (1, single)
        block = "[" + ", ".join(rows[t : t + period]) + "]"
        pieces.append(block if count == 1 else f"{block} * {count}")
        t += period * count
    return " + ".join(pieces)


def _repeats(rows: list[str], t: int, period: int) -> int:
    count = 1
    while rows[t + count * period : t + (count + 1) * period] == rows[t : t + period]:
        count += 1
    return count


def _number(value: float) -> str:
    text = f"{value + 0.0:.12g}"  # −0 is 0
    return text if float(text) == value else repr(float(value))


def script(found: Finding, learner: str, places: Mapping[str, str]) -> str:
    """Three lines of Python that play the game again and print regret and bound (of a play outside, the play).

    Args:
        found: the finding.
        learner: an expression that makes the learner.
        places: the module of every name in it that must be imported.
    """
    claim = None if found.outside else found.claim.expression
    shown = "played.decisions" if found.outside else "played.regret" if claim is None else f"played.regret, {claim}"
    needed, played = _again(found, learner, places)
    return "\n".join(["; ".join(needed), played, f"print({shown})"])


def as_test(found: Finding, learner: str, places: Mapping[str, str]) -> str:
    """The game as a test that fails until the claim holds in it; arguments as of ``script``."""
    needed, played = _again(found, learner, places)
    claim = found.claim.expression
    if found.outside:
        wanted = "played.learner.domain.contains(played.decisions, 1e-6).all()"
    elif claim is None:  # a bound without a name
        wanted = f"played.regret <= {found.limit!r}"
    else:
        wanted = f"played.regret <= {claim} * (1 + 1e-9)"
    named = "stays_in_its_domain" if found.outside else "keeps_its_bound"
    lines = [*needed, "", "", f"def test_{type(found.played.learner).__name__.lower()}_{named}():"]
    return "\n".join([*lines, f"    {played}", f"    assert {wanted}", ""])


def imports(places: Mapping[str, str]) -> list[str]:
    """One import a module for names in the modules where they are."""
    modules = sorted(set(places.values()))
    names = {module: sorted(name for name, place in places.items() if place == module) for module in modules}
    return [f"from {module} import {', '.join(names[module])}" for module in modules]


def _again(found: Finding, learner: str, places: Mapping[str, str]) -> tuple[list[str], str]:
    """Imports, and the line that plays the game."""
    played: Played = found.played
    game: Game = played.game
    kind = ", quadratic=True" if game.quadratic else ""
    arguments = ", ".join(
        f"{name}={numbers(array)}"
        for name, array in (("x_1", game.x_1), ("slopes", game.slopes), ("comparators", played.comparators))
    )
    claim = None if found.outside else found.claim.expression
    needed = {**places, "replay": replay.__module__, **({} if claim is None else found.claim.places)}
    return imports(needed), f"played = replay({learner}, {arguments}{kind})"


def summary(found: Finding) -> dict[str, Any]:
    """What is printed beside the game."""
    played = found.played
    if found.outside:
        t = found.outside[0]
        fault = {f"x_{t}, outside {played.learner.domain}": numbers(played.decisions[t - 1])}
    else:
        fault = {"regret": f"{float(played.regret):.9g}", "bound": f"{found.limit:.9g}"}
    return {
        "rounds": played.horizon,
        "x_1": numbers(played.game.x_1),
        "centers" if played.game.quadratic else "slopes": numbers(played.game.slopes),
        "comparators": numbers(played.comparators),
        "path length": _number(float(played.path_length)),
        **fault,
    }
