# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Models and generation configs that nobody made for this decoder: transformers' own text, or refused."""

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

import real.verify.strangers as module  # noqa: E402
from real.drafters import Adapter, Heads, Independent, Mixture  # noqa: E402
from real.measure.contenders import Asked  # noqa: E402
from real.measure.rivals import Generate  # noqa: E402
from real.models.hf import CausalLM  # noqa: E402
from real.models.load import CHECKED  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.models.text import Text, shaped  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.drafter_laws import fault, laws  # noqa: E402
from real.verify.lossless import FALSE_ALARM, random_prompts, reference, transforms, uniformity  # noqa: E402
from real.verify.on_trial import Subject  # noqa: E402
from real.verify.strangers import (  # noqa: E402
    FAMILIES,
    GENERATION,
    VOCAB,
    WAYS,
    compared,
    strange_pair,
    stranger,
    strangers,
    verified_by_fresh_laws,
    ways_of,
)
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402

REFUSED = {"mamba": "other state", "num_beams": "num_beams=3"}
ALONE = {"falcon, ALiBi": "one text at a time", "bloom, ALiBi": "one text at a time"}
CAPPED = {"gemma2, soft cap": "capped"}
PROMPTS, NEW = 4, 38  # beyond the windows, which are 12, and beyond contexts of 60


def held(family: str, generation: str = "") -> None:
    name = generation or family
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            strange_pair(family, generation)
        return
    ways = ways_of(name)
    found = dict(compared(strange_pair(family, generation), random_prompts(PROMPTS, VOCAB, 7), NEW, ways))
    wanted = dict.fromkeys([*ways, "sampled"], PROMPTS)
    for way, known in (("3 rows", ALONE), ("learning", CAPPED)):
        if name in known:
            assert known[name] in str(found[way])
            found.pop(way), wanted.pop(way)
    assert found == wanted


@pytest.mark.parametrize(("family", "sharper"), [("stablelm", 1.001), ("stablelm, bfloat16", 2.0)])
def test_a_law_that_is_not_the_targets_is_seen(family, sharper, monkeypatch):
    pair, prompt = strange_pair(family), random_prompts(1, VOCAB, 7)[0]
    assert verified_by_fresh_laws(pair, prompt, NEW)
    head = pair.target.head
    monkeypatch.setattr(pair.target, "head", lambda hidden: sharper * head(hidden))
    assert not verified_by_fresh_laws(pair, prompt, NEW)


def test_what_is_refused_in_some_way_counts_as_refused_in_it(monkeypatch, capsys):
    few = ("falcon, ALiBi", "mamba", "stablelm, bfloat16", "stablelm")
    monkeypatch.setattr(module, "FAMILIES", {name: FAMILIES[name] for name in few})
    monkeypatch.setattr(module, "GENERATION", {"num_beams": GENERATION["num_beams"]})
    assert strangers(1, 8)
    told = capsys.readouterr().out
    assert "families: of 4 served: alone 2, 3 rows 1, learning 2; sampled 3" in told
    assert "generation: of 1 served: alone 0, 3 rows 0, learning 0; sampled 0" in told
    monkeypatch.setattr(module, "MAY_REFUSE", {"families": 1, "generation": 2})
    assert not strangers(1, 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stranger_is_served_as_transformers_serves_it_or_refused(family):
    held(family)


@pytest.mark.parametrize("generation", GENERATION)
def test_a_generation_config_is_served_as_transformers_serves_it_or_refused(generation):
    held("stablelm", generation)


@pytest.mark.parametrize("generation", [name for name in GENERATION if name not in ("eos_token_id", *REFUSED)])
def test_a_generation_config_that_is_compared_changes_the_text(generation):
    prompts = random_prompts(PROMPTS, VOCAB, 7)
    plain, other = (reference(strange_pair("stablelm", name), prompts, NEW) for name in ("", generation))
    assert plain != other


def test_generate_gives_tokens_whatever_a_generation_config_asks_back():
    pair, (prompt,) = strange_pair("stablelm", ""), random_prompts(1, VOCAB, 7)
    wanted = reference(pair, [prompt], 4)
    pair.target.model.generation_config.return_dict_in_generate = True
    assert reference(pair, [prompt], 4) == wanted
    timed = Generate(pair, Sampling(0.0), 4)
    timed.serve(Asked(prompt, 1))
    assert timed.text == wanted[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shaped_logits_are_those_of_generate_bit_for_bit(dtype):
    """transformers shapes in float32, whatever the model's dtype."""
    model = stranger("stablelm", dtype)
    model.generation_config.repetition_penalty = 1.3
    target, prompt = CausalLM(model), random_prompts(1, VOCAB, 7)[0]
    asked = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "output_scores": True, "output_logits": True}
    said = model.generate(torch.tensor([prompt]), return_dict_in_generate=True, **asked)
    text = Text(said.sequences[0].tolist(), shape=target.generation.shape(prompt, len(prompt) + 12, target.device))
    for i, (logits, scores) in enumerate(zip(said.logits, said.scores, strict=True)):
        assert torch.equal(shaped([text.until(len(prompt) + i)], [], logits.to(target.dtype)), scores)


def test_equal_drafts_have_all_acceptance_under_a_generation_config():
    """The share reported is of the laws that were compared, and routing learns nothing from how drafts were shaped."""
    pair, sampling = strange_pair("stablelm", "suppress_tokens", noise=0.0), Sampling(1.0)
    serving = Serving(4, 8, sampling, 24)
    vocab, draft = pair.target.vocab, pair.draft
    for made in (
        Independent(draft, vocab),
        Mixture([Independent(draft, vocab), Independent(draft.copy(), vocab)], "route"),
    ):
        decoder = online_decoder(pair, made, Hedge(0.5) if made.trains else Frozen(), serving)
        _, counts = decoder.serve(random_prompts(1, VOCAB, 7)[0], Ledger("cpu"))
        assert counts.accepted == counts.drafted > 0
        assert counts.alpha_sum == pytest.approx(counts.verified)
    assert decoder.learning.log.rounds
    assert torch.allclose(decoder.drafter.x, torch.full((2,), 0.5), atol=1e-5)


def test_a_sampled_text_under_a_generation_config_passes_the_audit_of_its_law():
    pair, sampling = strange_pair("stablelm", "repetition_penalty"), Sampling(1.0)
    prompts = random_prompts(8, VOCAB, 7)
    texts = WAYS["alone"](pair, prompts, 60, sampling, 1)
    rng = torch.Generator().manual_seed(2)
    values = [transforms(pair, prompt, text, sampling, rng) for prompt, text in zip(prompts, texts, strict=True)]
    assert uniformity(torch.cat(values)) > FALSE_ALARM


def test_a_window_by_another_name_is_seen_before_rows_are_served():
    config = AutoConfig.for_model(
        "gpt_neo", vocab_size=VOCAB, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64, window_size=12,
        max_position_embeddings=160, attention_types=[[["global", "local"], 1]],
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    with pytest.raises(ValueError, match="does not read several texts side by side"):
        CausalLM(model).check_rows()


def test_what_is_called_checked_is_what_is_served():
    types = {name.split(",")[0] for name in FAMILIES} - set(REFUSED)
    assert types - set(CHECKED) == set()
    assert set(CHECKED) - types == {"llama", "qwen2", "qwen3", "gpt_neox"} - types


@pytest.mark.parametrize("drafter", ["adapter", "heads"])
@pytest.mark.parametrize("family", ["granite, scaled", "cohere, scaled"])
def test_an_adapter_of_scaled_logits_learns_what_it_serves(drafter, family):
    subject = Subject.of(drafter, strange_pair(family))
    assert not fault(laws(subject.kind)["loss_is_of_the_law_drafted"], subject)


@pytest.mark.parametrize("kind", [Adapter, Heads])
def test_an_adapter_of_capped_logits_is_refused(kind):
    with pytest.raises(ValueError, match=r"not affine.*independent"):
        kind.of(strange_pair("gemma2, soft cap"))
