# pyright: reportAttributeAccessIssue=false
"""Conversations at the command line: turns are requests, answers are read, and what cannot be asked costs no work."""

import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.models.load import load_pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from tests.real.cli.test_real_cli import assets, contents, quick, real, run, said  # noqa: E402, F401 (fixtures)
from tests.real.measure.test_in_turn import LETTERS  # noqa: E402
from tests.real.models.test_models import CHAT, saved, tokenizer  # noqa: E402
from tests.real.traffic.test_turns import STRICT  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402

TURNS = [[LETTERS[i : i + 5], LETTERS[i + 9 : i + 12]] for i in (0, 20, 40, 60)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A pair whose every token is a letter, with a chat template and one that takes user and assistant in turn."""
    folder = tmp_path_factory.mktemp("models")
    target = random_model("llama", 0, "float32", vocab=128, layers=1)
    target.model.config.max_position_embeddings = 60
    for name, template in (("chat", CHAT), ("strict", STRICT)):
        saved(folder / name, target, tokenizer(" ".join(LETTERS), template))
    saved(folder / "draft", perturbed(target, 0.05, 1), tokenizer(" ".join(LETTERS), CHAT))
    return folder


def write(lines: list[dict]) -> str:
    with open("mine.jsonl", "w", encoding="utf-8-sig") as file:
        file.write("".join(json.dumps(line) + "\r\n" for line in lines))
    return "mine.jsonl"


def spec_bench(turns: list[list[str]]) -> list[dict]:
    return [{"question_id": 81 + i, "category": "c", "turns": list(some)} for i, some in enumerate(turns)]


def pair_of(models, name: str = "chat") -> tuple:
    return "--target", models / name, "--draft", models / "draft"


def texts() -> list[dict]:
    (file,) = Path("o").rglob("texts.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("name", ["chat", "strict"])
def test_every_turn_is_a_request_asked_after_the_answers_before_it(tmp_path, models, name):
    result = run(*pair_of(models, name), "--prompts", write(spec_bench(TURNS)), "--temperature", 0, "--out", "o")
    assert result.exit_code == 0, said(result)
    lines, pair = texts(), load_pair(models / name, None)
    methods = list(dict.fromkeys(line["method"] for line in lines))
    assert [(line["question_id"], line["turn"]) for line in lines if line["method"] == "plain"] == [
        (81 + i, turn) for i in range(4) for turn in (1, 2)
    ]
    for i, turns in enumerate(TURNS):
        said_before: list[str] = []
        for number, turn in enumerate(turns, start=1):
            (wanted,) = reference(pair, [pair.encode([*said_before, turn])], 12)
            found = [line["text"] for line in lines if (line["prompt"], line["turn"]) == (i, number)]
            assert found == [pair.tokenizer.decode(wanted)] * len(methods)
            said_before += [turn, pair.decode(wanted)]
    for method in methods:
        columns = Trace.load(tmp_path / "o/real/run/0" / method).columns
        assert columns["turn"].tolist() == [1, 2] * 4
        assert columns["tokens"].tolist() == [12] * 8


def test_a_turn_that_no_longer_fits_is_named_and_costs_nothing(models):
    long = [*spec_bench(TURNS), {"question_id": 90, "category": "c", "turns": ["一二", LETTERS[:50], "三"]}]
    result = run(*pair_of(models), "--prompts", write([long[-1], *long[:-1]]), "--out", "o")
    assert result.exit_code == 0, said(result)
    named = "left out, with what follows it: mine.jsonl, line 1, question_id 90, turn 2: has"
    assert said(result).count(named) == 1
    assert "the target's context is 60" in said(result)
    assert len(texts()) == 3 * 9
    assert json.loads(next(Path("o").rglob("run.json")).read_text())["served"] == 9


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"system": "一", "turns": ["二"]}, "line 2, question_id 5, turn 1: .*System role not supported"),
        ({"turns": ["\ud800"]}, "line 2: character 1 is '.ud800', half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("command", ["run", "bench", "throughput", "profile"])
def test_a_line_that_cannot_be_asked_is_named_before_the_work(tmp_path, models, line, words, command):
    prompts = write([*spec_bench(TURNS[:1]), {"question_id": 5, "category": "c"} | line])
    before = contents(tmp_path)
    result = real(command, *pair_of(models, "strict"), "--prompts", prompts)
    assert result.exit_code == 2
    assert re.search(words, said(result))
    assert "Traceback" not in result.output
    assert contents(tmp_path) == before


def test_bench_and_throughput_ask_every_turn(models, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    prompts = write(spec_bench(TURNS))
    result = real("bench", *pair_of(models), "--prompts", prompts, "--new", 4, "--contender", "plain",
                  "--contender", "generate")  # fmt: skip
    assert result.exit_code == 0, said(result)
    assert "4 prompts of 8 turns × 4 tokens" in said(result)
    result = real("throughput", *pair_of(models), "--prompts", prompts, "--new", 4, "--rows", 2)
    assert result.exit_code == 0, said(result)


def test_no_text_of_a_prompts_file_moves_the_terminal():
    own = {"question_id": "1\n\x1b[2J", "category": "c\nd: 9 prompts\x07", "turns": ["\x1b]0;pwn\x07a\nb\r"]}
    assert real("prompts", write([own]), "--show", 1).output.splitlines() == [
        r"c\nd: 9 prompts\x07: 1 prompts",
        r"question_id 1\n\x1b[2J is asked:",
        r"  user, turn 1: \x1b]0;pwn\x07a",
        r"b\r",
        "  assistant: (its answer to turn 1)",
    ]


def test_prompts_shows_what_will_be_asked():
    chat = {"messages": [{"role": "system", "content": "[/b]"}, {"role": "user", "content": "Hello"}]}
    lines = [*spec_bench([["First", "Second"]]), chat]
    assert real("prompts", write(lines), "--show", 2).output.splitlines() == [
        "c: 1 prompts of 2 turns",
        "chat: 1 prompts",
        "question_id 81 is asked:",
        "  user, turn 1: First",
        "  assistant: (its answer to turn 1)",
        "  user, turn 2: Second",
        "  assistant: (its answer to turn 2)",
        "question_id 2 is asked:",
        "  system: [/b]",
        "  user, turn 1: Hello",
        "  assistant: (its answer to turn 1)",
    ]
