# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The benchmark's bookkeeping: same work on both sides, timers that leave no trace, intervals that mean something."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.bench import Run, bench, measure, ours, ratio, theirs, timed_forwards, verdict  # noqa: E402
from real.drafters import make_drafter  # noqa: E402
from real.lossless import random_pair, random_prompts  # noqa: E402
from real.sampling import Sampling  # noqa: E402

GREEDY = Sampling(0.0)


@pytest.fixture(scope="module")
def pair():
    return random_pair("llama", "float64")


def test_both_sides_do_the_same_work(pair):
    """Greedy: same text, so the same steps, up to the last one (theirs drafts one token less there)."""
    drafter = make_drafter("adapter", pair)
    for i, prompt in enumerate(random_prompts(4, 512, 3)):
        mine = ours(pair, drafter, prompt, 24, 3, GREEDY, i)
        other = theirs(pair, prompt, 24, 3, GREEDY, i)
        assert mine.tokens == other.tokens == 24
        assert abs(mine.steps - other.steps) <= 1
        assert 0 < mine.outside < mine.seconds
        assert 0 < other.outside < other.seconds


def test_timers_count_and_leave_no_trace(pair):
    before = pair.target.model.forward
    with timed_forwards({"target": [pair.target.model]}) as record, torch.inference_mode():
        pair.target.model(torch.tensor([[1, 2, 3]]))
        pair.target.model(torch.tensor([[1, 2, 3]]))
    assert record.calls == {"target": 2}
    assert record.inside == record.seconds["target"] > 0
    assert pair.target.model.forward == before


def test_row_holds_ratio_interval_and_both_sides(pair):
    row = measure(pair, random_prompts(4, 512, 4), 12, 3, Sampling(1.0))
    found = row["ratio"]
    assert found["low"] <= found["value"] <= found["high"]
    rates = row["ours_tokens_per_second"] / row["theirs_tokens_per_second"]
    assert found["value"] == pytest.approx(rates)
    assert row["cpu_ratio"] > 0
    assert 1 <= row["ours_tokens_per_step"] <= 4
    assert 1 <= row["theirs_tokens_per_step"] <= 4


def test_interval_is_a_point_for_proportional_runs_and_covers_the_ratio_otherwise():
    slow = [Run(10, 3, float(i + 1), 0.1, 1.0) for i in range(8)]
    fast = [Run(10, 3, (i + 1) / 2, 0.1, 1.0) for i in range(8)]
    assert list(ratio(fast, slow).values()) == pytest.approx([2, 2, 2])
    uneven = [Run(10, 3, 1.0 + (i % 3), 0.1, 1.0) for i in range(30)]
    found = ratio(uneven, [Run(10, 3, 2.0, 0.1, 1.0)] * 30)
    assert found["value"] == pytest.approx(1)
    assert found["low"] < 1 < found["high"]


@pytest.mark.parametrize(
    "low, outside, faster, leaner",
    [(1.1, 1.0, True, True), (1.099, 1.0, False, True), (1.3, 1.001, True, False), (0.9, 2.0, False, False)],
)
def test_the_verdict_is_by_the_lower_limit_and_by_half_of_their_overhead(low, outside, faster, leaner):
    row = {"ratio": {"value": 1.5, "low": low, "high": 2.0}}
    row |= {"ours_outside_ms_per_step": outside, "theirs_outside_ms_per_step": 2.0}
    assert verdict(row) == {"faster": faster, "leaner": leaner}


def test_bad_input():
    with pytest.raises(ValueError, match="gamma=0"):
        bench("target", "draft", [["a"]], gamma=0)
