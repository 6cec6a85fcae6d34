"""Options of a command made from the fields of frozen dataclasses: a new field is a new option everywhere.

    @app.command()
    @expanded
    def run(serving: Annotated[Serving, Without("nu")] = Serving(gamma=8)) -> None: ...

has the options ``--gamma``, ``--temperature``, … with the help texts of the fields (``metadata={"help": …}``) and the
defaults of the parameter's own default. A field without help text is no option; one that is a dataclass gives its
fields instead. ``"name"`` in the metadata is another name for the option, ``"also"`` further ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import typer


class Without:
    """Fields that a command decides itself, in the annotation of its parameter."""

    def __init__(self, *names: str):
        self.names = names


class Setting(NamedTuple):
    """One field that is an option: the field's name, type and default, the option's help text and names."""

    name: str
    kind: Any
    default: Any
    help: str
    names: tuple[str, ...]

    def parameter(self, panel: str) -> Parameter:
        """As typer reads it."""
        annotation = Annotated[self.kind, typer.Option(*self.names, help=self.help, rich_help_panel=panel)]
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=self.default, annotation=annotation)


def settings(row: Any, without: tuple[str, ...] = ()) -> Iterator[Setting]:
    """The fields of a dataclass that are options, in order, nested ones too."""
    kinds = get_type_hints(type(row))
    for field in fields(row):
        value, told = getattr(row, field.name), field.metadata
        if field.name in without:
            continue
        if is_dataclass(value):
            yield from settings(value, without)
        elif "help" in told:
            first = told.get("name", f"--{field.name.replace('_', '-')}")  # a switch has no negative form of itself
            yield Setting(field.name, kinds[field.name], value, told["help"], (first, *told.get("also", ())))


def changed(row: Any, given: dict[str, Any]) -> Any:
    """The row with the fields that ``given`` names, in nested rows too, all at once."""
    here = {field.name: getattr(row, field.name) for field in fields(row)}
    nested = {name: changed(value, given) for name, value in here.items() if is_dataclass(value)}
    return replace(row, **nested, **{name: given[name] for name in here if name in given})


def expanded(command: Callable) -> Callable:
    """The command with an option a field for every parameter whose default is a dataclass."""
    rows, parameters = {}, []
    for name, parameter in signature(command, eval_str=True).parameters.items():
        if not is_dataclass(parameter.default):
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        marks = [mark for mark in get_args(parameter.annotation) if isinstance(mark, Without)]
        made = list(settings(parameter.default, tuple(left for mark in marks for left in mark.names)))
        rows[name] = (parameter.default, [one.name for one in made])
        panel = type(parameter.default).__name__.removesuffix("Options")
        parameters += [one.parameter(panel) for one in made]

    @wraps(command)
    def outer(**given: Any) -> Any:
        made = {}
        for name, (default, names) in rows.items():
            made[name] = changed(default, {one: given.pop(one) for one in names})
        return command(**given, **made)

    outer.__signature__ = signature(command).replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    outer.__annotations__ = {one.name: one.annotation for one in parameters}
    return outer
