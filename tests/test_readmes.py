"""The READMEs say what is so: their Python runs, their commands parse, their paths exist, their numbers are kept."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from figures.numbers.files import Results
from figures.numbers.shifted import short
from theory.learners import LEARNERS

ROOT = Path(__file__).parents[1]
PACKAGES = ("theory", "sim", "real", "figures")
PAGES = ("README.md", *(f"{package}/README.md" for package in PACKAGES), "CONTRIBUTING.md")
TEXTS = {page: (ROOT / page).read_text("utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STARTS = re.compile(r"^(?:\S*python3? -m (?:theory|sim|real|figures)\b|onlinespec |make )")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for found, text in FENCE.findall(TEXTS[page]) if found == language]


def commands(page: str) -> list[tuple[str, bool]]:
    """Every command of ours on a page, and whether it is whole: a line of a block is, words in backticks may not be."""
    lines = [line.strip() for block in blocks(page, "") for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", TEXTS[page]))
    found = [(line, True) for line in lines] + [(line, False) for line in inline]
    return [(line, whole) for line, whole in found if STARTS.match(line) and len(line.split()) > 1]


def parsed(command: str, whole: bool = True) -> None:
    """Hand a command to what it names, which reads its options and runs nothing; ``whole`` asks for all its arguments.

    Raises:
        click.UsageError: for a command, option or value that is not there.
        AssertionError: for a target that the Makefile does not have.
    """
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets, f"no such target: {command}"
        return
    package, *arguments = words[1:] if words[0] == "onlinespec" else words[2:]
    assert package in PACKAGES, f"no such package: {command}"
    found = typer.main.get_command(import_module(f"{package}.__main__").app)
    context = found.make_context(package, list(arguments))
    while hasattr(found, "resolve_command"):
        name, found, arguments = found.resolve_command(context, [*context._protected_args, *context.args])
        try:
            context = found.make_context(name, list(arguments), parent=context)
        except Exception as error:
            if whole or type(error).__name__ != "MissingParameter":
                raise
            return


@pytest.mark.parametrize(("page", "number"), [(p, i) for p in PAGES for i in range(len(blocks(p, "python")))])
def test_the_python_of_a_page_runs_as_it_stands(page, number, tmp_path):
    code = blocks(page, "python")[number]
    if re.search(r"\breal\b", code):
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_there_is_python_on_the_first_screen():
    first = "\n".join(TEXTS["README.md"].splitlines()[:20])
    for line in (
        "import real",
        "real.load(",
        "llm.generate(",
        "llm.stream(",
        "llm.report()",
        "llm.save(",
        "llm.export(",
    ):
        assert line in first


@pytest.mark.parametrize(
    ("page", "command", "whole"), [(page, *command) for page in PAGES for command in commands(page)]
)
def test_a_command_of_a_page_is_one_that_there_is(page, command, whole):
    parsed(command, whole)


SHELL = {"${run%:*}": "ogd", "${run#*:}": "3", "${block%:*}": "greedy", "${block#*:}": "4", "$mode": "greedy"}
"""Variables of the Makefile's loops, and what they may be."""


def test_the_commands_of_the_makefile_are_those_that_there_are():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = told.replace("\\\n", " ")
    for variable, value in SHELL.items():
        told = told.replace(variable, value)
    found = re.findall(r"-m (?:theory|sim|real|figures) [^;|&\n]*", told)
    assert {"ranks", "wide"} <= {command.split()[2] for command in found}
    assert len(found) > 30
    for command in found:
        parsed(f"python {command}")


@pytest.mark.parametrize("target", ["kills", "mutants"])
def test_a_program_of_the_tests_finds_the_packages_and_not_their_tests(target):
    """A file run by its path would take ``tests/theory`` for ``theory``."""
    told = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (name,) = re.findall(r"-m (tests\S+)", told)
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = f"from runpy import run_module; run_module({name!r}); import theory; theory.__file__.startswith('/')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "python -m real rum --learner ogd",
        "python -m real run --learnr ogd",
        "python -m sim run 'drift/*' --jobs zero",
        "python -m figures regret results more",
        "python -m sim replay",
        "onlinespec tests run",
        "make demos",
    ],
)
def test_a_command_that_there_is_not_is_seen(command):
    with pytest.raises(Exception, match=r"(?i)no such|valid integer|unexpected extra|missing"):
        parsed(command)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_of_a_package_is_in_its_page(package):
    found = typer.main.get_command(import_module(f"{package}.__main__").app)
    names = getattr(found, "commands", {})
    shown = [command for command, _ in commands(f"{package}/README.md")]
    known = {words[3] for words in map(str.split, shown) if words[:3] == ["python", "-m", package] and words[3:]}
    assert [name for name in names if name not in known] == []


def test_every_name_that_figures_take_is_in_their_page():
    from figures.__main__ import PAGES as written

    for name in ("all", "report", "list", *written):
        assert f"python -m figures {name}" in TEXTS["figures/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_of_a_page_exist(page):
    folder, text = (ROOT / page).parent, TEXTS[page]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (folder / link).exists()] == []
    paths = [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not path.startswith("out/")]
    assert [path for path in paths if not ((ROOT / path).exists() or (folder / path).exists())] == []


@pytest.mark.parametrize(("page", "limit"), [("README.md", 1100), ("real/README.md", 1500)])
def test_a_page_is_short(page, limit):
    assert len(TEXTS[page].split()) <= limit


def test_the_changelog_is_short():
    assert len((ROOT / "CHANGELOG.md").read_text().splitlines()) <= 40


def test_the_table_of_the_readme_is_what_the_results_say():
    table = short(Results(ROOT / "results"))
    assert table in TEXTS["README.md"]
    assert len(table.splitlines()) <= 2 + 6


def test_every_number_of_the_findings_is_on_the_page_of_numbers():
    findings = TEXTS["README.md"].partition("## What came out")[2].partition("\n## ")[0]
    kept = (ROOT / "results/README.md").read_text()
    numbers = re.findall(r"\d+\.\d+|\d{1,3}(?:,\d{3})+", findings)
    assert len(numbers) > 60
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", kept)] == []


def test_every_learner_has_a_line_in_the_page_of_theorems():
    assert [name for name in LEARNERS if f"`{name}`" not in TEXTS["theory/README.md"]] == []
