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
    rows = sim.summary(table)
    assert [(row["step_size"], row["horizon"]) for row in rows] == [(0.05, 60), (0.5, 60), (0.05, 120), (0.5, 120)]
    values = table.columns["dynamic_regret"][:5]
    assert rows[0]["mean"] == pytest.approx(values.mean())
    assert rows[0]["low"] < rows[0]["mean"] < rows[0]["high"]
    assert rows[0]["lower"] <= rows[0]["median"] <= rows[0]["upper"]


def test_intervals_hold_the_mean_as_often_as_they_say():
    """400 tables of 40 copies: fewer than 340 of 95 % intervals holding the mean has probability below 1e-6."""
    rng = np.random.default_rng(0)
    told = {"environment": np.repeat("x", 40), "learner": np.repeat("y", 40), "horizon": np.repeat(9, 40)}
    told |= {"copy": np.arange(40), "violations": np.zeros(40)}
    found = [sim.summary(Tidy(told | {"dynamic_regret": rng.exponential(size=40)}))[0] for _ in range(400)]
    assert sum(row["low"] <= 1 <= row["high"] for row in found) >= 340


def test_paired_differences_are_of_the_same_draws(table):
    other = sim.grid("optimistic", "drift/P8", horizons=[60, 120], copies=5)
    rows = sim.paired(table, other)
    assert len(rows) == 4
    gap = table.columns["dynamic_regret"][:5] - other.columns["dynamic_regret"][:5]
    assert rows[0]["difference"] == pytest.approx(gap.mean())
    assert rows[0]["one"] == "ogd,step_size=0.05"
    spread = np.hypot(*(np.std(t.columns["dynamic_regret"][:5]) for t in (table, other))) * 2 * 1.96 / 5**0.5
    assert rows[0]["high"] - rows[0]["low"] < spread  # what both share has gone
    with pytest.raises(ValueError, match="no two games share environment and horizon"):
        sim.paired(table, sim.grid("ogd", "drift/P8", horizons=[50], copies=5))
    with pytest.raises(ValueError, match="play as many"):
        sim.paired(table, sim.grid("ogd", "drift/P8", horizons=[60], copies=4))


def test_a_rate_is_that_of_the_theorem_where_the_adversary_forces_it():
    """(G·D/2)·√(T·K) exactly, so the slope is one half whoever plays."""
    found = sim.rates(sim.grid("ogd", sim.Adversarial(), horizons=[100, 400, 1600], copies=2))
    assert found[0]["slope"] == pytest.approx(0.5, abs=1e-9)
    assert found[0]["declared"] == pytest.approx(0.5, abs=1e-9)
    assert found[0]["low"] == pytest.approx(found[0]["high"], abs=1e-9)
    with pytest.raises(ValueError, match="a rate needs three"):
        sim.rates(sim.grid("ogd", sim.Adversarial(), horizons=[100, 400], copies=2))


def test_a_table_of_nothing_and_a_path_without_an_ending():
    assert len(Tidy({})) == 0
    with pytest.raises(ValueError, match=r"path='table.xls': tables are .csv or .parquet"):
        Tidy({"x": np.zeros(1)}).save("table.xls")


def test_batches_jobs_and_clusters_give_one_table():
    pytest.importorskip("distributed")
    arguments = ("ogd", "switching/S4", {"step_size": [0.05, 0.5]})
    more = {"horizons": [60, 120], "copies": 6, "batch": 2}
    tables = [sim.grid(*arguments, **more, **how) for how in ({}, {"jobs": 2}, {"cluster": "local", "jobs": 2})]
    for name, column in tables[0].columns.items():
        for other in tables[1:]:
            np.testing.assert_array_equal(other.columns[name], column)
    assert sorted(set(tables[0].columns["copy"].tolist())) == [*range(6)]
    assert len({*tables[0].columns["dynamic_regret"][:6].tolist()}) == 6


def test_a_cluster_that_is_not_there_is_told():
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match=r"cluster='tcp://127\.0\.0\.1:1': no scheduler answers"):
        sim.grid("ogd", "drift/P8", horizons=[50], copies=1, cluster="tcp://127.0.0.1:1")
