# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Turns: what each is asked as, after answers, a system text and given messages; what cannot be asked is named."""

import json
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.models.hf import Pair  # noqa: E402
from real.traffic.prompts import Prompt, read_prompts  # noqa: E402
from real.traffic.streams import as_given  # noqa: E402
from real.traffic.turns import FollowUps, Turn, Waiting, longest, script, tried  # noqa: E402
from tests.real.models.test_models import CHAT, tokenizer  # noqa: E402

STRICT = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% endfor %}" + CHAT
)
"""As templates that take user and assistant in turn, and nobody else."""


def pair(template: str | None = CHAT) -> Pair:
    generation = SimpleNamespace(check=lambda tokenizer: None)
    return Pair(SimpleNamespace(context=100, readable=100, generation=generation), None, tokenizer(template=template))


def tokens(made: Pair, ids: list[int]) -> str:
    return "".join(made.tokenizer.convert_ids_to_tokens(ids))


def test_a_turn_is_asked_after_the_answers_to_those_before():
    prompt = Prompt(81, "writing", ("a", "b", "c"))
    for number, chat, plain in (
        (1, "<user>a<assistant>", "a"),
        (2, "<user>a<assistant>d<user>b<assistant>", "a\nd\nb"),
        (3, "<user>a<assistant>d<user>b<assistant>dd<user>c<assistant>", "a\nd\nb\ndd\nc"),
    ):
        turn, answers = Turn(prompt, number), ["d", "dd"][: number - 1]
        assert tokens(pair(), turn.ids(pair(), None, answers)) == chat
        for made, how in ((pair(None), None), (pair(), False)):
            assert tokens(made, turn.ids(made, how, answers)) == plain
    assert Turn(prompt).ids(pair(), None) == pair().encode(["a"])


def test_messages_and_a_system_text_are_taken_as_given(tmp_path):
    path, said = tmp_path / "mine.jsonl", [("system", "d"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    messages = [{"role": role, "content": text} for role, text in said]
    lines = [{"messages": messages}, {"question_id": "x", "category": "c", "system": "d", "turns": ["a", "b"]}]
    path.write_text("\n".join(map(json.dumps, lines)))
    chat, turns = read_prompts(path)
    assert (chat.question_id, chat.category, chat.turns) == (1, "chat", ("c",))
    assert pair().encode_chat(messages) == Turn(chat).ids(pair(), None)
    assert tokens(pair(None), Turn(chat).ids(pair(None), None)) == "d\na\nb\nc"
    asked = [{"role": role, "content": text} for role, text in (*said[:3], ("user", "b"))]
    assert Turn(turns, 2).ids(pair(), None, ["b"]) == pair().encode_chat(asked)
    assert list(script(turns)) == [
        ("system", "d"), ("user, turn 1", "a"), ("assistant", "(its answer to turn 1)"), ("user, turn 2", "b"),
        ("assistant", "(its answer to turn 2)"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"question_id": 5, "category": "c", "system": "d", "turns": ["a"]}, "turn 1: .*System role not supported"),
        ({"messages": [{"role": "user", "content": text} for text in "ab"]}, "turn 1: .*Roles must alternate"),
    ],
)
def test_a_template_that_refuses_roles_names_the_line(tmp_path, line, words):
    (tmp_path / "mine.jsonl").write_text("\n" + json.dumps(line))
    (prompt,) = read_prompts(tmp_path / "mine.jsonl")
    for asks in (lambda: Turn(prompt).ids(pair(STRICT), None), lambda: longest(pair(STRICT), [prompt], None, 1)):
        with pytest.raises(ValueError, match=rf"mine\.jsonl, line 2, question_id .*, {words}"):
            asks()


def test_turns_alternate_with_answers_where_a_template_asks_for_it():
    prompt = Prompt(1, "c", ("a", "b"))
    assert tokens(pair(STRICT), tried(pair(STRICT), prompt, None)).startswith("<user>a<assistant>?<user>b")
    assert longest(pair(None), [prompt, Prompt(2, "c", ("a",))], None, 10) == len("a\n-\nb") + 2 * 10


def test_a_turn_beyond_the_context_is_named():
    made = pair(None)
    made.target.context = 5
    assert len(Turn(Prompt(7, "c", ("a", "c")), 2).fitting(made, None, ["d"])) == 5
    with pytest.raises(ValueError, match=r"question_id 7, turn 2: has 6 tokens with the answers .*context is 5"):
        Turn(Prompt(7, "c", ("ab", "c")), 2).fitting(made, None, ["d"])
    with pytest.raises(ValueError, match="question_id 7, turn 1: has 6 tokens, but"):
        Turn(Prompt(7, "c", ("aaaaaa",))).fitting(made, None)


def test_every_turn_of_a_stream_is_a_request():
    stream = as_given([Prompt(3, "a", ("x", "y")), Prompt(4, "b", ("z",))])
    found = [(turn.prompt.question_id, turn.number, turn.place, turn.segment, turn.at) for turn in stream.turns]
    assert found == [(3, 1, 0, 0, 0), (3, 2, 0, 0, 1), (4, 1, 1, 1, 2)]


def test_a_follow_up_waits_for_its_turn_alone():
    made, left_out = pair(None), dict[str, str]()
    prompts = [Prompt(i, "c", turns) for i, turns in enumerate((("a", "b"), ("c", "d" * 99), ("d",)))]
    waiting = Waiting([[10], [20], [30]], FollowUps(made, prompts, None, left_out))
    assert [next(waiting), next(waiting)] == [[10], [20]]
    waiting.ended(0, made.encode(["cc"]))
    assert next(waiting) == made.encode(["a", made.decode(made.encode(["cc"])), "b"])  # before what has not begun
    assert next(waiting) == [30]
    assert next(waiting) is None  # the second is not answered yet
    waiting.ended(1, made.encode(["a"]))
    assert list(left_out) == ["question_id 1, turn 2"]
    assert "left out, with what follows it: question_id 1, turn 2: has 103 tokens" in left_out["question_id 1, turn 2"]
    assert next(waiting) is None
    for number in (2, 3):
        waiting.ended(number, [1])
    with pytest.raises(StopIteration):
        next(waiting)
