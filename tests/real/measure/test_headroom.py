# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The headroom meter: expectations that are exact by enumeration, bars that take away what they say."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.independent import Independent  # noqa: E402
from real.measure.headroom import Meter, headroom, weight_bytes  # noqa: E402
from real.models.random import random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.step import Session, alone  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)
from tests.tabular import TabularLM, enumerate_step  # noqa: E402

PROMPT, GAMMA = [1, 2], 2


@pytest.mark.parametrize("rule", ["token", "block"])
def test_expected_tokens_of_both_rules_are_those_of_an_enumeration(rule):
    """Whichever rule serves, the meter knows what either accepts of the same chains, on average over chains."""
    target, draft = TabularLM.random(1, 3), TabularLM.random(2, 3)

    def session() -> Session:
        return alone(target, Independent(draft, 3), list(PROMPT), 10)

    accepted, by_token, by_block = 0.0, 0.0, 0.0
    for probability, step, _ in enumerate_step(session, GAMMA, Sampling(1.0), rule):
        meter = Meter()
        meter.note(step)
        accepted += probability * step.accepted
        by_token, by_block = by_token + probability * meter.by_token, by_block + probability * meter.by_block
    assert accepted == pytest.approx(by_token if rule == "token" else by_block, abs=1e-9)
    assert by_block > by_token + 1e-3


LINES = {"prefill": 0.0, "draft": 2.0, "verify": 4.0, "learn": 1.0, "other": 0.5, "unattributed": 0.5, "total": 8.0}
PLAIN = {"tokens": 10.0, "total": 10.0}


def test_each_bar_takes_away_one_limit():
    meter = Meter(steps=4, drafted=16, tokens=12, examined=10, accepted=8)
    meter.sampled, meter.overlap, meter.several, meter.by_token, meter.by_block = 4, 8.0, 9.0, 8.0, 10.0
    found = headroom(meter, LINES, PLAIN, 4, memory_seconds=0.25)
    bars = found["without"]
    assert found["speedup"] == pytest.approx(12 / 8)
    assert bars["learning"] == pytest.approx(12 / 7)
    assert bars["overhead"] == pytest.approx(12 / 7)
    assert bars["drafting"] == pytest.approx(12 / 6)
    assert bars["memory"] == pytest.approx(12 / 5)  # four readings of the weights are one second of four
    assert bars["draft"] == pytest.approx(20 / 8)
    assert bars["rule"] == pytest.approx(12 * (4 + 10) / (4 + 8) / 8)
    several, one = sum(0.9**j for j in range(5)), sum(0.8**j for j in range(5))
    assert bars["one draft"] == pytest.approx(12 * several / one / 8)
    assert found["binds"] == "draft"
    assert (found["accepted"], found["overlap"], found["of_memory"]) == pytest.approx((0.8, 0.8, 0.25))


def test_greedy_runs_have_no_bars_that_need_laws():
    found = headroom(Meter(steps=4, drafted=16, tokens=12, examined=10, accepted=8), LINES, PLAIN, 4, 0.25)
    assert found["without"]["rule"] is None
    assert found["without"]["one draft"] is None
    assert found["overlap"] is None


def test_the_embeddings_are_read_only_where_they_are_the_output_matrix_too():
    model = random_model("llama", 0, "float32")
    every = 4 * sum(weight.numel() for weight in model.model.parameters())
    assert weight_bytes(model) == every - 4 * model.vocab * model.width
    tied = random_model("llama", 0, "float32")
    tied.model.config.tie_word_embeddings = True
    tied.model.tie_weights()
    tied.readout = tied.model.get_output_embeddings()
    assert weight_bytes(tied) == 4 * sum(weight.numel() for weight in tied.model.parameters())


def test_the_command_has_a_row_for_every_domain(tmp_path):
    result = real("headroom", "frozen", "--prompts", 2, "--domain", "prose", "--domain", "c", "--out", "h.json")
    assert result.exit_code == 0, said(result)
    rows = json.loads((tmp_path / "h.json").read_text())["rows"]
    assert [row["domain"] for row in rows] == ["prose", "c"]
    for row in rows:
        assert row["without"]["draft"] > row["speedup"]
        assert row["without"]["drafting"] > row["speedup"]
        assert row["without"]["learning"] == pytest.approx(row["speedup"])  # frozen
        assert row["without"][row["binds"]] == max(row["without"].values())
    assert "needs a system that drafts" in said(real("headroom", "plain"))
