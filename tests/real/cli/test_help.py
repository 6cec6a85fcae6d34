"""What answers at once: ``--help``, wrong options; panels, and an option a field."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
from typer.testing import CliRunner

from real.__main__ import app
from real.cli.fields import Without, settings
from real.cli.options import Room
from real.serving.settings import Serving

ROOT = Path(__file__).parents[3]
PANELS = {
    "Serve": {"run", "list", "prepare", "prompts"},
    "Learn": {"demo", "results", "summary", "table1", "claims", "tune"},
    "Measure": {"bench", "throughput", "context", "profile", "floor", "headroom"},
    "Verify": {"lossless", "audit", "record", "agree"},
    "Build": {"train", "inflate", "export"},
}
"""Every command there has been, and more; none is lost."""
HEAVY = ("torch", "transformers", "tokenizers", "matplotlib", "jax")


def panels(help_text: str) -> dict[str, set[str]]:
    """The commands of a help text by panel."""
    found: dict[str, set[str]] = {}
    panel = ""
    for line in help_text.splitlines():
        if line.startswith("╭─ "):
            panel = line.split()[1]
        elif line.startswith("│ ") and line[2] != " ":
            found.setdefault(panel, set()).add(line.split()[1])
    return found


def test_every_command_stands_in_its_panel():
    found = panels(CliRunner().invoke(app, ["--help"]).output)
    assert list(found) == ["Options", *PANELS]
    for panel, commands in PANELS.items():
        assert found[panel] >= commands


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("--help", 0), ("run --help", 0), ("record --help", 0), ("run --gama 3", 2), ("run --gamma 3 --gamma 4", 2),
     ("run --gamma 0", 2), ("rum", 2), ("train", 2), ("summary", 2)],
)  # fmt: skip
def test_help_and_wrong_usage_answer_without_torch(arguments, status):
    code = f"""
import sys
from real.__main__ import app
try:
    app({arguments.split()!r})
except SystemExit as end:
    assert end.code == {status}, end.code
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert alone(code) == "[]"


def alone(code: str) -> str:
    """The last line that this code prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_real_imports_no_torch():
    code = f"import sys, real, real.serving.settings; print([name for name in {HEAVY} if name in sys.modules])"
    assert alone(code) == "[]"


@pytest.mark.parametrize("command", ["run", "headroom", "floor", "profile", "record"])
def test_what_serves_has_an_option_for_every_field_or_says_which_it_lacks(command):
    """A new field of ``Serving`` or ``Sampling`` appears by itself; only these commands decide some themselves."""
    decided = {
        "run": set(),
        "headroom": {"rule", "confidence", "overlap"},
        "floor": {"law_top_k", "rule", "confidence", "overlap"},
        "profile": {"law_top_k", "rule", "confidence", "overlap"},
        "record": {"confidence", "overlap"},
    }[command]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    for one in settings(Serving()):
        option = one.names[0]
        assert (f"{option} " in shown or f"{option}," in shown) != (one.name in decided), option
        if one.name not in decided:
            assert one.help in " ".join(shown.replace("│", " ").split())


def test_every_field_has_a_help_text_or_is_measured():
    rows = [Serving(), *(value for value in vars(Serving()).values() if is_dataclass(value))]
    silent = {one.name for row in rows for one in fields(row) if "help" not in one.metadata}
    assert silent == {"sampling", "costs", "switch_cost", "lower_costs", "way_costs"}


@dataclass(frozen=True)
class Inner:
    depth: int = field(default=1, metadata={"help": "How deep."})

    def __post_init__(self):
        if self.depth < 0:
            raise ValueError(f"depth={self.depth!r}: must be at least 0")


@dataclass(frozen=True)
class Outer:
    width: float = field(default=2.0, metadata={"help": "How wide.", "also": ("--wide",)})
    inner: Inner = Inner()
    fast: bool = field(default=False, metadata={"help": "Hurry."})
    measured: float = 0.0


def played(*arguments: str, default: Outer = Outer(), left: tuple[str, ...] = ()):
    """The row that a command with these arguments gets."""
    room, got = Room(panel="Play"), []

    @room.command(models=False)
    def play(first: int, outer: Annotated[Outer, Without(*left)] = default, last: str = "x") -> None:
        """Play."""
        got.append((first, outer, last))

    return CliRunner().invoke(room, ["7", *arguments]), got


def test_fields_are_options_with_the_commands_own_defaults():
    assert played("--last", "y")[1] == [(7, Outer(), "y")]
    assert played(default=Outer(3.0, Inner(5)))[1] == [(7, Outer(3.0, Inner(5)), "x")]
    result, got = played("--width", "4.5", "--depth", "2", "--fast", default=Outer(3.0, measured=9.0))
    assert result.exit_code == 0
    assert got == [(7, Outer(4.5, Inner(2), True, 9.0), "x")]
    assert played("--wide", "1")[1] == [(7, Outer(1.0), "x")]


def test_what_a_row_refuses_is_a_users_error():
    result, got = played("--depth", "-1")
    assert (result.exit_code, got) == (2, [])
    assert result.output == "error: depth=-1: must be at least 0\n"


def test_a_field_can_be_left_out_and_what_is_measured_is_none():
    for option in ("--measured", "--depth"):
        assert played(option, "1", left=("depth",))[0].exit_code == 2
    assert played("--width", "1", left=("depth",), default=replace(Outer(), inner=Inner(4)))[1][0][1].inner == Inner(4)


def said_in_errors(source: str) -> list[str]:
    """The texts of all errors that a source raises; commands in backticks, which are remedies, left out."""
    texts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            parts = [one.value for one in ast.walk(node.exc) if isinstance(one, ast.Constant)]
            texts.append(re.sub("`[^`]*`", "", "".join(part for part in parts if isinstance(part, str))))
    return texts


def test_only_command_lines_speak_of_options():
    packages = [path for package in ("theory", "sim", "real") for path in sorted((ROOT / package).rglob("*.py"))]
    lines = ("__main__.py", "plugin.py")  # the latter has pytest's
    libraries = [path for path in packages if path.parent.name != "cli" and path.name not in lines]
    assert len(libraries) > 100
    found = [(path.name, text) for path in libraries for text in said_in_errors(path.read_text("utf-8"))]
    assert [(name, text) for name, text in found if re.search(r"--[a-z]", text)] == []


def test_an_option_in_an_error_is_seen():
    assert (
        "--out"
        in said_in_errors('def f(x):\n    raise ValueError(f"--out {x}: `python -m real demo --seed 1` first")')[0]
    )
    assert "--seed" not in said_in_errors('raise ValueError(f"run `python -m real demo --seed 1` first")')[0]
