"""Prompts in Spec-Bench's schema, schedules of domain shifts, and what is said about a broken line."""

import json

import pytest

pytest.importorskip("torch")

from real.streams import Prompt, as_given, read_prompts, scheduled


def line(number: int = 1, category: str = "prose", turns=("text",), **more) -> str:
    return json.dumps({"question_id": number, "category": category, "turns": list(turns), **more}, ensure_ascii=False)


@pytest.fixture
def folder(tmp_path):
    for domain, count in (("prose", 6), ("c", 4)):
        rows = [line(i, domain, [f"{domain} {i}"]) for i in range(count)]
        (tmp_path / f"{domain}.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_reads_spec_benchs_schema(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join([line(7, "writing", ["a", "b"], reference=["x"]), "", line(8)]), encoding="utf-8")
    assert read_prompts(path) == [Prompt(7, "writing", ("a", "b")), Prompt(8, "prose", ("text",))]


def test_only_a_newline_ends_a_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    text = "one\u2028two\x85three\x0cfour"
    path.write_text(line(turns=[text.replace("\x0c", "")]) + "\r\n" + line(2), encoding="utf-8", newline="")
    assert [p.turns[0] for p in read_prompts(path)] == ["one\u2028two\x85threefour", "text"]


@pytest.mark.parametrize(
    "broken, words",
    [
        ("{", "not JSON"),
        ('{"question_id": 1}', "lacks category, turns"),
        ("[1, 2]", "lacks question_id, category, turns"),
        (line(turns=[]), "non-empty list"),
        (line(turns=[""]), "non-empty list"),
        (json.dumps({"question_id": 1, "category": "a", "turns": "text"}), "turns='text'"),
        (json.dumps({"question_id": 1, "category": "a", "turns": [3]}), r"turns=\[3\]"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path, broken, words):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{line()}\n\n{broken}\n{line()}\n")
    with pytest.raises(ValueError, match=rf"mine\.jsonl, line 3: .*{words}.*write \{{\"question_id\""):
        read_prompts(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.jsonl.*no such file"):
        read_prompts(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no prompt"):
        read_prompts(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(line().encode() + b"\n" + line(turns=["\xe9"]).encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        read_prompts(tmp_path / "latin.jsonl")


def test_a_schedule_serves_domains_in_order(folder):
    stream = scheduled("prose:3,c:4,prose:2", 5, folder)
    assert [p.category for p in stream.prompts] == ["prose"] * 3 + ["c"] * 4 + ["prose"] * 2
    assert stream.segment == (0, 0, 0, 1, 1, 1, 1, 2, 2)
    assert stream.names == ("prose", "c", "prose")
    assert len({p.turns for p in stream.prompts}) == 9, "a domain that comes back goes on where it stopped"


def test_a_used_up_domain_starts_over(folder):
    prompts = scheduled("c:6", 0, folder).prompts
    assert prompts[4:] == prompts[:2]


def test_the_seed_decides_the_order_and_nothing_else(folder):
    streams = [scheduled("prose:6", seed, folder).prompts for seed in (1, 1, 2, 3)]
    assert streams[0] == streams[1]
    assert len({streams[0], *streams[2:]}) > 1
    assert len({frozenset(s) for s in streams}) == 1


@pytest.mark.parametrize(
    "schedule, words",
    [
        ("verse:3", "no domain 'verse'; there are c, prose"),
        ("prose", "must be domain:count, for example prose:40"),
        ("prose:0", "must be domain:count"),
        ("prose:x,c:2", "must be domain:count"),
        ("", "no domain ''"),
    ],
)
def test_a_schedule_that_does_not_parse(folder, schedule, words):
    with pytest.raises(ValueError, match=words):
        scheduled(schedule, 0, folder)


def test_a_users_prompts_keep_their_order():
    prompts = [Prompt(i, category, ("x",)) for i, category in enumerate(["a", "a", "b", "a"])]
    stream = as_given(prompts)
    assert stream.prompts == tuple(prompts)
    assert stream.segment == (0, 0, 1, 2)
    assert stream.names == ("a", "b", "a")
