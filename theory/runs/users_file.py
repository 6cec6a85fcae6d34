"""What a user gives as ``path/file.py:name`` or as a class: what its code raises is its author's error.

A file is run once.
"""

import importlib.util
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

OURS = ("theory", "sim", "real", "figures")
"""Packages whose classes are no user's."""


def file_in(choice: Any) -> str | None:
    """The file of ``path/file.py:name``; None for a name, a class or an object."""
    file, colon, _ = choice.rpartition(":") if isinstance(choice, str) else ("", "", "")
    return file if colon else None


@contextmanager
def users_own(*choices: Any) -> Iterator[None]:
    """Whatever the code of ``file.py:name``, or of a class that is not ours, raises is its author's error.

    It is told without a traceback, ``SystemExit`` too; Ctrl-C stops as ever. Of several choices it is the one whose
    code was running, or the first.

    Raises:
        ValueError: with the choice, the exception and the line of the file.
    """
    own = {name: file for choice in choices for name, file in _origins(choice)}
    try:
        yield
    except (Exception, SystemExit) as error:
        if not own or (isinstance(error, ValueError) and any(name in str(error) for name in own)):
            raise  # it is ours, or has been told already
        name = next((name for name, file in own.items() if _lines(file, error)), next(iter(own)))
        lines = _lines(own[name], error)
        what = str(error) if isinstance(error, ValueError) else f"its code raised {type(error).__name__}: {error}"
        raise ValueError(f"{name}: {what}" + (f", line {lines[-1]} of {own[name]}" if lines else "")) from error


def called(choice: Any) -> str:
    """What messages call a choice: ``file.py:name`` as it was given, or the name of its class."""
    if isinstance(choice, str):
        return choice
    kind = choice if isinstance(choice, type) else type(choice)
    return f"{kind.__module__}:{kind.__name__}" if Path(kind.__module__).is_file() else kind.__name__


def _origins(choice: Any) -> Iterator[tuple[str, str]]:
    """Name and file of what is the user's in a choice: itself, or what a learner of ours has inside."""
    if isinstance(choice, str):
        file = file_in(choice)
        if file is not None:
            yield choice, file
        return
    module = (choice if isinstance(choice, type) else type(choice)).__module__
    if module.partition(".")[0] not in (*OURS, "builtins"):
        own = module if Path(module).is_file() else getattr(sys.modules.get(module), "__file__", None)
        yield called(choice), own or ""
    if is_dataclass(choice) and not isinstance(choice, type):
        for field in fields(choice):
            part = getattr(choice, field.name)
            yield from _origins(part) if is_dataclass(part) else ()


def _lines(file: str, error: BaseException) -> list[int]:
    """Lines of the user's file that were being run when the error was raised."""
    whole = Path(file).absolute()
    return [frame.lineno or 0 for frame in extract_tb(error.__traceback__) if Path(frame.filename).absolute() == whole]


def source(choice: Any, argument: str = "learner") -> dict[str, str]:
    """What settings need to tell an edited file from the one it was: its sha256; of what is no file nothing."""
    file = file_in(choice)
    return {} if file is None else {f"{argument}_file": sha256(Path(file).read_bytes()).hexdigest()}


def load(choice: str, argument: str) -> Any:
    """What ``path/file.py:name`` defines under that name. A file that has not changed since is run once.

    Args:
        choice: the path of a Python file, a colon, and a name that it defines.
        argument: what the caller's user calls it, for the message.

    Raises:
        ValueError: if there is no such file, if it cannot be run, or if it does not define the name.
    """
    file, colon, name = choice.rpartition(":")
    said = f"{argument}={choice!r}"
    if not colon:
        raise ValueError(f"{said}: names no file; write file.py:{name}")
    if not Path(file).is_file():
        raise ValueError(f"{said}: no file {file!r}; give the path of a Python file that defines {name}")
    module = _module(file, str(Path(file).absolute()), sha256(Path(file).read_bytes()).hexdigest(), said, choice)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == file]
        there = f"it defines {', '.join(own)}" if own else "it defines nothing"
        raise ValueError(f"{said}: {file} defines no {name!r}; {nearest(name, own)}{there}")
    return getattr(module, name)


@lru_cache(maxsize=64)
def _module(file: str, path: str, digest: str, said: str, choice: str) -> ModuleType:
    """The module of a user's file; ``digest`` and ``path`` tell files apart, the others are for messages."""
    spec = importlib.util.spec_from_file_location(file, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{said}: {file!r} is no Python file; give one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file] = module  # where dataclass looks up annotations that are text
    with users_own(choice):
        spec.loader.exec_module(module)
    return module


def nearest(name: str, known: Collection[str]) -> str:
    """``did you mean …? `` for a name that is close to a known one, in small letters or large; else nothing."""
    near = get_close_matches(name, known, n=1)
    if not near:
        small = {one.lower(): one for one in known}
        near = [small[one] for one in get_close_matches(name.lower(), small, n=1)]
    return f"did you mean {near[0]!r}? " if near else ""


def unknown(argument: str, name: str, known: Collection[str], other: str) -> ValueError:
    """The error for a name that is not in a table: the nearest one, all of them, and what ``other`` could be given."""
    said = f"{nearest(name, known)}give one of {', '.join(known)}, or {other}"
    return ValueError(f"{argument}={name!r}: no such {argument}; {said}")
