"""What a command writes is looked at before its work: a place that cannot be written costs nothing but a message.

out: Annotated[Path, typer.Option(help="…"), FOLDER]      ``Commands`` checks it before the command runs
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, get_args


@dataclass(frozen=True)
class Output:
    """Says of an option that the command writes there.

    Attributes:
        what: is written, for messages. folder: whether that is a folder, which may be there already.
        suffixes: of the files that are written under the name; a name that ends in one of them stands for all.
    """

    what: str = "file"
    folder: bool = False
    suffixes: tuple[str, ...] = ()

    def check(self, said: str, path: Path) -> None:
        """Try the place, and leave nothing there; ``said`` is what its user calls it.

        Raises:
            ValueError: if it cannot be written, with the reason.
        """
        try:
            for place in self._places(path):
                self._check(f"{said} {path}", place)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ValueError(f"{said} {path}: cannot be written ({reason}); choose another place") from None

    def _places(self, path: Path) -> list[Path]:
        if not self.suffixes or (path.exists() and not (path.is_file() or path.is_dir())):
            return [path]
        stem = path.with_suffix("") if path.suffix in self.suffixes else path
        return [stem.with_name(stem.name + suffix) for suffix in self.suffixes]

    def _check(self, said: str, place: Path) -> None:
        if place.is_dir() and not self.folder:
            raise ValueError(f"{said}: {place} is a folder, not a {self.what}; name the file to write")
        if place.exists() and not place.is_dir():
            if self.folder:
                raise ValueError(f"{said}: {place} is a file, not a folder; name a folder")
            if not place.is_file():
                raise ValueError(f"{said}: {place} is a device, not a {self.what}; name the file to write")
        above = place if self.folder else place.parent
        while not above.exists() and above != above.parent:
            above = above.parent
        with TemporaryFile(dir=above):
            pass


FILE, FOLDER = Output(), Output("folder", folder=True)
TRACE = Output(suffixes=(".csv", ".json"))
"""What ``Trace.save`` writes."""


def outputs(function: Callable) -> dict[str, Output]:
    """The parameters of a command that say where it writes."""
    found = {}
    for name, parameter in signature(function).parameters.items():
        marks = [mark for mark in get_args(parameter.annotation) if isinstance(mark, Output)]
        if marks and parameter.kind is not Parameter.VAR_KEYWORD:
            found[name] = marks[0]
    return found


def tried_first(command: Callable) -> Callable:
    """The command, run only once all of its outputs have been tried."""
    marked = outputs(command)
    if not marked:
        return command

    @wraps(command)
    def outer(**given: Any) -> Any:
        for name, output in marked.items():
            if given.get(name) is not None:
                output.check(f"--{name.replace('_', '-')}", given[name])
        return command(**given)

    return outer
