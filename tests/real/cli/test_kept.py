# pyright: reportAttributeAccessIssue=false
"""What a run keeps in a folder, and what is left of it when it is stopped."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from figures.__main__ import build  # noqa: E402
from real.cli.kept import Positions  # noqa: E402
from real.models.state import load  # noqa: E402
from real.serving.decoder import Decoder  # noqa: E402
from tests.real.cli.test_real_cli import assets, contents, interrupt_at, quick, run, said  # noqa: E402, F401 (fixtures)
from theory.runs.trace import Trace  # noqa: E402

LEARNERS = ("--learner", "ogd", "--learner", "ensemble")
METHODS = ("plain", "frozen", "ogd", "ensemble")


@pytest.fixture
def kept(tmp_path):
    result = run("--prompts", "prose:6,c:6", *LEARNERS, "--seed", 3, "--out", "o")
    assert result.exit_code == 0, said(result)
    assert "draw it: python -m figures speed o" in said(result)
    return tmp_path / "o"


def test_a_run_keeps_its_traces_texts_and_numbers(kept):
    folder = kept / "real/run/3"
    traces = {name: Trace.load(folder / name) for name in METHODS}
    for name, trace in traces.items():
        assert trace.header["method"] == name
        assert trace.header["segments"] == ["prose", "c"]
        assert trace.columns["tokens"].tolist() == [12] * 12
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    assert [(line["prompt"], line["method"]) for line in lines] == [(i, name) for i in range(12) for name in METHODS]
    assert all(line["tokens"] == 12 for line in lines)
    assert any(line["text"] for line in lines)  # most ids of the tiny tokenizer stand for nothing
    assert {line["category"] for line in lines} == {"prose", "c"}
    content = json.loads((folder / "run.json").read_text())
    assert (content["asked"], content["served"]) == (12, 12)
    for name in METHODS:
        pace = content["methods"][name]["tokens_per_second"]
        assert pace["low"] <= pace["value"] <= pace["high"]
    assert set(content["acceptance_by_position"]) == set(METHODS) - {"plain"}
    for name, rows in content["acceptance_by_position"].items():
        columns = traces[name].columns
        assert [row["position"] for row in rows] == [1, 2, 3, 4]
        assert sum(row["examined"] for row in rows) == columns["verified"].sum()
        assert sum(row["accepted"] for row in rows) == columns["accepted"].sum()
        assert all(row["share"] == row["accepted"] / row["examined"] for row in rows)


@pytest.mark.parametrize("figure", ["acceptance", "speed", "ledger"])
def test_figures_of_a_stream_draw_it(kept, figure):
    paths = build(figure, kept, kept / "figures", [])
    table = next(path for path in paths if path.suffix == ".csv").read_text()
    assert all(method in table for method in set(METHODS) - {"plain"})


def test_two_seeds_are_one_stream_and_nothing_is_overwritten(kept):
    before = contents(kept)
    result = run("--prompts", "prose:6,c:6", *LEARNERS, "--seed", 3, "--out", "o")
    assert result.exit_code == 2
    assert "holds a run under seed 3 already; nothing was overwritten. Choose another folder" in said(result)
    assert contents(kept) == before
    assert run("--prompts", "prose:6,c:6", *LEARNERS, "--seed", 4, "--out", "o").exit_code == 0
    assert build("speed", kept, kept / "figures", [])


def test_positions_count_what_was_examined_and_accepted():
    positions = Positions()
    for examined, accepted in ((2, 1), (3, 3), (0, 0), (1, 0)):
        positions.add(examined, accepted)
    assert [(row["examined"], row["accepted"]) for row in positions.rows()] == [(3, 2), (2, 1), (1, 1)]


def stop_in(monkeypatch, request: int) -> None:
    """Ctrl-C while a method serves that request of the stream, after others have."""
    serve, calls = Decoder.serve, []

    def stopped(self, prompt, ledger, *tenant):
        if ledger.seconds["whole"] == 0 and len(prompt) and self.serving.max_new_tokens == 12:
            calls.append(self)
        if len(calls) == 3 * request + 2:
            raise KeyboardInterrupt
        return serve(self, prompt, ledger, *tenant)

    monkeypatch.setattr(Decoder, "serve", stopped)


def test_ctrl_c_shows_what_was_served_and_keeps_the_state_from_before(tmp_path, monkeypatch):
    """Between requests and in one: the request in flight counts for no method, the state is the one before it."""
    kept = ("--learner", "ogd", "--state")
    assert run("--prompts", "prose:3", *kept, "wanted").exit_code == 0
    for stop, state in (
        (lambda patch: interrupt_at(patch, 3, KeyboardInterrupt()), "a"),
        (lambda p: stop_in(p, 3), "b"),
    ):
        with monkeypatch.context() as patch:
            stop(patch)
            result = run("--prompts", "prose:6", *kept, state, "--out", f"out-{state}")
        assert result.exit_code == 130
        assert "interrupted: 3 of 6 requests were served" in said(result)
        assert "net speedup" in said(result)
        assert "ledger" in said(result)
        folder = tmp_path / f"out-{state}/real/run/0"
        for method in ("plain", "frozen", "ogd"):
            assert len(Trace.load(folder / method).columns["tokens"]) == 3
        assert len((folder / "texts.jsonl").read_text().splitlines()) == 9
        assert json.loads((folder / "run.json").read_text())["served"] == 3
        (tensors, about), (wanted, wanted_about) = load(tmp_path / state), load(tmp_path / "wanted")
        assert about == wanted_about
        assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def test_ctrl_c_before_anything_was_served_shows_nothing(tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 0, KeyboardInterrupt())
    result = run("--prompts", "prose:3")
    assert (result.exit_code, said(result).strip()) == (130, "interrupted")
