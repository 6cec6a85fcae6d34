# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Bugs a learning speculative decoder invites, each planted here and seen by the checks.

A planted bug that the law check would not see means that the check is blind, not that the bug is harmless.
"""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import real.serving.step  # noqa: E402
from real.drafters import Adapter, Eagle  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.proposal import Proposal  # noqa: E402
from real.models.memory import OneText  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.feedback import Counts  # noqa: E402
from real.serving.step import Session, alone, generate  # noqa: E402
from real.verify.drafter_laws import loss_is_of_the_law_drafted  # noqa: E402
from real.verify.lossless import FALSE_ALARM, random_pair, random_prompts, reference, transforms, uniformity  # noqa: E402
from real.verify.on_trial import Broken, Subject  # noqa: E402
from tests.real.serving import test_online  # noqa: E402
from tests.tabular import TabularLM, enumerate_step, output_law, total_variation  # noqa: E402
from theory.speculation.acceptance import categorical, token_rule  # noqa: E402

PROMPT = [2, 0, 1]


def law_error(drafter_class, sampling: Sampling, gamma: int = 2, vocab: int = 3) -> float:
    """Total variation between what a step commits and the target's law, by exact enumeration."""
    target, draft = TabularLM.random(1, vocab), TabularLM.random(2, vocab)

    def start() -> Session:
        return alone(target, drafter_class(draft, vocab), PROMPT, 9)

    leaves = enumerate_step(start, gamma, sampling)
    law = output_law(target, PROMPT, leaves, gamma + 1, sampling)
    return total_variation(law, target.text_law(PROMPT, gamma + 1, sampling))


class RawLogits(Independent):
    """Samples from the processed law but reports the raw one."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        return made._replace(probs=self.laws_of(self.model, made.tokens[0].tolist()))

    def laws_of(self, model: TabularLM, drafted: list[int]):
        """Another model's laws along a draft ``[1, g, V]``."""
        text = [*self.texts[0].tokens, *drafted]
        first = len(text) - len(drafted)
        rows = [model.table[text[i - 2] * self.vocab + text[i - 1]] for i in range(first, len(text))]
        return torch.stack(rows).softmax(-1)[None]


class OtherDtype(Independent):
    """Reports its law rounded to bfloat16."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        return made._replace(probs=made.probs.bfloat16().double())


class SwappedInBetween(RawLogits):
    """Its weights change after drafting; the law is recomputed from the new ones instead of being stored."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = Independent.propose(self, lengths, sampling, uniforms)
        return made._replace(probs=self.laws_of(TabularLM.random(99, self.vocab), made.tokens[0].tolist()))


class ChoosesAfterTheSample(RawLogits):
    """Two drafters sample with the same uniform; the one surer of its own sample speaks and reports its own law."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        other, drafted, laws = TabularLM.random(77, self.vocab), [], []
        for i in range(lengths[0]):
            options = [self.laws_of(model, [*drafted, 0])[0, -1] for model in (self.model, other)]
            tokens = [int(categorical(law, uniforms[0, i])) for law in options]
            best = max((0, 1), key=lambda k: float(options[k][tokens[k]]))
            drafted.append(tokens[best])
            laws.append(options[best])
        return Proposal(torch.tensor([drafted]), torch.stack(laws)[None], list(lengths))


@pytest.mark.parametrize(
    "drafter, sampling, at_least",
    [
        (RawLogits, Sampling(1.0, top_k=2), 0.01),
        (RawLogits, Sampling(1.0, top_p=0.7), 0.05),
        (RawLogits, Sampling(0.5), 0.05),
        (OtherDtype, Sampling(1.0), 1e-5),
        (SwappedInBetween, Sampling(1.0), 0.05),
    ],
)
def test_reporting_another_law_than_the_one_sampled_is_seen(drafter, sampling, at_least):
    assert law_error(Independent, sampling) < 1e-12
    assert law_error(drafter, sampling) > at_least


@pytest.mark.slow
def test_choosing_a_drafter_after_its_sample_is_seen():
    """The draft's choice is no longer monotone in its uniform, so the law is estimated: 20,000 steps, 5 sigma."""
    target, draft = TabularLM.random(1, 3), TabularLM.random(2, 3)
    sampling, count = Sampling(1.0), 20000
    want = sampling.law(target.table[PROMPT[-2] * 3 + PROMPT[-1]])
    for drafter, wrong in ((Independent, False), (ChoosesAfterTheSample, True)):
        rng, seen = torch.Generator().manual_seed(0), torch.zeros(3, dtype=torch.float64)
        made = drafter(draft, 3)
        for _ in range(count):
            made.begin(list(PROMPT))
            uniforms = torch.rand(3, generator=rng, dtype=torch.float64)
            (tokens,), (probs,), _ = made.propose([1], sampling, uniforms[None, :1])
            laws = torch.stack([want, sampling.law(target.table[PROMPT[-1] * 3 + int(tokens)])])
            accepted, token = token_rule(laws, probs, tokens, uniforms[1:])
            seen[int(tokens) if int(accepted) else int(token)] += 1
        deviation = ((seen / count - want) / (want * (1 - want) / count).sqrt()).abs().max()
        assert (float(deviation) > 5) == wrong


class OffByOne(OneText):
    """Leaves the last rejected token in the cache."""

    def keep(self, row: int, length: int) -> None:
        super().keep(row, min(length + 1, self.lengths[row]))
        self.lengths[row] = length


def sampled_p_value(drafter_class=Adapter, requests: int = 20, new: int = 50) -> float:
    pair, prompts, sampling = random_pair("llama", "float32"), random_prompts(requests, 256, 9), Sampling(1.0)
    rng, judge, values = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), []
    drafter = drafter_class(pair.draft, pair.target.vocab)
    for prompt in prompts:
        session = alone(pair.target, drafter, prompt, new)
        list(generate(session, 4, sampling, rng))
        values.append(transforms(pair, prompt, session.texts[0].committed, sampling, judge))
    return uniformity(torch.cat(values))


def test_a_target_cache_off_by_one_is_seen_sampled_and_greedy(monkeypatch):
    assert sampled_p_value() >= FALSE_ALARM
    pair, prompt = random_pair("llama", "float64"), random_prompts(1, 256, 9)[0]
    wanted = reference(pair, [prompt], 32)[0]
    monkeypatch.setattr(real.serving.step, "memory_of", lambda reader, rows: OffByOne(reader))
    assert sampled_p_value() < FALSE_ALARM
    session = alone(pair.target, Adapter(pair.draft, pair.target.vocab), prompt, 32)
    list(generate(session, 4, Sampling(0.0)))
    assert session.texts[0].committed != wanted


class ReportsRaw(Adapter):
    """On a real model: samples at temperature 1, reports the law of temperature 2."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        return made._replace(probs=made.probs.sqrt() / made.probs.sqrt().sum(-1, keepdim=True))


def test_a_wrong_law_on_a_real_model_is_seen():
    assert sampled_p_value(ReportsRaw) < FALSE_ALARM


def test_a_stale_draft_cache_is_not_a_fault_of_the_law_but_of_the_features(monkeypatch):
    """The law sampled is the law reported, so the text stays lossless: only equality with a fresh forward shows it."""
    import real.drafters.independent as independent

    pair, prompt = random_pair("llama", "float64"), random_prompts(1, 256, 9)[0]
    wanted = reference(pair, [prompt], 32)[0]
    monkeypatch.setattr(independent, "memory_of", lambda reader, rows: OffByOne(reader))
    drafter = Adapter(pair.draft, pair.target.vocab)
    session = alone(pair.target, drafter, prompt, 32)
    list(generate(session, 4, Sampling(0.0)))
    drafter.catch_up()
    assert session.texts[0].tokens[len(prompt) :] == wanted
    with torch.inference_mode():
        fresh = pair.draft.hidden(torch.tensor(session.texts[0].tokens[:-1]))[len(prompt) - 1 :]
    assert not torch.allclose(drafter.features(len(prompt), len(session.texts[0].tokens)), fresh)


def test_a_feature_paired_with_its_own_token_in_training_is_seen(monkeypatch):
    """The public code trains EAGLE on feature t with token t, and serves it with token t + 1."""
    right = Eagle.loss

    def misaligned(self, pieces, objective):
        return right(self, [replace(piece, tokens=[piece.tokens[0], *piece.tokens]) for piece in pieces], objective)

    eagle = Subject.of("eagle")
    loss_is_of_the_law_drafted(eagle)
    monkeypatch.setattr(Eagle, "loss", misaligned)
    with pytest.raises(Broken, match="the loss is"):
        loss_is_of_the_law_drafted(eagle)


def test_a_bonus_token_counted_twice_is_seen(monkeypatch):
    right, pair = Counts.add, random_pair("qwen3", "float64")

    def twice(self, step):
        right(self, step)
        self.tokens += not step.rejected

    test_online.test_counts_are_those_of_the_steps(pair)
    monkeypatch.setattr(Counts, "add", twice)
    with pytest.raises(AssertionError):
        test_online.test_counts_are_those_of_the_steps(pair)
