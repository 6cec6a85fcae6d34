"""Tables of many games: tidy, the same through CSV and Parquet, summed up over copies as they say."""

import numpy as np
import pytest

import sim
from sim.tidy import Tidy


@pytest.fixture(scope="module")
def table():
    return sim.grid("ogd", "drift/P8", {"step_size": [0.05, 0.5]}, horizons=[60, 120], copies=5)


def test_a_row_is_a_game_and_copy(table):
    assert len(table) == 2 * 2 * 5
    alone = sim.play("ogd", sim.Tracking(sim.Drift(8.0), horizon=120), copies=5, step_size=0.5)
    here = (table.columns["step_size"] == 0.5) & (table.columns["horizon"] == 120)
    np.testing.assert_allclose(table.columns["dynamic_regret"][here], alone.columns["dynamic_regret"][-1], rtol=1e-12)
    np.testing.assert_array_equal(table.columns["copy"][here], np.arange(5))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_file_says_the_same_in_other_libraries(table, tmp_path, ending, library):
    module = pytest.importorskip(library)
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    frame = getattr(module, f"read_{ending}")(table.save(tmp_path / f"table.{ending}"))
    assert list(frame.columns) == list(table.columns)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(np.asarray(frame[name]), column)


def test_a_summary_is_of_the_copies(table):
    rows = table.summary()
    assert [(row["step_size"], row["horizon"]) for row in rows] == [(0.05, 60), (0.5, 60), (0.05, 120), (0.5, 120)]
    values = table.columns["dynamic_regret"][:5]
    assert rows[0]["mean"] == pytest.approx(values.mean())
    assert rows[0]["high"] - rows[0]["low"] == pytest.approx(2 * 1.96 * values.std(ddof=1) / 5**0.5)
    assert rows[0]["lower"] <= rows[0]["median"] <= rows[0]["upper"]


def test_a_table_of_nothing_and_a_path_without_an_ending():
    assert len(Tidy({})) == 0
    with pytest.raises(ValueError, match=r"path='table.xls': tables are .csv or .parquet"):
        Tidy({"x": np.zeros(1)}).save("table.xls")
