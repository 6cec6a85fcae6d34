"""The seven benchmarks: entries as each release writes them become prompts; what does not fit is named."""

import csv
import gzip
import json

import pytest

pytest.importorskip("torch")

from real.traffic.benchmarks import BENCHMARKS, prepare
from real.traffic.prompts import read_prompts

PUBLISHED = {
    "gsm8k": ({"question": "2 + 2?", "answer": "4\n#### 4"}, "2 + 2?\nReason step by step.", "4\n#### 4"),
    "spider": (
        {"db_id": "zoo", "question": "How many lions?", "query": "SELECT 1", "query_toks": ["SELECT", "1"]},
        "Database: zoo\nWrite one SQL query that answers: How many lions?",
        "SELECT 1",
    ),
    "codesearchnet": (
        {"docstring": "Add two.", "code": "def add(a, b): ...", "repo": "x/y"},
        "Write a Python function.\nAdd two.",
        "def add(a, b): ...",
    ),
    "finance-alpaca": (
        {"instruction": "Define a bond.", "input": "", "output": "A loan.", "text": ""},
        "Define a bond.",
        "A loan.",
    ),
    "math": (
        {"problem": "$1+1$", "level": "Level 1", "type": "Algebra", "solution": "$2$"},
        "$1+1$\nReason step by step.",
        "$2$",
    ),
    "mbpp": (
        {"task_id": 1, "text": "Add.", "code": "def f(): ...", "test_list": ["assert f() == 1", "assert f() == 2"]},
        "Add.\nYour code should pass these tests:\nassert f() == 1\nassert f() == 2",
        "def f(): ...",
    ),
    "mmlu": (
        {"question": "Sky?", "choices": ["red", "blue", "green", "pink"], "answer": 1},
        "Sky?\nA. red\nB. blue\nC. green\nD. pink\nAnswer with one letter, with your reasons before it.",
        "1",
    ),
}


def test_every_benchmark_has_an_entry_here():
    assert PUBLISHED.keys() == BENCHMARKS.keys()


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".jsonl.gz"])
def test_a_published_entry_becomes_a_prompt(tmp_path, name, suffix):
    entry, turn, reference = PUBLISHED[name]
    text = json.dumps([entry, entry]) if suffix == ".json" else f"{json.dumps(entry)}\n" * 2
    source = tmp_path / f"data{suffix}"
    source.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())
    assert prepare(name, source, tmp_path / "out" / "prompts.jsonl") == 2
    found = read_prompts(tmp_path / "out" / "prompts.jsonl")
    assert [(p.question_id, p.category, p.turns) for p in found] == [(i, name, (turn,)) for i in range(2)]
    line = json.loads((tmp_path / "out" / "prompts.jsonl").read_text().splitlines()[0])
    assert line["reference"] == [reference]


def test_mmlu_is_published_as_csv_without_a_header(tmp_path):
    with (tmp_path / "algebra_test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Sky?", "red", "blue", "green", "pink", "B"]])
    prepare("mmlu", tmp_path / "algebra_test.csv", tmp_path / "prompts.jsonl")
    assert read_prompts(tmp_path / "prompts.jsonl")[0].turns == (PUBLISHED["mmlu"][1],)


def test_a_folder_is_read_whole_in_order(tmp_path):
    for number in (2, 1):
        content = json.dumps({"problem": f"problem {number}", "solution": "x"})
        (tmp_path / "test" / "algebra").mkdir(parents=True, exist_ok=True)
        (tmp_path / "test" / "algebra" / f"{number}.json").write_text(content)
    assert prepare("math", tmp_path / "test", tmp_path / "prompts.jsonl") == 2
    turns = [prompt.turns[0] for prompt in read_prompts(tmp_path / "prompts.jsonl")]
    assert turns == [f"problem {i}\nReason step by step." for i in (1, 2)]


@pytest.mark.parametrize(
    "name, file, content, words",
    [
        ("gsm9k", "a.jsonl", "{}", "benchmark='gsm9k': must be one of gsm8k, spider"),
        ("mmlu", "a.csv", "Sky?,red,blue,B\n", "row 1 has another number of columns than the others"),
        ("gsm8k", "a.parquet", "x", "must be one of .jsonl, .json, .csv.*Parquet"),
        ("gsm8k", "a.jsonl", '{"query": 1}\n', "line 1: lacks question; it has query"),
        ("gsm8k", "a.jsonl", "[1]\n", "line 1: .* is not an object"),
        ("gsm8k", "a.jsonl", "{\n", "not JSONL"),
        ("gsm8k", "a.json", "[]", "holds no entry of gsm8k"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, name, file, content, words):
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=words):
        prepare(name, tmp_path / file, tmp_path / "prompts.jsonl")
    assert not (tmp_path / "prompts.jsonl").exists()


LATIN = '{"question": "a", "answer": "é"}'


@pytest.mark.parametrize(
    "name, file, content, words",
    [
        ("gsm8k", "a.jsonl", b'{"question": "a"}\n' + LATIN.encode("latin-1"), "line 2: not UTF-8"),
        ("gsm8k", "a.json", LATIN.encode("utf-16"), "line 1: not UTF-8 .*UTF-16"),
        ("mmlu", "a.csv", b"Sky?,red\0", "line 1: holds a NUL byte"),
        ("gsm8k", "a.jsonl", b'\n{"question": "\\ud800"}', "line 2: character 1 is .*half a surrogate pair"),
        ("gsm8k", "a.jsonl", b'\n{"question": ', r"not JSONL \(line 2: Expecting value at column 14"),
        ("gsm8k", "a.jsonl.gz", gzip.compress(LATIN.encode(), mtime=0)[:-9], "not a whole gzip file"),
    ],
    ids=["latin-1", "UTF-16", "NUL", "surrogate", "no JSON", "cut"],
)
def test_what_is_no_text_is_named_by_file_and_line(tmp_path, name, file, content, words):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file}.*{words}"):
        prepare(name, tmp_path / file, tmp_path / "prompts.jsonl")
    assert not (tmp_path / "prompts.jsonl").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".jsonl.gz"])
def test_a_byte_order_mark_is_no_part_of_a_benchmark(tmp_path, suffix):
    text = "question,answer\nSky?,blue\n" if suffix == ".csv" else json.dumps({"question": "Sky?", "answer": "blue"})
    content = text.encode("utf-8-sig")
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    assert prepare("gsm8k", tmp_path / f"a{suffix}", tmp_path / "prompts.jsonl") == 1


def test_a_missing_file_and_one_in_the_way_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.json.*no such file"):
        prepare("gsm8k", tmp_path / "absent.json", tmp_path / "prompts.jsonl")
    (tmp_path / "prompts.jsonl").write_text("kept")
    with pytest.raises(FileExistsError, match="is there already"):
        prepare("gsm8k", tmp_path / "absent.json", tmp_path / "prompts.jsonl")
    assert (tmp_path / "prompts.jsonl").read_text() == "kept"
