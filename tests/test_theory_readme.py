"""theory/README.md names functions and tests that exist, and ratios that the committed table has."""

import csv
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "theory/README.md").read_text()
SOURCES = [path.read_text() for path in (ROOT / "tests").glob("test_*.py")]
TESTS = {name for source in SOURCES for name in re.findall(r"def (test_\w+)", source)}
NAMED = sorted(set(re.findall(r"`((?:\w+\.)*\w+)`", TEXT)))
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if line.startswith("|")]
TABLE = [row for row in ROWS if len(row) == 5 and row[0] != "theorem" and not row[0].startswith("-")]


@pytest.mark.parametrize("name", [name for name in NAMED if name.startswith("test_")])
def test_a_named_test_exists(name):
    assert name in TESTS


@pytest.mark.parametrize("name", [name for name in NAMED if "." in name and "/" not in name])
def test_a_named_function_exists(name):
    module, _, member = name.partition(".")
    place = import_module(f"theory.{module}")
    assert hasattr(place, member) or import_module(f"theory.{name}")


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_ratio_is_the_one_that_was_found(row):
    assert all(row[:3])
    *_, ratio, place = row
    if not place:
        assert ratio in ("", "attained")
        return
    with (ROOT / "results/theory/tightness.csv").open(newline="") as file:
        found = {line["bound"]: float(line["ratio"]) for line in csv.DictReader(file)}
    assert f"{found[place]:.2f}" == ratio
