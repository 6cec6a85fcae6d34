# pyright: reportOptionalMemberAccess=false
"""A text that is only read gives the overlaps and the learning that serving that text gives."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.follow import follow  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.learners.mixture import Mixture  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

PROMPTS = random_prompts(3, 512, 3)
SERVING = Serving(3, 8, Sampling(0.8), 40, burn_in=16)
LEARNERS = {"adapter": OGD(8.0), "independent": Frozen(), "ngram": Frozen(), "mixture": Mixture()}


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair("qwen3", "float64")


def decoder(pair: Pair, name: str, serving: Serving = SERVING, **more) -> Decoder:
    settings = {"burn_in": 16} if name in ("adapter", "heads") else {}
    settings |= {"parts": ("independent", "ngram"), "mode": "kl"} if name == "mixture" else {}
    learner = LEARNERS.get(name, Frozen())
    return online_decoder(pair, make_drafter(name, pair, **settings), learner, serving, 5, **more)


@pytest.mark.parametrize("sampling", [Sampling(0.8), Sampling(0.0)], ids=["sampled", "greedy"])
def test_overlaps_are_those_of_plain_forwards_over_the_text(pair, sampling):
    made = decoder(pair, "independent", Serving(3, 8, sampling, 40))
    text = decoder(pair, "independent").serve(PROMPTS[0], Ledger())[0]
    found = follow(made, PROMPTS[0], text, Ledger())
    ids = torch.tensor([PROMPTS[0] + text])
    with torch.inference_mode():
        laws = [
            sampling.law(model.model(ids).logits[0, len(PROMPTS[0]) - 1 : -1]) for model in (pair.target, pair.draft)
        ]
    want = torch.minimum(*laws).sum(-1)
    assert found == pytest.approx(want.tolist(), abs=1e-6)
    assert 0.1 < sum(found) / len(found) < 0.99


@pytest.mark.parametrize("name", LEARNERS)
def test_learning_is_that_of_serving_the_same_text(pair, name):
    """One token drafted a step, so that swaps fall on the same positions, and every position is examined or bonus."""
    served, read, pieces = [], decoder(pair, name), ([], [])
    one = decoder(pair, name, record=pieces[0].extend)
    read.learning.record = pieces[1].extend
    for prompt in PROMPTS:
        served.append(one.serve(prompt, Ledger())[0])
        assert len(follow(read, prompt, served[-1], Ledger())) == len(served[-1])
    assert one.learning.rounds.waiting == read.learning.rounds.waiting
    laws = [torch.cat([piece.target_probs for piece in each]) for each in pieces]
    torch.testing.assert_close(laws[0], laws[1], rtol=1e-8, atol=1e-10)
    assert one.learning.log.rounds == read.learning.log.rounds
    if name == "adapter":  # its losses depend on the text alone
        assert [entry.loss for entry in read.learning.log.lines] == pytest.approx(
            [entry.loss for entry in one.learning.log.lines], rel=1e-4
        )
        torch.testing.assert_close(read.drafter.x, one.drafter.x, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["backoff", "ngram"])
def test_what_is_copied_was_committed_before_the_step(pair, name):
    """A text is read as steps that commit all they draft: its overlaps are those of gamma tokens at a time."""
    text = [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 9, 5, 6, 7, 8, 5, 6, 9, 7, 8]
    asked, plain, larger = (
        follow(decoder(pair, name), PROMPTS[0], text, Ledger(), at_once) for at_once in (0, SERVING.gamma, SERVING.nu)
    )
    assert asked == plain != larger


def test_a_decoder_goes_on_serving_after_it_has_read(pair):
    made, fresh = decoder(pair, "independent"), decoder(pair, "independent")
    follow(made, PROMPTS[1], [1, 2, 3, 4, 5], Ledger())
    assert made.serve(PROMPTS[0], Ledger())[0] == fresh.serve(PROMPTS[0], Ledger())[0]


@pytest.mark.parametrize("name", ["heads", "eagle", "hydra"])
def test_a_draft_that_depends_on_where_a_step_began_has_no_overlap(pair, name):
    with pytest.raises(ValueError, match="no law of its own at every position of a given text"):
        follow(decoder(pair, name), PROMPTS[0], [1, 2, 3], Ledger())


@pytest.mark.parametrize("name", ["memory", "backoff", "mixture"])
def test_what_is_told_of_every_step_is_told_of_a_text_that_is_read(pair, name):
    """A memory holds the same positions after reading a text as after serving it; the weights have seen all of them."""
    settings = {"burn_in": 16} if name == "memory" else {"scope": "global"} if name == "backoff" else {}
    one, read = (online_decoder(pair, make_drafter(name, pair, **settings), Hedge(0.3), SERVING, 5) for _ in range(2))
    overlaps = []
    for prompt in PROMPTS:
        text = one.serve(prompt, Ledger())[0]
        overlaps += follow(read, prompt, text, Ledger())
    assert len(overlaps) == 120
    assert 0.1 < sum(overlaps) / len(overlaps) < 1
    served, told = (of.drafter.parts[1] if name == "mixture" else of.drafter for of in (one, read))
    assert served.filled == pytest.approx(told.filled, abs=3)  # the last position of a text may never be read
    if name == "mixture":
        assert read.learning.log.rounds >= one.learning.log.rounds > 5
