"""Command lines: an option once, errors in one line, Ctrl-C, progress with and without a terminal."""

from importlib import import_module
from io import StringIO
from typing import Annotated

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from theory.runs.terminal import Commands, Progress, Task, busy


def app() -> Commands:
    made = Commands()

    @made.callback()
    def several() -> None:
        """So that there is more than one command."""

    @made.command()
    def play(
        rows: Annotated[list[str] | None, typer.Argument()] = None,
        gamma: int = 4,
        learner: Annotated[list[str] | None, typer.Option()] = None,
        quiet: bool = False,
        fail: str = "",
    ) -> None:
        if fail == "value":
            raise ValueError("gamma=[x]: must be a number")
        if fail == "interrupt":
            raise KeyboardInterrupt
        typer.echo(f"{rows} {gamma} {learner} {quiet}")

    return made


def run(*arguments: str):
    return CliRunner().invoke(app(), ["play", *arguments])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("--gamma", "3", "--gamma", "4"), "--gamma"),
        (("--gamma=3", "a", "--gamma", "3"), "--gamma"),
        (("--quiet", "--no-quiet"), "--quiet or --no-quiet"),
        (("--fail", "x", "--fail", "y", "--fail", "z"), "--fail"),
    ],
)
def test_an_option_with_one_value_is_refused_when_it_is_given_again(arguments, name):
    result = run(*arguments)
    assert result.exit_code == 2
    times = sum(argument.startswith(name.split()[0]) or argument == "--no-quiet" for argument in arguments)
    assert f"{name} is given {times} times, but has one value; give it once" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("theory", "check ogd --horizon 3 --horizon 4"),
        ("sim", "run demo --jobs 1 --jobs 2"),
        ("figures", "regret --width 3 --width 4"),
    ],
)
def test_every_package_refuses_it(package, arguments):
    result = CliRunner().invoke(import_module(f"{package}.__main__").app, arguments.split())
    assert result.exit_code == 2
    assert "is given 2 times" in result.output


def test_what_may_be_repeated_is():
    result = run("a", "b", "--learner", "ogd", "--learner", "adam", "--gamma", "3")
    assert result.exit_code == 0
    assert result.output == "['a', 'b'] 3 ['ogd', 'adam'] False\n"


def test_a_users_error_is_one_line_and_status_2():
    result = run("--fail", "value")
    assert (result.exit_code, result.output) == (2, "error: gamma=[x]: must be a number\n")


def test_ctrl_c_ends_with_130():
    result = run("--fail", "interrupt")
    assert (result.exit_code, result.output) == (130, "interrupted\n")


def test_panels_head_the_help():
    made = Commands(panel="Serve")
    made.command()(lambda: None)
    made.command("other", rich_help_panel="Other")(lambda: None)
    shown = CliRunner().invoke(made, ["--help"]).output
    assert "─ Serve ─" in shown
    assert "─ Other ─" in shown


class Clock:
    """Time that passes only while somebody waits; the wait ends after ``times`` times."""

    def __init__(self, times: int):
        self.now, self.left = 0.0, times

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.left -= 1
        return self.left < 0


def test_without_a_terminal_progress_is_a_line_every_30_seconds_until_it_is_done():
    screen, clock = StringIO(), Clock(2)
    progress = Progress(Console(file=screen), clock=clock, wait=clock.wait)
    prose, c = progress.task("prose"), progress.task("c")
    prose(3, 20)
    c(5, 5)
    with progress:
        progress._lines.join()
        progress.say("[half] way")
    assert screen.getvalue() == "prose: 3 of 20 after 30 s\nprose: 3 of 20 after 60 s\n[half] way\n"


def test_a_wait_ends_with_the_work():
    with Progress(Console(file=StringIO()), every=3600.0):
        pass


def test_on_a_terminal_progress_is_a_bar():
    screen = StringIO()
    with Progress(Console(file=screen, force_terminal=True, width=100)) as progress:
        progress.task("prose")(3, 20)
        progress.say("said")
    assert "prose" in screen.getvalue()
    assert "3/20" in screen.getvalue()
    assert "━" in screen.getvalue()
    assert "said" in screen.getvalue()


def test_a_task_of_unknown_length_says_how_long_it_has_taken():
    assert Task("compiling", began=10.0).line(45.0) == "compiling after 35 s"
    screen = StringIO()
    with busy("compiling", Console(file=screen)):
        pass
    assert screen.getvalue() == ""
