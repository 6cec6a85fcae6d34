"""What every command line shares: options given once, outputs tried first, errors in one line, progress on any screen.

app = Commands(help="…")                     a typer.Typer whose commands do the first three by themselves
with Progress() as progress:                 bars on a terminal, elsewhere a line every 30 seconds
    report = progress.task("prose")
    report(3, 20)
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from typer.core import TyperCommand

from theory.runs.console import new_console, survive, visible
from theory.runs.extras import EXTRAS, needs
from theory.runs.outputs import tried_first

complaints = new_console(stderr=True, soft_wrap=True)
"""Errors and progress; results go to standard output."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


@contextmanager
def explained() -> Iterator[None]:
    """User errors end the command with their message and status 2, without a traceback; Ctrl-C ends it with 130."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError, MemoryError) as error:
        complaints.print(f"error: {visible(reason(error))}", style="red", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        complaints.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None


def reason(error: Exception) -> str:
    """An error in words, with what to install where something is missing."""
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return needs("this command", error.name)
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}: ask for less"
    return str(error)


class Command(TyperCommand):
    """One command: an option that takes one value is refused when it is given twice, and user errors are explained.

    Its help is text: brackets are no markup.
    """

    def __init__(self, *given: Any, **options: Any):
        super().__init__(*given, **options)
        for one in (self, *self.params):
            text = getattr(one, "help", None)
            if text:
                one.help = escape(text)  # pyright: ignore[reportAttributeAccessIssue]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in given:
            times = sum(other is parameter for other in given)
            if times > 1 and not (getattr(parameter, "multiple", False) or getattr(parameter, "count", False)):
                name = " or ".join([*parameter.opts, *parameter.secondary_opts])
                ctx.fail(f"{name} is given {times} times, but has one value; give it once")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with explained():
            return super().invoke(ctx)


class Commands(typer.Typer):
    """A ``typer.Typer`` that makes every command a ``Command``, in the panel of the help that it names.

    Args:
        panel: heading under which ``--help`` lists these commands; none if left out.
        kind: class of the commands. options: of ``typer.Typer``.
    """

    def __init__(self, *, panel: str | None = None, kind: type[Command] = Command, **options: Any):
        if "help" in options:
            options["help"] = escape(options["help"])
        super().__init__(add_completion=False, **options)
        self.panel, self.kind = panel, kind

    def command(self, name: str | None = None, **options: Any) -> Callable[[Callable], Callable]:
        """As in typer; ``cls`` and ``rich_help_panel`` are those of this app if left out."""
        register = super().command(name, **{"cls": self.kind, "rich_help_panel": self.panel} | options)

        def made(function: Callable) -> Callable:
            register(tried_first(function))
            return function

        return made

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        survive()
        return super().__call__(*arguments, **options)


Tell = Callable[[int, int | None], None]
"""Told how much is done, and of how much if that is known."""


@dataclass
class Task:
    """How far one piece of work is; ``total`` None while it is not known."""

    name: str
    began: float
    done: int = 0
    total: int | None = None

    def line(self, now: float) -> str:
        """The state in words: ``prose: 3 of 20 after 95 s``."""
        far = "" if self.total is None else f": {self.done} of {self.total}"
        return f"{self.name}{far} after {now - self.began:.0f} s"

    @property
    def over(self) -> bool:
        return self.total is not None and self.done >= self.total


class Progress:
    """How far work is: a bar a task on a terminal, elsewhere a line a task every ``every`` seconds until it is done.

    Args:
        console: where it is shown. transient: bars are gone when the work is done. every: seconds. clock: seconds now.
            wait: returns after so many seconds whether the work is over; by default a wait that the end of the block
            cuts short.
    """

    def __init__(
        self,
        console: Console = complaints,
        transient: bool = False,
        every: float = 30.0,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], bool] | None = None,
    ):
        self.console, self.every, self.clock = console, every, clock
        self.tasks: list[Task] = []
        self._over = Event()
        self._wait = wait or self._over.wait
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        # where standard output goes to a file, rich must not take it to the screen
        bars = Bars(*columns, console=console, transient=transient, redirect_stdout=sys.stdout.isatty())
        self._bars = bars if console.is_terminal else None
        self._lines = Thread(target=self._tell, daemon=True)

    def __enter__(self) -> "Progress":
        self._lines.start() if self._bars is None else self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._lines.join() if self._bars is None else self._bars.stop()

    def task(self, name: str) -> Tell:
        """A new piece of work → what is to be told how far it is; its time counts from here."""
        name = visible(name)
        task = Task(name, self.clock())
        self.tasks.append(task)
        bar = None if self._bars is None else self._bars.add_task(name, total=None)

        def report(done: int, total: int | None = None) -> None:
            task.done, task.total = done, task.total if total is None else total
            if self._bars is not None and bar is not None:
                self._bars.update(bar, completed=done, total=task.total)

        return report

    def say(self, text: str) -> None:
        """Print a line of its own, above the bars if there are any."""
        (self.console if self._bars is None else self._bars.console).print(text, highlight=False)

    def _tell(self) -> None:
        while not self._wait(self.every):
            for task in list(self.tasks):
                if not task.over:
                    self.console.print(task.line(self.clock()), highlight=False)


@contextmanager
def busy(name: str, console: Console = complaints) -> Iterator[None]:
    """Show that one thing of unknown length is being done."""
    with Progress(console, transient=True) as progress:
        progress.task(name)
        yield
