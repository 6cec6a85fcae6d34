"""Every example in a docstring runs, and shows what it says."""

import doctest
import re
from importlib import import_module, util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("theory", "sim", "real", "figures")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
"""``...`` stands for what differs from machine to machine."""
EXAMPLE = re.compile(r"^ *>>> ", re.MULTILINE)


def with_examples() -> list[str]:
    """Full names of the modules with an example in them."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    chosen = [path for path in paths if EXAMPLE.search(path.read_text("utf-8"))]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in chosen)
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", with_examples())
def test_the_examples_of_a_module_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = doctest.testmod(import_module(name), optionflags=OPTIONS)
    assert done.attempted > 0, f"{name} has >>> outside docstrings that doctest reads"
    assert done.failed == 0, f"{name}: {done.failed} of {done.attempted} examples differ from what they show; see above"


@pytest.mark.parametrize(("shown", "failed"), [("2", 0), ("3", 1)])
def test_an_example_that_shows_another_value_is_seen(shown, failed, tmp_path, capsys):
    path = tmp_path / "planted.py"
    path.write_text(f'def f():\n    """One.\n\n    >>> 1 + 1\n    {shown}\n    """\n')
    spec = util.spec_from_file_location("planted", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert doctest.testmod(module, optionflags=OPTIONS) == doctest.TestResults(failed, 1)
