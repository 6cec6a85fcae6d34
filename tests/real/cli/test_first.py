"""What can be known is said before the work: requests that cannot be served, outputs that cannot be written."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import real as package  # noqa: E402
from real.models import hf, load  # noqa: E402
from real.serving.step import Session  # noqa: E402
from tests.real.cli.test_real_cli import assets, contents, quick, real, run, said  # noqa: E402, F401 (fixtures)
from theory.runs.trace import Trace  # noqa: E402

CONTEXT = 512


@pytest.fixture(autouse=True)
def served(monkeypatch):
    """The prompts that sessions were given, those of warm-ups too."""
    entered, enter = [], Session.enter

    def noted(self, prompt, *given, **more):
        entered.append(prompt)
        return enter(self, prompt, *given, **more)

    monkeypatch.setattr(Session, "enter", noted)
    return entered


@pytest.fixture
def prompts(tmp_path):
    """Three requests, the last of which has no room in the target's context."""
    turns = ("ab", "abc", "a" * (CONTEXT + 1))
    lines = [json.dumps({"question_id": 70 + i, "category": "x", "turns": [turn]}) for i, turn in enumerate(turns)]
    (tmp_path / "my.jsonl").write_text("\n".join(["", *lines]) + "\n")
    return "my.jsonl"


COMMANDS = {
    "run": ("run", "--learner", "ogd", "--prompts"),
    "run by cost": ("run", "--by-cost", "--prompts"),
    "run, kept": ("run", "--state", "s", "--certify", "c", "--out", "o", "--learner", "ogd", "--prompts"),
    "bench": ("bench", "--contender", "plain", "--prompts"),
    "throughput": ("throughput", "--rows", "1", "--prompts"),
    "profile": ("profile", "frozen", "--prompts"),
    "prompts": ("prompts",),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_request_that_cannot_be_served_is_named_before_the_first_is(tmp_path, assets, served, prompts, command):  # noqa: F811
    before = contents(tmp_path)
    own = ("--target", assets / "target", "--draft", assets / "specialist") if command[0] == "bench" else ()
    result = real(*command, prompts, *own)
    assert result.exit_code == 2, said(result)
    assert "my.jsonl, line 4, question_id 72" in said(result)
    assert f"{CONTEXT + 1} tokens" in said(result)
    assert "context" in said(result)
    assert served == []
    assert contents(tmp_path) == before


STREAMS = {
    "record": ("record", "--schedule", "prose:2", "--out", "r.npz"),
    "headroom": ("headroom", "frozen", "--prompts", "1", "--domain", "prose"),
    "demo": ("demo", "--out", "o"),
    "audit": ("audit", "--family", "qwen3"),
}


@pytest.mark.parametrize("command", STREAMS.values(), ids=STREAMS)
def test_so_is_one_of_a_stream(tmp_path, monkeypatch, served, command):
    monkeypatch.setattr(hf, "context_of", lambda config: 3)
    result = real(*command)
    assert result.exit_code == 2, said(result)
    assert "context" in said(result)
    assert ".jsonl, line " in said(result)
    assert served == []


def test_prompts_are_checked_against_a_target_of_ones_own(assets, prompts):  # noqa: F811
    result = real("prompts", prompts, "--target", assets / "target")
    assert "line 4, question_id 72" in said(result)
    assert "target='nowhere': no Auto" in said(real("prompts", prompts, "--target", "nowhere"))


def test_from_python_no_text_is_served_where_one_cannot_be(served):
    llm = package.load(dtype="float32", device="cpu", drafter="adapter", learner="ogd", burn_in=8)
    served.clear()
    with pytest.raises(ValueError, match=f"prompt of {CONTEXT + 1} tokens: needs 1 to {CONTEXT}"):
        llm.generate(["ab", "a" * (CONTEXT + 1)], max_new_tokens=2)
    assert served == []
    assert llm.report().requests == 0


PLACES = {
    "certify": ("run", "--learner", "ogd", "--certify", "/dev/null"),
    "certify, folder": ("run", "--learner", "ogd", "--certify", "log"),
    "state": ("run", "--state", "file/s"),
    "run": ("run", "--out", "file"),
    "audit": ("audit", "--out", "/dev/null"),
    "bench": ("bench", "--out", "file/b.json"),
    "record": ("record", "--out", "file/r.npz"),
    "demo": ("demo", "--out", "file/o"),
    "profile": ("profile", "frozen", "--out", "log.json"),
    "inflate": ("inflate", "--out", "file/o"),
    "export": ("export", "--state", "file", "--out", "file/o"),
    "tune": ("tune", "--out", "log.json"),
    "prepare": ("prepare", "gsm8k", "file", "--out", "log.json"),
}


@pytest.mark.parametrize("command", PLACES.values(), ids=PLACES)
def test_an_output_that_cannot_be_written_is_found_before_the_models_are_loaded(tmp_path, monkeypatch, command):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "log.json").mkdir()
    monkeypatch.setattr(load, "load_model", None)
    before = contents(tmp_path)
    result = real(*command)
    assert result.exit_code == 2
    assert any(words in said(result) for words in ("cannot be written", "is a folder", "is a device", "is a file"))
    assert contents(tmp_path) == before


def test_the_profile_of_by_cost_is_tried_before_it_is_measured(tmp_path, served):
    (tmp_path / "out").write_text("a file where the folder of profiles should be")
    for command in (("run", "--by-cost", "--prompts", "prose:4"), ("profile", "frozen", "--prompts", "prose:4")):
        result = real(*command)
        assert result.exit_code == 2
        assert "cannot be written (Not a directory)" in said(result)
    assert served == []


def test_what_is_in_the_way_is_found_before_the_work(tmp_path, served):
    """The log of another run, a run under the same seed."""
    Trace({"settings": {"learner": "another"}}).save(tmp_path / "log")
    (tmp_path / "o/real/run/0").mkdir(parents=True)
    (tmp_path / "o/real/run/0/plain.csv").write_text("kept")
    before = contents(tmp_path)
    for option, words in (("--certify", "was made with other settings"), ("--out", "holds a run under seed 0 already")):
        result = run("--prompts", "prose:2", "--learner", "ogd", option, {"--certify": "log", "--out": "o"}[option])
        assert result.exit_code == 2
        assert words in said(result)
    assert served == []
    assert contents(tmp_path) == before
