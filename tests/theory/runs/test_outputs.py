"""Outputs are tried before the work: what cannot be written is refused, and trying leaves nothing behind."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, get_args

import pytest
import typer
from typer.testing import CliRunner

from theory.runs.outputs import FILE, FOLDER, TRACE, Output, outputs
from theory.runs.terminal import Commands

READ = {("run", "prompts"), ("export", "state"), ("curves", "bench")}
"""Paths that options name and commands only read."""


def commands() -> dict[str, object]:
    """Every command of every package by its name."""
    found = {}
    for package in ("theory", "sim", "figures", "real"):
        app = import_module(f"{package}.__main__").app
        rooms = [app, *(group.typer_instance for group in app.registered_groups)]
        for one in (one for room in rooms for one in room.registered_commands):
            found[f"{package} {one.name or one.callback.__name__}"] = one.callback
    return found


def paths(function) -> set[str]:
    """Options whose value is a path."""
    found = set()
    for name, parameter in signature(function).parameters.items():
        kind, *marks = get_args(parameter.annotation) or (parameter.annotation,)
        option = any(type(mark).__name__ == "OptionInfo" for mark in marks)
        if option and (kind is Path or Path in get_args(kind)):
            found.add(name)
    return found


def test_every_path_that_an_option_names_is_tried_before_the_work():
    found = commands()
    assert len(found) > 25
    untried = {
        (name, option)
        for name, function in found.items()
        for option in paths(function) - set(outputs(function))
        if (name.partition(" ")[2], option) not in READ
    }
    assert untried == set()


def run(output: Output, path: str):
    """What a command with such an output says, and whether its work began."""
    app, began = Commands(), []

    @app.command()
    def play(out: Annotated[Path | None, typer.Option(), output] = None) -> None:
        began.append(out)

    return CliRunner().invoke(app, ["--out", path]), began


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "log.json").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("output", "path", "words"),
    [
        (FILE, "folder", "--out folder: folder is a folder, not a file; name the file to write"),
        (FILE, "/dev/null", "--out /dev/null: /dev/null is a device, not a file"),
        (FILE, "file/x.json", "--out file/x.json: cannot be written (Not a directory); choose another place"),
        (FILE, "/proc/x.json", "--out /proc/x.json: cannot be written ("),
        (FILE, "x" * 300, "cannot be written (File name too long)"),
        (FOLDER, "file", "--out file: file is a file, not a folder; name a folder"),
        (FOLDER, "file/a/b", "--out file/a/b: cannot be written (Not a directory)"),
        (FOLDER, "/proc/a/b", "--out /proc/a/b: cannot be written ("),
        (FOLDER, "/dev/null", "is a file, not a folder"),
        (TRACE, "/dev/null", "is a device, not a file"),
        (TRACE, "log", "log.json is a folder, not a file"),
        (TRACE, "log.csv", "log.json is a folder, not a file"),
        (Output("state"), "folder", "folder is a folder, not a state"),
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, output, path, words):
    before = sorted(tmp_path.rglob("*"))
    result, began = run(output, path)
    assert (result.exit_code, began) == (2, []), result.output
    assert words in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("output", "path"),
    [(FILE, "file"), (FILE, "new.json"), (FILE, "a/b/new.json"), (FOLDER, "folder"), (FOLDER, "a/b"), (TRACE, "t.csv"),
     (TRACE, "a/t")],
)  # fmt: skip
def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path, output, path):
    before = sorted(tmp_path.rglob("*"))
    result, began = run(output, path)
    assert (result.exit_code, began) == (0, [Path(path)]), result.output
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "kept"
