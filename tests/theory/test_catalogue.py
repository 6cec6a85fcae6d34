"""The catalogue has every bound, and what it names is there: functions, tests, and the rows of theory/README.md."""

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.theory.test_theory_readme import TABLE
from theory import bounds
from theory.__main__ import app
from theory.catalogue import BOUNDS

HERE = Path(__file__).parent
PARTS = {"comparator_energy", "comparator_energy_sharp", "telescoped", "sword_rate"}
"""What bounds are made of."""


def functions(path):
    """Names of the functions a file defines at its top."""
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_bound_is_there():
    stated = {name for name in functions(Path(bounds.__file__)) if not name.startswith("_")}
    assert set(BOUNDS) == stated - PARTS


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=lambda bound: bound.name)
def test_what_a_bound_names_is_there(bound):
    module, _, name = bound.function.rpartition(".")
    assert module == bounds.__name__
    assert callable(getattr(bounds, name))
    assert bound.given
    assert bound.source
    assert bound.statement.endswith(".")
    assert bound.constants
    assert bound.tests
    for test in bound.tests:
        file, _, member = test.partition("::")
        assert member in functions(HERE / file), test


@pytest.mark.parametrize("row", [row for row in TABLE if "bounds." in row[1]], ids=lambda row: row[0])
def test_the_page_and_the_catalogue_name_the_same_test(row):
    bound = BOUNDS[row[1].strip("`").removeprefix("bounds.")]
    assert row[2].strip("`") in {test.partition("::")[2] for test in bound.tests}


def test_the_command_prints_all_some_or_one():
    shown = CliRunner().invoke(app, ["bounds"], env={"COLUMNS": "400"}).output
    for bound in BOUNDS.values():
        assert bound.statement in shown
        assert bound.source in shown
    assert CliRunner().invoke(app, ["bounds", "optimistic_hedge*"]).output.count("optimistic_hedge") == 2
    alone = CliRunner().invoke(app, ["bounds", "ogd_oracle"]).output
    assert "statement: G√(T·A_T)" in alone
    assert "constants: gradient_bound, horizon, comparator_energy" in alone
    assert "function: theory.bounds.ogd_oracle" in alone
    refused = CliRunner().invoke(app, ["bounds", "ogd_orcale"])
    assert refused.exit_code == 2
    assert "near it: ogd_oracle" in refused.output
