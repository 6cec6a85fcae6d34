"""Where command lines write: text stands there as it is, whatever it holds and whatever the screen can show."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def new_console(**options: Any) -> "Console":
    """A rich console that prints text as it is: brackets are no markup, ``:names:`` no emoji. ``options``: of rich."""
    from rich.console import Console

    return Console(markup=False, emoji=False, **options)


def survive() -> None:
    """Characters that standard output or the terminal cannot encode are written as ``\\u2264``, not raised."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # what stands in for a stream need not have it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
