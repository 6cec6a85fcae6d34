"""A learner by name or from a user's file, settings given as text: ``NAME|file.py:Class`` and ``key=value``."""

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

NAMED_VALUES = {"zero": Zero(), "last": LastGradient(), "average": MovingAverage(), "adahedge": AdaHedge()}
"""Values of nested fields that a setting may name: hint rules and the meta learner."""


@contextmanager
def users_own(spec: str) -> Iterator[None]:
    """Whatever the code of ``file.py:name`` raises is its author's error, told without a traceback; a name's is ours.

    Raises:
        ValueError: with ``spec``, the exception and the line of the file.
    """
    file, colon, _ = spec.rpartition(":")
    try:
        yield
    except Exception as error:
        if not colon:
            raise
        what = str(error) if isinstance(error, ValueError) else f"its code raised {type(error).__name__}: {error}"
        frames = extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).absolute() == Path(file).absolute()]
        raise ValueError(f"{spec}: {what}" + (f", line {lines[-1]} of {file}" if lines else "")) from error


def source(spec: str, argument: str = "learner") -> dict[str, str]:
    """What settings need to tell an edited file from the one it was: its sha256; of a name nothing."""
    file, colon, _ = spec.rpartition(":")
    return {f"{argument}_file": sha256(Path(file).read_bytes()).hexdigest()} if colon else {}


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
    module = _module(file, str(Path(file).absolute()), sha256(Path(file).read_bytes()).hexdigest(), argument, spec)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        near = get_close_matches(name, own, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{argument}={spec!r}: {file} defines no {name!r}; {hint}it has {', '.join(own) or 'nothing'}")
    return getattr(module, name)


@lru_cache(maxsize=64)
def _module(file: str, path: str, digest: str, argument: str, spec: str) -> ModuleType:
    """The module of a user's file; ``digest`` and ``path`` tell files apart, the others are for messages."""
    found = importlib.util.spec_from_file_location(file, file)
    if found is None or found.loader is None:
        raise ValueError(f"{argument}={spec!r}: {file!r} is no Python file; give one that ends in .py")
    module = importlib.util.module_from_spec(found)
    sys.modules[file] = module  # where dataclass looks up annotations that are text
    with users_own(spec):
        found.loader.exec_module(module)
    return module


def unknown(argument: str, spec: str, known: Iterable[str], other: str) -> ValueError:
    """The error for a name that is not in a table: the nearest one, all of them, and what ``other`` could be given."""
    near = get_close_matches(spec, known := list(known), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"{argument}={spec!r}: no such {argument}; {hint}give one of {', '.join(known)}, or {other}")


def learner_class(spec: str) -> type[Learner]:
    """The class behind a name of ``LEARNERS`` or behind ``path/file.py:Class``.

    Raises:
        ValueError: for an unknown name, a missing file or class, a file that cannot be run, or a class that is not a
            learner.
    """
    if spec in LEARNERS:
        return LEARNERS[spec]
    file, colon, name = spec.rpartition(":")
    if not colon:
        raise unknown("learner", spec, LEARNERS, "file.py:Class")
    found = load(spec, "learner")
    if not (isinstance(found, type) and is_dataclass(found) and issubclass(found, Learner) and _frozen(found)):
        raise ValueError(
            f"learner={spec!r}: {name} must be a frozen dataclass derived from theory.learner.Learner; {file} has "
            f"{found!r} under that name"
        )
    return found


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
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"{path}={value!r}: {type(owner).__name__} has no setting {name!r}; {hint}it has {', '.join(known)}"
        )
    return replace(owner, **{name: altered(getattr(owner, name), rest, value) if dot else value})


def make_learner(spec: str, settings: Mapping[str, Any], problem: Problem) -> Learner:
    """The learner ``spec`` as its theorem tunes it for ``problem``, with ``settings`` on top (dotted keys go deeper).

    Raises:
        ValueError: for an unknown learner or setting, a value out of range, or a learner that does not fit the domain.
    """
    cls = learner_class(spec)
    known = {f.name for f in fields(cls)}  # pyright: ignore[reportArgumentType] (learner_class checked)
    settings = {key: parse_value(key, value) for key, value in settings.items()}
    direct = {key: value for key, value in settings.items() if key in known}
    plays_on = getattr(cls, "domain", None)
    if isinstance(plays_on, Simplex) and not isinstance(problem.domain, Simplex):
        fitting = [name for name, one in LEARNERS.items() if not isinstance(getattr(one, "domain", None), Simplex)]
        raise ValueError(
            f"learner={spec!r}: plays on the simplex, but this problem's decisions lie in {problem.domain}; "
            f"use it as the meta learner of an ensemble, or choose one of {', '.join(fitting)}"
        )
    with users_own(spec):
        try:
            learner = cls.tuned(problem, **direct)
            for key, value in settings.items():
                if key not in direct:
                    learner = altered(learner, key, value)
        except TypeError as error:
            raise ValueError(f"learner={spec!r} with {settings}: {error}") from error
    return learner
