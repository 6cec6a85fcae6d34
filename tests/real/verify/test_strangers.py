"""Models and generation configs that nobody made for this decoder: transformers' own text, or refused."""

import pytest

torch = pytest.importorskip("torch")

from real.drafters import Adapter, Heads  # noqa: E402
from real.models.load import CHECKED  # noqa: E402
from real.verify.drafter_laws import Subject, fault, laws  # noqa: E402
from real.verify.lossless import random_prompts, reference  # noqa: E402
from real.verify.strangers import FAMILIES, GENERATION, VOCAB, WAYS, compared, strange_pair  # noqa: E402

REFUSED = {"mamba": "other state", "num_beams": "num_beams=3"}
ALONE = {"falcon, ALiBi": "one text at a time", "bloom, ALiBi": "one text at a time"}
CAPPED = {"gemma2, soft cap": "capped"}
PROMPTS, NEW = 4, 26  # beyond the windows, which are 12


def held(family: str, generation: str = "") -> None:
    name = generation or family
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            strange_pair(family, generation)
        return
    found = dict(compared(strange_pair(family, generation), random_prompts(PROMPTS, VOCAB, 7), NEW))
    wanted = dict.fromkeys(WAYS, PROMPTS)
    for way, known in (("3 rows", ALONE), ("learning", CAPPED)):
        if name in known:
            assert known[name] in str(found[way])
            found.pop(way), wanted.pop(way)
    assert found == wanted


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
