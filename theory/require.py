"""What settings must be, said in one way: owner, setting, value, rule, and what to do instead."""

from math import isfinite
from numbers import Integral, Real
from typing import Any


def positive(owner: object, remedy: str | None = None, **settings: float) -> None:
    """ValueError unless every setting is positive and finite."""
    for name, value in settings.items():
        if not (value > 0 and isfinite(value)):
            raise ValueError(f"{_called(owner, name, value)}: must be positive and finite{_also(remedy)}")


def fraction(owner: object, remedy: str | None = None, **settings: float) -> None:
    """ValueError unless every setting lies in [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ValueError(f"{_called(owner, name, value)}: must lie in [0, 1){_also(remedy)}")


def whole(owner: object, least: int, remedy: str | None = None, **settings: int) -> None:
    """ValueError unless every setting is a whole number of at least ``least``."""
    for name, value in settings.items():
        if not (is_whole(value) and value >= least):
            raise ValueError(
                f"{_called(owner, name, value)}: must be a whole number of at least {least}{_also(remedy)}"
            )


def seed(owner: object, value: Any) -> None:
    """ValueError unless it is a whole number that every library's generator takes: 0 … 2⁶³ − 1."""
    whole(owner, 0, seed=value)
    if value >= 2**63:
        raise ValueError(f"{_called(owner, 'seed', value)}: must be below 2**63")


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a real number, of Python or numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _called(owner: object, name: str, value: object) -> str:
    return f"{owner if isinstance(owner, str) else type(owner).__name__}({name}={value!r})"


def _also(remedy: str | None) -> str:
    return f"; {remedy}" if remedy else ""
