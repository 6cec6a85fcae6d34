# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Texts that come to the end of a context, the target's or the draft's: drafted less, then plainly, never wrong."""

import pytest

torch = pytest.importorskip("torch")

from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.random import perturbed  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import in_order  # noqa: E402
from real.serving.follow import follow  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import decoder_of, drafter_of  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.verify.lossless import random_prompts, reference  # noqa: E402
from real.verify.strangers import VOCAB, letters, stranger  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

CONTEXT, NEW = 40, 30
LENGTHS = {"gpt2, learned": "n_positions", "llama, dynamic": "max_position_embeddings"}
PROMPTS = [prompt * 3 for prompt in random_prompts(6, VOCAB, 3)]  # of 3 to 96 tokens


def pair(family: str, target: int, draft: int) -> Pair:
    big, small = (CausalLM(stranger(family, **{LENGTHS[family]: length})) for length in (target, draft))
    return Pair(big, perturbed(small, 0.02, 1), letters())


@pytest.mark.parametrize("method", [Method("independent"), Method("adapter", OGD(8.0))], ids=["rest", "learning"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("target", "draft"), [(CONTEXT, 400), (200, CONTEXT), (CONTEXT, CONTEXT)])
@pytest.mark.parametrize("family", LENGTHS)
def test_texts_are_the_targets_up_to_the_end_of_its_context(family, target, draft, rows, method):
    served = pair(family, target, draft)
    prompts = [prompt for prompt in PROMPTS if len(prompt) <= target]
    assert any(len(prompt) + NEW > CONTEXT for prompt in prompts)
    wanted = [reference(served, [prompt], min(NEW, target + 1 - len(prompt)))[0] for prompt in prompts]
    serving = Serving(4, 8, Sampling(0.0), NEW, burn_in=16)
    decoder = decoder_of(served, method, drafter_of(served, method, serving), serving, rows=rows)
    found = in_order(decoder.serve_all(prompts, Ledger("cpu")))
    assert [request.tokens for request in found] == wanted
    assert sum(request.counts.drafted for request in found) > 0
    if method.learner.learns:
        assert decoder.learning.log.rounds
        assert decoder.learning.rounds.waiting < 8 + 5


def test_a_prompt_beyond_the_drafts_context_is_learned_up_to_it():
    served = pair("gpt2, learned", 200, CONTEXT)
    method = Method("adapter", OGD(8.0), learn_prompt=True)
    serving = Serving(4, 8, Sampling(0.0), 4, burn_in=8)
    decoder = decoder_of(served, method, drafter_of(served, method, serving), serving)
    prompt = random_prompts(1, VOCAB, 5)[0] * 20
    assert len(prompt) > CONTEXT
    decoder.serve(prompt, Ledger("cpu"))
    learned = 8 * (decoder.learning.log.rounds + 1) + decoder.learning.rounds.waiting
    assert learned == min(len(prompt), CONTEXT + 1) - 1


def test_a_text_is_followed_beyond_the_drafts_context_where_nothing_is_drafted():
    served = pair("gpt2, learned", 200, CONTEXT)
    serving = Serving(4, 8, Sampling(1.0), 4, burn_in=8)
    method = Method("adapter", OGD(8.0))
    decoder = decoder_of(served, method, drafter_of(served, method, serving), serving)
    prompt, text = random_prompts(1, VOCAB, 5)[0][:4], [7, 8, 9] * 20
    overlaps = follow(decoder, prompt, text, Ledger("cpu"))
    room = CONTEXT + 1 - len(prompt)
    assert min(overlaps[:room]) > 0
    assert overlaps[room:] == [0.0] * (len(text) - room)
