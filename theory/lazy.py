"""How a package offers its public names without importing what they stand for.

    if TYPE_CHECKING:
        from theory.learners import OGD as OGD

    __getattr__, __dir__, __all__ = lazily(__name__, __file__)

Tools read those imports as they stand. At run time ``lazily`` reads them from the source, and makes each when its name
is first asked for: they are written once, and ``import theory`` costs nothing but itself.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of the package whose ``__init__`` is ``file``."""
    places = public(Path(file).read_text("utf-8"))

    def get(name: str) -> Any:
        if name not in places:
            here = sys.modules[package]
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=here)
        module, member = places[name]
        whole = f"{module}.{member}"
        found = import_module(whole) if module == package else getattr(import_module(module), member)
        setattr(sys.modules[package], name, found)
        return found

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return get, listed, list(places)


def public(text: str) -> dict[str, tuple[str, str]]:
    """Every name that a source imports ``if TYPE_CHECKING``, with its module and what it is called there."""
    blocks = [node for node in ast.parse(text).body if isinstance(node, ast.If)]
    guarded = [node for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING" for node in block.body]
    imports = [node for node in guarded if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: (str(node.module), alias.name) for node in imports for alias in node.names}
