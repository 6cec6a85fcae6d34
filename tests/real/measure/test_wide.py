# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Every drafter with every learner serves and learns; what is told of it is what it holds."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.build.inflate import shallow_pair  # noqa: E402
from real.drafters import DRAFTERS  # noqa: E402
from real.measure import wide as measuring  # noqa: E402
from real.measure.wide import learners_on, losses, tensors, wide  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.serving.learn import Learning  # noqa: E402
from real.verify.on_trial import PROMPTS, Subject, serve  # noqa: E402
from tests.real.cli.test_real_cli import real  # noqa: E402
from theory.learners import LEARNERS  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402

VOCAB = 256


@pytest.fixture(scope="module")
def pair():
    target = random_model("qwen3", 0, "float32", vocab=VOCAB, layers=1)
    return Pair(target, perturbed(target, 0.05, 1), None)


@pytest.fixture(scope="module")
def rows(pair):
    return {(row["drafter"], row["learner"]): row for row in wide(pair, PROMPTS[1:], 16)}


def test_every_drafter_and_every_learner_has_a_row(rows):
    assert {drafter for drafter, _ in rows} == set(DRAFTERS)
    assert {learner for _, learner in rows} >= set(LEARNERS)
    for (drafter, learner), row in rows.items():
        learns = DRAFTERS[drafter].trains and learner != "frozen"
        assert (row["updates"] > 0) == learns == (row["learner_bytes"] > 0) == (row["milliseconds_update"] is not None)
        assert ("loss" in row) == ("top_k_error" in row) == (DRAFTERS[drafter].trains and learner == "frozen")
        assert row["milliseconds_step"] > 0
        assert 1 <= row["tokens_per_step"] <= 4


def test_bytes_are_those_of_the_tensors(rows, pair):
    width, one = pair.draft.width, 4 * pair.draft.width**2
    assert rows["adapter", "frozen"]["dimension"] == width**2
    held = rows["adapter", "frozen"]["drafter_bytes"]
    assert 4 * VOCAB * width + 3 * one <= held <= 4 * VOCAB * width + 16 * one  # Q, x, M, R⁻¹; W is the pair's
    states = {name: rows["adapter", name]["learner_bytes"] / one for name in ("ogd", "optimistic", "adam", "ensemble")}
    assert states["ogd"] < states["optimistic"]
    assert states["ensemble"] >= 6
    twice = torch.zeros(5)
    assert len(list(tensors({"a": [twice, twice], "b": (twice[:2],)}))) == 2


def test_the_error_of_a_cut_law_is_the_difference_of_two_losses(pair):
    drafter = Subject.of("adapter", pair).make()
    _, piece = serve(pair, drafter)
    told = losses(drafter, [piece], measuring.Objective(), 16)
    assert told["loss"] == pytest.approx(float(drafter.loss([piece]).value(drafter.x)))
    assert losses(drafter, [piece], measuring.Objective(), VOCAB)["top_k_error"] == 0
    kept = piece.target_probs.topk(16).values.sum(-1)
    assert kept.max() < 1
    assert abs(told["top_k_error"]) > 1e-3


def test_a_learner_that_learns_nothing_is_said(pair, monkeypatch):
    monkeypatch.setattr(measuring, "DRAFTERS", ["adapter"])
    monkeypatch.setattr(Learning, "_learn", lambda *_: None)
    with pytest.raises(ValueError, match="after 0 updates"):
        list(wide(pair, PROMPTS[1:], 16))


def test_learners_are_tuned_for_the_decision_that_they_play():
    assert learners_on("ngram") == {"frozen": Frozen()}
    assert set(learners_on("adapter")) | set(learners_on("mixture")) == set(LEARNERS)
    assert learners_on("heads") == DRAFTERS["heads"].learners
    for name, kind in DRAFTERS.items():
        if kind.trains:
            assert all(one.weighs_experts() <= kind.simplex for one in learners_on(name).values())


def test_the_command_makes_the_pair_and_keeps_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "DRAFTERS", ["uniform", "heads"])
    result = real("wide", "--like", "qwen3-tiny", "--dtype", "float32", "--out", tmp_path / "wide.json")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "wide.json").read_text())
    assert (told["kind"], told["vocab"], told["width"]) == ("wide", 2048, 320)
    assert [row["drafter"] for row in told["rows"]].count("heads") == len(learners_on("heads"))
    assert shallow_pair("qwen3-tiny").target.layers == 1
