"""Files to begin with: a module of ours as a template, its class named anew."""

import inspect
import re
from pathlib import Path
from types import ModuleType

from theory.runs.files import write_whole


def begin(template: ModuleType, cls: str, name: str, folder: Path) -> Path:
    """Write ``folder/name.py`` → its path: the template, whose class ``cls`` becomes ``Name``.

    Raises:
        ValueError: for a name that is no Python name in lower case, or a file that is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"name={name!r}: must be a Python name in lower case, as my_learner; it names the file")
    path = folder / f"{name}.py"
    if path.exists():
        raise ValueError(f"name={name!r}: {path} is there already; choose another name, or remove it")
    called = class_name(name)
    text = inspect.getsource(template).replace(cls, called).replace("OwnEpisode", f"{called}Episode")
    write_whole(path, text.replace("{file}", path.name))
    return path


def class_name(name: str) -> str:
    """``my_learner`` → ``MyLearner``."""
    return "".join(part.capitalize() for part in name.split("_"))
