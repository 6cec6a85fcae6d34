# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The benchmark's bookkeeping: same work on both sides, timers that leave no trace, intervals that mean something."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.rivals import (  # noqa: E402
    CONTENDERS,
    ON_GPU,
    TARGETS,
    Run,
    bench,
    compiled,
    measure,
    ours,
    ratio,
    row,
    theirs,
    timed_forwards,
)
from real.models.sampling import Sampling  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402

GREEDY, GAMMA = Sampling(0.0), 3


@pytest.fixture(scope="module")
def pair():
    return random_pair("llama", "float64")


@pytest.fixture(scope="module")
def serving(pair, compiler):
    fast = compiled(pair, GAMMA, 64)
    return {name: make(pair, fast, GAMMA) for name, make in CONTENDERS.items()}


def test_all_do_the_same_work(serving):
    """Greedy: as many tokens, and the same draft takes as many steps, up to the last one (theirs drafts one less)."""
    for i, prompt in enumerate(random_prompts(4, 512, 3)):
        runs = {name: contender(prompt, 24, GREEDY, i) for name, contender in serving.items()}
        assert {run.tokens for run in runs.values()} == {24}
        assert runs["draft"].steps == runs["draft, compiled"].steps
        assert abs(runs["draft"].steps - runs["assisted"].steps) <= 1
        assert runs["plain"].steps == runs["plain, compiled"].steps == runs["generate"].steps == 24
        for name, run in runs.items():
            assert run.seconds > 0
            assert math.isnan(run.outside) if name == "generate, static" else 0 < run.outside < run.seconds


def test_timers_count_and_leave_no_trace(pair):
    before = pair.target.model.forward
    with timed_forwards({"target": [(pair.target.model, "forward")]}) as record, torch.inference_mode():
        pair.target.model(torch.tensor([[1, 2, 3]]))
        pair.target.model(torch.tensor([[1, 2, 3]]))
    assert record.calls == {"target": 2}
    assert record.inside == record.seconds["target"] > 0
    assert pair.target.model.forward == before


def test_the_share_outside_forwards_is_of_the_whole_time():
    runs = [Run(10, 5, 2.0, 0.5, 2.0), Run(10, 5, 3.0, 0.75, 3.0)]
    line = row({"draft": runs})["contenders"]["draft"]
    assert line["outside_share"] == pytest.approx(0.25)
    assert line["outside_ms_per_step"] == pytest.approx(125)


def test_a_row_holds_every_contender_and_what_is_asked(pair):
    """Two contenders are enough for the one comparison between them."""
    serving = {"draft": ours(pair, "adapter", GAMMA), "assisted": theirs(pair, assistant_model=pair.draft.model)}
    found = row(measure(serving, random_prompts(4, 512, 4), 12, Sampling(1.0)))
    (asked,) = found["targets"]
    assert (asked["ours"], asked["theirs"], asked["factor"]) == ("draft", "assisted", 1.1)
    lines = found["contenders"]
    rates = lines["draft"]["tokens_per_second"] / lines["assisted"]["tokens_per_second"]
    assert asked["ratio"]["low"] <= asked["ratio"]["value"] <= asked["ratio"]["high"]
    assert asked["ratio"]["value"] == pytest.approx(rates)
    assert all(1 <= line["tokens_per_step"] <= GAMMA + 1 for line in lines.values())


def test_no_contender_has_seen_a_request_before(pair):
    """An n-gram drafter on prompts that share nothing accepts nothing, in every mode, warm-up or not."""
    for _ in range(2):
        runs = measure({"ngram": ours(pair, "ngram", GAMMA)}, random_prompts(5, 512, 4), 12, GREEDY)
        assert sum(run.tokens for run in runs["ngram"]) < 1.2 * sum(run.steps for run in runs["ngram"])


def test_every_target_names_two_contenders():
    assert {name for target in (*TARGETS, *ON_GPU) for name in (target.ours, target.theirs)} <= set(CONTENDERS)
    assert [target.factor for target in ON_GPU] == [3.0, *(target.factor for target in TARGETS[1:])]


def test_a_target_is_held_by_the_lower_limit():
    def runs(seconds: list[float]) -> list[Run]:
        return [Run(10, 3, s, 0.1, s) for s in seconds]

    def holds(fast: list[float]) -> bool:
        return row({"draft": runs(fast), "assisted": runs([2.25] * 8)})["targets"][0]["holds"]

    assert holds([2.0] * 8)
    assert not holds([2.05] * 8)  # 1.1 is asked
    assert not holds([1.0, 3.0] * 4)  # 1.125 on average, but not surely


def test_interval_is_a_point_for_proportional_runs_and_covers_the_ratio_otherwise():
    slow = [Run(10, 3, float(i + 1), 0.1, 1.0) for i in range(8)]
    fast = [Run(10, 3, (i + 1) / 2, 0.1, 1.0) for i in range(8)]
    assert list(ratio(fast, slow).values()) == pytest.approx([2, 2, 2])
    uneven = [Run(10, 3, 1.0 + (i % 3), 0.1, 1.0) for i in range(30)]
    found = ratio(uneven, [Run(10, 3, 2.0, 0.1, 1.0)] * 30)
    assert found["value"] == pytest.approx(1)
    assert found["low"] < 1 < found["high"]


def test_bad_input():
    with pytest.raises(ValueError, match="gamma=0"):
        bench("target", "draft", [["a"]], gamma=0)
    with pytest.raises(ValueError, match=r"'asisted'; near it: assisted.* All: plain; plain, compiled; draft"):
        bench("target", "draft", [["a"]], chosen=["asisted"])
