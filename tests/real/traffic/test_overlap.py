"""Overlap of prompts: shares by hand, and what a measurement drops."""

import json

import pytest

pytest.importorskip("torch")

from real.traffic.overlap import SHINGLE, overlapping, shingles
from real.traffic.prompts import Prompt
from real.traffic.streams import domains, file_of, large, scheduled

TEXT = "".join(chr(0x4E00 + i) for i in range(120))  # every character another


def asked(*texts: str) -> list[Prompt]:
    return [Prompt(i, "a", (text,)) for i, text in enumerate(texts)]


def test_a_text_has_a_shingle_at_every_place():
    assert len(shingles(TEXT)) == 120 - SHINGLE + 1
    assert shingles("ab" * 60) == shingles("ab" * 30), "that of the odd places and that of the even ones"
    assert len(shingles("ab" * 60)) == 2
    assert len(shingles("short")) == len(shingles("")) == 1
    assert shingles(TEXT[:50]) < shingles(TEXT)


def test_shares_are_of_what_stood_before():
    half = TEXT[:60] + TEXT[119:59:-1]
    assert overlapping(asked(TEXT, TEXT[40:], TEXT[::-1], half, TEXT)) == [0, 1, 0, 42 / 81, 1]
    assert overlapping(asked("a", "b", "a")) == [0, 0, 1]
    assert overlapping([]) == []


def test_the_turns_of_a_prompt_are_its_text():
    first, second = Prompt(1, "a", (TEXT[:60], TEXT[60:])), Prompt(2, "a", (TEXT[:60] + "\n" + TEXT[60:],))
    assert overlapping([first, second]) == [0, 1]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "large").mkdir()
    for name, count in (("c", 2), ("large/c", 5), ("large/logs", 3)):
        rows = [{"question_id": i, "category": name[-4:], "turns": [f"{name} {i}"]} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_large_streams_have_names_of_their_own(folder):
    assert domains(folder) == ["c"]
    assert large(folder) == ["c-large", "logs-large"]
    assert file_of("c", folder) == folder / "c.jsonl"
    assert file_of("c-large", folder) == folder / "large/c.jsonl"


def test_a_schedule_serves_them_beside_the_others(folder):
    stream = scheduled("c:2,c-large:5,mix(c,logs-large):4", 0, folder)
    assert stream.names == ("c", "c-large", "mix(c,logs-large)")
    assert {prompt.turns[0] for prompt in stream.prompts[2:7]} == {f"large/c {i}" for i in range(5)}
    with pytest.raises(ValueError, match="no domain 'logs'; there are c, c-large, logs-large"):
        scheduled("logs:1", 0, folder)


def test_the_seven_domains_are_still_those_that_commands_go_over():
    assert domains() == ["arithmetic", "c", "prose", "python", "session", "sql", "stubs"]
    assert large() == [f"{name}-large" for name in sorted([*domains(), "cmake", "javascript"])]
