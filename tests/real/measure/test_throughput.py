# pyright: reportOptionalMemberAccess=false, reportArgumentType=false
"""Several requests at once: both sides serve the same groups and count the same tokens."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.contenders import Group, InRows  # noqa: E402
from real.measure.throughput import GenerateInRows, show, throughput  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402

PROMPTS, GREEDY = random_prompts(10, 512, 3), Sampling(0.0)


@pytest.fixture(scope="module")
def pair():
    return random_pair("llama", "float64")


def test_throughput_compares_the_same_requests(pair, capsys):
    found = throughput(pair, PROMPTS, 12, GREEDY, 3, at_once=(1, 5))
    show({"greedy": found})
    assert "draft ÷ generate" in capsys.readouterr().out
    for row, count in zip(found, (1, 5), strict=True):
        assert row["rows"] == count
        speeds = row["tokens_per_second"]
        for name, ratio in row["ratios"].items():
            one, other = name.split(" ÷ ")
            assert ratio["value"] == pytest.approx(speeds[one] / speeds[other])
        assert 1 <= row["tokens_per_step"] <= 4


def served(pair) -> list[float]:
    both = InRows(pair, "", 3, GREEDY, 12), GenerateInRows(pair, GREEDY, 12)
    return [contender.serve(Group(PROMPTS[:5], 1))["tokens"] for contender in both]


def test_tokens_after_the_end_of_a_text_do_not_count(pair):
    assert served(pair) == [60, 60]
    end = reference(pair, PROMPTS[:5], 12)[1][3]
    pair.target.eos, pair.target.model.generation_config.eos_token_id = frozenset([end]), end
    try:
        ours, theirs = served(pair)
    finally:
        pair.target.eos, pair.target.model.generation_config.eos_token_id = frozenset(), None
    assert ours == theirs < 60


def test_more_rows_than_prompts_are_refused(pair):
    with pytest.raises(ValueError, match="rows=12: must be from 1 to the number of prompts, 10"):
        throughput(pair, PROMPTS, 12, GREEDY, 3, at_once=(12,))
