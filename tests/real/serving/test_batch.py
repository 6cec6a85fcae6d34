"""Batches: every row is served as if alone, whoever comes and goes beside it; what is learned from is what happened."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models import cache  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.batch import BatchDecoder, in_order  # noqa: E402
from real.serving.decoder import Serving  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

FAMILIES = ("llama", "qwen3", "gpt_neox")
GREEDY, SAMPLED = Serving(3, 8, Sampling(0.0), 24, burn_in=32), Serving(3, 8, Sampling(1.0), 24, burn_in=32)
PROMPTS = [[7], *random_prompts(10, 512, 3)]
_pairs: dict[str, Pair] = {}


def pair_of(family: str) -> Pair:
    if family not in _pairs:
        _pairs[family] = random_pair(family, "float64")
    return _pairs[family]


def decoder(pair: Pair, drafter: str, rows: int, serving: Serving = GREEDY, **more) -> BatchDecoder:
    settings = {"burn_in": serving.burn_in} if drafter == "adapter" else {}
    made = make_drafter(drafter, pair, **settings) if drafter else None
    return BatchDecoder(pair, made, OGD(8.0) if drafter == "adapter" else Frozen(), serving, 5, rows, **more)


def texts(made: BatchDecoder, prompts=PROMPTS) -> list[list[int]]:
    return [of.tokens for of in in_order(made.serve_all(prompts, Ledger()))]


@pytest.mark.parametrize("rows", [1, 4, 16])
@pytest.mark.parametrize("drafter", ["", "independent", "adapter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_rows_are_transformers_own(family, drafter, rows):
    pair = pair_of(family)
    made = decoder(pair, drafter, rows)
    assert texts(made) == reference(pair, PROMPTS, 24)
    if drafter == "adapter":
        assert len(made.log) > 10
        assert made.drafter.x.abs().max() > 0


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
    found = [texts(decoder(pair_of("llama"), drafter, rows, serving)) for rows in (1, 3, 16)]
    assert found[0] == found[1] == found[2]
    assert len({tuple(text) for text in found[0]}) == len(PROMPTS)


def test_every_seed_and_every_request_has_random_numbers_of_its_own():
    pair, serving = pair_of("llama"), SAMPLED
    prompts = [PROMPTS[3]] * 3
    one, other = (BatchDecoder(pair, None, Frozen(), serving, seed, 2) for seed in (5, 6))
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
        assert tuple(text) in whole
        ids = torch.tensor(text)
        with torch.inference_mode():
            laws = SAMPLED.sampling.law(pair.target.logits(ids))[piece.start - 1 : piece.stop - 1]
            features = pair.draft.hidden(ids)[piece.start - 1 : piece.stop - 1]
        torch.testing.assert_close(piece.target_probs, laws, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(piece.features, features, rtol=1e-9, atol=1e-9)
        for position in range(piece.start, piece.stop):
            assert (tuple(text), position) not in positions
            positions.add((tuple(text), position))
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
    assert texts(decoder(pair, "independent", 4)) != reference(pair, PROMPTS, 24)


def test_rejected_tokens_left_in_sight_are_caught(monkeypatch):
    def blind(self, ids, at, reach, memory):
        memory.open(at, reach)
        visible = torch.ones(len(at), 1, at.shape[1], reach, dtype=torch.bool)
        rows = {"position_ids": at, "attention_mask": visible, "past_key_values": memory, "use_cache": True}
        return self.body(input_ids=ids, **rows).last_hidden_state

    monkeypatch.setattr(CausalLM, "hidden_rows", blind)
    pair = pair_of("llama")
    assert texts(decoder(pair, "independent", 4)) != reference(pair, PROMPTS, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "rows=0: at least one request"),
        ({"drafter": "ngram"}, "drafter=NGram: a batch is drafted by a small model"),
        ({"serving": Serving(3, 8, confidence=0.5)}, "leave those options out"),
    ],
)
def test_what_a_batch_cannot_serve_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        decoder(pair_of("llama"), **{"drafter": "independent", "rows": 2} | change)
    with pytest.raises(ValueError, match="prompt 1 has 0 tokens"):
        list(decoder(pair_of("llama"), "", 2).serve_all([[1], []], Ledger()))
