# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Loading: families, padded vocabularies, chat templates, rollback, and clear errors."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402

from real.models.cache import rollback  # noqa: E402
from real.models.hf import PROVEN, CausalLM, Pair  # noqa: E402
from real.models.load import load_model, load_pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402

CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer(words: str = "a b c d", template: str | None = None):
    vocab = {word: i for i, word in enumerate(["?", *words.split(), "<user>", "<assistant>", "\n"])}
    raw = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    raw.add_special_tokens(["<user>", "<assistant>"])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="?")
    made.chat_template = template
    return made


def alone() -> Pair:
    return Pair(random_model("llama", 0), None, tokenizer())


def saved(folder, model, tok) -> str:
    model.model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", PROVEN)
def test_cache_rolls_back_exactly(family):
    model = random_model(family, 0)
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    with torch.inference_mode():
        cache = model.new_cache()
        model.hidden(ids[:4], cache)
        model.hidden(torch.tensor([7, 7, 7]), cache)
        rollback(cache, 3)
        got = model.logits(ids[4:], cache)
        want = model.model(ids[None]).logits[0, 4:]
    torch.testing.assert_close(got, want)
    assert cache.get_seq_length() == 7


@pytest.mark.parametrize("family", PROVEN)
def test_a_saved_pair_loads_with_other_padding(tmp_path, family):
    target = random_model(family, 0, "float32")
    pair = load_pair(
        saved(tmp_path / "target", target, tokenizer()),
        saved(tmp_path / "draft", perturbed(target, 0.03, 1, vocab=520), tokenizer()),
    )
    assert (pair.target.vocab, pair.draft.vocab) == (512, 520)
    assert pair.target.dtype == torch.float32
    assert pair.target.eos == frozenset()
    assert load_pair(tmp_path / "target", None, "float64").target.dtype == torch.float64


def test_chat_template_is_used_exactly_when_there_is_one():
    target = random_model("llama", 0)
    plain, chat = Pair(target, None, tokenizer()), Pair(target, None, tokenizer(template=CHAT))
    ids = chat.encode(["a", "b", "c"])
    assert chat.tokenizer.convert_ids_to_tokens(ids) == [
        "<user>", "a", "<assistant>", "b", "<user>", "c", "<assistant>",
    ]  # fmt: skip
    assert plain.tokenizer.convert_ids_to_tokens(plain.encode(["a", "b"])) == ["a", "\n", "b"]
    assert chat.encode(["a", "b"], chat=False) == plain.encode(["a", "b"])
    assert chat.decode(chat.encode(["a"], chat=False)) == "a"


def test_end_tokens_come_from_the_generation_config(tmp_path):
    model = random_model("llama", 0)
    model.model.generation_config.eos_token_id = [3, 5]
    assert CausalLM(model.model).eos == {3, 5}
    model.model.generation_config.eos_token_id = 4
    assert CausalLM(model.model).eos == {4}


def scaled(model: CausalLM) -> CausalLM:
    """A family that scales its logits after the head, as some do."""
    forward = model.model.forward

    def scaling(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output

    model.model.forward = scaling
    return CausalLM(model.model, "target")


def headless() -> CausalLM:
    model = random_model("llama", 0).model
    model.get_output_embeddings = lambda: None
    return CausalLM(model, "draft")


LAYERS = ["conv", "full_attention"]


def recurrent() -> CausalLM:
    """A family whose layers keep a running state, which cannot be rolled back."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.AutoConfig.for_model(
        "lfm2", vocab_size=64, num_key_value_heads=2, layer_types=LAYERS, **sizes
    )
    return CausalLM(transformers.AutoModelForCausalLM.from_config(config), "draft")


ERRORS = {
    "missing": (lambda tmp: load_model(tmp / "nowhere", name="target"), "target='.*nowhere'.*save_pretrained"),
    "missing tokenizer": (lambda tmp: load_pair(tmp / "nowhere", None), "target='.*nowhere'"),
    "dtype": (lambda tmp: load_model(tmp, "int8"), "dtype='int8'.*float64"),
    "scaled": (lambda tmp: scaled(random_model("llama", 0)), "target=.*body and head must reproduce"),
    "recurrent": (lambda tmp: recurrent(), "draft=Lfm2.*cannot be rolled back.*full attention"),
    "headless": (lambda tmp: headless(), "draft=.*output embeddings"),
    "chat": (
        lambda tmp: alone().encode(["a"], chat=True),
        "chat=True.*no chat template",
    ),
    "empty": (lambda tmp: alone().encode([""]), "at least one token"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_why_and_what_to_do(tmp_path, name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    make, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        make(tmp_path)


def test_different_tokenizers_are_refused(tmp_path):
    target = random_model("llama", 0, "float32")
    one = saved(tmp_path / "one", target, tokenizer("a b c d"))
    other = saved(tmp_path / "other", target, tokenizer("a c b d"))
    with pytest.raises(ValueError, match=r"draft='.*other'.*token 'b' has id 3 here and 2 there.*same family"):
        load_pair(one, other)
