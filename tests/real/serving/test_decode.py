# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""One draft–verify step and the loop: the law is exact, the counts are right, every end is handled."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import DRAFTERS, make_drafter  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.ngram import NGram  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import Session, alone, generate, step  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402
from tests.tabular import TabularLM, enumerate_step, output_law, total_variation  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402

GREEDY = Sampling(0.0)
PROMPT = [2, 0, 1]


def tabular_session(target, draft, prompt=PROMPT, new=9):
    def start() -> Session:
        return alone(target, Independent(draft, target.vocab), prompt, new)

    return start


SAMPLINGS = [Sampling(1.0), Sampling(0.6), Sampling(1.3, top_k=2), Sampling(1.0, top_p=0.7), Sampling(0.8, 2, 0.9)]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_sampled_law_is_the_targets_by_exact_enumeration(sampling):
    target, draft = TabularLM.random(1, 3), TabularLM.random(2, 3)
    leaves = enumerate_step(tabular_session(target, draft), 2, sampling)
    assert sum(mass for mass, *_ in leaves) == pytest.approx(1, abs=1e-12)
    law = output_law(target, PROMPT, leaves, 3, sampling)
    assert total_variation(law, target.text_law(PROMPT, 3, sampling)) < 1e-12


@pytest.mark.parametrize("rule", ["token", "block"])
def test_law_is_exact_where_drafts_end_early(rule):
    """The draft ends with its first improbable token, which is verified as well."""
    target, draft, sampling = TabularLM.random(1, 3), TabularLM.random(2, 3), Sampling(1.0)
    leaves = enumerate_step(tabular_session(target, draft), 2, sampling, rule, confidence=0.5)
    assert {step.drafted for _, step, _ in leaves} == {1, 2}
    assert sum(mass for mass, *_ in leaves) == pytest.approx(1, abs=1e-12)
    law = output_law(target, PROMPT, leaves, 3, sampling)
    assert total_variation(law, target.text_law(PROMPT, 3, sampling)) < 1e-12


@pytest.mark.parametrize("name", ["adapter", "heads", "hydra", "eagle", "mixture"])
def test_greedy_text_is_the_targets_when_drafts_end_early(name):
    pair = random_pair("llama", "float64")
    prompts = random_prompts(3, 256, 5)
    decoder = online_decoder(pair, make_drafter(name, pair), Frozen(), Serving(4, 16, GREEDY, 32, confidence=0.2))
    steps: list = []
    decoder.watch = steps.append
    assert [decoder.serve(prompt, Ledger())[0] for prompt in prompts] == reference(pair, prompts, 32)
    assert any(step.drafted < 4 for step in steps)


def test_law_over_two_consecutive_steps_is_exact():
    """The second step starts from rolled-back caches, so a bookkeeping error in either shows here."""
    sampling, target, draft = Sampling(1.0), TabularLM.random(3, 2), TabularLM.random(4, 2)
    first = enumerate_step(tabular_session(target, draft), 1, sampling)
    law: dict = {}
    for mass, done, uniforms in first:

        def start(uniforms=uniforms) -> Session:
            session = tabular_session(target, draft)()
            step(session, [1], sampling, torch.tensor([uniforms], dtype=torch.float64))
            return session

        middle = PROMPT + done.tokens
        for text, probability in output_law(target, middle, enumerate_step(start, 1, sampling), 3, sampling).items():
            cut = (*done.tokens, *text)[:4]
            law[cut] = law.get(cut, 0.0) + mass * probability
    assert total_variation(law, target.text_law(PROMPT, 4, sampling)) < 1e-12


@pytest.mark.parametrize("draft_vocab", [2, 4])
def test_law_is_exact_with_another_vocabulary(draft_vocab):
    """A draft without the target's last id gives it probability 0; an id only the draft has is never proposed."""
    target, sampling = TabularLM.random(5, 3), Sampling(1.0)
    table = TabularLM.random(6, 4).table[: target.vocab**2, :draft_vocab]
    draft = copy.copy(TabularLM.random(7, 3))
    draft.table = table
    leaves = enumerate_step(tabular_session(target, draft), 2, sampling)
    law = output_law(target, PROMPT, leaves, 3, sampling)
    assert total_variation(law, target.text_law(PROMPT, 3, sampling)) < 1e-12
    assert all(token < min(3, draft_vocab) for _, result, _ in leaves for token in result.drafted_tokens)


def test_ngram_law_is_exact():
    sampling, target = Sampling(1.0), TabularLM.random(8, 3)

    def start() -> Session:
        drafter = NGram(3, order=2)
        drafter.begin([0, 1, 2, 0, 1, 1, 0, 1])
        return alone(target, drafter, PROMPT, 9)

    law = output_law(target, PROMPT, enumerate_step(start, 2, sampling), 3, sampling)
    # the drafter reports float32 laws; acceptance compares them with float64 ones, exactly as reported
    assert total_variation(law, target.text_law(PROMPT, 3, sampling)) < 1e-7


def test_reported_laws_are_those_of_the_committed_positions():
    target, draft, sampling = TabularLM.random(9, 4), TabularLM.random(10, 4), Sampling(0.9)
    session = tabular_session(target, draft, new=200)()
    rng = torch.Generator().manual_seed(0)
    for done in generate(session, 3, sampling, rng):
        first = len(session.texts[0].tokens) - len(done.tokens)
        for i, row in enumerate(done.target_probs):
            before, last = session.texts[0].tokens[first + i - 2 : first + i]
            torch.testing.assert_close(row, sampling.law(target.table[before * 4 + last]))
        assert done.draft_probs is not None
        for i, row in enumerate(done.draft_probs[: len(done.tokens)]):
            before, last = session.texts[0].tokens[first + i - 2 : first + i]
            if i <= done.accepted:
                torch.testing.assert_close(row, sampling.law(draft.table[before * 4 + last]))
    assert len(session.texts[0].tokens) == 3 + 200
    assert session.memory.cache == session.texts[0].tokens[:-1]
    assert session.drafter.memory.cache == session.texts[0].tokens[: session.drafter.memory.lengths[0]]


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float64")
    return Pair(target, perturbed(target, 0.03, 1), None)


@pytest.mark.parametrize("name", DRAFTERS)
@pytest.mark.parametrize("new", [1, 2, 3, 7])
def test_ends_exactly_at_max_new_tokens(pair, name, new):
    plain = pair.target.model.generate(torch.tensor([[5, 6, 7]]), do_sample=False, max_new_tokens=new, pad_token_id=0)
    session = alone(pair.target, make_drafter(name, pair), [5, 6, 7], new)
    steps = list(generate(session, 4, GREEDY))
    assert session.texts[0].tokens == plain[0].tolist()
    assert sum(len(done.tokens) for done in steps) == new
    assert all(done.accepted <= len(done.tokens) <= done.drafted + 1 for done in steps)
    left = [new - sum(len(done.tokens) for done in steps[:i]) for i in range(len(steps))]
    assert [done.drafted for done in steps] == [min(4, count) for count in left]


def test_one_token_prompt(pair):
    session = alone(pair.target, make_drafter("adapter", pair), [9], 12, keep_prompt=True)
    list(generate(session, 4, GREEDY))
    plain = pair.target.model.generate(torch.tensor([[9]]), do_sample=False, max_new_tokens=12, pad_token_id=0)
    assert session.texts[0].tokens == plain[0].tolist()
    assert session.texts[0].prompt_logits is None


@pytest.mark.parametrize("name", DRAFTERS)
def test_stops_at_an_end_token_inside_a_step(pair, name):
    free = alone(pair.target, None, [5, 6, 7], 30)
    list(generate(free, 4, GREEDY))
    end = free.texts[0].tokens[3 + 9]
    session = alone(pair.target, make_drafter(name, pair), [5, 6, 7], 30, eos=frozenset([end]))
    list(generate(session, 4, GREEDY))
    assert session.texts[0].tokens == free.texts[0].tokens[: free.texts[0].tokens.index(end, 3) + 1]
    assert session.texts[0].done
    assert session.memory.cache.get_seq_length() == len(session.texts[0].tokens) - 1


def test_a_full_context_ends_the_request(pair):
    target = copy.copy(pair.target)
    target.context = 20
    session = alone(target, make_drafter("adapter", pair), [5, 6, 7], 100)
    list(generate(session, 4, GREEDY))
    assert len(session.texts[0].tokens) == 21
    assert session.memory.cache.get_seq_length() <= 20


def test_a_draft_with_a_shorter_context_falls_silent(pair):
    drafter = make_drafter("adapter", pair)
    drafter.context = 10
    session = alone(pair.target, drafter, [5, 6, 7], 30)
    steps = list(generate(session, 4, GREEDY))
    plain = pair.target.model.generate(torch.tensor([[5, 6, 7]]), do_sample=False, max_new_tokens=30, pad_token_id=0)
    assert session.texts[0].tokens == plain[0].tolist()
    assert steps[-1].drafted == 0
    assert drafter.memory.lengths[0] <= 10


def test_plain_steps_may_be_mixed_in(pair):
    session = alone(pair.target, make_drafter("adapter", pair), [5, 6, 7], 30)
    while not session.texts[0].done:
        for gamma in (0, 3):
            if not session.texts[0].done:
                step(session, [session.room(session.texts[0], gamma)], GREEDY, None)
    plain = pair.target.model.generate(torch.tensor([[5, 6, 7]]), do_sample=False, max_new_tokens=30, pad_token_id=0)
    assert session.texts[0].tokens == plain[0].tolist()


def test_same_generator_same_text_and_greedy_consumes_none(pair):
    def text(sampling: Sampling, seed: int) -> list[int]:
        session = alone(pair.target, make_drafter("adapter", pair), [5, 6], 40)
        rng = torch.Generator().manual_seed(seed)
        before = rng.get_state().clone()
        list(generate(session, 4, sampling, rng))
        assert torch.equal(before, rng.get_state()) == sampling.greedy
        return session.texts[0].tokens

    assert text(Sampling(1.0), 1) == text(Sampling(1.0), 1) != text(Sampling(1.0), 2)
    assert text(GREEDY, 1) == text(GREEDY, 2)


def test_prompt_logits_are_the_targets(pair):
    session = alone(pair.target, make_drafter("adapter", pair), [5, 6, 7, 8], 4, keep_prompt=True)
    with torch.inference_mode():
        want = pair.target.model(torch.tensor([[5, 6, 7]])).logits[0]
    torch.testing.assert_close(session.texts[0].prompt_logits, want)
    assert session.drafter.features(1, 4).shape == (3, 64)


def test_clock_sees_every_line(pair):
    from contextlib import nullcontext

    seen = []

    def clock(line: str):
        seen.append(line)
        return nullcontext()

    session = alone(pair.target, make_drafter("adapter", pair), [5, 6, 7], 6, clock=clock)
    list(generate(session, 2, GREEDY, clock=clock))
    assert seen[0] == "prefill"
    assert set(seen[1:]) == {"draft", "verify"}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda pair: Sampling(-1.0), "temperature=-1.0"),
        (lambda pair: Sampling(float("nan")), "temperature=nan"),
        (lambda pair: Sampling(top_k=-1), "top_k=-1"),
        (lambda pair: Sampling(top_p=0.0), "top_p=0.0"),
        (lambda pair: alone(pair.target, None, [], 5), "prompt of 0 tokens"),
        (lambda pair: alone(pair.target, None, [1], 0), "max_new_tokens=0"),
        (lambda pair: alone(pair.target, None, [1] * 600, 5), "prompt of 600 tokens"),
        (lambda pair: next(generate(alone(pair.target, None, [1], 5), -1, GREEDY)), "gamma=-1"),
        (lambda pair: next(generate(alone(pair.target, None, [1], 5), 1, GREEDY, rule="best")), "rule='best'"),
    ],
)
def test_errors_show_argument_and_value(pair, make, words):
    with pytest.raises(ValueError, match=words):
        make(pair)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.0)], ids=str)
def test_a_step_waits_for_the_device_once(sampling):
    pair = random_pair("qwen3", "float32")
    for model in (pair.target.model, pair.draft.model):
        model.to("cuda")
    session = alone(pair.target, make_drafter("adapter", pair), [5, 6, 7, 8], 40)
    stream = generate(session, 3, sampling, torch.Generator().manual_seed(0))
    next(stream)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # which itself warns that it is a prototype
        try:
            next(stream)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waited = [one for one in told if "called a synchronizing CUDA operation" in str(one.message)]
    assert len(waited) == 1
