"""Rows: every text is served as if alone, whoever comes and goes beside it; what is learned from is what happened."""

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.uniform import Uniform  # noqa: E402
from real.models import cache  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, in_order, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402
from theory.hints import LastGradient  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.mixture import Mixture  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402

FAMILIES = ("llama", "qwen3", "gpt_neox")
GREEDY, SAMPLED = Serving(3, 8, Sampling(0.0), 24, burn_in=32), Serving(3, 8, Sampling(1.0), 24, burn_in=32)
PROMPTS = [[7], *random_prompts(10, 512, 3)]
_pairs: dict[str, Pair] = {}


def pair_of(family: str) -> Pair:
    if family not in _pairs:
        _pairs[family] = random_pair(family, "float64")
    return _pairs[family]


LEARNERS: dict = {
    "": Frozen(), "independent": Frozen(), "ngram": Frozen(), "uniform": Frozen(), "adapter": OGD(8.0),
    "heads": OGD(64.0), "weights": Adam(1e-3), "hydra": Adam(1e-3), "eagle": Adam(1e-3), "mixture": Mixture(),
}  # fmt: skip
"""A learner for every drafter."""


def decoder(pair: Pair, drafter: str, rows: int, serving: Serving = GREEDY, **more) -> Decoder:
    settings = {"burn_in": serving.burn_in} if drafter in ("adapter", "heads") else {}
    made = make_drafter(drafter, pair, **settings, **more.pop("settings", {})) if drafter else None
    return online_decoder(pair, made, more.pop("learner", LEARNERS[drafter]), serving, 5, rows, **more)


def texts(made: Decoder, prompts=PROMPTS) -> list[list[int]]:
    return [of.tokens for of in in_order(made.serve_all(prompts, Ledger()))]


ROWS = [
    *((family, "adapter", 16) for family in FAMILIES),
    *(("llama", name, 4) for name in LEARNERS),
    ("qwen3", "", 16),
]


@pytest.mark.parametrize(("family", "drafter", "rows"), ROWS)
def test_greedy_rows_are_transformers_own_while_learning(family, drafter, rows):
    pair = pair_of(family)
    made = decoder(pair, drafter, rows)
    assert texts(made) == reference(pair, PROMPTS, 24)
    if made.learning is not None and made.learning.learns:
        assert made.learning.log.rounds > 10
        assert not torch.equal(made.drafter.x, decoder(pair, drafter, 1).drafter.x)


def test_routes_of_their_own_for_every_row():
    pair, settings = pair_of("llama"), {"mode": "route", "parts": ("independent", "ngram", "eagle")}
    made = decoder(pair, "mixture", 4, settings=settings)
    assert texts(made) == reference(pair, PROMPTS, 24)


@pytest.mark.parametrize("drafter", ["adapter", "mixture", "heads"])
def test_rows_end_their_drafts_early_each_for_itself(drafter):
    """With a confidence every row drafts so many tokens as it would alone."""
    serving, steps = Serving(3, 8, Sampling(0.0), 24, burn_in=32, confidence=0.2), []
    made = decoder(pair_of("llama"), drafter, 4, serving, watch=steps.append)
    assert texts(made) == reference(pair_of("llama"), PROMPTS, 24)
    assert any(step.drafted < 3 for step in steps)


@pytest.mark.parametrize("drafter", ["independent", "adapter", "heads", "eagle"])
@pytest.mark.parametrize("confidence", [0.2, 0.9])
def test_a_row_spends_its_own_numbers_whoever_ends_a_draft_early(drafter, confidence):
    serving = Serving(4, 8, Sampling(1.0), 24, burn_in=32, confidence=confidence)
    few, many = (texts(decoder(pair_of("llama"), drafter, rows, serving, learner=Frozen())) for rows in (2, 5))
    assert few == many


def test_a_run_in_rows_goes_on_with_new_random_numbers():
    made, again = (decoder(pair_of("llama"), "independent", 4, SAMPLED) for _ in range(2))
    first = texts(made)
    again.restore(made.state())
    second = texts(made)
    assert second != first
    assert texts(again) == second


def test_a_drafter_that_fails_leaves_a_decoder_that_serves():
    pair = pair_of("llama")
    made = decoder(pair, "eagle", 2)
    entered, failing = made.drafter.enter, iter([False, True])

    def enter(keep_prompt=False):
        if next(failing, False):
            raise RuntimeError("no memory")
        entered(keep_prompt)

    made.drafter.enter = enter
    with pytest.raises(RuntimeError, match="no memory"):
        texts(made)
    assert texts(made) == reference(pair, PROMPTS, 24)


def test_a_decoder_serves_one_call_at_a_time():
    made = decoder(pair_of("llama"), "adapter", 2)
    steps = made.steps(PROMPTS, Ledger())
    next(steps)
    for asks in (made.state, lambda: made.settle(GREEDY, 1), lambda: next(made.steps(PROMPTS, Ledger()))):
        with pytest.raises(ValueError, match="are being served; read their stream to its end, or close it, first"):
            asks()
    steps.close()
    assert texts(made) == reference(pair_of("llama"), PROMPTS, 24)


def test_a_round_is_of_one_sampling():
    """Laws at the old temperature are no feedback for drafts at the new one."""
    made = decoder(pair_of("llama"), "adapter", 1, replace(SAMPLED, max_new_tokens=20))
    texts(made, PROMPTS[:1])
    assert made.learning.rounds.pieces
    made.settle(SAMPLED, 1)
    assert made.learning.rounds.pieces
    made.settle(GREEDY, 1)
    assert not made.learning.rounds.pieces
    assert made.learning.rounds.waiting == 0


def test_lengths_chosen_by_cost_are_those_of_all_rows():
    serving = Serving(3, 8, Sampling(0.0), 24, costs=(1.0, 1.3, 1.5, 1.6))
    steps: list = []
    assert texts(decoder(pair_of("llama"), "independent", 4, serving, watch=steps.append)) == reference(
        pair_of("llama"), PROMPTS, 24
    )
    assert len({step.drafted for step in steps}) > 1


def test_prompts_are_feedback_in_rows_too():
    pair, seen = pair_of("llama"), []
    made = decoder(pair, "adapter", 4, SAMPLED, record=seen.append, learn_prompt=True)
    texts(made)
    positions = sum(piece.stop - piece.start for pieces in seen for piece in pieces)
    assert positions > sum(len(prompt) - 1 for prompt in PROMPTS) + 10 * 20


@pytest.mark.parametrize("drafter", ["", "adapter", "heads", "eagle"])
def test_a_full_context_ends_its_row_and_harms_no_other(drafter):
    """Rows draft only what fits: the longest prompt meets the end of the target's context in the middle of a draft."""
    pair = pair_of("llama")
    short = Pair(copy.copy(pair.target), pair.draft, None)
    short.target.context = max(map(len, PROMPTS)) + 6
    found, alone = (texts(decoder(short, drafter, rows)) for rows in (4, 1))
    assert found == alone
    assert {len(text) for text in found} >= {7, 24}


def test_a_draft_with_a_shorter_context_falls_silent_in_its_row_alone():
    pair = pair_of("llama")
    made = decoder(pair, "independent", 4)
    made.drafter.context = 20
    steps: list = []
    made.watch = lambda step: steps.append((len(step.text.tokens) - len(step.tokens), step.drafted))
    assert texts(made) == reference(pair, PROMPTS, 24)
    assert {0, 3} <= {drafted for _, drafted in steps}
    assert all(drafted <= max(0, 21 - length) for length, drafted in steps)


class OneAtATime(Uniform):
    alone = "it keeps one text in a place of its own"


def test_a_drafter_for_one_text_says_why():
    pair = pair_of("llama")
    with pytest.raises(ValueError, match="drafter=OneAtATime, rows=2: it keeps one text in a place of its own"):
        online_decoder(pair, OneAtATime(pair.target.vocab), Frozen(), GREEDY, rows=2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("drafter", ["", "adapter"])
def test_greedy_rows_are_transformers_own_on_a_gpu(drafter):
    pair = random_pair("qwen3", "float64")
    for model in (pair.target.model, pair.draft.model):
        model.to("cuda")
    assert texts(decoder(pair, drafter, 4)) == reference(pair, PROMPTS, 24)


@pytest.mark.parametrize("rule", ["token", "block"])
@pytest.mark.parametrize("drafter", ["", "independent"])
def test_what_is_sampled_does_not_depend_on_the_rows_beside(drafter, rule):
    serving = Serving(3, 8, Sampling(1.0), 24, rule=rule)
    found = [texts(decoder(pair_of("llama"), drafter, rows, serving)) for rows in (2, 3, 16)]
    assert found[0] == found[1] == found[2]
    assert len({tuple(text) for text in found[0]}) == len(PROMPTS)


def test_every_seed_and_every_request_has_random_numbers_of_its_own():
    pair, serving = pair_of("llama"), SAMPLED
    prompts = [PROMPTS[3]] * 3
    one, other = (online_decoder(pair, None, Frozen(), serving, seed, 2) for seed in (5, 6))
    found = [*texts(one, prompts), *texts(other, prompts), *texts(one, prompts)]
    assert len({tuple(text) for text in found}) == 9


def test_an_end_token_ends_its_row_alone():
    pair = pair_of("llama")
    whole = reference(pair, PROMPTS, 24)
    end = whole[2][5]
    pair.target.eos = frozenset([end])
    try:
        cut = texts(decoder(pair, "independent", 4))
    finally:
        pair.target.eos = frozenset()
    for text, want in zip(cut, whole, strict=True):
        assert text == (want[: want.index(end) + 1] if end in want else want)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_round_holds_what_both_models_say_of_its_positions(rows):
    """Laws and features by plain forwards over the finished text; ν positions a round, none twice."""
    pair, seen = pair_of("llama"), []
    served = in_order(decoder(pair, "adapter", rows, SAMPLED, record=seen.append).serve_all(PROMPTS, Ledger()))
    assert all(sum(piece.stop - piece.start for piece in round_) == 8 for round_ in seen)
    whole = {tuple(prompt + of.tokens) for prompt, of in zip(PROMPTS, served, strict=True)}
    positions = set()
    for piece in (piece for round_ in seen for piece in round_):
        text = list(piece.tokens)
        assert any(full[: len(text)] == tuple(text) for full in whole)
        ids = torch.tensor(text)
        with torch.inference_mode():
            laws = SAMPLED.sampling.law(pair.target.logits(ids))[piece.start - 1 : piece.stop - 1]
            features = pair.draft.hidden(ids)[piece.start - 1 : piece.stop - 1]
        torch.testing.assert_close(piece.target_probs, laws, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(piece.features, features, rtol=1e-9, atol=1e-9)
        for position in range(piece.start, piece.stop):
            assert tuple(text[: position + 1]) not in positions
            positions.add(tuple(text[: position + 1]))
    lost = sum(of.counts.tokens for of in served) - len(positions)
    assert lost < 8 + len(PROMPTS)  # an unfinished round, and bonus tokens that requests ended on


def test_counts_are_those_of_the_steps():
    steps = []
    served = in_order(
        decoder(pair_of("llama"), "independent", 4, SAMPLED, watch=steps.append).serve_all(PROMPTS, Ledger())
    )
    assert sum(of.counts.steps for of in served) == len(steps)
    assert sum(of.counts.accepted for of in served) == sum(step.accepted for step in steps)
    assert all(len(of.tokens) == of.counts.tokens == 24 for of in served)
    assert all(step.drafted <= 3 for step in steps)


PUT = cache.RowCache.put
HAZARDS = {
    "rows that do not close up": ("move", lambda self, source, goal: None),
    "a prompt in another row": ("put", lambda self, row, alone: PUT(self, (row + 1) % 4, alone)),
}


@pytest.mark.parametrize("name", HAZARDS)
def test_planted_errors_are_caught(name, monkeypatch):
    monkeypatch.setattr(cache.RowCache, *HAZARDS[name])
    pair = pair_of("llama")
    monkeypatch.setattr(CausalLM, "_rows_error", lambda self: 0.0)  # the check of a model's first rows sees it too
    assert texts(decoder(pair, "independent", 4)) != reference(pair, PROMPTS, 24)


def test_rejected_tokens_left_in_sight_are_caught(monkeypatch):
    """By the check of every model that is to read rows, and, without it, by the text."""

    def blind(self, inputs, at, reach, memory):
        rows = cache.rows_of(at, reach, memory)
        rows["attention_mask"] = torch.ones(len(at), 1, at.shape[1], reach, dtype=torch.bool)
        return self.body(input_ids=inputs, **rows).last_hidden_state

    monkeypatch.setattr(CausalLM, "hidden_rows", blind)
    pair = pair_of("llama")
    with pytest.raises(ValueError, match="does not read several texts side by side"):
        pair.target.copy().check_rows()
    monkeypatch.setattr(CausalLM, "_rows_error", lambda self: 0.0)
    assert texts(decoder(pair, "independent", 4)) != reference(pair, PROMPTS, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "rows=0: at least one text"),
        (
            {"drafter": "heads", "prompt_hint": 0.1, "learner": OptimisticOGD(1.0, LastGradient())},
            "prompt_hint=0.1, rows=2: a hint belongs to one request",
        ),
    ],
)
def test_what_a_batch_cannot_serve_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        decoder(pair_of("llama"), **{"drafter": "independent", "rows": 2} | change)
    with pytest.raises(ValueError, match="prompt of 0 tokens"):
        list(decoder(pair_of("llama"), "", 2).serve_all([[1], []], Ledger()))
