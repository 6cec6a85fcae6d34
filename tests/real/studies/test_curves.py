# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Curves of seconds saved: worked out by hand, all zeros found; parts, stretches, agreement, costs; and the command."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.intervals import RESAMPLES  # noqa: E402
from real.studies import curves, step_costs  # noqa: E402
from real.studies.curves import Along, crossings, of_hindsight, of_part, points, saved  # noqa: E402
from real.studies.replayed import Recording  # noqa: E402
from real.studies.step_costs import Machine  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)
from tests.real.studies.test_replayed import warmed  # noqa: E402, F401 (fixture)
from theory.runs.kind import stamped  # noqa: E402
from theory.runs.result import load_result, save_result  # noqa: E402

GAMMA = 1


def recording(rates, requests=20, length=10, units=None, segment=None, segments=("c",), parts=None) -> Recording:
    """Requests of equal length; a rate is one number a request, or one for all."""
    along = {name: np.repeat(np.broadcast_to(np.asarray(one, float), requests), length) for name, one in rates.items()}
    held = {} if parts is None else {"tv-mixture": np.stack([along.pop(name) for name in parts], 1)}
    best = {} if parts is None else {"tv-mixture": held["tv-mixture"].max(1)}
    told = {} if parts is None else {"tv-mixture": {"parts": list(parts), "weights": [1.0, 0.0], "gap": 0.0}}
    header = {"segments": list(segments), "mixtures": told}
    units = np.arange(requests) if units is None else np.asarray(units)
    segment = np.zeros(requests, int) if segment is None else np.asarray(segment)
    return Recording(header, np.full(requests, length), units, segment, along, held, best)


def constant(**seconds) -> dict[str, np.ndarray]:
    return {name: np.array([one]) for name, one in seconds.items()}


def test_a_curve_is_worked_out_by_hand():
    """At γ = 1 a draft that is always kept halves the steps; at rest nothing is kept."""
    along = Along.of(recording({"sd": 0.0, "memory": 1.0}), GAMMA)
    assert along.so_far["sd"][100] == 100
    assert along.so_far["memory"][100] == 50
    curve = saved(along, ["memory"], constant(sd=0.02, memory=0.03))["memory"]
    n = np.array(curve["tokens"])
    assert (n[0], n[-1]) == (100, 200)
    np.testing.assert_allclose(curve["value"], n * 0.02 - np.ceil(n / 2) * 0.03, rtol=1e-3)
    assert curve["crossings"] == []
    assert curve["low"][-1] == curve["high"][-1] == 1.0  # requests are alike


def test_what_pays_late_crosses_zero_once_and_in_the_right_place():
    """Nothing is kept of the first 10 requests, everything of the others; a step costs half as much again."""
    rates = {"sd": 0.0, "memory": np.repeat([0.0, 1.0], [10, 30])}
    curve = saved(Along.of(recording(rates, 40), GAMMA), ["memory"], constant(sd=1.0, memory=1.5))["memory"]
    # −50 after 100 tokens, then 1 − 0.75 a token: zero after 300, between steps
    assert len(curve["crossings"]) % 2 == 1
    assert curve["crossings"][0] == pytest.approx(300, abs=3)
    assert curve["value"][0] == -50
    assert curve["value"][-1] == pytest.approx(25)
    assert curve["low"][-1] < curve["value"][-1] < curve["high"][-1]


@pytest.mark.parametrize(
    ("curve", "first", "zeros"),
    [
        ([-1.0, -1.0, 1.0, 3.0], 0, [1.5]),
        ([1.0, -1.0, 1.0, -3.0], 0, [0.5, 1.5, 2.25]),
        ([1.0, -1.0, 1.0, -3.0], 2, [2.25]),
        ([0.0, 0.0, 1.0, 0.0, 1.0], 0, []),
        ([-1.0, 0.0, 1.0], 0, [1.0]),
        ([1.0, 2.0], 0, []),
    ],
)
def test_all_zeros_of_a_curve_are_found(curve, first, zeros):
    assert crossings(np.array(curve), first) == pytest.approx(zeros)


def test_points_are_even_over_the_logarithm_and_begin_at_100():
    found = points(10_000)
    assert (found[0], found[-1], len(found)) == (100, 10_000, curves.POINTS)
    assert np.ptp(np.diff(np.log(found))) < 0.02
    assert points(30)[-1] == 30


def test_resamples_are_of_prompts_and_stand_for_as_many_tokens():
    """Twins of one prompt are drawn together: alike, they leave as much spread as one of them."""
    rates = {"sd": 0.0, "memory": [0.1, 0.9, 0.3, 0.7] * 2}
    alone = Along.of(recording({"sd": 0.0, "memory": rates["memory"][:4]}, 4), GAMMA).span(0, 40)
    twins = Along.of(recording(rates, 8, units=[0, 1, 2, 3] * 2), GAMMA).span(0, 80)
    assert twins["tokens"] == pytest.approx(80)
    np.testing.assert_allclose(twins["memory"], 2 * alone["memory"])
    apart = Along.of(recording(rates, 8), GAMMA).span(0, 80)
    assert apart["memory"][1:].std() < 0.8 * twins["memory"][1:].std()
    assert len(apart["memory"]) == RESAMPLES + 1


def test_fewer_requests_than_a_spread_can_be_told_from_have_no_band():
    curve = saved(Along.of(recording({"sd": 0.2, "memory": 0.5}, 3, 60), GAMMA), ["memory"],
                  constant(sd=1.0, memory=1.0))["memory"]  # fmt: skip
    assert curve["low"] == curve["high"] == [None] * len(curve["tokens"])
    assert all(value > 0 for value in curve["value"])


def test_a_mixture_is_held_against_its_best_part_and_hindsight():
    rates = {"sd": 0.5, "tv-mixture": 0.8, "draft": np.repeat([0.9, 0.1], 10), "copies": np.repeat([0.7, 0.8], 10)}
    made = recording(rates, parts=("draft", "copies"))
    along = Along.of(made, GAMMA)
    found = curves.mixtures(made, along)["tv-mixture"]
    pace = {name: 200 / along.span(0, 200)[name][0] for name in along.so_far}
    assert found["best_part"] == "copies"
    assert found["parts_tokens_per_step"]["draft"] == pytest.approx(pace[of_part("tv-mixture", 0)])
    assert found["of_best_part"]["value"] == pytest.approx(pace["tv-mixture"] / pace[of_part("tv-mixture", 1)])
    assert found["of_hindsight"]["value"] == pytest.approx(pace["tv-mixture"] / pace[of_hindsight("tv-mixture")])
    assert found["holds"]
    worse = recording(rates | {"tv-mixture": 0.7}, parts=("draft", "copies"))
    assert not curves.mixtures(worse, Along.of(worse, GAMMA))["tv-mixture"]["holds"]


def test_stretches_tell_what_was_forgotten_and_what_sharing_gave():
    segment = np.repeat([0, 1, 2], 20)
    rates = {
        "sd": 0.0,
        "tv-mixture": np.repeat([0.5, 0.2, 0.3], 20),
        "tv-mixture-shared": np.repeat([0.5, 0.4, 0.5], 20),
    }
    made = recording(rates, 60, segment=segment, segments=("prose", "sql", "prose"))
    along = Along.of(made, GAMMA)
    home, away, back = curves.stretches(made, along)
    assert [part["returns"] for part in (home, away, back)] == [False, False, True]
    assert (back["name"], back["start"], back["tokens"]) == ("prose", 400, 200)
    pace = {rate: float(along.relative("tv-mixture", start, start + 200)[0]) for rate, start in ((0.5, 0), (0.3, 400))}
    static = back["systems"]["tv-mixture"]
    assert static["before"]["value"] == pytest.approx(pace[0.5])
    assert static["kept"]["value"] == pytest.approx(pace[0.3] / pace[0.5])
    assert static["kept"]["value"] < 1 == pytest.approx(back["systems"]["tv-mixture-shared"]["kept"]["value"])
    assert away["sharing"]["whole"]["value"] > 1.1
    assert "before" not in away["systems"]["tv-mixture"]


def test_the_beginning_of_a_stretch_is_looked_at_on_its_own():
    rates = {"sd": 0.0, "memory": np.repeat([0.0, 1.0], [10, 10])}
    (found,) = curves.stretches(made := recording(rates, 20, 100), Along.of(made, GAMMA))
    assert found["systems"]["memory"]["first"]["value"] == 1
    assert found["systems"]["memory"]["whole"]["value"] == pytest.approx(2000 / 1500)


def served(tokens, steps, seconds):
    """One second of prefill a request."""
    columns = {"tokens": tokens, "steps": steps, "seconds_total": seconds}
    return columns | {"seconds_prefill": np.ones(len(steps)), "seconds_learn": np.zeros(len(steps))}


def test_replay_agrees_with_requests_that_were_served_or_it_does_not():
    along = Along.of(recording({"sd": 0.0, "memory": 1.0}), GAMMA)
    ten, five = [10] * 8, np.full(8, 5)
    columns = {
        "plain": served(ten, 2 * five, five),
        "sd": served(ten, 2 * five, five),
        "memory": served(ten, five, five),
    }
    found = curves.agreement(along, step_costs.totals(columns))
    assert set(found) == {"sd", "memory"}
    assert found["memory"] == {
        "served": 2.0, "replayed": 2.0, "ratio": {"value": 1.0, "low": 1.0, "high": 1.0}, "holds": True
    }  # fmt: skip
    columns["memory"]["steps"] = np.full(8, 6)
    assert not curves.agreement(along, step_costs.totals(columns))["memory"]["holds"]


def test_seconds_a_step_leave_prefill_out_and_go_to_another_machine_beyond_the_draft_at_rest():
    ten, five = [10] * 8, np.full(8, 5)
    columns = {
        "plain": served(ten, 2 * five, five),
        "sd": served(ten, five, five),
        "memory": served(ten, five, 6 * five / 5),
    }
    here = step_costs.here(step_costs.totals(columns))
    assert {name: one[0] for name, one in here.items()} == pytest.approx({"plain": 0.4, "sd": 0.8, "memory": 1.0})
    there = step_costs.there(here, Machine(0.008, 0.3, "there"), 4)
    assert set(there) == {"sd", "memory"}
    assert there["sd"][0] == pytest.approx(0.008 * (1 + 4 * 0.3))
    assert there["memory"][0] == pytest.approx(0.008 * (1 + 4 * 0.3 + 0.2 / 0.4))


def test_requests_that_were_timed_alike_count_together(tmp_path):
    ten, five = [10.0] * 4, np.full(4, 5.0)
    paths = [tmp_path / f"qwen3/{name}.npz" for name in ("c-4/specialist", "sql-4/specialist", "c-4/generalist")]
    for path, slow in zip(paths, (1.0, 3.0, 3.0), strict=True):
        columns = {"plain": served(ten, 2 * five, five), "sd": served(ten, five, 1 + 5 * five * slow)}
        columns = {name: {key: np.asarray(one).tolist() for key, one in run.items()} for name, run in columns.items()}
        save_result(step_costs.beside(path), "step_costs", {"requests": 4, "columns": columns})
    (one, timed), (other, _), (alone, _) = step_costs.kept(paths)
    assert one["sd"][0] == other["sd"][0] == pytest.approx(10)
    assert alone["sd"][0] == pytest.approx(15)
    assert len(timed.columns["sd"]["steps"]) == 4
    save_result(step_costs.beside(paths[2]), "step_costs", {"seconds": {"sd": 0.5}})
    assert step_costs.kept(paths)[2][0]["sd"].tolist() == [0.5]


def bench(path, contenders):
    rows = {name: {"tokens_per_second": rate, "tokens_per_step": pace} for name, (rate, pace) in contenders.items()}
    content = {"rows": {"sampled": {"contenders": rows}}, "gamma": 4, "target": "big", "provenance": {"device": "GPU"}}
    path.write_text(json.dumps(stamped("bench", content)))


def test_another_machine_is_what_its_bench_says(tmp_path):
    bench(tmp_path / "bench.json", {"plain, compiled": (125.0, 1.0), "draft, compiled": (125.0, 2.2)})
    found = step_costs.machine(tmp_path / "bench.json")
    assert found == Machine(pytest.approx(0.008), pytest.approx(0.3), "big on GPU")
    bench(tmp_path / "less.json", {"plain, compiled": (125.0, 1.0)})
    with pytest.raises(ValueError, match="has no contender 'draft, compiled'; run `python -m real bench` with it"):
        step_costs.machine(tmp_path / "less.json")


SMALL = ("--domain", "c", "--tokens", 150, "--new", 24, "--start", "specialist", "--system", "tv-mixture", "--out", "o")


def test_the_command_writes_curves_and_goes_on_where_it_was(tmp_path, warmed):  # noqa: F811
    bench(tmp_path / "bench.json", {"plain, compiled": (125.0, 1.0), "draft, compiled": (125.0, 2.2)})
    arguments = ("curves", *SMALL, "--timed", 4, "--bench", "bench.json")
    result = real(*arguments)
    assert result.exit_code == 0, result.output
    content = load_result(tmp_path / "o/curves.json", "curves")
    (row,) = content["rows"]
    assert (row["family"], row["start"], row["schedule"]) == ("qwen3", "specialist", "c:7")
    assert row["tokens"] == 168
    mixed = row["systems"]["tv-mixture"]
    for kind in ("measured", "predicted"):
        curve = mixed[kind]
        assert curve["tokens"][0] == 100
        assert curve["tokens"][-1] == 168
        assert curve["low"][-1] <= curve["value"][-1] <= curve["high"][-1]
        assert (curve["net"]["value"] > 1) == (curve["value"][-1] > 0)
    assert content["machine"]["cost_ratio"] == pytest.approx(0.3)
    assert set(row["agreement"]) == {"sd", "tv-mixture"}
    assert row["mixtures"]["tv-mixture"]["of_hindsight"]["value"] > 0.5
    assert "predicted for big on GPU, cost_ratio 0.300" in said(result)
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    assert "read before, skipped" in said(real(*arguments))
    assert {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()} == before


def test_seconds_a_step_may_be_given(tmp_path, warmed):  # noqa: F811
    """What is only told otherwise of its text costs what its system does."""
    given = ("--seconds", "sd=0.02", "--seconds", "tv-mixture=0.03")
    result = real("curves", *SMALL, *given, "--system", "tv-mixture@1")
    assert result.exit_code == 0, result.output
    (row,) = load_result(tmp_path / "o/curves.json", "curves")["rows"]
    assert row["systems"]["tv-mixture"]["seconds_per_step"]["measured"]["value"] == 0.03
    assert row["systems"]["tv-mixture@1"]["seconds_per_step"]["measured"]["value"] == 0.03
    assert set(row["mixtures"]) == {"tv-mixture", "tv-mixture@1"}
    assert row["agreement"] == {}
    assert "predicted" not in row["systems"]["tv-mixture"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seconds", "sd=fast"), "seconds='sd=fast': write NAME=NUMBER, a positive number"),
        (("--seconds", "sd=0.02"), "seconds: none are given for 'tv-mixture'"),
        (("--family", "gpt"), "family='gpt': must be one of qwen3, llama, gpt_neox"),
        (("--timed", 3), "should be greater than or equal to 4"),
    ],
)
def test_what_is_wrong_with_the_command_is_said(arguments, message, warmed):  # noqa: F811
    result = real("curves", *SMALL, *arguments)
    assert result.exit_code == 2
    assert message in said(result)


def test_a_folder_without_recordings_says_so(tmp_path):
    with pytest.raises(ValueError, match="no recording there; run `python -m real curves`"):
        curves.everything(tmp_path)
