"""The game on real models: learners adapt a draft inside a lossless speculative decoder.

``real.load`` gives a language model whose draft learns while it serves. Nothing heavy is
imported before it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from real.drafters.base import Drafter as Drafter
    from real.llm import LLM as LLM
    from real.llm import Report as Report
    from real.llm import load as load
    from real.serving.settings import Serving as Serving

__all__ = ["LLM", "Drafter", "Report", "Serving", "load"]

_HOMES = {"LLM": "real.llm", "Report": "real.llm", "load": "real.llm", "Drafter": "real.drafters.base"}
_HOMES |= {"Serving": "real.serving.settings"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        from theory.runs.extras import EXTRAS, needs

        try:
            return getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            raise ModuleNotFoundError(needs(f"real.{name}", error.name), name=error.name) from None
    raise AttributeError(f"module 'real' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
