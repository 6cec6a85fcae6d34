"""theory/README.md names functions and tests that exist, and ratios that the committed table has."""

import csv
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from theory.catalogue import BOUNDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "theory/README.md").read_text()
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "theory").rglob("[a-z]*.py")]
SOURCES = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
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
    places = [import_module(found) for found in MODULES if found.rpartition(".")[2] == module]
    assert any(hasattr(place, member) for place in places) or import_module(f"theory.{name}")


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_ratio_is_the_one_that_was_found(row):
    assert all(row[:3])
    *_, ratio, place = row
    if not place:
        assert ratio == "attained" or len(ratio.split()) > 2, "a number with its row, attained, or why there is none"
        return
    with (ROOT / "results/theory/tightness.csv").open(newline="") as file:
        found = {line["bound"]: float(line["ratio"]) for line in csv.DictReader(file)}
    assert f"{found[place]:.2f}" == ratio


@pytest.mark.parametrize("row", [row for row in TABLE if row[3] == "attained"], ids=lambda row: row[0])
def test_attained_means_that_the_test_says_equal(row):
    name = row[2].strip("`")
    body = next(found for source in SOURCES for found in re.findall(rf"def {name}\(.*?(?=\n\S|\Z)", source, re.DOTALL))
    assert re.search(r"assert_allclose|assert_array_equal|approx\(| == |<= 1e-\d\d", body)


FORMS = {"ogd", "ogd_chunked", "ogd_delayed_oracle", "strongly_convex_regret", "fixed_share_tuned"}
"""What other bounds are made of, or are at one step."""


def test_every_bound_has_a_row():
    assert set(BOUNDS) - FORMS <= {row[1].strip("`").removeprefix("bounds.") for row in TABLE}


def test_theorems_are_numbered_once():
    numbers = [int(number) for number in re.findall(r"^\*\*Theorem (\d+)", TEXT, re.MULTILINE)]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    assert {int(n) for row in TABLE for n in re.findall(r"Theorem (\d+)", row[0])} <= set(numbers)
