"""Command lines: an option once, errors in one line, Ctrl-C, progress with and without a terminal."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from theory.runs.console import new_console, survive, visible
from theory.runs.table import Column, table
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
    progress = Progress(new_console(file=screen), clock=clock, wait=clock.wait)
    prose, c = progress.task("prose"), progress.task("c")
    prose(3, 20)
    c(5, 5)
    with progress:
        progress._lines.join()
        progress.say("[half] way")
    assert screen.getvalue() == "prose: 3 of 20 after 30 s\nprose: 3 of 20 after 60 s\n[half] way\n"


def test_a_wait_ends_with_the_work():
    with Progress(new_console(file=StringIO()), every=3600.0):
        pass


def test_on_a_terminal_progress_is_a_bar():
    screen = StringIO()
    with Progress(new_console(file=screen, force_terminal=True, width=100)) as progress:
        progress.task("prose")(3, 20)
        progress.say("said")
    assert "prose" in screen.getvalue()
    assert "3/20" in screen.getvalue()
    assert "━" in screen.getvalue()
    assert "said" in screen.getvalue()


def test_a_task_of_unknown_length_says_how_long_it_has_taken():
    assert Task("compiling", began=10.0).line(45.0) == "compiling after 35 s"
    screen = StringIO()
    with busy("compiling", new_console(file=screen)):
        pass
    assert screen.getvalue() == ""


# Text of users is text


def test_only_one_place_makes_consoles_and_none_reads_markup():
    """rich reads brackets as markup unless a console is made not to, wherever users' text comes by."""
    root = Path(__file__).parents[3]
    sources = {p.relative_to(root).as_posix(): p.read_text("utf-8")
               for package in ("theory", "sim", "real", "figures") for p in (root / package).rglob("*.py")}  # fmt: skip
    made = {name for name, text in sources.items() if re.search(r"(?<![\w.])Console\(|\(Console\)", text)}
    assert made == {"theory/runs/console.py"}
    reads = re.compile(r"from_markup|markup=True|\[/?(red|dim|bold)\]")
    assert [name for name, text in sources.items() if reads.search(text)] == []


@pytest.mark.parametrize("text", ["[/red]", "[bold]", "[/b] a [link=x]", ":smile:", "[b]c[/b]"])
def test_text_is_printed_as_it_is(text):
    out = StringIO()
    screen = new_console(file=out, width=200)
    screen.print(text)
    screen.print(table([{"name": text}], [Column("name", text)], text))
    assert out.getvalue().count(text) == 4
    out = StringIO()
    with Progress(new_console(file=out, force_terminal=True, width=100)) as progress:
        progress.task(text)(3, 20)
        progress.say(text)
    assert out.getvalue().count(text) >= 2


ACTED_ON = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]


@pytest.mark.parametrize("terminal", [True, False])
def test_no_terminal_acts_on_text(terminal):
    """Neither on escape sequences (OSC, CSI, one byte or two) nor, in a line, on its end."""
    text = "".join(f"<{character}>" for character in ACTED_ON) + "\x1b]0;pwn\x07\x1b[2J\x9b31m"
    out = StringIO()
    screen = new_console(file=out, width=2000, force_terminal=terminal, color_system=None)
    screen.print(text)
    screen.print(table([{"name": text}], [Column("name", text)], text))
    with Progress(screen, every=0.0, clock=lambda: 0.0, wait=Clock(1).wait) as progress:
        progress.task(text)(1, 1)
        progress.say(text)
    shown = re.sub(r"\x1b\[[0-9?;]*[A-Za-z]", "", out.getvalue()) if terminal else out.getvalue()  # bars have their own
    assert not set(shown) & (set(ACTED_ON) - set("\n\t\r" if terminal else "\n\t"))
    assert "pwn\\x07\\x1b[2J\\x9b31m" in shown
    assert shown.count(visible(text)) >= 3  # of the table, a line each


def test_an_error_and_what_it_quotes_are_one_line():
    made = Commands()

    @made.command()
    def play() -> None:
        raise ValueError("category a\nerror: \x1b[31mb")

    result = CliRunner().invoke(made, [])
    assert (result.exit_code, result.output) == (2, "error: category a\\nerror: \\x1b[31mb\n")


def test_what_no_terminal_acts_on_stays():
    text = "regret ≤ √T · é 漢 \u2028 🙂"
    assert visible(text) == text
    assert visible("a\nb\tc\r", "\n") == "a\nb\\tc\\r"


@pytest.mark.parametrize("package", ["theory", "sim", "real", "figures"])
def test_help_and_usage_show_brackets(package):
    made = Commands(help="All [of it].")
    made.callback()(lambda: None)

    @made.command()
    def play(out: Annotated[str, typer.Option(help="Where [default: x/y].")] = "") -> None:
        """Play [fast]."""

    shown = [CliRunner().invoke(made, arguments).output for arguments in (["--help"], ["play", "--help"])]
    assert "All [of it]." in shown[0]
    assert all("Play [fast]." in text for text in shown)
    assert "Where [default: x/y]." in shown[1]
    wrong = CliRunner().invoke(import_module(f"{package}.__main__").app, ["[/red]"])
    assert (wrong.exit_code, "Traceback" in wrong.output) == (2, False)
    assert "[/red]" in wrong.output


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "command",
    ["-m sim list demo", "-m real --help", "-m theory check hedge --games 200 --horizon 4", "-m figures --help",
     "-m theory.runs.command --help"],
)  # fmt: skip
def test_every_command_line_survives_every_encoding(command, encoding):
    done = subprocess.run(
        [sys.executable, *command.split()], capture_output=True, cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_what_a_stream_cannot_encode_is_spelt(monkeypatch):
    out = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    survive()
    new_console(width=200).print("regret ≤ bound ✓ \udcff")
    out.flush()
    assert out.buffer.getvalue() == b"regret \\u2264 bound \\u2713 \\udcff\n"


# What is missing


@pytest.mark.parametrize("name", ["torch", "transformers", "safetensors"])
def test_what_is_not_installed_is_named_with_what_installs_it(name):
    made = Commands()

    @made.command()
    def play() -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    result = CliRunner().invoke(made, [])
    how = "pip install '.[real]' in the checkout of onlinespec"
    assert result.exit_code == 2
    assert result.output == f"error: this command needs {name}, which is not installed: {how}\n"


@pytest.mark.parametrize("command", ["-m real list", "-m real run --prompts prose:1", "-c 'import real; real.load'"])
def test_without_torch_real_says_what_to_install(tmp_path, command):
    """A torch that cannot be found stands in for none."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, *shlex.split(command)], capture_output=True, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "needs torch, which is not installed: pip install '.[real]' in the checkout of onlinespec" in done.stderr


def test_too_little_memory_is_an_error_in_a_line():
    made = Commands()

    @made.command()
    def play() -> None:
        raise MemoryError("Unable to allocate 7 TiB")

    result = CliRunner().invoke(made, [])
    assert (result.exit_code, result.output) == (2, "error: out of memory (Unable to allocate 7 TiB): ask for less\n")
