"""What the decoder's commands share: options of the same meaning, the screen, a bar for long work."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from theory.runs.terminal import complaints

console = Console()
if not console.is_terminal:
    console = Console(width=200)  # tables go to files whole

Out = Annotated[Path, typer.Option(help="Directory of the results.")]
Target = Annotated[str, typer.Option(help="Folder or hub name; the embedded target if left out.")]
Draft = Annotated[str, typer.Option(help="Folder or hub name; the embedded specialist if left out.")]
Gamma = Annotated[int, typer.Option(help="Tokens drafted a step.")]
BurnIn = Annotated[int, typer.Option(help="Committed tokens that only set the adapter's whitening.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64 for the models; learners are float32.")]
Prompts = Annotated[str, typer.Option(help="A JSONL file, or a schedule.")]
New = Annotated[int, typer.Option(help="New tokens a request.")]
Kept = Annotated[Path | None, typer.Option(help="Keep the rows in this JSON file.")]
Tune = Annotated[
    bool, typer.Option("--tune", help="With --compile on a CPU: search for the fastest matrix kernels; minutes more.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def bar() -> Progress:
    """A progress bar that names what runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=complaints)


def advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    """Move the bar to ``done`` of ``total``."""
    progress.update(task, completed=done, total=total)
