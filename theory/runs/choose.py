"""A learner as its user gives it: a name, ``file.py:Class``, a class or an object, and settings on top of it."""

import ast
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

from theory.domain import Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learner import Learner
from theory.learners import LEARNERS
from theory.learners.adahedge import AdaHedge
from theory.problem import Problem
from theory.runs.users_file import file_in, load, nearest, unknown, users_own

Choice = str | type[Learner] | Learner
"""A name of ``LEARNERS``, ``path/file.py:Class``, a class (its theorem tunes it), or an object as it is."""

NAMED_VALUES = {"zero": Zero(), "last": LastGradient(), "average": MovingAverage(), "adahedge": AdaHedge()}
"""Values of nested fields that a setting may name: hint rules and the meta learner."""


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
    if not is_dataclass(owner) or isinstance(owner, type):
        raise ValueError(f"setting {path}: {owner!r} is a value without settings of its own; set it as a whole")
    known = [f.name for f in fields(owner)]
    if name not in known:
        raise ValueError(
            f"setting {path}: {type(owner).__name__} has no setting {name!r}; {nearest(name, known)}it has "
            f"{', '.join(known)}"
        )
    if not dot:
        check_kind(type(owner), name, value)
    return replace(owner, **{name: altered(getattr(owner, name), rest, value) if dot else value})


def check_kind(owner: type, name: str, value: Any) -> None:
    """ValueError unless the value can stand in the field: a number for one, a domain, hint rule or learner for one."""
    try:
        wanted = get_type_hints(owner).get(name)
        allowed: Any = (int, float) if wanted is float else wanted
        if not isinstance(wanted, type) or isinstance(value, allowed):  # of several kinds the class chooses itself
            return
    except (NameError, TypeError):  # a user's own class, whose annotations are its own affair
        return
    fitting = [key for key, one in NAMED_VALUES.items() if isinstance(one, allowed)]
    remedies = [f"give one of {', '.join(fitting)}"] if fitting else []
    remedies += ["give such a value"] if wanted in (int, float, bool) else [f"set one of its own, as {name}.NAME=…"]
    raise ValueError(
        f"setting {name}={value!r}: must be a {wanted.__name__}, but is a {type(value).__name__}; "
        f"{', or '.join(remedies)}"
    )


# Learners


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
    for key, value in direct.items():
        check_kind(cls, key, value)
    with users_own(choice):
        try:
            learner = choice if given else cls.tuned(problem, **direct)
            for key, value in settings.items():
                if key not in direct:
                    learner = altered(learner, key, value)
        except TypeError as error:
            raise ValueError(f"learner={choice!r} with {settings}: {error}") from error
    return learner
