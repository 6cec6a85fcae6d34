"""A game that breaks a claim or a law as a file, without code; played again by ``python -m theory replay``.

A learner, its problem and its claim are written as the classes and settings they are made of. Dataclasses of ``theory``
are found by name; all else only where the reader trusts the file, for to find it and to call it may do anything.
"""

from dataclasses import fields, is_dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from theory.checker.breach import Breach, attempt
from theory.checker.checks import LAWS
from theory.checker.claims import Bound, Claim, Finding, claims, replay, within
from theory.checker.games import Game
from theory.learner import Learner
from theory.problem import Problem
from theory.runs.result import load_result, save_result
from theory.runs.users_file import load

KIND = "counterexample"


def content(found: Finding, problem: Problem, bound: Bound | None = None, spec: str | None = None) -> dict[str, Any]:
    """What a file says of a finding.

    Args:
        found: the finding.
        problem: the constants that its claim was asked for.
        bound: the user's own, if it was that.
        spec: ``file.py:function``, where the bound comes from a file.

    Raises:
        ValueError: for a setting, or a bound, that has no name by which it is found again.
    """
    played = found.played
    named = spec if spec or bound is None else _name_of(bound)
    return {
        "learner": described(played.learner),
        "problem": described(problem),
        "claim": found.claim.name,
        "bound": named,
        "within": found.claim.within,
        "x_1": played.game.x_1.tolist(),
        "slopes": played.game.slopes.tolist(),
        "comparators": played.comparators.tolist(),
        "quadratic": played.game.quadratic,
        "regret": float(played.regret),
        "limit": found.limit,
    }


def content_of_breach(breach: Breach) -> dict[str, Any]:
    """What a file says of a broken law.

    Raises:
        ValueError: for a setting that has no name by which it is found again.
    """
    return {
        "learner": described(breach.learner),
        "law": breach.law.__name__,
        "x_1": breach.game.x_1.tolist(),
        "slopes": breach.game.slopes.tolist(),
        "quadratic": breach.game.quadratic,
        "fault": breach.fault,
    }


def save(path: Path, told: dict[str, Any]) -> None:
    """Write ``content`` with its provenance."""
    save_result(path, KIND, told)


def replayed(path: Path, trust: bool = False) -> Finding | Breach:
    """The finding, or the broken law, of a file, played again by the code of today.

    Args:
        path: a file that ``save`` wrote.
        trust: run whatever it names besides dataclasses of ``theory``.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: for another kind of file, a class that is not there or not trusted, or a claim no longer made.
    """
    told = load_result(path, KIND)
    learner = rebuilt(told["learner"], trust)
    if "law" in told:
        return _tried(told, learner, path)
    problem = rebuilt(told["problem"], trust)
    if not isinstance(learner, Learner) or not isinstance(problem, Problem):
        raise ValueError(f"{path}: describes no learner and problem, but {learner!r} and {problem!r}")
    with np.errstate(all="ignore"):
        played = replay(learner, told["x_1"], told["slopes"], told["comparators"], told["quadratic"])
    return Finding(_claim(told, learner, problem, trust), KIND, played)


def _tried(told: dict[str, Any], learner: Any, path: Path) -> Breach:
    laws = {law.__name__: law for law in LAWS}
    if not isinstance(learner, Learner) or told["law"] not in laws:
        raise ValueError(f"{path}: describes no learner and law, but {learner!r} and {told['law']!r}")
    game = Game(np.array(told["x_1"], float), np.array(told["slopes"], float), told["quadratic"])
    return attempt(laws[told["law"]], learner, game)


def _claim(told: dict[str, Any], learner: Learner, problem: Problem, trust: bool) -> Claim:
    if told["claim"] == "domain":
        return Claim("domain", lambda played: inf)
    bound = None if told["bound"] is None else _found(told["bound"], trust)
    held = claims(learner, problem, bound, told["bound"])
    name = told["claim"].partition(", d = ")[0]
    for claim in held if bound is None else held[:1]:
        if bound is not None or claim.name == name:
            return within(claim, problem.gradient_bound) if told["within"] else claim
    known = ", ".join(claim.name for claim in held) or "nothing"
    raise ValueError(f"claim={told['claim']!r}: {learner} does not claim it; it claims {known}")


# Values as classes and settings


def described(value: Any) -> Any:
    """Numbers, texts, tuples and frozen dataclasses of them, as JSON has them.

    Raises:
        ValueError: for what can only be written as code.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value if not isinstance(value, float) or abs(value) < inf else {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [described(one) for one in value]}
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: described(getattr(value, one.name)) for one in fields(value) if one.init}
        return {"class": _name_of(type(value)), "settings": own}
    raise ValueError(f"{value!r}: neither a number, a text, a tuple nor a dataclass of such, so no file can tell it")


def rebuilt(told: Any, trust: bool = False) -> Any:
    """The value that ``described`` told.

    Raises:
        ValueError: for a class that is not there, or not trusted, or whose settings are others.
    """
    if not isinstance(told, dict):
        return told
    if "float" in told:
        return float(told["float"])
    if "tuple" in told:
        return tuple(rebuilt(one, trust) for one in told["tuple"])
    cls = _found(told["class"], trust)
    try:
        return cls(**{name: rebuilt(one, trust) for name, one in told["settings"].items()})
    except TypeError as error:
        raise ValueError(f"{told['class']}: no longer takes the settings {told['settings']} ({error})") from error


def _name_of(value: Any) -> str:
    """``module:name``, by which ``_found`` finds a class or function again."""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    if not name.isidentifier() or module in ("__main__", ""):
        raise ValueError(f"{value!r}: has no place to be found at again; define it in a module, under a name")
    return f"{module}:{name}"


def _found(name: str, trust: bool) -> Any:
    """What is there under ``module:name``; without trust a dataclass of ``theory``, for to call others may do anything.

    Raises:
        ValueError: if it is not there, or not trusted.
    """
    module, _, member = name.rpartition(":")
    file = Path(module).suffix == ".py"
    if not trust and (file or not module.startswith("theory.")):
        raise ValueError(f"{name!r}: to find it runs {module}; trust the file to allow that")
    if file:
        return load(name, "class")
    try:
        found = getattr(import_module(module), member)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name!r}: is not there ({error})") from error
    if not trust and not (isinstance(found, type) and is_dataclass(found) and found.__module__ == module):
        raise ValueError(f"{name!r}: is no dataclass of {module}, and may do anything; trust the file to allow that")
    return found
