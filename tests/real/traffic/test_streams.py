"""Prompts in Spec-Bench's schema, schedules of domain shifts, and what is said about a broken line."""

import json
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("torch")

from real.traffic.prompts import Prompt, read_prompts
from real.traffic.streams import as_given, scheduled


def line(number: int = 1, category: Any = "prose", turns=("text",), **more) -> str:
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
        (json.dumps({"question_id": [1], "category": "a", "turns": ["b"]}), r"question_id=\[1\] must be"),
        (line(system=3), "system=3 must be a text"),
        (line(messages=[]), "has both turns and messages"),
        ('{"messages": []}', "messages='\\[\\]' must be a non-empty list"),
        ('{"messages": [{"role": "tool", "content": "a"}]}', "one of system, user, assistant"),
        ('{"messages": [{"role": "user", "content": null}]}', "a text as 'content'"),
        ("[" * 100_000, "nested too deeply"),
        (line(category=None), "category=None must be a text that names a domain"),
        (line(category={"a": 1}), r"category=\{'a': 1\} must be a text"),
        (line(category=""), "category='' must be a text"),
        ('{"question_id": 1, "category": "a", "turns": ["b"], "category": "c"}', "the key 'category' is given twice"),
        ('{"messages": [{"role": "user", "role": "user", "content": "a"}]}', "the key 'role' is given twice"),
        ('{"question_id": ' + "9" * 5000 + "}", "not JSON .Exceeds the limit"),
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
    messages = [{"role": role, "content": "a"} for role in ("user", "assistant")]
    (tmp_path / "said.jsonl").write_text(json.dumps({"messages": messages}))
    with pytest.raises(ValueError, match=r"line 1: the last message is .*must be a text of the user's"):
        read_prompts(tmp_path / "said.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(line().encode() + b"\n" + line(turns=["\xe9"]).encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        read_prompts(tmp_path / "latin.jsonl")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (line().encode("utf-16"), "line 1: not UTF-8 .*UTF-16"),
        (f"{line()}\n".encode() + line(2).encode("utf-16-le"), "line 2: holds a NUL byte"),
        (f"{line()}\n{line(2, turns=['…'])}".replace("…", r"\ud800").encode(), "line 2: .*surrogate"),
        (line(category="\udc00").encode(errors="surrogatepass"), "line 1: not UTF-8"),
        (json.dumps({"messages": [{"role": "user", "content": "\ud800"}]}).encode(), "line 1: .*surrogate"),
    ],
)
def test_what_is_no_text_is_named_by_file_and_line(tmp_path, content, words):
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=rf"mine\.jsonl, {words}"):
        read_prompts(tmp_path / "mine.jsonl")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_line_ends_are_no_text(tmp_path, end):
    (tmp_path / "mine.jsonl").write_bytes((end.join([line(turns=["🙂"]), "", line(2)]) + end).encode("utf-8-sig"))
    assert [prompt.turns for prompt in read_prompts(tmp_path / "mine.jsonl")] == [("🙂",), ("text",)]
    assert read_prompts(tmp_path / "mine.jsonl")[1].place.endswith("line 3")


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


def served(schedule: str, folder, seed: int = 0) -> str:
    return "".join(prompt.category[0] for prompt in scheduled(schedule, seed, folder).prompts)


def test_mixing_moves_from_one_domain_to_the_other(folder):
    orders = [served("mix(prose,c):40", folder, seed) for seed in range(20)]
    quarters = [range(10 * q, 10 * q + 10) for q in range(4)]
    shares = [sum(order[i] == "c" for order in orders for i in quarter) / 200 for quarter in quarters]
    # each quarter's share is its mean over the ramp; 5 standard deviations of 200 draws
    assert shares == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8], abs=5 * (0.25 / 200) ** 0.5)
    assert len(set(orders)) > 1
    assert scheduled("mix(prose,c):40", 0, folder).names == ("mix(prose,c)",)


def test_a_periodic_return_shifts_every_period(folder):
    stream = scheduled("return(prose,c;3):8", 0, folder)
    assert served("return(prose,c;3):8", folder) == "pppcccpp"
    assert stream.names == ("prose", "c", "prose")
    assert stream.segment == (0, 0, 0, 1, 1, 1, 2, 2)
    assert stream.prompts == scheduled("prose:3,c:3,prose:2", 0, folder).prompts


def test_tenants_come_at_their_rates(folder):
    order = served("tenants(prose=3,c=1):800", folder)
    assert order.count("p") / 800 == pytest.approx(3 / 4, abs=5 * (3 / 16 / 800) ** 0.5)
    assert "pc" in order
    assert "cp" in order


def test_adverse_order_never_stays(folder):
    (folder / "sql.jsonl").write_text(line(1, "sql"))
    order = served("adverse(prose,c,sql):300", folder, 1)
    assert all(now != before for before, now in pairwise(order))
    assert {order.count(letter) > 60 for letter in "pcs"} == {True}
    assert order != served("adverse(prose,c,sql):300", folder, 2)


def test_kinds_join_in_one_schedule_and_domains_go_on(folder):
    stream = scheduled("prose:2,return(c,prose;1):3,mix(c,prose):2", 0, folder)
    assert stream.names == ("prose", "c", "prose", "c", "mix(c,prose)")
    assert [p.question_id for p in stream.prompts if p.category == "c"][:2] == [
        p.question_id for p in scheduled("c:2", 0, folder).prompts
    ]


@pytest.mark.parametrize(
    "schedule, words",
    [
        ("mix(prose):3", r"'mix\(prose\):3' must be like mix\(prose,c\):40"),
        ("mix(prose,c,prose):3", r"must be like mix\(prose,c\):40"),
        ("mix(prose,verse):3", "no domain 'verse'"),
        ("return(prose,c):3", r"must be like return\(prose,c;10\):40"),
        ("return(prose,c;0):3", r"must be like return\(prose,c;10\):40"),
        ("tenants(prose,c):3", r"must be like tenants\(prose=2,sql=1\):40"),
        ("tenants(prose=0,c=1):3", r"must be like tenants"),
        ("adverse(prose):3", r"must be like adverse"),
        ("blend(prose,c):3", r"must be one of mix\(prose,c\):40, return"),
        ("mix(prose,c):0", r"must be one of mix"),
        ("mix(prose,c", r"'mix\(prose' must be"),
        ("prose:3,", "no domain ''"),
    ],
)
def test_a_kind_that_does_not_parse(folder, schedule, words):
    with pytest.raises(ValueError, match=rf"schedule='.*{words}"):
        scheduled(schedule, 0, folder)
