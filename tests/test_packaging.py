"""A wheel holds everything that runs, and the console script finds the four packages."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from theory.runs import command, extras
from theory.runs.version import VERSION
from theory.testing import plugin

ROOT = Path(__file__).parent.parent
PACKAGES = ("theory", "sim", "real", "figures")
BUILT = """
import json, sys
from setuptools import Distribution
made = Distribution({"script_name": "setup.py"})
made.parse_config_files()
made.get_command_obj("egg_info").egg_base = sys.argv[1]
command = made.get_command_obj("build_py")
command.ensure_finalized()
print(json.dumps([made.get_version(), command.get_outputs(include_bytecode=False)]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[str, set[str]]:
    """Version and files of a wheel, as setuptools would build it; lists of an earlier build must not help."""
    command = [sys.executable, "-W", "ignore", "-c", BUILT, str(tmp_path_factory.mktemp("egg"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version, files = json.loads(done.stdout.splitlines()[-1])
    return version, {path.replace("\\", "/").partition("build/lib/")[2] for path in files}


def test_the_wheel_holds_every_module_and_every_asset(built):
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    needed = {p.relative_to(ROOT).as_posix() for p in paths if p.suffix != ".md" and "__pycache__" not in p.parts}
    assert {path.split("/")[1] for path in needed if path.startswith("real/")} > {"assets", "py.typed", "serving"}
    assert needed <= built[1], f"not in the wheel: {sorted(needed - built[1])[:5]}"


def test_the_wheel_holds_nothing_else(built):
    strangers = [path for path in built[1] if path.split("/")[0] not in PACKAGES]
    assert not strangers


def test_the_version_is_said_once(built):
    cited = [line for line in (ROOT / "CITATION.cff").read_text("utf-8").splitlines() if line.startswith("version:")]
    assert built[0] == VERSION
    assert cited == [f"version: {VERSION}"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package, built):
    assert f"{package}/py.typed" in built[1]


def test_the_console_script_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"onlinespec": f"{command.__name__}:{command.main.__name__}"}
    assert project["entry-points"]["pytest11"] == {"onlinespec": plugin.__name__}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_console_script_runs_the_package(package, tmp_path):
    """In another folder, where another package of that name must not be taken for ours."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__main__.py").write_text("raise SystemExit('not ours')")
    arguments = [package, "--help"]
    code = f"import sys; sys.path[0] = {str(ROOT)!r}; from theory.runs.command import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [package]


def test_a_command_gets_its_arguments_and_its_status(capsys):
    with pytest.raises(SystemExit) as left:
        command.main(["figures", "no-such-figure"])
    assert left.value.code == 2
    assert "unknown figure 'no-such-figure'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate"], "onlinespec has no package 'simulate': it is one of theory, sim, real, figures"),
        (["figure"], "did you mean figures?"),
        (["run"], "onlinespec has no package 'run'"),
    ],
)
def test_a_wrong_name_gets_a_remedy(arguments, message, capsys):
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_without_torch_the_decoder_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main(["real", "list"]) == 2
    assert "pip install '.[real]' in the checkout of onlinespec" in capsys.readouterr().err


def test_what_is_not_released_is_not_asked_of_an_index():
    """Under its name an index has nothing, or another's package."""
    assert "not released" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    rooms = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    said = [path for path in [*rooms, *ROOT.glob("*.md")] if path.suffix in (".md", ".py")]
    assert [path for path in said if re.search(r"pip install '?onlinespec\b", path.read_text("utf-8"))] == []
    assert "pip install '.[testing]'" in extras.needs("a test", "hypothesis")


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_help_is_a_line_a_package(arguments, status, capsys):
    assert command.main(arguments) == status
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines == list(PACKAGES)


def test_the_version_is_printed(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"onlinespec {VERSION}\n"
