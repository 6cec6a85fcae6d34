# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
"""Drafts of copies alone: their law, that no model runs for them, and that the text stays the target's."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.backoff import TOGETHER, Backoff  # noqa: E402
from real.drafters.base import COPIES, MIXED, MODEL  # noqa: E402
from real.drafters.copying import propose_copies  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.memory import WAITING  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.uniform import Uniform  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.models.text import Text  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import Session, alone  # noqa: E402
from real.verify.on_trial import pair_of  # noqa: E402
from tests.tabular import TabularLM, enumerate_step, output_law, total_variation  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402

V = 128
PARTS = ("independent", "backoff@independent", ("backoff@backoff", {"scope": "global"}))


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pair_of()


def made(pair: Pair, name: str):
    """Copies within a text and of all texts, mixed with the draft, or on it one on the other."""
    if name == "mixture":
        return make_drafter("mixture", pair, parts=PARTS)
    return make_drafter("backoff", pair, base=make_drafter("backoff", pair), scope="global")


def repeated(count: int, length: int = 24, seed: int = 0) -> list[list[int]]:
    """Prompts that say the same few tokens over and over."""
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 4, (length,), generator=rng).tolist() for _ in range(count)]


def decoder_by(pair: Pair, drafter, by, **settings):
    """A decoder that drafts each step by the way ``by(step, finds)`` says, and what each step was."""
    serving = Serving(3, 8, max_new_tokens=40, **settings)
    made = online_decoder(pair, drafter, Hedge(0.3) if drafter.trains else Frozen(), serving, seed=1)
    steps, plain_step = [], made._step

    def stepped(ledger):
        way = by(len(steps), drafter.finds)
        drafter.draft_by(way)
        found = plain_step(ledger)
        steps.append((way, [taken for _, taken in found]))
        return found

    made._step = stepped
    return made, steps


def where_found(at: int, finds) -> str:
    return COPIES if finds() else MODEL


@torch.inference_mode()
@pytest.mark.parametrize("name", ["mixture", "backoff"])
def test_the_mixed_law_is_what_is_copied_and_the_rest_of_the_models(pair, name):
    drafter = made(pair, name)
    decoder, _ = decoder_by(pair, drafter, lambda at, finds: MIXED)
    for prompt in repeated(4):
        decoder.serve(prompt, Ledger())
    model = Independent(pair.draft, V)
    for one in (drafter, model):
        one.begin(repeated(1, seed=9)[0])
    drafted, copied = [], []
    for token in (2, 0, 1):
        drafter.begin(repeated(1, seed=9)[0])
        mass = [drafter.copied_after(drafted[:i]) for i in range(len(drafted) + 1)][-1]
        law = [drafter.logits_after(drafted[:i]).softmax(-1) for i in range(len(drafted) + 1)][-1]
        ground = model.logits_after(drafted).softmax(-1)
        torch.testing.assert_close(law, (mass + (1 - mass.sum()) * ground).to(law), rtol=1e-5, atol=1e-7)
        copied.append(float(mass.sum()))
        drafted.append(torch.tensor([token]))
    assert 0.1 < min(copied) <= max(copied) < 1


class Mixed(Mixture):
    def __init__(self, model, vocab):
        first = Independent(model, vocab)
        super().__init__([first, Backoff(first, least=1)])


class Copies(Backoff):
    def __init__(self, model, vocab):
        super().__init__(Independent(model, vocab), least=1)


def law_error(kind, sampling: Sampling, rule: str, vocab: int = 3, gamma: int = 2) -> tuple[float, set[int]]:
    """Total variation of what a step of copies alone commits and the target's law, and the lengths of its drafts."""
    target, draft, prompt = TabularLM.random(1, vocab), TabularLM.random(2, vocab), [2, 0, 1, 0, 2, 0, 1, 2, 0]

    def start() -> Session:
        session = alone(target, kind(draft, vocab), prompt, 9)
        assert session.drafter.finds()
        session.drafter.draft_by(COPIES)
        return session

    leaves = enumerate_step(start, gamma, sampling, rule)
    law = output_law(target, prompt, leaves, gamma + 1, sampling)
    lengths = {taken.drafted for _, taken, _ in leaves}
    return total_variation(law, target.text_law(prompt, gamma + 1, sampling)), lengths


@pytest.mark.parametrize("rule", ["token", "block"])
@pytest.mark.parametrize("kind", [Mixed, Copies])
@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.6), Sampling(1.0, top_k=2)], ids=str)
def test_a_step_of_copies_alone_commits_the_targets_law(kind, rule, sampling):
    error, lengths = law_error(kind, sampling, rule)
    assert error < 1e-6
    assert 2 in lengths


def test_a_law_that_was_not_sampled_from_is_seen(monkeypatch):
    def of_all(drafter, *given):
        made = propose_copies(drafter, *given)
        return made._replace(probs=0.5 * made.probs + 0.5 / made.probs.shape[-1])

    monkeypatch.setattr("real.serving.step.propose_copies", of_all)
    assert law_error(Copies, Sampling(1.0), "token")[0] > 0.01


@torch.inference_mode()
def test_something_is_found_only_if_it_is_for_every_text():
    drafter, texts = Backoff(Uniform(9), "local", least=2), []
    drafter.open(texts, 3)
    for tokens in ([1, 2, 3, 1, 2], [1, 2, 3, 4, 5, 1, 2], [5, 6, 7]):
        texts.append(Text(list(tokens), len(tokens)))
        drafter.enter()
    assert not drafter.finds()
    drafter.leave(2)
    texts.pop()
    assert drafter.finds()
    found = propose_copies(drafter, [4, 4], Sampling(0.0), None)
    assert found == (pytest.approx(torch.tensor([[3, 1, 2, 3], [3, 4, 5, 1]])), None, [4, 4])


class Ending(Uniform):
    """Copies token 2 twice as likely as token 1, until text ``row`` has ``ends[row]`` drafted tokens."""

    ends = (2, 1, 9)

    def copied_after(self, drafted):
        return torch.tensor([[0.0, 0.1, 0.2] if len(drafted) < end else [0.0] * 3 for end in self.ends])


@torch.inference_mode()
@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.0), Sampling(0.5)], ids=str)
@pytest.mark.parametrize(("asked", "confidence", "counts"), [([4, 4, 3], 0.0, [2, 1, 3]), ([1, 0, 1], 0.0, [1, 0, 1]),
                                                             ([4, 4, 4], 0.9, [1, 1, 1])])  # fmt: skip
def test_a_draft_ends_where_nothing_is_found_each_text_for_itself(sampling, asked, confidence, counts):
    drafter = Ending(3)
    drafter.open([Text([0], 1) for _ in asked])
    drawn = None if sampling.greedy else torch.full((3, 4), 0.5, dtype=torch.float64)
    tokens, laws, found = propose_copies(drafter, asked, sampling, drawn, confidence)
    assert found == counts
    for row, count in enumerate(counts):
        assert tokens[row, :count].tolist() == [2] * count
        if laws is not None:
            law = sampling.law(torch.tensor([0.0, 1.0, 2.0]).log())
            torch.testing.assert_close(laws[row, :count], law.expand(count, 3))
    assert (laws is None) == sampling.greedy


@pytest.mark.parametrize("name", ["mixture", "backoff"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_no_model_reads_where_copies_draft_and_greedy_texts_stay(pair, name, temperature):
    drafter = made(pair, name)
    decoder, steps = decoder_by(pair, drafter, where_found, sampling=Sampling(temperature))
    read = []

    def counted(self, ids, counts, plain=Independent._append):
        read.append(drafter.way)
        return plain(self, ids, counts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Independent, "_append", counted)
        texts = [decoder.serve(prompt, Ledger())[0] for prompt in repeated(4)]
    drafted = Counter(way for way, (taken,) in steps if taken.drafted)
    assert min(drafted[COPIES], drafted[MODEL]) > 3
    assert set(read) == {MODEL}
    if temperature == 0:
        plain = online_decoder(pair, None, Hedge(0.3), Serving(3, 8, Sampling(0.0), 40))
        assert texts == [plain.serve(prompt, Ledger())[0] for prompt in repeated(4)]


@pytest.mark.parametrize("name", ["mixture", "backoff"])
def test_to_ask_what_is_found_changes_nothing(pair, name):
    """Asked before every step or never: texts, memories and weights are the same."""
    asked, silent = (decoder_by(pair, made(pair, name), by)[0] for by in (lambda at, finds: (finds(), MIXED)[1],
                                                                          lambda at, finds: MIXED))  # fmt: skip
    for prompt in repeated(6):
        assert asked.serve(prompt, Ledger())[0] == silent.serve(prompt, Ledger())[0]
    one, other = asked.state(), silent.state()
    assert one.keys() == other.keys()
    for key, part in one.items():
        torch.testing.assert_close(part, other[key], rtol=0, atol=0)
    table = asked.drafter.parts[2] if name == "mixture" else asked.drafter
    assert table.filled > 20


def test_what_waits_to_be_remembered_is_bounded_also_where_no_model_runs(pair):
    drafter = made(pair, "backoff")
    decoder, steps = decoder_by(pair, drafter, where_found, sampling=Sampling(0.0))
    waiting = []
    for _ in decoder.steps(repeated(3), Ledger()):
        waiting.append(drafter._waiting)
    assert Counter(way for way, _ in steps)[COPIES] > 10
    assert max(waiting) < TOGETHER + 3 + 1


def test_of_positions_that_copies_drafted_nothing_is_learned_and_the_others_have_their_laws(pair):
    drafter = made(pair, "mixture")
    decoder, steps = decoder_by(pair, drafter, lambda at, finds: (COPIES if finds() else MODEL) if at % 3 else MIXED)
    seen, spans = [], []
    decoder.learning.record = seen.extend
    for prompt in repeated(6):
        at = len(prompt)
        before = len(steps)
        decoder.serve(prompt, Ledger())
        for way, (taken,) in steps[before:]:
            spans.append((way, at, at + len(taken.tokens)))
            at += len(taken.tokens)
    learned = 0
    for piece in seen:
        laws = piece.features
        known = laws.sum((-1, -2)) > 0
        torch.testing.assert_close(laws[known].sum(-1), torch.ones_like(laws[known].sum(-1)))
        with torch.inference_mode():
            draft = pair.draft.logits(torch.tensor(list(piece.tokens[: piece.stop - 1])))[piece.start - 1 :].softmax(-1)
        torch.testing.assert_close(laws[known][:, 0].to(draft), draft[known], rtol=1e-4, atol=1e-6)
        learned += int(known.sum())
    mixed = sum(stop - start for way, start, stop in spans if way == MIXED)
    assert 0 < learned <= sum(piece.stop - piece.start for piece in seen) <= mixed


@torch.inference_mode()
def test_copies_are_shaped_as_the_generation_config_says(pair):
    """A token that must not come is never copied; where all that was found must not come, the draft ends."""
    drafter = made(pair, "backoff")
    drafter.begin([1, 2, 3, 1, 2, 4, 1, 2])
    (text,) = drafter.texts
    drafter.draft_by(COPIES)
    text.shape = lambda ids, logits: logits.index_fill(-1, torch.tensor([3]), float("-inf"))
    tokens, laws, counts = propose_copies(drafter, [1], Sampling(1.0), torch.tensor([[0.01]], dtype=torch.float64))
    assert (tokens.tolist(), counts) == ([[4]], [1])
    assert float(laws[0, 0, 4]) == pytest.approx(1.0)
    text.shape = lambda ids, logits: logits.index_fill(-1, torch.tensor([3, 4]), float("-inf"))
    tokens, laws, counts = propose_copies(drafter, [1], Sampling(1.0), torch.tensor([[0.01]], dtype=torch.float64))
    assert (tokens.shape, laws, counts) == ((1, 0), None, [0])


def test_a_mixture_of_what_copies_nothing_finds_nothing(pair):
    made = make_drafter("mixture", pair, parts=("independent", "ngram"))
    made.begin([1, 2, 1, 2, 1, 2])
    assert not made.finds()


def test_what_copies_nothing_says_so(pair):
    drafter = make_drafter("independent", pair)
    assert not drafter.copying
    drafter.begin([1, 2, 3])
    assert not drafter.finds()
    with pytest.raises(NotImplementedError, match="Independent: copies nothing"):
        drafter.copied_after([])
    assert not make_drafter("mixture", pair, parts=PARTS, mode="kl").copying


def test_a_session_begins_with_all_of_a_drafter(pair):
    """Whatever way another decoder has left it at."""
    drafter = made(pair, "backoff")
    drafter.draft_by(MODEL)
    alone(pair.target, drafter, [1, 2, 3], 4)
    assert (drafter.way, drafter.base.way, drafter.base.base.way) == (MIXED,) * 3


@pytest.mark.parametrize("name", ["mixture", "backoff"])
def test_what_waits_for_the_draft_is_bounded_where_it_never_reads(pair, name):
    """A memory keeps the target's laws until the draft has read on, which copies alone never make it do."""
    drafter = make_drafter("mixture", pair) if name == "mixture" else make_drafter(
        "backoff", pair, base=make_drafter("memory", pair))  # fmt: skip
    memory = drafter.parts[1] if name == "mixture" else drafter.base
    serving = Serving(3, 8, Sampling(0.0), 300)
    decoder = online_decoder(pair, drafter, Hedge(0.3) if name == "mixture" else Frozen(), serving, seed=1)
    step, waiting = decoder._step, []

    def copied(ledger):
        drafter.draft_by(COPIES)
        found = step(ledger)
        waiting.append(sum(map(len, memory._open[0])) if memory._open else 0)
        return found

    decoder._step = copied
    decoder.serve(repeated(1)[0], Ledger())
    assert max(waiting) <= WAITING + 3
    assert max(waiting) > WAITING - 4


@pytest.mark.parametrize("rows", [1, 3])
def test_where_nothing_is_found_a_memory_still_learns_every_parts_own_law(pair, rows):
    """Of a mixture with a memory: its copying parts are looked up as ever, so that no other law is taken for theirs."""
    laws = []
    for ways in (MODEL, MIXED):
        drafter = make_drafter("mixture", pair)
        decoder = online_decoder(pair, drafter, Hedge(0.3), Serving(3, 8, max_new_tokens=40), seed=1, rows=rows)
        seen = []
        decoder.learning.record = seen.extend
        step = decoder._step

        def by(ledger, step=step, drafter=drafter, way=ways):
            drafter.draft_by(way)
            return step(ledger)

        decoder._step = by
        list(decoder.serve_all(repeated(4), Ledger()))
        laws.append(torch.cat([piece.features for piece in seen]))
    torch.testing.assert_close(*laws, rtol=0, atol=0)
