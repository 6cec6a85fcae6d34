"""Where command lines write: text stands there as text, whatever it holds and whatever the screen can show."""

import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

CONTROLS = r"[\x00-\x1f\x7f-\x9f]"
"""What a terminal acts on: the control characters of Unicode, with which all its escape sequences begin."""


def visible(text: str, keep: str = "") -> str:
    """The text with its control characters spelt, as ``\\x1b`` and ``\\n``; those of ``keep`` stay."""
    return re.sub(CONTROLS, lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def new_console(**options: Any) -> "Console":
    """A rich console that prints text as text: brackets are no markup, ``:names:`` no emoji, control characters but
    line ends and tabs are spelt. ``options``: of rich."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **how: Any) -> Any:
            return super().render_str(visible(text, "\n\t"), **how)

    return Plain(markup=False, emoji=False, **options)


def survive() -> None:
    """Characters that standard output or the terminal cannot encode are written as ``\\u2264``, not raised."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # what stands in for a stream need not have it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
