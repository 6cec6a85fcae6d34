# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Under the Gumbel rule the seed fixes a sampled text: `generate` with its noise, whatever drafts or is learned."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.generation import Generation  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import random_model  # noqa: E402
from real.models.sampling import Sampling, drawn  # noqa: E402
from real.serving import step as module  # noqa: E402
from real.serving.chains import Chains  # noqa: E402
from real.serving.decoder import in_order, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.verify.lossless import (  # noqa: E402
    GUMBEL,
    TIE,
    check_greedy,
    compare,
    random_pair,
    random_prompts,
    reference,
)
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.mixture import Mixture  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.speculation.gumbel_rule import gumbel_rule, key, noise  # noqa: E402

SEED, NEW, BURN_IN = 11, 24, 16
PROMPTS = random_prompts(5, 256, 7)
SHAPING = Sampling(0.8, top_k=40, top_p=0.95)
LEARNERS = {"adapter": OGD(64.0), "weights": Adam(1e-3), "mixture": Mixture()}


@pytest.fixture(scope="module")
def pair():
    return random_pair("llama", "float64")


def texts(pair, drafter=None, gamma=3, rows=1, sampling=SHAPING, watch=None, seed=SEED, learner=None, **settings):
    """What is served of ``PROMPTS``; the learner moves the drafter while it serves."""
    serving = Serving(gamma, 8, sampling, NEW, burn_in=BURN_IN, rule="gumbel", **settings)
    more = {"burn_in": BURN_IN} if drafter == "adapter" else {}
    made = make_drafter(drafter, pair, **more) if isinstance(drafter, str) else drafter
    learner = LEARNERS.get(drafter, Frozen()) if learner is None else learner
    decoder = online_decoder(pair, made, learner, serving, seed, rows, watch=watch)
    return [of.tokens for of in in_order(decoder.serve_all(PROMPTS, Ledger()))]


# One text


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_every_drafter_serves_what_generate_chooses_by_the_same_noise(family, capsys):
    """All kinds, all learning, in rows, by cost, cut short by confidence; in float64 without exception."""
    pair, prompts = random_pair(family, "float64"), PROMPTS[:3]
    methods = GUMBEL if family == "llama" else {name: GUMBEL[name] for name in ("plain gumbel", "adapter gumbel")}
    assert check_greedy(family, pair, prompts, 32, methods, seed=SEED)
    assert capsys.readouterr().out.count("identical    3/3") == len(methods) > 1


DRAFTED = [
    *(("adapter", gamma, rows, {}) for gamma in (1, 2, 3, 4) for rows in (1, 4)),
    *((name, 3, rows, {}) for name in ("independent", "ngram", "mixture") for rows in (1, 4)),
    ("adapter", 4, 1, {"learner": Frozen()}),
    ("weights", 4, 1, {}),
    ("adapter", 4, 4, {"confidence": 0.05}),
    ("adapter", 4, 1, {"law_top_k": 8, "costs": (1.0, 1.3, 1.5, 1.6, 1.7), "switch_cost": 0.2}),
]


@pytest.fixture(scope="module")
def plain(pair):
    return texts(pair)


@pytest.mark.parametrize(("drafter", "gamma", "rows", "settings"), DRAFTED, ids=str)
def test_the_text_is_that_of_plain_decoding(pair, plain, drafter, gamma, rows, settings):
    steps = []
    assert texts(pair, drafter, gamma, rows, watch=steps.append, **settings) == plain
    assert any(step.rejected for step in steps), "nothing was rejected: the test is too easy"
    assert any(step.accepted for step in steps)


def test_plain_rows_another_seed_and_requests_asked_again(pair, plain):
    assert texts(pair, rows=4) == plain
    other = texts(pair, seed=SEED + 1)
    assert all(one != text for one, text in zip(other, plain, strict=True))
    serving = Serving(3, 8, SHAPING, NEW, rule="gumbel")
    decoder = online_decoder(pair, None, Frozen(), serving, SEED)
    again = [decoder.serve(PROMPTS[0], Ledger())[0] for _ in range(2)]
    assert again[0] == plain[0]
    assert again[1] != plain[0], "a request that comes again has noise of its own"


def test_the_generation_config_shapes_what_target_and_draft_choose(plain):
    shaping, never = random_pair("llama", "float64"), {text[0] for text in plain}
    shaping.target.model.generation_config.suppress_tokens = sorted(never)
    shaping.target.generation = Generation(shaping.target.model, "the target")
    shaped = texts(shaping)
    assert not {token for text in shaped for token in text} & never
    for drafter, rows in (("adapter", 1), ("mixture", 1), ("adapter", 4)):
        assert texts(shaping, drafter, rows=rows) == shaped


@pytest.mark.parametrize("rows", [1, 4])
def test_the_target_as_its_own_draft_is_always_accepted(rows):
    """Draft, target and bonus tokens share the noise of a place, wherever it is in a step."""
    target = random_model("llama", 0, "float64")
    steps = []
    texts(Pair(target, target, None), "independent", rows=rows, watch=steps.append)
    assert not any(step.rejected for step in steps)
    assert max(step.accepted for step in steps) == 3


def test_a_decoder_goes_on_from_its_state(pair, plain):
    serving = Serving(3, 8, SHAPING, NEW, burn_in=BURN_IN, rule="gumbel")
    make = partial(online_decoder, pair, learner=OGD(64.0), serving=serving, seed=SEED)
    first, second = (make(make_drafter("adapter", pair, burn_in=BURN_IN)) for _ in range(2))
    served = [first.serve(prompt, Ledger())[0] for prompt in PROMPTS[:2]]
    second.restore(first.state())
    assert served + [second.serve(prompt, Ledger())[0] for prompt in PROMPTS[2:]] == plain


def test_greedy_decoding_is_as_ever(pair):
    assert texts(pair, "adapter", sampling=Sampling(0.0)) == reference(pair, PROMPTS, NEW)


# float32: near-ties, and nothing else


def test_float32_leaves_the_text_only_at_near_ties():
    """Batches and step widths round differently. Where a text leaves the reference, the choice led by less than TIE."""
    pair, sampling = random_pair("llama", "float32"), Sampling(1.0)
    wanted = reference(pair, PROMPTS, NEW, SEED)
    for drafter, gamma, rows in ((None, 1, 1), (None, 1, 4), ("adapter", 3, 1), ("adapter", 2, 4)):
        flips = compare(pair, PROMPTS, texts(pair, drafter, gamma, rows, sampling), wanted, SEED)
        assert all(flip.gap < TIE for flip in flips), flips


def test_a_text_of_another_noise_is_no_near_tie(pair):
    wanted = reference(pair, PROMPTS, NEW, SEED)
    flips = compare(pair, PROMPTS, texts(pair, sampling=Sampling(1.0), seed=SEED + 1), wanted, SEED)
    assert len(flips) == len(PROMPTS)
    assert max(flip.gap for flip in flips) > 100 * TIE
    wrong = [[*text[:-1], (text[-1] + 1) % pair.target.vocab] for text in wanted]
    assert all(flip.position == NEW - 1 for flip in compare(pair, PROMPTS, wrong, wanted, SEED))


# Chains of several lengths, and what cannot be


def test_rows_of_unequal_drafts_are_verified_as_if_alone():
    rng = torch.Generator().manual_seed(0)
    laws, drafted = (torch.rand(40, 4, 5, generator=rng, dtype=torch.float64) for _ in range(2))
    made = noise(torch.arange(40)[:, None], torch.arange(4)[None], 5)
    drafts, counts = drawn(drafted, made)[:, :3], [row % 4 for row in range(40)]
    accepted, token = Chains(None, laws, drafts, None, made).verified(counts, "gumbel")
    for row, count in enumerate(counts):
        alone_ = gumbel_rule(laws[row, : count + 1], drafts[row, :count], made[row, : count + 1])
        assert (accepted[row], token[row]) == alone_
    assert {int(n) for n in accepted} == {0, 1, 2, 3}


def test_a_text_without_a_key_has_no_noise(pair):
    session = alone(pair.target, None, PROMPTS[0], 4)
    with pytest.raises(ValueError, match="rule='gumbel': a text without a key has no noise; enter it with key=…"):
        next(generate(session, 1, SHAPING, rule="gumbel"))


# Planted bugs


def by_place_after_the_prompt(keys, positions, vocab):
    return noise(keys, positions - len(PROMPTS[0]), vocab)


def of_the_step(keys, positions, vocab):
    return noise(keys, positions - positions[:, :1], vocab)


def of_the_row(keys, positions, vocab):
    return noise(keys + torch.arange(len(keys))[:, None], positions, vocab)


@pytest.mark.parametrize("bug", [by_place_after_the_prompt, of_the_step, of_the_row])
def test_noise_of_another_place_is_seen(pair, monkeypatch, bug):
    wanted = reference(pair, PROMPTS, NEW, SEED)
    monkeypatch.setattr(module, "noise", bug)
    served = texts(pair, "adapter", rows=4, sampling=Sampling(1.0))
    assert compare(pair, PROMPTS, served, wanted, SEED)


def test_the_key_is_the_decoder_s_seed_and_the_request_s_number(pair):
    """Whoever has both makes the noise again: one request alone is the second of a decoder."""
    session = alone(pair.target, None, PROMPTS[1], NEW, key=key(SEED, 1))
    list(generate(session, 0, SHAPING, rule="gumbel"))
    assert session.texts[0].committed == texts(pair)[1]
