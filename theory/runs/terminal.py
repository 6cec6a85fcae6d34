"""What every command line says when its user errs."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

complaints = Console(stderr=True, soft_wrap=True, emoji=False)
"""Errors and progress; results go to standard output."""


@contextmanager
def explained() -> Iterator[None]:
    """User errors end the command with their message and exit status 2, without a traceback."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        complaints.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(2) from None
