"""A learner as its user gives it: a name, ``file.py:Class``, a class or an object, and settings on top of it."""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
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


def source(choice: Any, argument: str = "learner") -> dict[str, str]:
    """What settings need to tell an edited file from the one it was, its sha256; nothing where there is no file."""
    file = file_in(choice)
    return {} if file is None else {f"{argument}_file": sha256(Path(file).read_bytes()).hexdigest()}


def load(spec: str, argument: str) -> Any:
    """What ``path/file.py:name`` defines under that name. A file that has not changed since is run once.

    Raises:
        ValueError: for a missing file or name, or a file that cannot be run; ``argument`` is what the user gave.
    """
    file, colon, name = spec.rpartition(":")
    if not colon:
        raise ValueError(f"{argument}={spec!r}: names no file; write file.py:{name}")
    if not Path(file).is_file():
        raise ValueError(f"{argument}={spec!r}: no file {file!r}; give the path of a Python file that defines {name}")
    with users_own(spec):
        module = _module(file, str(Path(file).absolute()), sha256(Path(file).read_bytes()).hexdigest())
    if module is None:
        raise ValueError(f"{argument}={spec!r}: {file!r} is no Python file; give one that ends in .py")
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        has = f"{nearest(name, own)}it has {', '.join(own) or 'nothing'}"
        raise ValueError(f"{argument}={spec!r}: {file} defines no {name!r}; {has}")
    return getattr(module, name)


@lru_cache(maxsize=64)
def _module(file: str, path: str, digest: str) -> ModuleType | None:
    """The module of a user's file, None where it is no Python; ``path`` and ``digest`` tell one file from another."""
    found = importlib.util.spec_from_file_location(file, file)
    if found is None or found.loader is None:
        return None
    module = importlib.util.module_from_spec(found)
    sys.modules[file] = module  # where dataclass looks up annotations that are text
    found.loader.exec_module(module)
    return module


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean …? `` for a name that is close to a known one; else nothing."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def unknown(argument: str, spec: object, known: Iterable[str], other: str) -> ValueError:
    """The error for what is not in a table: the nearest name, all of them, and what ``other`` could be given."""
    known = list(known)
    rule = f"{nearest(str(spec), known)}give one of {', '.join(known)}, or {other}"
    return ValueError(f"{argument}={spec!r}: no such {argument}; {rule}")


def learner_class(choice: Choice) -> type[Learner]:
    """The class that a choice means.

    Raises:
        ValueError: for an unknown name, a missing file or class, a file that cannot be run, or what is not a learner.
    """
    if isinstance(choice, str) and choice in LEARNERS:
        return LEARNERS[choice]
    if isinstance(choice, str) and file_in(choice) is None:
        raise unknown("learner", choice, LEARNERS, "file.py:Class")
    found = load(choice, "learner") if isinstance(choice, str) else choice
    cls = type(choice) if isinstance(choice, Learner) else found
    if not (isinstance(cls, type) and issubclass(cls, Learner) and is_dataclass(cls) and _frozen(cls)):
        name = choice.rpartition(":")[2] if isinstance(choice, str) else "it"
        raise ValueError(
            f"learner={choice!r}: {name} must be a frozen dataclass derived from theory.learner.Learner, but is {cls!r}"
        )
    return cls


def _frozen(cls: Any) -> bool:
    return cls.__dataclass_params__.frozen


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
        raise ValueError(f"{key}={text}: not a number, tuple or True/False, nor one of {known}") from None


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """``["step_size=0.1", …]`` → ``{"step_size": 0.1, …}``.

    Raises:
        ValueError: for a pair without ``=`` or a value that is not a literal.
    """
    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"settings={pair!r}: write key=value, for example step_size=0.1")
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
        has = f"{nearest(name, known)}it has {', '.join(known)}"
        raise ValueError(f"{path}={value!r}: {type(owner).__name__} has no setting {name!r}; {has}")
    return replace(owner, **{name: altered(getattr(owner, name), rest, value) if dot else value})


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
