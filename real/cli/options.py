"""What the decoder's commands share: how a room of them is made and options of the same meaning.

Nothing here imports torch or transformers, and neither does a room's file before one of its commands runs: ``--help``
and a wrong option answer at once.
"""

from ast import literal_eval
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from real.cli.fields import expanded
from theory.runs.outputs import FILE, FOLDER
from theory.runs.terminal import Commands


class Room(Commands):
    """The commands of one panel; parameters that are frozen dataclasses become an option a field."""

    def command(self, name: str | None = None, models: bool = True, **options: Any) -> Callable[[Callable], Callable]:
        """As in typer. ``models``: the command runs models, for which torch is set up."""
        register = super().command(name, **options)

        def made(function: Callable) -> Callable:
            register(expanded(on_models(function) if models else function))
            return function

        return made


def on_models(command: Callable) -> Callable:
    """The command with one thread, and without the progress bars of others."""

    @wraps(command)
    def outer(**given: Any) -> Any:
        import torch

        from real.models.load import quiet

        torch.set_num_threads(1)  # on purpose: on small shared machines two ran ten times slower than one
        quiet()
        return command(**given)

    return outer


Out = Annotated[Path, typer.Option(help="Directory of the results."), FOLDER]
Family = Annotated[str, typer.Option(help="Embedded target: qwen3, llama or gpt_neox.")]
Trust = Annotated[
    list[str] | None,
    typer.Option("--trust-remote-code", help="Folder or hub name of a model whose own code may run, repeatable."),
]
Families = Annotated[list[str] | None, typer.Option(help="Embedded target, repeatable; all if left out.")]
Domains = Annotated[list[str] | None, typer.Option(help="Domain, repeatable; all if left out.")]
Seeds = Annotated[int, typer.Option(min=1, help="Draws of the requests, and of what is sampled: 1 … seeds.")]
Gamma = Annotated[int, typer.Option(help="Tokens drafted a step.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64 for the models; learners are float32.")]
Prompts = Annotated[
    str, typer.Option(help="JSONL of Spec-Bench's turns or of chat messages, or a schedule such as prose:8,c:8.")
]
New = Annotated[int, typer.Option(help="New tokens of a request.")]
Kept = Annotated[Path | None, typer.Option(help="Keep what is found in this JSON file."), FILE]


def drafter_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``["lora=8", "part=bias"]`` → ``{"lora": 8, "part": "bias"}``: Python literals, else text.

    Raises:
        ValueError: for a pair without ``=``.
    """
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise ValueError(f"--drafter-set {pair!r}: write key=value, for example --drafter-set lora=8")
        for read in (literal_eval, float, str):  # float: nan and inf
            with suppress(ValueError, SyntaxError):
                found[key] = read(text)
                break
    return found
