# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The compiled forward: the same text as the eager one, and an honest retreat where it cannot be had."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig  # noqa: E402

import real.models.hf  # noqa: E402
from real.build.inflate import SHAPES, inflate, large_config  # noqa: E402
from real.drafters import make_drafter  # noqa: E402
from real.models.compiled import Compiled, slots  # noqa: E402
from real.models.hf import CausalLM  # noqa: E402
from real.models.load import load_model  # noqa: E402
from real.models.random import random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.traffic.streams import ASSETS  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402

GAMMA, SLOTS = 3, 64


@pytest.fixture(scope="module")
def pair(compiler):
    made = random_pair("qwen3", "float64")
    made.target.compile((1, GAMMA + 1), SLOTS)
    made.draft.compile((1, 2), SLOTS)
    assert made.target.compiled is not None
    assert made.draft.compiled is not None
    return made


@pytest.fixture
def eager():
    return random_pair("qwen3", "float64")


@pytest.mark.slow
@pytest.mark.parametrize("new", [24, 70])
def test_greedy_text_is_transformers_own_also_where_the_slots_run_out(pair, eager, new):
    """The longer texts leave the compiled memory in their middle and go on eagerly."""
    drafter = make_drafter("adapter", pair)
    prompts = random_prompts(3, pair.target.vocab, 3)
    for prompt, wanted in zip(prompts, reference(eager, prompts, new), strict=True):
        session = alone(pair.target, drafter, prompt, new)
        list(generate(session, GAMMA, Sampling(0.0)))
        assert session.texts[0].tokens[len(prompt) :] == wanted


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_greedy_text_is_transformers_own_from_captured_graphs():
    on_gpu = random_pair("qwen3", "float64")
    for model in (on_gpu.target.model, on_gpu.draft.model):
        model.to("cuda")
    prompts = random_prompts(3, on_gpu.target.vocab, 3)
    wanted = reference(on_gpu, prompts, 24)
    on_gpu.compile((GAMMA,), SLOTS)
    assert on_gpu.target.compiled is not None
    assert on_gpu.draft.compiled is not None
    drafter = make_drafter("adapter", on_gpu)
    for prompt, text in zip(prompts, wanted, strict=True):
        session = alone(on_gpu.target, drafter, prompt, 24)
        list(generate(session, GAMMA, Sampling(0.0)))
        assert session.texts[0].tokens[len(prompt) :] == text


@pytest.mark.slow
def test_tuned_text_is_transformers_own(compiler, eager):
    """Weights are constants then; a drafter that trains them has its own copy, which is not tuned."""
    made = random_pair("qwen3", "float64")
    made.compile((GAMMA,), SLOTS, tuned=True)
    assert made.target.compiled.tuned
    assert made.draft.compiled.tuned
    assert not check_swapped(made).model.compiled.tuned
    drafter, prompts = make_drafter("adapter", made), random_prompts(3, made.target.vocab, 3)
    for prompt, wanted in zip(prompts, reference(eager, prompts, 24), strict=True):
        session = alone(made.target, drafter, prompt, 24)
        list(generate(session, GAMMA, Sampling(0.0)))
        assert session.texts[0].tokens[len(prompt) :] == wanted


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


def test_whose_memory_is_taken_goes_on_eagerly(pair, eager):
    """Three texts at once through one compiled model, turn by turn: each sees its own text alone."""
    texts = [torch.arange(12) * step % pair.target.vocab for step in (3, 5, 7)]
    with torch.inference_mode():
        caches, got = [], [[], [], []]
        for text, found in zip(texts, got, strict=True):
            caches.append(pair.target.new_cache())
            found.append(pair.target.logits(text[:4], caches[-1]))
        for start in (4, 8):
            for text, cache, found in zip(texts, caches, got, strict=True):
                found.append(pair.target.logits(text[start : start + 4], cache))
        for text, found in zip(texts, got, strict=True):
            torch.testing.assert_close(torch.cat(found), eager.target.logits(text), rtol=0, atol=1e-5)
    assert [pair.target.compiled.width(1, cache) for cache in caches] == [None, None, 1]


def test_a_mixture_of_two_drafters_on_one_compiled_draft(pair, eager):
    parts = {"parts": ("independent", "adapter")}
    prompt = random_prompts(1, pair.target.vocab, 3)[0]
    session = alone(pair.target, make_drafter("mixture", pair, **parts), prompt, 24)
    list(generate(session, GAMMA, Sampling(0.0)))
    assert session.texts[0].tokens[len(prompt) :] == reference(eager, [prompt], 24)[0]


def test_weights_that_are_swapped_are_those_that_draft(pair):
    check_swapped(pair)


def check_swapped(pair):
    """A compiled copy drafts with what was loaded into it, not with what it was compiled with → its drafter."""
    drafter = make_drafter("weights", pair)
    assert drafter.model.compiled is not None
    drafter.begin([3, 1, 4, 1, 5])
    before = drafter.logits_after([])
    drafter.commit()
    x = drafter.x + 0.1 * torch.randn(drafter.dimension, generator=torch.Generator().manual_seed(0))
    drafter.load(x)
    with torch.inference_mode():
        after, want = drafter.logits_after([]), drafter.model.logits(torch.tensor([3, 1, 4, 1, 5]))[-1:]
    torch.testing.assert_close(after, want, rtol=0, atol=1e-5)
    assert float((after - before).abs().max()) > 0.1
    return drafter


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


@pytest.mark.parametrize("wrong", [1, 4])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_it_retreats_when_the_law_of_any_width_differs(monkeypatch, wrong, dtype):
    model = random_model("llama", 0, dtype)

    class Wrong(Compiled):
        def __call__(self, ids, cache, width):
            noise = torch.randn(model.width, generator=torch.Generator().manual_seed(0)).to(model.dtype)
            return super().__call__(ids, cache, width) + 0.3 * noise * (width == wrong)

    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    model.compile((1, 4), 16)
    assert model.compiled is not None
    monkeypatch.setattr(real.models.hf, "Compiled", Wrong)
    with pytest.warns(UserWarning, match="log-probabilities differ from eager ones by"):
        model.compile((1, 4), 16)
    assert model.compiled is None


def test_it_retreats_when_the_comparison_has_no_room(monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("no room for a law")

    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    monkeypatch.setattr(CausalLM, "_compiled_error", full)
    model = random_model("llama", 0)
    with pytest.warns(UserWarning, match="served eagerly; OutOfMemoryError: no room for a law"):
        model.compile((1, 4), 16)
    assert model.compiled is None


def test_slots_come_in_blocks_on_a_gpu():
    assert [slots(count, torch.device("cuda")) for count in (1, 256, 257)] == [256, 256, 512]
    assert slots(257, torch.device("cpu")) == 257


@pytest.mark.slow
def test_rounding_of_a_logit_that_is_never_drawn_is_no_difference(monkeypatch, compiler):
    """Ids that an inflated model forbids have logits of −2·10⁴, of which a unit of bfloat16 is 128."""
    monkeypatch.setitem(SHAPES, "two layers", SHAPES["qwen3-tiny"] | {"num_hidden_layers": 2})
    small = load_model(ASSETS / "specialist")
    model = CausalLM(inflate(small, large_config(small, "two layers"), dtype="bfloat16"), "draft")
    model.compile((1,), 16)
    assert model.compiled is not None


@pytest.mark.parametrize(
    "family, settings",
    [
        ("gemma3_text", {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]}),
        ("mistral", {"num_hidden_layers": 2, "sliding_window": 10}),
    ],
)
def test_a_layer_that_forgets_is_not_compiled(family, settings):
    config = AutoConfig.for_model(family, **settings)
    with pytest.raises(ValueError, match="sliding_attention: every layer must attend to the whole text"):
        Compiled(SimpleNamespace(config=config), 2, (1, 4), 16)


@pytest.mark.parametrize("widths, size", [((), 8), ((0, 4), 8), ((1, 9), 8)])
def test_widths_must_fit(widths, size):
    model = random_model("llama", 0)
    with pytest.raises(ValueError, match="each from 1 to size"):
        Compiled(model.body, model.layers, widths, size)
