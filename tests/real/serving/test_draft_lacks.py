# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportReturnType=false
"""A draft that has fewer ids than the target: what it drafts where a generation config leaves it no id to draft, and
what it reads of a text with ids that it lacks."""

from copy import deepcopy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.adapter import Adapter  # noqa: E402
from real.drafters.base import Drafter  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.uniform import Uniform  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, in_order, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import FALSE_ALARM, random_prompts, reference, transforms, uniformity  # noqa: E402
from real.verify.strangers import VOCAB, stranger  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

KNOWN, NEW = 40, 24
PROMPTS = [[index % KNOWN for index in prompt] for prompt in random_prompts(5, VOCAB, 7)]
CONFIGS: dict[str, dict] = {
    "always": {"suppress_tokens": list(range(KNOWN))},
    "first": {"begin_suppress_tokens": list(range(KNOWN))},
    "after some": {"bad_words_ids": [[last, index] for last in range(0, VOCAB, 2) for index in range(KNOWN)]},
    "nan of minus infinity": {"exponential_decay_length_penalty": (3, 1.2), "eos_token_id": VOCAB - 1},
}
"""Where the draft has no law: at every token, at the first, after an even id, from the fourth on."""


def two(pair: Pair) -> list[Drafter]:
    return [Independent(pair.draft, VOCAB), Independent(pair.draft.copy(), VOCAB)]


DRAFTERS = {
    "independent": lambda pair: Independent(pair.draft, VOCAB),
    "adapter": lambda pair: Adapter(pair.draft, VOCAB, burn_in=8),
    "mix": lambda pair: Mixture(two(pair)),
    "route": lambda pair: Mixture(two(pair), "route"),
    "mix with one that has all": lambda pair: Mixture([Independent(pair.draft, VOCAB), Uniform(VOCAB)]),
    "route to one that has all": lambda pair: Mixture([Independent(pair.draft, VOCAB), Uniform(VOCAB)], "route"),
}


def pair_of(config: str) -> Pair:
    """A target that says any id, and a draft that has the first ``KNOWN``."""
    model = stranger("stablelm")
    for setting, value in CONFIGS[config].items():
        setattr(model.generation_config, setting, deepcopy(value))
    return Pair(CausalLM(model, "target"), CausalLM(stranger("stablelm", vocab_size=KNOWN), "draft"), None)


def decoder_of(pair: Pair, name: str, sampling: Sampling, rows: int = 1, **more) -> Decoder:
    made = DRAFTERS[name](pair)
    learner = Hedge(0.5) if isinstance(made, Mixture) else OGD(0.5)
    return online_decoder(pair, made, learner, Serving(3, 8, sampling, NEW, burn_in=8, **more), 1, rows)


@pytest.mark.parametrize("config, rows", [("always", 1), ("first", 1), *((config, 3) for config in CONFIGS)])
@pytest.mark.parametrize("name", DRAFTERS)
def test_where_a_draft_has_nothing_to_draft_the_target_goes_on(config, name, rows):
    pair = pair_of(config)
    served = in_order(decoder_of(pair, name, Sampling(0.0), rows).serve_all(PROMPTS, Ledger()))
    assert [request.tokens for request in served] == reference(pair, PROMPTS, NEW)
    drafted = sum(request.counts.drafted for request in served)
    assert (drafted > 0) == (config != "always" or "has all" in name)


@pytest.mark.parametrize("rule, confidence", [("token", 0.0), ("block", 0.2)])
@pytest.mark.parametrize("name", DRAFTERS)
def test_what_is_sampled_so_is_the_target_s_own(name, confidence, rule):
    pair, sampling = pair_of("after some"), Sampling(1.0)
    decoder = decoder_of(pair, name, sampling, 3, rule=rule, confidence=confidence)
    served = in_order(decoder.serve_all(PROMPTS, Ledger()))
    rng = torch.Generator().manual_seed(2)
    values = [transforms(pair, ids, of.tokens, sampling, rng) for ids, of in zip(PROMPTS, served, strict=True)]
    assert uniformity(torch.cat(values)) > FALSE_ALARM


@pytest.mark.parametrize("says, reads", [(KNOWN, KNOWN), (VOCAB, KNOWN), (KNOWN, VOCAB)])
def test_an_id_that_a_draft_lacks_stays_in_the_text_and_moves_the_drafts_own_laws_alone(says, reads):
    """Rows of its head and of its embeddings: the law that it reports is that of what it can read of the text."""
    drafting, steps, serving = stranger("stablelm"), [], Serving(3, 8, Sampling(1.0), NEW, burn_in=8)
    drafting.set_output_embeddings(cut(drafting.get_output_embeddings(), says))
    drafting.set_input_embeddings(cut(drafting.get_input_embeddings(), reads))
    draft = CausalLM(drafting, "draft")
    pair, prompts = Pair(CausalLM(stranger("stablelm"), "target"), draft, None), random_prompts(3, VOCAB, 7)
    learning = online_decoder(
        pair, Adapter(draft, VOCAB, burn_in=8), OGD(0.5), replace(serving, sampling=Sampling(0.0))
    )
    texts = [learning.serve(prompt, Ledger())[0] for prompt in prompts]
    assert texts == reference(pair, prompts, NEW)
    assert max(map(max, texts)) >= KNOWN
    decoder = Decoder(pair, Independent(draft, VOCAB), serving, watch=steps.append)
    for prompt in prompts:
        decoder.serve(prompt, Ledger())
        text, at = steps[-1].text.tokens, len(prompt)
        for step in steps:
            if step.draft_probs is not None:
                read = [*text[:at], *step.drafted_tokens][: at + step.drafted - 1]
                read = torch.tensor([[min(index, reads - 1) for index in read]])
                law = drafting(read).logits[0, at - 1 :].softmax(-1)
                torch.testing.assert_close(step.draft_probs[:, :says], law[:, :VOCAB])
                assert not step.draft_probs[:, says:].any()
            at += len(step.tokens)
        steps.clear()


def cut(layer, rows: int):
    """The layer with its first rows alone."""
    layer.weight = torch.nn.Parameter(layer.weight[:rows].clone())
    return layer
