"""How a learner that was given is written in Python: what makes it again, in a script and in a test."""

from dataclasses import is_dataclass
from typing import Any

from theory.checker.claims import written
from theory.learner import Learner
from theory.problem import Problem
from theory.runs.choose import Choice


def expression(learner: Choice, settings: dict[str, Any], problem: Problem) -> tuple[str, dict[str, str]]:
    """Python that makes the learner, and the module of every name in it that must be imported."""
    if isinstance(learner, Learner) and not settings:
        return repr(learner), places(learner)
    constants = {"make_learner": "theory.runs.choose", "Problem": "theory.problem"}
    if isinstance(learner, str):
        return f"make_learner({learner!r}, {settings}, {written(problem)})", constants | places(problem.domain)
    named = learner.__name__ if isinstance(learner, type) else repr(learner)
    return f"make_learner({named}, {settings}, {written(problem)})", constants | places(learner) | places(problem)


def places(value: Any) -> dict[str, str]:
    """Where each class in the ``repr`` of a dataclass, or a class itself, is imported from; not where it cannot be."""
    cls = value if isinstance(value, type) else type(value)
    if not is_dataclass(cls):
        return {}
    importable = cls.__module__ != "__main__" and cls.__qualname__ == cls.__name__ and "/" not in cls.__module__
    own = {cls.__name__: cls.__module__} if importable else {}
    inside = {} if value is cls else {key: getattr(value, key) for key in cls.__dataclass_fields__}
    return own | {name: place for part in inside.values() for name, place in places(part).items()}
