"""Hand-made runs whose summary is known: totals over totals, the gap closed, the break-even."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from real.measure.speed_law import pathwise, speed_law
from real.measure.summary import (
    Sample,
    break_even,
    by_question,
    hint_gains,
    little_overlap,
    measures,
    segments,
    summarise,
)
from real.traffic.overlap import overlapping
from real.traffic.streams import scheduled
from theory.runs.result import load_result
from theory.runs.trace import Trace, plain

TOKENS, SECONDS = np.array([10, 30, 20, 40]), np.array([1.0, 6.0, 2.0, 5.0])


def trace(tokens=TOKENS, seconds=SECONDS, alpha=0.5, rounds=None) -> Trace:
    steps = tokens // 2
    columns = {"tokens": tokens, "steps": steps, "drafted": 4 * steps, "accepted": steps, "verified": 2 * steps,
               "alpha_sum": 2 * steps * alpha, "seconds_total": seconds, "seconds_learn": 0.1 * seconds,
               "seconds_unattributed": 0 * seconds, "seconds_draft": 0.2 * seconds,
               "seconds_verify": 0.5 * seconds, "segment": np.array([0, 0, 1, 1])}  # fmt: skip
    return Trace({"segments": ["a", "b"], "rounds": rounds or {}}, columns)


def table(**runs: Trace):
    return measures(Sample({1: runs}, lambda t: t.columns["segment"] >= 0))


def test_ratios_are_totals_over_totals_and_lie_in_their_intervals():
    made = table(plain=trace(seconds=2 * SECONDS), frozen=trace(), learner=trace(TOKENS[::-1], SECONDS))
    assert made["learner"]["tokens_per_second"]["value"] == pytest.approx(100 / 14)
    assert made["learner"]["tokens_per_second"]["value"] != pytest.approx((TOKENS[::-1] / SECONDS).mean())
    assert made["frozen"]["speedup"] == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert made["learner"]["learn_share"] == pytest.approx(0.1)
    for entry in made.values():
        for value in entry.values():
            if isinstance(value, dict) and value["value"] is not None:
                assert value["low"] <= value["value"] <= value["high"]


def test_prompts_that_repeat_earlier_ones_can_be_left_out():
    """A learner that is fast on those alone gains nothing then."""
    shares = np.array(overlapping(scheduled("sql:60", 3).prompts))
    repeat = shares > 0.5
    assert 0 < repeat.sum() < 60
    seconds = np.where(repeat, 1.0, 2.0)
    runs = {}
    for name, spent in (("plain", seconds), ("frozen", np.full(60, 2.0)), ("learner", seconds)):
        runs[name] = trace(np.full(60, 10), spent)
        runs[name].header["settings"] = {"schedule": "sql:60", "seed": 3}
        runs[name].columns.update({"prompt": np.arange(60), "segment": np.zeros(60)})
    gains = [
        measures(Sample({3: runs}, keep, units=by_question))["learner"]["relative_speedup"]["value"]
        for keep in (lambda t: t.columns["segment"] == 0, little_overlap)
    ]
    assert gains[0] == pytest.approx(120 / seconds.sum())
    assert gains[1] == 1


def test_a_method_that_does_what_plain_does_is_worth_one():
    same = table(plain=trace(), frozen=trace(), learner=trace())["learner"]
    for key in ("speedup", "generation_speedup", "relative_speedup", "relative_tokens_per_step"):
        assert same[key] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_gap_closed_is_a_share_of_the_generalists_gain():
    alphas = {"plain": 0.1, "frozen": 0.4, "learner": 0.55, "generalist": 0.8}
    made = table(**{name: trace(alpha=value) for name, value in alphas.items()})
    gaps = {name: entry["gap_closed"]["value"] for name, entry in made.items()}
    assert gaps["learner"] == pytest.approx(0.375)
    assert (gaps["frozen"], gaps["generalist"]) == (0, pytest.approx(1))
    alphas.pop("generalist")
    alone = table(**{name: trace(alpha=value) for name, value in alphas.items()})
    assert alone["learner"]["gap_closed"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    "seconds, tokens",
    [
        ([0.5, 0.5, 0.5, 0.5], 10),  # ahead from the first prompt
        ([2.0, 1.0, 0.4, 0.4], 40),  # (2 + 1 + 0.4 + 0.4) / 40 < 1 / 10 at last
        ([2.0, 0.5, 0.4, 0.4], 30),  # ahead after the third prompt
        ([0.5, 2.0, 2.0, 2.0], None),  # ahead, then behind for good
    ],
)
def test_break_even_is_where_the_mean_time_a_token_falls_below_frozens_for_good(seconds, tokens):
    even = np.full(4, 10)
    runs = {"frozen": trace(even, np.ones(4)), "learner": trace(even, np.array(seconds))}
    assert break_even({1: runs}, "learner") == tokens


def test_few_prompts_have_no_limits_and_never_break_even():
    three = slice(3)
    few = {name: trace(TOKENS[three], SECONDS[three]) for name in ("plain", "frozen", "learner")}
    for run in few.values():
        run.columns["segment"] = run.columns["segment"][three]
    assert measures(Sample({1: few}, lambda t: t.columns["segment"] >= 0))["frozen"]["speedup"] == {
        "value": 1.0, "low": None, "high": None}  # fmt: skip
    assert break_even({1: few}, "learner") is None


def test_a_prompt_served_under_two_seeds_is_drawn_with_its_twin():
    names = np.array(["a", "b", "c", "d", "e", "f"])
    runs = {n: {"plain": Trace({"seed": n}, {"tokens": np.arange(6) + n, "segment": np.zeros(6)})} for n in (1, 2)}
    sample = Sample(runs, lambda t: t.columns["segment"] == 0, units=lambda t: np.roll(names, t.header["seed"]))
    assert sample.weights.shape == (2001, 12)
    np.testing.assert_array_equal(sample.weights[:, :6], np.roll(sample.weights[:, 6:], -1, axis=1))


def test_a_column_that_an_older_run_lacks_is_left_out():
    newer, older = trace(), trace()
    newer.columns["turn"] = np.ones(4)
    for runs in ({1: {"plain": newer}, 2: {"plain": older}}, {1: {"plain": older}, 2: {"plain": newer}}):
        assert "turn" not in Sample(runs).columns["plain"]


def test_hint_gain_pools_rounds_over_seeds():
    runs = {
        number: {"plain": trace(), "learner": trace(rounds={"gradient": gradient, "hint_error": error})}
        for number, gradient, error in ((1, [4.0, 4.0] * 20, [1.0, 1.0] * 20), (2, [2.0, 1.0] * 20, [2.0, 0.0] * 20))
    }
    gain = hint_gains(runs)
    assert list(gain) == ["learner"]
    assert gain["learner"]["value"] == pytest.approx(80 / 220)
    assert 0.25 < gain["learner"]["low"] < 80 / 220 < gain["learner"]["high"] < 1
    short = {0: {"plain": trace(), "learner": trace(rounds={})}}  # a seed with no round, wherever it stands
    assert hint_gains(short | runs) == gain


def test_costs_are_in_plain_target_steps():
    made = table(plain=trace(), frozen=trace(), learner=trace())
    assert made["frozen"]["cost_ratio"]["value"] == pytest.approx(0.2 / 4 / 0.5)


def test_the_last_half_of_the_shifted_segment_is_that_of_the_second():
    run = trace()
    parts = {name: keep(run).tolist() for name, keep in segments({1: {"plain": run}})}
    assert parts == {"whole": [True] * 4, "0:a": [True, True, False, False], "1:b": [False, False, True, True],
                     "shifted_last_half": [False, False, False, True]}  # fmt: skip


RESULTS = Path(__file__).parents[3] / "results"


def assert_the_same(found: Any, committed: Any, where: str) -> None:
    """Counts, names and verdicts alike, numbers to a millionth: traces keep nine digits, and the share of a gap that
    was closed divides by a difference of rates, which takes three of them."""
    if isinstance(committed, dict):
        assert list(found) == list(committed), where
        for key, value in committed.items():
            assert_the_same(found[key], value, f"{where}/{key}")
    elif isinstance(committed, list):
        assert len(found) == len(committed), where
        for i, pair in enumerate(zip(found, committed, strict=True)):
            assert_the_same(*pair, f"{where}/{i}")
    elif isinstance(committed, float):
        assert found == pytest.approx(committed, rel=1e-6, abs=1e-9), where
    else:
        assert found == committed, where


def test_the_committed_summary_is_what_the_committed_runs_say():
    committed = load_result(RESULTS / "summary.json", "summary")
    made = committed.pop("provenance")
    found = plain(summarise(RESULTS, committed["main"]))
    assert_the_same(found, committed, "summary.json")
    assert made["commit"]


@pytest.mark.parametrize("check", [speed_law, pathwise])
def test_the_committed_laws_are_what_the_committed_runs_say(check):
    committed = load_result(RESULTS / "agreement.json", "agreement")[check.__name__]
    assert_the_same(plain(check(RESULTS / "real")), committed, f"agreement.json/{check.__name__}")


def test_a_changed_digit_is_noticed():
    committed = load_result(RESULTS / "agreement.json", "agreement")["speed_law"]
    with pytest.raises(AssertionError, match="rows/0/predicted"):
        assert_the_same([committed[0] | {"predicted": 1.30528}], [committed[0]], "rows")
