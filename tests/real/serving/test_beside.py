# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Overlapped learning: one round late, determined by the seed, charged, and never between a draft and its verdict."""

from dataclasses import replace
from time import sleep

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.beside import Beside  # noqa: E402
from real.serving.certify import certifiable  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

PROMPTS = [[5, 6, 7, 8, 1, 2, 3, 4, 9, 9, 1], [1, 2, 3, 1, 2, 3, 1, 2, 3], [9, 8, 7, 6, 5, 4]]
BESIDE = Serving(gamma=3, nu=8, sampling=Sampling(1.0), max_new_tokens=30, overlap=True)
AT_ONCE = replace(BESIDE, overlap=False)


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float64", vocab=128)
    return Pair(target, perturbed(target, 0.05, 1), None)


def decoder(pair: Pair, serving: Serving, drafter: str = "adapter") -> Decoder:
    convex = drafter in ("adapter", "heads")
    learner = OGD(8.0) if convex else Adam(0.01)
    return online_decoder(
        pair, make_drafter(drafter, pair, **({"burn_in": 8} if convex else {})), learner, serving, seed=5
    )


@pytest.mark.parametrize("drafter", ["adapter", "heads", "hydra", "eagle", "weights"])
def test_a_seed_determines_it(pair, drafter):
    first, second = decoder(pair, BESIDE, drafter), decoder(pair, BESIDE, drafter)
    assert [first.serve(p, Ledger())[0] for p in PROMPTS] == [second.serve(p, Ledger())[0] for p in PROMPTS]
    assert torch.equal(first.drafter.x, second.drafter.x)
    assert first.drafter.x.any()


def test_greedy_text_and_learning_are_those_of_learning_at_once(pair):
    """The adapter's features and the greedy text do not depend on x, so being late changes nothing in between."""
    late, at_once = (decoder(pair, replace(s, sampling=Sampling(0.0))) for s in (BESIDE, AT_ONCE))
    assert [late.serve(p, Ledger())[0] for p in PROMPTS] == [at_once.serve(p, Ledger())[0] for p in PROMPTS]
    assert torch.equal(late.drafter.x, at_once.drafter.x)
    assert [entry.loss for entry in late.learning.log.lines] == [entry.loss for entry in at_once.learning.log.lines]


def test_every_decision_is_served_one_round_late(pair):
    loaded: dict[bool, list[int]] = {True: [], False: []}
    for serving in (BESIDE, AT_ONCE):
        made = decoder(pair, replace(serving, sampling=Sampling(0.0)))
        load, seen = made.drafter.load, loaded[serving.overlap]
        committed: list[int] = []
        made.watch = lambda step, committed=committed: committed.extend(step.tokens)
        made.drafter.load = lambda x, load=load, seen=seen, told=committed: (seen.append(len(told)), load(x))
        made.serve(PROMPTS[0], Ledger())
    assert len(loaded[True]) == len(loaded[False]) > 1
    assert loaded[True][:-1] == loaded[False][1:]  # the last is swapped in when the request ends


def test_what_the_thread_raises_reaches_the_caller():
    beside = Beside()
    beside.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        beside.take()
    assert beside.take() is None


def test_waiting_is_charged_and_the_threads_seconds_are_told(pair):
    made = decoder(pair, BESIDE)
    updates = made.learning._updates
    made.learning._updates = lambda *given: (sleep(0.05), updates(*given))[1]
    ledger = Ledger()
    for prompt in PROMPTS:
        made.serve(prompt, ledger)
    assert made.learning.beside.seconds >= 0.05 * made.learning.log.rounds
    assert 0 < ledger.seconds["learn"] <= ledger.total


def test_no_certificate_for_what_is_served_late(pair):
    assert certifiable(decoder(pair, AT_ONCE).learning)
    assert not certifiable(decoder(pair, BESIDE).learning)


@pytest.mark.parametrize("drafter", ["hydra", "eagle", "weights"])
def test_a_gradient_leaves_the_module_that_drafts_alone(pair, drafter, monkeypatch):
    """It may be drafting on another thread: nothing of it is called, nor put in the place of its parameters."""
    made = decoder(pair, replace(BESIDE, overlap=False), drafter)
    losses = []
    made.learning.on_round = lambda updates: losses.extend(of.loss_t for of in updates)
    made.serve(PROMPTS[0], Ledger())
    want, x = losses[-1].grad(made.drafter.x), made.drafter.x + 1.0

    def refuse(*_, **__):
        raise AssertionError("the drafting module was called")

    for module in made.drafter.flat.module.modules():
        monkeypatch.setattr(module, "forward", refuse)
    assert torch.equal(losses[-1].grad(made.drafter.x), want)
    assert not torch.equal(losses[-1].grad(x), want)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("drafter", ["adapter", "eagle"])
def test_on_a_gpu_learning_has_a_stream_of_its_own_and_the_text_stays_the_targets(drafter):
    target = random_model("llama", 0, "float64", vocab=128)
    on_gpu = Pair(target, perturbed(target, 0.05, 1), None)
    for model in (on_gpu.target.model, on_gpu.draft.model):
        model.to("cuda")
    made = decoder(on_gpu, replace(BESIDE, sampling=Sampling(0.0)), drafter)
    texts = [made.serve(prompt, Ledger("cuda"))[0] for prompt in PROMPTS]
    assert texts == reference(on_gpu, PROMPTS, 30)
    assert made.learning.log.rounds
    assert made.learning.beside._stream is not None
