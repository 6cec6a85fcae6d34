"""The wheel in a fresh environment, with what its extra ``testing`` brings and no more: the page's examples pass."""

import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.test_readmes import ROOT, blocks

BUILT = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
PACKED = ("theory", "pyproject.toml", "README.md", "LICENSE")
"""The other packages would pack 38 MB of models."""
EXAMPLE = next(block for block in blocks("theory/README.md", "python") if "parametrize_with_laws" in block)
pytestmark = pytest.mark.slow


def needed(requirements: list[str], extra: str, found: set[str]) -> set[str]:
    """Names of the distributions that these requirements bring, theirs included."""
    for requirement in map(Requirement, requirements):
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if wanted and requirement.name not in found:
            found.add(requirement.name)
            needed(distribution(requirement.name).requires or [], "", found)
    return found


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """The Python of an environment with the wheel, what it requires, and nothing else; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PACKED:
        (source / name).symlink_to(ROOT / name)
    built = subprocess.run([sys.executable, "-W", "ignore", "-c", BUILT, str(folder)], cwd=source, capture_output=True)
    assert built.returncode == 0, built.stderr.decode()
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (metadata,) = site.glob("onlinespec-*.dist-info/METADATA")
    said = [
        line.partition(": ")[2] for line in metadata.read_text("utf-8").splitlines() if line.startswith("Requires-Dist")
    ]
    for name in needed(said, "testing", set()):
        ours = distribution(name)
        tops = {file.parts[0] for file in ours.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops - {path.name for path in site.iterdir()}:
            (site / top).symlink_to(ours.locate_file(top))
    return python


def run(python: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([python, "-P", *arguments], cwd=folder, capture_output=True, text=True, env={})
    return done.returncode, done.stdout + done.stderr


def test_the_environment_is_the_wheel_s_alone(fresh, tmp_path):
    code = "import importlib.util as u, theory; print(theory.__file__, u.find_spec('torch'), u.find_spec('real'))"
    status, said = run(fresh, tmp_path, "-c", code)
    assert status == 0
    assert said.split()[0].startswith(str(fresh.parents[1]))
    assert said.split()[1:] == ["None", "None"]


def test_the_five_lines_of_the_page_are_tests(fresh, tmp_path):
    assert len([line for line in EXAMPLE.splitlines() if line]) == 5
    (tmp_path / "test_mine.py").write_text(EXAMPLE)
    options = "-rA", "--onlinespec-learner", "frozen"
    status, said = run(fresh, tmp_path, "-m", "pytest", "test_mine.py", *options)
    assert status == 0, said
    assert "PASSED test_mine.py::test_my_learner[OGD(step_size=0.1,domain=Ball(radius=1.0))-causal]" in said
    assert "any_library was not tried: torch is not installed" in said
    assert "PASSED frozen::causal" in said  # of the plugin, which pytest found by its entry point
    assert "NO BOUND was tried: the learner claims no bound" in said  # of its claims


def test_the_machine_and_the_strategies_are_there(fresh, tmp_path):
    (tmp_path / "test_more.py").write_text("\n".join(
        block for block in blocks("theory/README.md", "python") if "learner_machine" in block
    ))  # fmt: skip
    status, said = run(fresh, tmp_path, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "test_more.py")
    assert status == 0, said
    assert "PASSED test_more.py::TestMyLearner::runTest" in said
    assert "PASSED test_more.py::test_regret" in said
