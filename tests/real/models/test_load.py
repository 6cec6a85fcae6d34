# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""What a folder may hold besides a whole model of a known kind, and what becomes of it."""

import ast
import json
import pickle
import sys
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers.generation.configuration_utils import ALL_CACHE_IMPLEMENTATIONS  # noqa: E402

import real  # noqa: E402
from real.models.generation import REFUSED, SHAPING, WITHOUT_EFFECT  # noqa: E402
from real.models.head import Head  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.load import load_model, load_pair, load_tokenizer  # noqa: E402
from real.models.random import random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.verify.strangers import letters, stranger  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
WEIGHT = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path):
    random_model("llama", 0, "float32", vocab=128).model.save_pretrained(tmp_path)
    letters().save_pretrained(tmp_path)
    return tmp_path


def reweighted(folder, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


CHECKPOINTS = {
    "missing": (lambda w: w.pop(WEIGHT), f"lacks '{WEIGHT}'"),
    "renamed": (lambda w: w.update(other=w.pop(WEIGHT)), f"lacks '{WEIGHT}'"),
    "more": (lambda w: w.update(other=torch.zeros(3)), "has 'other'"),
    "cut": (lambda w: w.update({WEIGHT: w[WEIGHT][:, :3].contiguous()}), f"another size of '{WEIGHT}'"),
}


@pytest.mark.parametrize("fault", CHECKPOINTS)
def test_a_checkpoint_that_is_not_whole_is_refused_by_name(folder, fault):
    change, message = CHECKPOINTS[fault]
    reweighted(folder, change)
    with pytest.raises(ValueError, match=f"{message}.*save_pretrained"):
        load_model(folder)


def test_a_damaged_checkpoint_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="no AutoModelForCausalLM could be loaded"):
        load_model(folder)


CODE = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig):
    model_type = "stranger"
class Model(LlamaForCausalLM):
    config_class = Config
"""


def test_code_of_a_folder_runs_only_where_it_is_named(folder, monkeypatch, tmp_path_factory):
    cache = tmp_path_factory.mktemp("modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
    monkeypatch.setattr("sys.path", [str(cache), *sys.path])
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(CODE)
    with pytest.raises(ValueError, match=r"code of its own, which is not run.*--trust-remote-code"):
        load_model(folder)
    with pytest.raises(ValueError, match="code of its own"):
        load_model(folder, trust=["another"])
    assert not list(cache.rglob("ran"))
    assert type(load_model(folder, trust=[str(folder)]).model).__name__ == "Model"
    assert list(cache.rglob("ran"))


def test_every_door_to_a_folder_says_whether_its_code_may_run():
    """Left open, transformers asks on standard input, and then runs it."""
    calls = [
        (path, call)
        for path in sorted((ROOT / "real").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "from_pretrained"
    ]
    assert len(calls) >= 3
    assert not [path for path, call in calls if "trust_remote_code" not in {word.arg for word in call.keywords}]


@pytest.mark.parametrize("named", [True, False])
def test_trust_names_folders(named):
    with pytest.raises(ValueError, match=r"trust_remote_code=.*name the folders"):
        real.load(trust_remote_code=named)


def test_a_generation_config_has_no_setting_that_nobody_thought_of():
    """Every field of transformers' own: served, refused, or without effect on what a request's text is."""
    fields = {name for name in vars(transformers.GenerationConfig()) if name[0] != "_"}
    assert fields - set(SHAPING) - set(REFUSED) - WITHOUT_EFFECT == set()
    assert not WITHOUT_EFFECT & (set(SHAPING) | set(REFUSED))
    assert set(ALL_CACHE_IMPLEMENTATIONS) - set(REFUSED["cache_implementation"]) == {"quantized"}


WRONG_VALUES = {
    "forced end": ({"forced_eos_token_id": 999}, "forced_eos_token_id=999, which transformers does not take"),
    "forced start": ({"forced_bos_token_id": 999}, "forced_bos_token_id=999"),
    "stops": ({"stop_strings": 3}, "stop_strings=3, which must be a text or a list of texts"),
    "empty stop": ({"stop_strings": ["a", ""]}, "stop_strings="),
    "unspelt stop": ({"stop_strings": ["é"]}, "stop_strings=.*its tokenizer cannot spell"),
    "half a decay": ({"exponential_decay_length_penalty": [1]}, r"exponential_decay_length_penalty=[\[(]1.*IndexError"),
    "late decay": ({"exponential_decay_length_penalty": [1000, "x"], "eos_token_id": 3}, "exponential_decay"),
    "decay to no end": ({"exponential_decay_length_penalty": [3, 1.5], "eos_token_id": None}, "exponential_decay"),
    "text": ({"min_length": "3", "eos_token_id": 3}, "min_length='3', which transformers does not take .TypeError"),
    "penalty": ({"repetition_penalty": -2.0}, r"repetition_penalty=-2.0.*strictly positive"),
    "words": ({"bad_words_ids": [[999]]}, r"bad_words_ids=\[\[999\]\]"),
    "bias": ({"sequence_bias": [[[999], 1.0]]}, "sequence_bias=.*999"),
    "infinite": ({"sequence_bias": [[[3], float("inf")]]}, r"sequence_bias=.*logits are NaN or \+inf, or all are -inf"),
    "nothing left": ({"suppress_tokens": list(range(128))}, r"suppress_tokens=\[0, 1, .*all are -inf"),
    "nothing left together": (
        {"suppress_tokens": list(range(100)), "begin_suppress_tokens": list(range(100, 128))},
        r"suppress_tokens=\[0, .*, begin_suppress_tokens=\[100, .*all are -inf",
    ),
    "end": ({"eos_token_id": "</s>"}, "eos_token_id='</s>', which must be a token id or a list of them"),
    "ends": ({"eos_token_id": [3, "a"]}, "eos_token_id="),
    "cache": ({"cache_implementation": "quantized"}, "cache_implementation='quantized', which is not served"),
}


@pytest.mark.parametrize("fault", WRONG_VALUES)
def test_a_generation_config_with_a_wrong_value_is_refused_at_load(fault):
    """Not by the first request, nor by one that comes so far."""
    values, message = WRONG_VALUES[fault]
    model = random_model("llama", 0, vocab=128).model
    for name, value in values.items():
        setattr(model.generation_config, name, value)
    with pytest.raises(ValueError, match=f"^target: its generation config sets {message}.*generation_config.json"):
        Pair(CausalLM(model, "target"), None, letters())


SERVED = {
    "decay": {"exponential_decay_length_penalty": [900, 2.5], "eos_token_id": 3},
    "cache": {"cache_implementation": "static"},
    "no shape": {"suppress_tokens": [999], "no_repeat_ngram_size": -2},
    "ends": {"min_new_tokens": 10**6, "forced_eos_token_id": [5, 9], "eos_token_id": [3, 5, 9]},
    "words": {"bad_words_ids": [[3], [4, 5]], "sequence_bias": [[[7], -float("inf")]]},
    "stops": {"stop_strings": ["ab", "q"]},
}


@pytest.mark.parametrize("config", SERVED)
def test_values_that_transformers_takes_are_taken(config):
    model = random_model("llama", 0, vocab=128).model
    for name, value in SERVED[config].items():
        setattr(model.generation_config, name, value)
    Pair(CausalLM(model, "target"), None, letters())


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"eos_token_id": 1, "eos_token_id": 2}'])
def test_a_generation_config_that_cannot_be_read_is_refused(folder, content):
    """transformers goes on without it, and without a word."""
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"^target=.*generation_config\.json is not a JSON object .*write it again"):
        load_model(folder, name="target")


def settings_of(folder, **changed) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))


def pickled(folder, content: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)


FOLDERS = {
    "no heads": (lambda f: settings_of(f, num_attention_heads=0), "ZeroDivisionError: "),
    "text": (
        lambda f: settings_of(f, hidden_size="big"),
        "Error: Validation error for field 'hidden_size': .*expected int",
    ),
    "quantized": (lambda f: settings_of(f, quantization_config={"quant_method": "awq", "bits": 4}), "ImportError: "),
    "activation": (lambda f: settings_of(f, hidden_act="odd"), "KeyError: 'odd'"),
    "junk": (
        lambda f: pickled(f, b"junk"),
        r"error: .*; its pytorch_model\.bin must be tensors that torch\.save wrote",
    ),
    "a call": (lambda f: pickled(f, pickle.dumps(Exit(), 2)), r"UnpicklingError: .*; its pytorch_model\.bin must be"),
}


class Exit:
    """What ends the process when it is unpickled."""

    def __reduce__(self):
        return sys.exit, ()


@pytest.mark.parametrize("fault", FOLDERS)
def test_whatever_a_folder_makes_transformers_raise_is_told_in_a_line(folder, fault):
    change, message = FOLDERS[fault]
    change(folder)
    with pytest.raises(ValueError, match=f"^draft=.*{message}") as told:
        load_model(folder, name="draft")
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is not None


@pytest.mark.parametrize(
    ("file", "content"),
    [("tokenizer.json", "[]"), ("config.json", "[]"), ("config.json", '{"model_type": "llama", "dtype": "float7"}')],
)
def test_a_tokenizer_that_does_not_load_is_told_in_a_line(folder, file, content):
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=r"^target=.*no AutoTokenizer could be loaded from it .\w+Error: .*; give a"):
        load_pair(folder, None)


def test_a_model_that_does_not_run_is_refused(folder, monkeypatch):
    """As mixtures of experts in float64, or a family that needs what is not there."""
    stranger("mixtral, experts", "float32").save_pretrained(folder)
    with pytest.raises(
        ValueError, match=r"^target=.*Mixtral\w+ cannot be served in float64 .RuntimeError: .*; try another"
    ):
        load_model(folder, "float64", name="target")

    def odd(*_):
        raise AttributeError("no such attribute")

    monkeypatch.setattr("real.models.hf.Head", odd)
    with pytest.raises(ValueError, match=r"^target=.*cannot be served in float32 .AttributeError: no such attribute"):
        load_model(folder, name="target")


def test_too_little_memory_is_no_fault_of_the_folder(folder, monkeypatch):
    def full(*_, **__):
        raise MemoryError("full")

    monkeypatch.setattr("real.models.load.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(MemoryError):
        load_model(folder)


def test_a_token_without_an_embedding_is_named(folder):
    pair = load_pair(folder, None)
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["<one>", "<two>"])
    grown = Pair(pair.target, None, tokenizer)
    assert grown.encode(["ab"]) == pair.encode(["ab"])
    with pytest.raises(ValueError, match=r"'<two>' has id 129, and the target has embeddings of 128 ids only"):
        grown.encode(["ab<two>"])
    large = random_model("llama", 0, "float32", vocab=130)
    with pytest.raises(ValueError, match="'<one>' has id 128, and the draft has"):
        Pair(large, pair.target, tokenizer).encode(["<one>"])


HEADS = {
    "soft cap": ("gemma2, soft cap", {"final_logit_softcapping": 30.0}, "cap", None),
    "over": ("granite, scaled", {}, "over", 1.0),
    "times": ("cohere, scaled", {}, "times", 1.0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("odd", HEADS)
def test_the_check_at_load_sees_what_a_family_does_to_its_logits(odd, dtype, monkeypatch):
    """Also a soft cap of 30 in bfloat16, which moves the logits of short texts by less than their rounding."""
    name, settings, part, nothing = HEADS[odd]
    model = stranger(name, dtype, **settings)
    served = CausalLM(model)
    ids = torch.arange(20, 30)
    assert torch.equal(served.logits(ids), model(input_ids=ids[None]).logits[0])
    law = Sampling(1.0).law(served.logits(ids))
    assert torch.equal(law, Sampling(1.0).law(model(input_ids=ids[None]).logits[0]))
    made = Head.__init__

    def blind(self, *given):
        made(self, *given)
        setattr(self, part, nothing)

    monkeypatch.setattr(Head, "__init__", blind)
    with pytest.raises(ValueError, match=r"must reproduce model\(...\)\.logits to 4 units of the last place"):
        CausalLM(model)


def test_an_end_token_of_the_config_alone_ends_nothing(folder):
    """As in ``generate``: a generation config that says null overrules the config."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 5}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": None}))
    assert load_model(folder).eos == frozenset()
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    assert load_model(folder).eos == frozenset({5, 7})
    (folder / "generation_config.json").unlink()
    assert load_model(folder).eos == frozenset({5})


def test_stop_strings_need_a_tokenizer():
    model = random_model("llama", 0, vocab=128)
    model.model.generation_config.stop_strings = ["ab"]
    with pytest.raises(ValueError, match=r"stop_strings.*need a tokenizer"):
        CausalLM(model.model).generation.stops()


def test_what_nobody_has_checked_is_served_with_a_word(folder, tmp_path):
    stranger("phi3, longrope", "float32").save_pretrained(tmp_path / "phi")
    with pytest.warns(UserWarning, match="texts end at 60 tokens, where longrope"):
        assert load_model(tmp_path / "phi").context == 60
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_pair(folder, None)
    config = transformers.AutoConfig.for_model(
        "olmo", vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "olmo")
    letters().save_pretrained(tmp_path / "olmo")
    with pytest.warns(UserWarning, match="type 'olmo' have not been checked.*real lossless --target"):
        load_pair(tmp_path / "olmo", None)
