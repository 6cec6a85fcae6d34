"""A result names the commit of the package that made it, and never that of a repository around it."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from theory.runs.version import VERSION

ROOT = Path(__file__).parents[3]
SAY = "import json; from theory.runs.trace import provenance; print(json.dumps(provenance()))"
OURS = '[project]\nname = "onlinespec"\n'
THEIRS = '[project]\nname = "theirs"\n'


@pytest.fixture
def package(tmp_path) -> Path:
    """A folder with a copy of ``theory`` in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "theory", tmp_path / "home" / "theory", ignore=ignored)
    return tmp_path / "home"


def said(package: Path) -> dict:
    """What the copy in ``package`` says about itself, in a process that imports it and nothing of ours."""
    environment = os.environ | {"PYTHONPATH": str(package), "GIT_CEILING_DIRECTORIES": str(package.parents[1])}
    done = subprocess.run([sys.executable, "-c", SAY], env=environment, cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def commit(folder: Path) -> str:
    """Make ``folder`` a repository, commit everything in it → the commit."""
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for arguments in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_its_own_repository_is_named_and_changes_are_told(package):
    (package / "pyproject.toml").write_text(OURS)
    made = commit(package)
    assert (said(package)["commit"], said(package)["dirty"]) == (made, False)
    (package / "theory" / "regret.py").write_text("")
    assert (said(package)["commit"], said(package)["dirty"]) == (made, True)


@pytest.mark.parametrize("pyproject", [None, THEIRS, "[tool.ruff]\n", "not toml"])
def test_copied_into_a_foreign_repository_it_names_no_commit(package, pyproject):
    if pyproject is not None:
        (package / "pyproject.toml").write_text(pyproject)
    commit(package)
    found = said(package)
    assert (found["commit"], found["dirty"]) == (None, None)
    assert found["versions"]["onlinespec"] == VERSION


def test_below_the_top_of_a_foreign_repository_it_names_no_commit(package):
    (package / "pyproject.toml").write_text(OURS)
    commit(package.parent)
    assert said(package)["commit"] is None


def test_ignored_by_a_repository_of_that_name_it_names_no_commit(package):
    (package / "pyproject.toml").write_text(OURS)
    (package / ".gitignore").write_text("theory/\n")
    commit(package)
    assert said(package)["commit"] is None


def test_without_a_repository_it_names_no_commit(package):
    found = said(package)
    assert (found["commit"], found["dirty"], found["versions"]["onlinespec"]) == (None, None, VERSION)


def test_the_command_is_what_one_would_type(package):
    assert said(package)["command"] == "python -c"
    (package / "study.py").write_text(SAY)
    (package / "tool").mkdir()
    (package / "tool" / "__main__.py").write_text(SAY)
    for arguments in (["study.py", "--out", "x"], ["-m", "tool", "run"]):
        environment = os.environ | {"PYTHONPATH": str(package)}
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=package, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["command"] == " ".join(["python", *arguments])


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "theory.runs.version.VERSION"}
