"""How a law says what breaks it."""

from typing import Any


def demand(held: Any, fault: str) -> None:
    """AssertionError that says the fault unless ``held``; unlike ``assert``, under ``python -O`` too."""
    if not held:
        raise AssertionError(fault)
