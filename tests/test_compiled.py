# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The compiled forward: the same text as the eager one, and an honest retreat where it cannot be had."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig  # noqa: E402

import real.models  # noqa: E402
from real.compiled import Compiled  # noqa: E402
from real.decode import Session, generate  # noqa: E402
from real.drafters import make_drafter  # noqa: E402
from real.lossless import random_pair, random_prompts, reference  # noqa: E402
from real.models import random_model  # noqa: E402
from real.sampling import Sampling  # noqa: E402

GAMMA, SLOTS = 3, 64


@pytest.fixture(scope="module")
def pair():
    made = random_pair("qwen3", "float64")
    made.target.compile((1, GAMMA + 1), SLOTS)
    made.draft.compile((1, 2), SLOTS)
    assert made.target.compiled is not None
    assert made.draft.compiled is not None
    return made


@pytest.fixture
def eager():
    return random_pair("qwen3", "float64")


@pytest.mark.parametrize("new", [24, 70])
def test_greedy_text_is_transformers_own_also_where_the_slots_run_out(pair, eager, new):
    """The longer texts leave the compiled memory in their middle and go on eagerly."""
    drafter = make_drafter("adapter", pair)
    prompts = random_prompts(3, pair.target.vocab, 3)
    for prompt, wanted in zip(prompts, reference(eager, prompts, new), strict=True):
        session = Session(pair.target, drafter, prompt, new)
        list(generate(session, GAMMA, Sampling(0.0)))
        assert session.tokens[len(prompt) :] == wanted


def test_laws_are_the_eager_ones_whatever_the_number_of_queries(pair, eager):
    ids = torch.arange(20) * 7 % pair.target.vocab
    with torch.inference_mode():
        cache, start = pair.target.new_cache(), 0
        got = []
        for count in (6, 1, 2, 3, 4, 1, 3):  # 6 is no width: eager, in the same memory
            got.append(pair.target.logits(ids[start : start + count], cache))
            start += count
        want = eager.target.logits(ids)
    torch.testing.assert_close(torch.cat(got), want, rtol=0, atol=1e-5)  # norms and rotations are in float32


def test_the_memory_belongs_to_one_text(pair):
    with torch.inference_mode():
        first = pair.target.new_cache()
        pair.target.hidden(torch.arange(3), first)
        pair.target.hidden(torch.arange(3), pair.target.new_cache())
        with pytest.raises(ValueError, match="memory for one text"):
            pair.target.hidden(torch.arange(3), first)


def test_it_retreats_with_the_reason_when_the_compiler_fails(monkeypatch):
    model = random_model("llama", 0)

    def fails(*args, **kwargs):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.warns(UserWarning, match="not compiled, served eagerly; RuntimeError: no compiler here"):
        model.compile((1, 4), 16)
    assert model.compiled is None
    with torch.inference_mode():
        assert model.logits(torch.arange(3), model.new_cache()).shape == (3, model.vocab)


def test_it_retreats_when_logits_differ(monkeypatch):
    model = random_model("llama", 0)

    class Wrong(Compiled):
        def __call__(self, ids, width):
            return super().__call__(ids, width) * 1.001

    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    monkeypatch.setattr(real.models, "Compiled", Wrong)
    with pytest.warns(UserWarning, match="logits differ from the eager ones by"):
        model.compile((1, 4), 16)
    assert model.compiled is None


def test_a_layer_that_forgets_is_not_compiled():
    kinds = ["full_attention", "sliding_attention"]
    config = AutoConfig.for_model("gemma3_text", num_hidden_layers=2, layer_types=kinds)
    with pytest.raises(ValueError, match="sliding_attention: every layer must attend to the whole text"):
        Compiled(SimpleNamespace(config=config), 2, (1, 4), 16)


@pytest.mark.parametrize("widths, size", [((), 8), ((0, 4), 8), ((1, 9), 8)])
def test_widths_must_fit(widths, size):
    model = random_model("llama", 0)
    with pytest.raises(ValueError, match="each from 1 to size"):
        Compiled(model.body, model.layers, widths, size)
