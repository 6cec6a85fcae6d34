# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Inflated models: the law of the small one, whatever the family, the shape and the dtype."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from real.build.corner import planned  # noqa: E402
from real.build.inflate import SHAPES, inflate, large_config, write  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.load import load_model, load_pair  # noqa: E402
from real.models.random import random_model  # noqa: E402
from real.systems.loaded import Models  # noqa: E402
from real.traffic.streams import ASSETS  # noqa: E402
from real.verify.lossless import random_prompts, reference  # noqa: E402

EMBEDDED = ("target", "llama", "gpt_neox")
"""One of every family; ``write`` compares the law of whatever it writes."""
LARGE = {
    "qwen3": {"hidden_size": 512, "intermediate_size": 1100, "num_hidden_layers": 17, "num_attention_heads": 16,
              "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 2048},
    "llama": {"hidden_size": 300, "intermediate_size": 512, "num_hidden_layers": 13, "num_attention_heads": 4,
              "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 1100},
    "qwen2": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 8,
              "num_key_value_heads": 4, "vocab_size": 600},
    "gpt_neox": {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 13, "num_attention_heads": 8,
                 "vocab_size": 1200},
}  # fmt: skip
"""Wider, deeper, with more heads, other groups of heads and larger heads; 300 is no multiple of anything."""


def shape(tmp_path, family: str, **changes) -> str:
    AutoConfig.for_model(family, **LARGE[family] | changes).save_pretrained(tmp_path / "shape")
    return str(tmp_path / "shape")


def inflated(tmp_path, small: CausalLM, dtype: str) -> CausalLM:
    config = large_config(small, shape(tmp_path, small.model.config.model_type))
    return CausalLM(inflate(small, config, dtype=dtype), "large")


@torch.inference_mode()
def laws(model: CausalLM, ids, width: int):
    """Laws at every position ``[n, width]`` in float64, and the mass on further ids."""
    law = model.logits(ids).double().softmax(-1)
    return law[:, :width], float(law[:, width:].sum(-1).max()) if law.shape[-1] > width else 0.0


def distance(one, other):
    return (one - other).abs().sum(-1) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDED)
def test_the_law_is_the_small_models_and_no_dtype_loses_more_than_before(tmp_path, name):
    ids = torch.randint(0, 1024, (200,), generator=torch.Generator().manual_seed(0))
    exact, _ = laws(load_model(ASSETS / name, "float64"), ids, 1024)
    for dtype in ("float64", "float32", "bfloat16"):
        small = load_model(ASSETS / name, dtype)
        own, _ = laws(small, ids, 1024)
        got, further = laws(inflated(tmp_path, small, dtype), ids, 1024)
        assert further == 0.0
        if dtype == "bfloat16":
            assert distance(got, exact).mean() <= 1.1 * distance(own, exact).mean()
        else:
            assert distance(got, own).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", LARGE)
def test_greedy_text_is_the_small_models_in_float64(tmp_path, family):
    small = random_model(family, 0, "float64")
    large = inflated(tmp_path, small, "float64")
    prompts = random_prompts(2, small.vocab, 5)
    assert reference(Pair(large, None, None), prompts, 24) == reference(Pair(small, None, None), prompts, 24)


def test_every_matrix_has_its_size_and_what_is_not_silent_is_random(tmp_path):
    """The cost is real: no matrix of a layer is empty but those that write what must not be written."""
    large = inflated(tmp_path, load_model(ASSETS / "llama"), "float32").model
    assert large.config.num_hidden_layers == len(large.model.layers) == 13
    last = large.model.layers[12]
    for name, weight in last.named_parameters():
        silent = name in ("self_attn.o_proj.weight", "mlp.down_proj.weight")
        assert (float(weight.abs().sum()) == 0) == silent, name
    assert large.lm_head.weight.shape == (1100, 300)
    assert torch.linalg.matrix_rank(large.lm_head.weight.double()) == 300  # an adapter of the output wants its inverse


def test_a_vocabulary_that_is_no_larger_needs_no_forbidding(tmp_path):
    small = load_model(ASSETS / "llama")
    large = CausalLM(inflate(small, large_config(small, shape(tmp_path, "llama", vocab_size=1024)), dtype="float32"))
    ids = torch.arange(50)
    assert distance(laws(small, ids, 1024)[0], laws(large, ids, 1024)[0]).max() <= 1e-5
    assert torch.linalg.matrix_rank(large.readout.weight) == 300


def test_the_checkpoint_is_an_ordinary_one_and_says_what_it_is(tmp_path):
    count = write(ASSETS / "specialist", shape(tmp_path, "qwen3"), tmp_path / "big", dtype="float32")
    pair = load_pair(tmp_path / "big", ASSETS / "specialist")
    assert sum(weight.numel() for weight in pair.target.model.parameters()) == count
    assert pair.target.label == " (inflated from specialist)"
    assert pair.draft.label == ""
    assert json.loads((tmp_path / "big/config.json").read_text())["inflated_from"] == "specialist"
    embedded = Models().pair.encode(["Once upon a time"], chat=False)
    assert pair.encode(["Once upon a time"]) == embedded  # of a text to go on with, not of a chat
    with pytest.raises(ValueError, match=r"is there already; nothing was written"):
        write(ASSETS / "specialist", shape(tmp_path, "qwen3"), tmp_path / "big")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("model", ["target", "specialist", "generalist"])
def test_the_embedded_pair_fits_into_the_published_shapes(name, model):
    small = load_model(ASSETS / model)
    plan = planned(small.model.config, large_config(small, name))
    assert len(set(plan.heads)) == small.model.config.num_attention_heads
    assert max(plan.dims) < plan.size == 128
    assert all(c != 0 for c in plan.constants)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"hidden_size": 192}, "hidden_size=192 must be at least 193"),
        ({"num_hidden_layers": 15}, "num_hidden_layers=15 must be at least 16"),
        ({"head_dim": 192}, "head_dim=192 must be a multiple of 128"),
        ({"vocab_size": 1000}, "vocab_size=1000 must be at least 1024"),
        ({"num_attention_heads": 1, "num_key_value_heads": 1}, "num_key_value_heads=1 must be at least 2"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, changes, words):
    small = load_model(ASSETS / "target")
    with pytest.raises(ValueError, match=words):
        large_config(small, shape(tmp_path, "qwen3", **changes))


@pytest.mark.parametrize(
    "family, settings",
    [("llama", {"mlp_bias": True, "attention_bias": True}), ("gpt_neox", {"use_parallel_residual": False})],
)
def test_variants_of_a_family_keep_their_law(tmp_path, family, settings):
    config = random_model(family, 0).model.config
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    small = CausalLM(model)
    large = inflated(tmp_path, small, "float64")
    ids = torch.arange(30) * 7 % 512
    assert distance(laws(small, ids, 512)[0], laws(large, ids, 512)[0]).max() <= 1e-5


def test_what_is_not_reproduced_is_not_written(tmp_path, monkeypatch):
    small = load_model(ASSETS / "specialist")
    config = large_config(small, shape(tmp_path, "qwen3"))
    monkeypatch.setattr("real.build.corner.LlamaCorner.rows", lambda *_: None)  # forgets half of the MLP
    with pytest.raises(ValueError, match=r"its law is not reproduced \(total variation 0\.\d+\)"):
        inflate(small, config, dtype="float32")
    small.model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(ValueError, match="rope_type='dynamic' must be 'default'"):
        large_config(small, shape(tmp_path, "qwen3"))


def test_another_family_or_no_configuration_is_said(tmp_path):
    small = load_model(ASSETS / "target")
    with pytest.raises(ValueError, match=r"model_type='llama' must be the model's own, 'qwen3'"):
        large_config(small, shape(tmp_path, "llama"))
    with pytest.raises(ValueError, match=r"like='qwen3-9b': must be one of qwen3-8b, qwen3-0.6b, qwen3-tiny, or a co"):
        large_config(small, "qwen3-9b")
