# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportReturnType=false
"""A draft that has fewer ids than the target: it drafts nothing where a generation config leaves it no id to draft."""

from copy import deepcopy

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
