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
from real.traffic.streams import scheduled  # noqa: E402
from tests.real.cli.test_real_cli import (  # noqa: E402
    assets,  # noqa: F401 (a fixture)
    contents,
    counts,
    interrupt_at,
    quick,  # noqa: F401 (a fixture)
    run,
    said,
)
from theory.runs.files import owned  # noqa: E402
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


ALL = ("--prompts", "prose:3,c:4", "--learner", "ensemble", "--state", "state", "--certify", "log", "--out", "o")


def left(folder):
    """All that a run leaves but seconds: counts of its traces, texts, positions, the state, the certificate's log."""
    kept = folder / "o/real/run/0"
    content = json.loads((kept / "run.json").read_text())
    told = {path.stem: Trace.load(path).header.get("certificate") for path in sorted(kept.glob("*.csv"))}
    tensors, about = load(folder / "state")
    return {
        "files": set(contents(folder)),
        "counts": counts(kept),
        "texts": (kept / "texts.jsonl").read_text(),
        "positions": content["acceptance_by_position"],
        "served": (content["served"], content["asked"]),
        "certificates": str(told),
        "log": (folder / "log.csv").read_text(),
        "state": {name: tensor.tolist() for name, tensor in tensors.items()},
        "about": about,
    }


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_that_was_stopped_goes_on_to_all_that_it_would_have_left(tmp_path, monkeypatch, every):
    """Stopped by Ctrl-C, and by an end that leaves no time to write anything, as a kill is."""
    monkeypatch.setattr("real.measure.served.CHECKPOINT_EVERY", every)
    for name, stops in (("whole", ()), ("stopped", ((2, KeyboardInterrupt()), (5, SystemError("as if killed"))))):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for request, error in stops:
            with monkeypatch.context() as patch:
                interrupt_at(patch, request, error)
                assert run(*ALL).exit_code in (1, 130)
            assert (tmp_path / name / "o/real/run/0/checkpoint.safetensors").exists()
        result = run(*ALL)
        assert result.exit_code == 0, said(result)
    assert left(tmp_path / "stopped") == left(tmp_path / "whole")


def test_a_run_of_two_tenants_goes_on_to_all_that_it_would_have_left(tmp_path, monkeypatch):
    """Its certificate is of the first one's rounds, wherever it was stopped; a whole run is not run again."""
    monkeypatch.setattr("real.measure.served.CHECKPOINT_EVERY", 1)
    lines = [
        {"question_id": i, "category": "c", "turns": list(prompt.turns), "tenant": "ab"[i % 2]}
        for i, prompt in enumerate(scheduled("prose:3,c:4", 0).prompts)
    ]
    file, found = tmp_path / "p.jsonl", {}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("--prompts", str(file), "--learner", "ensemble", "--certify", "log", "--out", "o")
    for name, stop in (("whole", None), ("after b", 4), ("after a", 5)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        if stop is not None:
            with monkeypatch.context() as patch:
                interrupt_at(patch, stop, KeyboardInterrupt())
                assert run(*asked).exit_code == 130
        result = run(*asked)
        assert result.exit_code == 0, said(result)
        kept = tmp_path / name / "o/real/run/0"
        found[name] = counts(kept), (tmp_path / name / "log.csv").read_text(), (kept / "texts.jsonl").read_text()
        assert not list(kept.glob("*.safetensors"))
        assert "holds a run" in said(run(*asked))
    assert found["after a"] == found["after b"] == found["whole"]


def test_other_words_before_the_turns_are_other_requests(tmp_path, monkeypatch):
    monkeypatch.setattr("real.measure.served.CHECKPOINT_EVERY", 1)
    monkeypatch.chdir(tmp_path)
    lines = [{"question_id": i, "category": "c", "turns": ["a b c"], "system": "x"} for i in range(4)]
    asked = ("--prompts", "p.jsonl", "--learner", "ensemble", "--out", "o")
    for change in ({}, {"system": "y"}, {"tenant": "b"}):
        (tmp_path / "p.jsonl").write_text("".join(json.dumps(line | change) + "\n" for line in lines))
        with monkeypatch.context() as patch:
            interrupt_at(patch, 2, KeyboardInterrupt())
            result = run(*asked)
        assert result.exit_code == (2 if change else 130), said(result)


def test_a_state_that_went_on_elsewhere_is_not_taken_back(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, SystemError("as if killed"))
        run(*ALL)
    assert run("--prompts", "c:2", "--learner", "ensemble", "--state", "state").exit_code == 0
    before, _ = load(tmp_path / "state")
    result = run(*ALL)
    assert result.exit_code == 2
    assert "--state state: has learned from other requests since the run in o/real/run/0 was" in said(result)
    assert all(torch.equal(tensor, before[name]) for name, tensor in load(tmp_path / "state")[0].items())


@pytest.mark.parametrize("taken", ["state", "o/real/run/0"])
def test_a_second_process_does_not_write_what_the_first_one_owns(tmp_path, taken):
    with owned(tmp_path / taken):
        result = run(*ALL)
    assert result.exit_code == 2
    assert f"error: {taken}: another process is writing it; wait until that has ended" in said(result)
    assert not (tmp_path / "log.csv").exists()
    assert not (tmp_path / "state").exists()
