"""A learner as its user gives it: a name, ``file.py:Class``, a class or an object, and settings on top of it."""

import ast
import importlib.util
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from typing import Any

from theory.domain import Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learner import Learner
from theory.learners import LEARNERS
from theory.learners.adahedge import AdaHedge
from theory.problem import Problem

Choice = str | type[Learner] | Learner
"""A name of ``LEARNERS``, ``path/file.py:Class``, a class (its theorem tunes it), or an object as it is."""

NAMED_VALUES = {"zero": Zero(), "last": LastGradient(), "average": MovingAverage(), "adahedge": AdaHedge()}
"""Values of nested fields that a setting may name: hint rules and the meta learner."""


# What a user's file has


def file_in(choice: Any) -> str | None:
    """The file of ``path/file.py:name``; None for a name, a class or an object."""
    file, colon, _ = choice.rpartition(":") if isinstance(choice, str) else ("", "", "")
    return file if colon else None


@contextmanager
def users_own(choice: Any) -> Iterator[None]:
    """Whatever the code of ``file.py:name`` raises is its author's error, told without a traceback; a name's is ours.

    Raises:
        ValueError: with ``choice``, the exception and the line of the file.
    """
    file = file_in(choice)
    try:
        yield
    except Exception as error:
        if file is None:
            raise
        what = str(error) if isinstance(error, ValueError) else f"its code raised {type(error).__name__}: {error}"
        frames = extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).absolute() == Path(file).absolute()]
        raise ValueError(f"{choice}: {what}" + (f", line {lines[-1]} of {file}" if lines else "")) from error


def from_file(choice: str, argument: str) -> Any:
    """What ``path/file.py:name`` names, after the file was run.

    Args:
        choice: the path of a Python file, a colon, and a name that it defines.
        argument: what the caller's user calls it, for the message.

    Raises:
        ValueError: if there is no such file, if it cannot be run, or if it does not define the name.
    """
    file, _, name = choice.rpartition(":")
    said = f"{argument}={choice!r}"
    if not Path(file).is_file():
        raise ValueError(f"{said}: no file {file!r}; give the path of a Python file that defines {name}")
    spec = importlib.util.spec_from_file_location(file, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{said}: {file!r} is no Python file; give one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file] = module  # where dataclass looks up annotations that are text
    with users_own(choice):
        spec.loader.exec_module(module)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == file]
        raise ValueError(f"{said}: {file} defines no {name!r}; {nearest(name, own)}it defines {', '.join(own)}")
    return getattr(module, name)


def nearest(name: str, known: Collection[str]) -> str:
    """``did you mean …? `` for a name that is close to a known one; else nothing."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def source(choice: Choice) -> dict[str, str]:
    """What settings need to tell an edited learner from the one it was: the sha256 of its file; of others nothing."""
    file = file_in(choice)
    return {} if file is None else {"learner_file": sha256(Path(file).read_bytes()).hexdigest()}


# Settings


def parse_value(key: str, text: Any) -> Any:
    """The value of ``key=text``: a Python literal or one of ``NAMED_VALUES``; values that are no text pass through."""
    if not isinstance(text, str):
        return text
    if text in NAMED_VALUES:
        return NAMED_VALUES[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        known = ", ".join(NAMED_VALUES)
        raise ValueError(f"setting {key}={text}: not a number, tuple or True/False, nor one of {known}") from None


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """``["step_size=0.1", …]`` → ``{"step_size": 0.1, …}``.

    Raises:
        ValueError: for a pair without ``=`` or a value that is not a literal.
    """
    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"setting {pair!r}: write key=value, for example step_size=0.1")
        settings[key] = parse_value(key, text)
    return settings


def altered(owner: Any, path: str, value: Any) -> Any:
    """A copy of the dataclass ``owner`` with the (dotted) field ``path`` replaced.

    Raises:
        ValueError: for a field it does not have, with the ones it has.
    """
    name, dot, rest = path.partition(".")
    known = [f.name for f in fields(owner)]
    if name not in known:
        raise ValueError(
            f"setting {path}: {type(owner).__name__} has no setting {name!r}; {nearest(name, known)}it has "
            f"{', '.join(known)}"
        )
    return replace(owner, **{name: altered(getattr(owner, name), rest, value) if dot else value})


# Learners


def learner_class(choice: Choice) -> type[Learner]:
    """The class that a choice means.

    Raises:
        ValueError: for an unknown name, a missing file or class, a file that cannot be run, or what is not a learner.
    """
    if isinstance(choice, str) and choice in LEARNERS:
        return LEARNERS[choice]
    if isinstance(choice, str) and file_in(choice) is None:
        raise ValueError(
            f"learner={choice!r}: no such learner; {nearest(choice, LEARNERS)}give one of {', '.join(LEARNERS)}, or "
            "file.py:Class"
        )
    found = from_file(choice, "learner") if isinstance(choice, str) else choice
    cls = type(choice) if isinstance(choice, Learner) else found
    if not (isinstance(cls, type) and issubclass(cls, Learner) and is_dataclass(cls) and _frozen(cls)):
        name = choice.rpartition(":")[2] if isinstance(choice, str) else "it"
        raise ValueError(
            f"learner={choice!r}: {name} must be a frozen dataclass derived from theory.learner.Learner, but is {cls!r}"
        )
    return cls


def _frozen(cls: Any) -> bool:
    return cls.__dataclass_params__.frozen


def make_learner(choice: Choice, settings: Mapping[str, Any], problem: Problem) -> Learner:
    """The learner as its theorem tunes it for ``problem``, an object as it is; ``settings`` on top (dotted go deeper).

    Raises:
        ValueError: for an unknown learner or setting, a value out of range, or a learner that does not fit the domain.
    """
    cls = learner_class(choice)
    known = {f.name for f in fields(cls)}  # pyright: ignore[reportArgumentType] (learner_class checked)
    settings = {key: parse_value(key, value) for key, value in settings.items()}
    given = isinstance(choice, Learner)
    direct = {} if given else {key: value for key, value in settings.items() if key in known}
    if cls.weighs_experts() and not isinstance(problem.domain, Simplex):
        fitting = [name for name, one in LEARNERS.items() if not one.weighs_experts()]
        raise ValueError(
            f"learner={choice!r}: plays on the simplex, but this problem's decisions lie in {problem.domain}; "
            f"use it as the meta learner of an ensemble, or choose one of {', '.join(fitting)}"
        )
    with users_own(choice):
        try:
            learner = choice if given else cls.tuned(problem, **direct)
            for key, value in settings.items():
                if key not in direct:
                    learner = altered(learner, key, value)
        except TypeError as error:
            raise ValueError(f"learner={choice!r} with {settings}: {error}") from error
    return learner
