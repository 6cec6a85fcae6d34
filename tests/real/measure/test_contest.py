"""One contest: rotation, warm-up, going on, totals over totals, paired intervals, verdicts. Nothing here decodes."""

import numpy as np
import pytest

pytest.importorskip("torch")

from real.measure.contest import Totals, contest, quotient, verdict, warm_up
from real.measure.intervals import RESAMPLES, half_width, interval, lower_limit, upper_limit


class Noted:
    """A contender that notes who served what, in which order."""

    def __init__(self, name: str, log: list[tuple[str, int]]):
        self.name, self.log = name, log

    def serve(self, request: int) -> dict[str, float]:
        self.log.append((self.name, request))
        return {"tokens": 10.0 * request, "seconds_total": float(request)}


def contenders(names: str, log: list) -> dict[str, Noted]:
    return {name: Noted(name, log) for name in names}


def test_everybody_serves_every_request_in_rotating_order():
    log = list[tuple[str, int]]()
    runs = contest(contenders("abc", log), [1, 2, 3, 4])
    orders = ["".join(name for name, request in log if request == i) for i in (1, 2, 3, 4)]
    assert orders == ["abc", "bca", "cab", "abc"]
    assert all([row["seconds_total"] for row in run] == [1, 2, 3, 4] for run in runs.values())
    assert list(runs) == ["a", "b", "c"]


def test_a_contest_goes_on_where_it_stopped_in_the_order_it_would_have_had():
    whole, parts, told = list[tuple[str, int]](), list[tuple[str, int]](), list[int]()
    contest(contenders("abc", whole), [1, 2, 3, 4, 5])
    runs = contest(contenders("abc", parts), [1, 2], after=told.append)
    assert contest(contenders("abc", parts), iter([3, 4, 5]), runs, told.append) is runs
    assert parts == whole
    assert told == [1, 2, 3, 4, 5]


def test_a_warm_up_is_served_by_all_and_counts_for_nothing():
    log = list[tuple[str, int]]()
    taking_part = contenders("ab", log)
    warm_up(taking_part, [9, 8])
    assert log == [("a", 9), ("b", 9), ("a", 8), ("b", 8)]
    assert contest(taking_part, [1])["a"] == [{"tokens": 10.0, "seconds_total": 1.0}]


def rows(tokens, seconds) -> list[dict[str, float]]:
    return [{"tokens": t, "seconds_total": s} for t, s in zip(tokens, seconds, strict=True)]


TOKENS, SECONDS = [10.0, 30.0, 20.0, 40.0, 25.0], [1.0, 6.0, 2.0, 5.0, 2.0]


def test_a_rate_is_total_tokens_over_total_seconds():
    totals = Totals.of({"a": rows(TOKENS, SECONDS), "b": rows(TOKENS[::-1], SECONDS)})
    assert totals.sum("a", "tokens").shape == (RESAMPLES + 1,)
    assert totals.rate("a")[0] == pytest.approx(125 / 16)
    assert totals.rate("a")[0] != pytest.approx(np.mean(np.divide(TOKENS, SECONDS)))
    np.testing.assert_allclose(totals.ratio("a", "b")[0], 1)
    assert interval(totals.ratio("a", "b"))["low"] < 1 < interval(totals.ratio("a", "b"))["high"]  # pyright: ignore


def test_comparisons_are_paired_over_requests():
    """Twice as fast on every request is twice as fast for sure, however unlike the requests are."""
    totals = Totals.of({"a": rows(TOKENS, np.divide(SECONDS, 2)), "b": rows(TOKENS, SECONDS)})
    np.testing.assert_allclose(totals.ratio("a", "b"), 2)
    assert np.std(totals.rate("a")) > 0
    with pytest.raises(AssertionError, match="is paired"):
        Totals.of({"a": rows(TOKENS, SECONDS), "b": rows(TOKENS[1:], SECONDS[1:])})


def test_a_part_is_the_contest_of_its_requests_alone():
    totals = Totals.of({"a": rows(TOKENS, SECONDS)})
    alone = Totals.of({"a": rows(TOKENS[:4], SECONDS[:4])})
    for chosen in (np.array([True] * 4 + [False]), np.arange(4)):
        np.testing.assert_array_equal(totals.part(chosen).rate("a"), alone.rate("a"))
    assert not np.array_equal(totals.part(np.arange(4), seed=1).rate("a"), alone.rate("a"))


def test_resamples_draw_whole_requests_as_weights_say():
    """With weights given, requests of one unit are drawn together."""
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    totals = Totals({"a": {"tokens": np.array([1.0, 5.0]), "seconds_total": np.array([1.0, 1.0])}}, weights)
    assert totals.rate("a").tolist() == [3, 1, 5]
    assert totals.per("a", "seconds_total", "tokens").tolist() == pytest.approx([1 / 3, 1, 1 / 5])


def test_nothing_over_nothing_is_undefined():
    assert np.isnan(quotient(np.array([0.0, 1.0]), np.array([0.0, 0.0]))).all()
    assert interval(np.array([np.nan, 1.0])) == {"value": None, "low": None, "high": None}


SPREAD = np.concatenate([[1.0], np.linspace(0.9, 1.1, 2001)])
"""The sample's own value, and resamples whose quantiles are known."""


@pytest.mark.parametrize(
    ("limit", "one_sided", "low", "holds"),
    [
        (0.905, False, 0.905, True), (0.906, False, 0.905, False),
        (0.91, True, 0.91, True), (0.911, True, 0.91, False), (0.90999, True, 0.91, True),
    ],
)  # fmt: skip
def test_a_verdict_is_decided_by_its_lower_limit(limit, one_sided, low, holds):
    found = verdict(SPREAD, limit - 1e-12, one_sided)
    assert (found.value, found.low, found.holds) == (1.0, pytest.approx(low), holds)
    assert found.interval["high"] == (None if one_sided else pytest.approx(1.095))
    assert found.limit == limit - 1e-12


@pytest.mark.parametrize("one_sided", [False, True])
def test_too_few_requests_hold_nothing(one_sided):
    few = Totals.of({"a": rows(TOKENS[:3], SECONDS[:3]), "b": rows(TOKENS[:3], SECONDS[:3])})
    found = verdict(few.ratio("a", "b"), 0.5, one_sided)
    assert found == (1.0, None, None, 0.5, False)


def test_limits_of_one_side_and_half_widths():
    assert lower_limit(SPREAD) == pytest.approx(0.91)
    assert upper_limit(SPREAD) == pytest.approx(1.09)
    assert half_width(SPREAD) == pytest.approx(0.095)
    without = np.array([1.5, np.nan, np.nan])
    assert (lower_limit(without), upper_limit(without), half_width(without)) == (None, 1.5, 0.0)
