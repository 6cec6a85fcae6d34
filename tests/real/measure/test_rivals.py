# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The benchmark's bookkeeping: same work on both sides, timers that leave no trace, targets held by lower limits."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.clock import timed_forwards  # noqa: E402
from real.measure.contenders import Asked, AtRest  # noqa: E402
from real.measure.contest import Totals  # noqa: E402
from real.measure.rivals import (  # noqa: E402
    CONTENDERS,
    GOALS,
    ON_GPU,
    Generate,
    bench,
    compared,
    compiled,
    row,
)
from real.models.sampling import Sampling  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402

GREEDY, GAMMA, NEW = Sampling(0.0), 3, 24


@pytest.fixture(scope="module")
def pair():
    """What tests/real/models/test_compiled.py compiles as well: the compiler keeps it."""
    return random_pair("qwen3", "float64")


@pytest.fixture(scope="module")
def serving(pair, compiler):
    fast = compiled(pair, GAMMA, 64)
    return {name: make(pair, fast, GAMMA, GREEDY, NEW) for name, make in CONTENDERS.items()}


def test_all_do_the_same_work(serving):
    """Greedy: as many tokens, and the same draft takes as many steps, up to the last one (theirs drafts one less)."""
    for i, prompt in enumerate(random_prompts(4, 512, 3)):
        runs = {name: contender.serve(Asked(prompt, i)) for name, contender in serving.items()}
        steps = {name: run["steps"] for name, run in runs.items()}
        assert {run["tokens"] for run in runs.values()} == {NEW}
        assert steps["draft"] == steps["draft, compiled"]
        assert abs(steps["draft"] - steps["assisted"]) <= 1
        assert steps["plain"] == steps["plain, compiled"] == steps["generate"] == NEW
        for name, run in runs.items():
            assert run["seconds_total"] > 0
            outside = run["seconds_outside"]
            assert math.isnan(outside) if name == "generate, static" else 0 < outside < run["seconds_total"]


def test_timers_count_and_leave_no_trace(pair):
    before = pair.target.model.forward
    with timed_forwards({"target": [(pair.target.model, "forward")]}) as record, torch.inference_mode():
        pair.target.model(torch.tensor([[1, 2, 3]]))
        pair.target.model(torch.tensor([[1, 2, 3]]))
    assert record.calls == {"target": 2}
    assert record.inside == record.seconds["target"] > 0
    assert pair.target.model.forward == before


def run(seconds: float, tokens: int = 10, steps: float = 3, outside: float = 0.1) -> dict[str, float]:
    names = {"seconds_total": seconds, "seconds_cpu": seconds, "seconds_outside": outside}
    return {"tokens": tokens, "steps": steps, **names}


def test_the_share_outside_forwards_is_of_the_whole_time():
    line = row(Totals.of({"draft": [run(2.0, 10, 5, 0.5), run(3.0, 10, 5, 0.75)]}))["contenders"]["draft"]
    assert line["outside_share"] == pytest.approx(0.25)
    assert line["outside_ms_per_step"] == pytest.approx(125)


def test_what_cannot_be_timed_is_left_empty():
    nan = float("nan")
    line = row(Totals.of({"generate, static": [run(2.0, steps=nan, outside=nan)] * 5}))["contenders"][
        "generate, static"
    ]
    assert line["tokens_per_second"] == pytest.approx(5)
    assert line["tokens_per_step"] is line["outside_ms_per_step"] is line["outside_share"] is None


def test_a_row_holds_every_contender_and_what_is_asked(pair):
    """Two contenders are enough for the one comparison between them."""
    how = Sampling(1.0), 12
    serving = {
        "draft": AtRest(pair, "adapter", GAMMA, *how),
        "assisted": CONTENDERS["assisted"](pair, pair, GAMMA, *how),
    }
    found = row(compared(serving, random_prompts(4, 512, 4)))
    (asked,) = found["targets"]
    assert (asked["ours"], asked["theirs"], asked["factor"]) == ("draft", "assisted", 1.1)
    lines = found["contenders"]
    rates = lines["draft"]["tokens_per_second"] / lines["assisted"]["tokens_per_second"]
    assert asked["ratio"]["low"] <= asked["ratio"]["value"] <= asked["ratio"]["high"]
    assert asked["ratio"]["value"] == pytest.approx(rates)
    assert all(1 <= line["tokens_per_step"] <= GAMMA + 1 for line in lines.values())


def test_theirs_draws_from_the_law_that_ours_draws_from(pair):
    """Sampled at a temperature of its own, every request from a seed of its own."""
    one = Generate(pair, Sampling(0.7, top_k=5), 12)
    assert (one.settings["do_sample"], one.settings["temperature"], one.settings["top_k"]) == (True, 0.7, 5)
    assert Generate(pair, GREEDY, 12).settings["do_sample"] is False


def test_no_contender_has_seen_a_request_before(pair):
    """An n-gram drafter on prompts that share nothing accepts nothing, warm-up or not."""
    for _ in range(2):
        totals = compared({"ngram": AtRest(pair, "ngram", GAMMA, GREEDY, 12)}, random_prompts(5, 512, 4))
        assert totals.rate("ngram", "steps")[0] < 1.2


def test_every_target_names_two_contenders():
    assert {name for target in (*GOALS, *ON_GPU) for name in (target.ours, target.theirs)} <= set(CONTENDERS)
    assert [target.factor for target in ON_GPU] == [3.0, *(target.factor for target in GOALS[1:])]


def test_a_target_is_held_by_the_lower_limit():
    def holds(fast: list[float]) -> bool:
        totals = Totals.of({"draft": [run(seconds) for seconds in fast], "assisted": [run(2.25)] * 8})
        return row(totals)["targets"][0]["holds"]

    assert holds([2.0] * 8)
    assert not holds([2.05] * 8)  # 1.1 is asked
    assert not holds([1.0, 3.0] * 4)  # 1.125 on average, but not surely


def test_bad_input():
    with pytest.raises(ValueError, match="gamma=0"):
        bench("target", "draft", [["a"]], gamma=0)
    with pytest.raises(ValueError, match=r"'asisted'; near it: assisted.* All: plain; plain, compiled; draft"):
        bench("target", "draft", [["a"]], chosen=["asisted"])
