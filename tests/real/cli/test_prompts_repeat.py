"""``real prompts`` says of a file, of a schedule and of all that is shipped how many prompts repeat earlier ones."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.real.cli.test_real_cli import real

TEXT = "".join(map(chr, range(33, 125)))


def test_a_file_says_which_domain_repeats(tmp_path):
    asked = [("a", TEXT), ("b", TEXT[::-1]), ("b", TEXT[:80]), ("a", TEXT[::-1])]
    rows = [
        {"question_id": i, "category": name, "turns": [text]} for i, (name, text) in enumerate([*asked, ("c", "d")])
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = real("prompts", path, "--show", 0).output.splitlines()
    assert lines == ["a: 2 prompts, 1 repeat", "b: 2 prompts, 1 repeat", "c: 1 prompts"]


def test_a_schedule_is_checked_as_a_file_is():
    assert real("prompts", "cmake-large:800", "--show", 0).output.startswith("cmake: 800 prompts")
    lines = real("prompts", "c-large:2,sql:1").output.splitlines()
    assert lines[:2] == ["c: 2 prompts", "sql: 1 prompts"]
    assert lines[2].startswith("question_id 12")


def test_without_a_file_every_shipped_stream_has_a_line():
    lines = real("prompts").output.splitlines()
    assert len(lines) == 16
    assert "prose-large: 800 prompts, 1 repeat" in lines
    assert "javascript-large: 800 prompts, 0 repeat" in lines
