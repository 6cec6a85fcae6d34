# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Conversations in contests: every decoder reads its own answers, alone and in rows; what cannot be asked ends them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.contenders import AtRest, Group, InRows  # noqa: E402
from real.measure.contest import Totals  # noqa: E402
from real.measure.in_turn import converse  # noqa: E402
from real.measure.rivals import Generate, compared  # noqa: E402
from real.measure.served import Comparison  # noqa: E402
from real.measure.throughput import GenerateInRows, throughput  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import Models, decoder_of, drafter_of  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.traffic.prompts import Prompt  # noqa: E402
from real.traffic.streams import as_given  # noqa: E402
from real.traffic.turns import FollowUps, Turn, Waiting, encoded, turns_of  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from tests.real.models.test_models import CHAT, tokenizer  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

LETTERS = "".join(chr(ord("一") + i) for i in range(124))
PROMPTS = [Prompt(i, "c", tuple(LETTERS[7 * i + k : 9 * i + 2 * k + 1] for k in range(1 + i % 3))) for i in range(6)]
GREEDY, SAMPLED, NEW = Sampling(0.0), Sampling(1.0), 6


@pytest.fixture(scope="module", params=[None, CHAT], ids=["plain", "chat"])
def pair(request) -> Pair:
    """Every token is a letter, so that answers are read again as something."""
    target = random_model("llama", 0, "float64", vocab=128, layers=1)
    return Pair(target, perturbed(target, 0.05, 1), tokenizer(" ".join(LETTERS), request.param))


def conversations(pair: Pair) -> list[list[list[int]]]:
    """What transformers' greedy ``generate`` answers to every turn after its own answers."""
    found = []
    for prompt in PROMPTS:
        said, texts = [], []
        for turn in prompt.turns:
            said.append(turn)
            texts += reference(pair, [pair.encode(said)], NEW)
            said.append(pair.decode(texts[-1]))
        found.append(texts)
    return found


class Kept:
    """A contender that keeps what it was asked and what it answered."""

    def __init__(self, contender):
        self.contender, self.log = contender, []

    @property
    def text(self):
        return self.contender.text

    def serve(self, request):
        measured = self.contender.serve(request)
        self.log.append((request.prompt, self.text))
        return measured


def contenders(pair: Pair, sampling: Sampling) -> dict[str, Kept]:
    how = sampling, NEW
    return {"ours": Kept(AtRest(pair, "independent", 3, *how)), "theirs": Kept(Generate(pair, *how))}


def test_greedily_all_answer_every_turn_as_generate_does(pair):
    serving, left_out = contenders(pair, GREEDY), []
    runs = converse(serving, list(turns_of(PROMPTS)), pair, None, left_out)
    wanted = [text for texts in conversations(pair) for text in texts]
    for name, one in serving.items():
        assert [text for _, text in one.log] == wanted
        places = [(row["prompt"], row["turn"]) for row in runs[name]]
        assert places == [(i, k + 1) for i, prompt in enumerate(PROMPTS) for k in range(len(prompt.turns))]
    assert left_out == []


def test_sampled_everybody_reads_answers_of_their_own(pair):
    serving = contenders(pair, SAMPLED)
    converse(serving, list(turns_of(PROMPTS)), pair, None, [])
    asked = {}
    for name, one in serving.items():
        log = iter(one.log)
        for prompt in PROMPTS:
            said = []
            for turn in prompt.turns:
                ids, text = next(log)
                assert ids == pair.encode([*said, turn])
                said += [turn, pair.decode(text)]
        asked[name] = [ids for ids, _ in one.log]
    assert asked["ours"] != asked["theirs"]


def test_a_turn_that_no_longer_fits_ends_its_conversation_for_all(pair, monkeypatch):
    first, second, _ = PROMPTS[2].turns
    monkeypatch.setattr(pair.target, "context", len(pair.encode([first, "", second])) + 2)  # answers are longer
    short = [prompt for prompt in PROMPTS if len(Turn(prompt).ids(pair, None)) <= pair.target.context]
    serving, left_out = contenders(pair, GREEDY), []
    runs = converse(serving, list(turns_of(short)), pair, None, left_out)
    assert len(runs["ours"]) == len(runs["theirs"]) >= len(short)
    assert [row["prompt"] for row in runs["ours"] if row["turn"] == 1] == list(range(len(short)))
    assert any("question_id 2, turn 2: has" in line and "left out, with what follows it" in line for line in left_out)
    assert not any("turn 3" in line for line in left_out)


def test_a_conversation_is_drawn_whole(pair):
    serving, turns = contenders(pair, GREEDY), list(turns_of(PROMPTS))
    totals = compared(serving, encoded(pair, PROMPTS, None), lambda all: converse(all, turns, pair, None, []))
    of = totals.columns["ours"]["prompt"]
    assert all((totals.weights[:, of == i] == totals.weights[:, of == i][:, :1]).all() for i in range(len(PROMPTS)))
    alone = {"a": [{"prompt": float(i), "tokens": 1.0} for i in range(5)]}
    np.testing.assert_array_equal(Totals.of(alone, together="prompt").weights, Totals.of(alone).weights)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_in_rows_a_follow_up_enters_when_the_turn_before_has_ended(pair, rows):
    method, serving = Method("adapter", OGD(8.0)), Serving(3, 8, GREEDY, NEW, burn_in=16)
    decoder = decoder_of(pair, method, drafter_of(pair, method, serving), serving, rows=rows)
    waiting = Waiting(encoded(pair, PROMPTS, None), FollowUps(pair, PROMPTS, None, {}))
    beside = []
    for one in decoder.serve_all(waiting, Ledger()):
        beside.append(len(decoder.requests))
        waiting.ended(one.number, one.tokens)
    assert waiting.texts == conversations(pair)
    assert max(beside) == rows - 1  # the others are still there: nothing waits for them


def test_groups_of_conversations_are_the_same_work_for_both(pair):
    following = FollowUps(pair, PROMPTS, None, {})
    group, wanted = Group(encoded(pair, PROMPTS, None), 1, following), conversations(pair)
    end = wanted[2][1][2]  # an end token cuts answers short, and later turns follow on them
    for one in (InRows(pair, "independent", 3, GREEDY, NEW), GenerateInRows(pair, GREEDY, NEW)):
        assert one.serve(group)["tokens"] == sum(len(text) for texts in wanted for text in texts)
    pair.target.eos, pair.target.model.generation_config.eos_token_id = frozenset([end]), end
    try:
        ours, theirs = (
            one.serve(group)["tokens"] for one in (InRows(pair, "", 3, GREEDY, NEW), GenerateInRows(pair, GREEDY, NEW))
        )
    finally:
        pair.target.eos, pair.target.model.generation_config.eos_token_id = frozenset(), None
    assert ours == theirs < sum(len(text) for texts in wanted for text in texts)
    (found,) = throughput(
        pair, group.prompts, NEW, GREEDY, 3, (3,), lambda part: FollowUps(pair, PROMPTS[part], None, {})
    )
    assert found["rows"] == 3


def test_a_comparison_goes_on_in_the_middle_of_a_conversation(tmp_path, pair):
    """Sampled, with learning: what is served after an interruption is what would have been served."""
    models = Models.__new__(Models)
    models.target, models.family, models.chat, models.dtype, models.device = "t", "", None, "float64", "cpu"
    models.pairs, models.drafts = {"specialist": pair}, {"specialist": "d"}
    serving, methods = (
        Serving(3, 8, SAMPLED, NEW, burn_in=16),
        {"plain": Method(None), "ogd": Method("adapter", OGD(8))},
    )

    def made() -> Comparison:
        return Comparison(models, methods, as_given(PROMPTS), serving, 3)

    def counts(one: Comparison) -> list:
        return [
            {key: value for key, value in row.items() if not key.startswith("seconds")}
            for rows in one.rows.values()
            for row in rows
        ]

    whole = made()
    whole.run()
    assert [turn.number for turn in (whole.turn(i) for i in range(whole.served))] == [1, 1, 2, 1, 2, 3] * 2
    stopped = made()

    def stop() -> None:
        stopped.save_checkpoint(tmp_path, {})
        if stopped.served == 5:  # two of three turns
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(after=stop)
    resumed = made()
    resumed.load_checkpoint(tmp_path, {})
    resumed.run()
    assert counts(resumed) == counts(whole)
