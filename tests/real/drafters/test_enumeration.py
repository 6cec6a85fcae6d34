# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Drafters that read the target: a step on a transformers model of four tokens, every outcome counted exactly."""

from functools import cache
from itertools import product

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from real.drafters import Drafter, make_drafter  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.step import alone  # noqa: E402
from tests.tabular import enumerate_step, output_law, total_variation  # noqa: E402

GAMMA, PROMPT, VOCAB = 2, [1, 3, 0], 4
SAMPLING, FINEST = Sampling(0.9), 1e-8


class Small(CausalLM):
    """A one-layer model as wide as its vocabulary, whose law of short texts is computed by plain forwards."""

    @classmethod
    def random(cls) -> "Small":
        sizes = {"vocab_size": VOCAB, "hidden_size": VOCAB, "intermediate_size": 8, "num_hidden_layers": 1}
        heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 32}
        ends = {"bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": False}
        model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**sizes, **heads, **ends))
        rng = torch.Generator().manual_seed(3)
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data = torch.randn(weight.shape, generator=rng)
        return cls(model.double(), "small")

    @cache  # noqa: B019 (one model, a few texts)
    def law_after(self, tokens: tuple[int, ...]) -> tuple[float, ...]:
        with torch.inference_mode():
            return tuple(SAMPLING.law(self.model(torch.tensor([tokens])).logits[0, -1:])[0].tolist())

    def text_law(self, prompt: list[int], length: int, sampling: Sampling) -> dict[tuple[int, ...], float]:
        """The exact law of the next ``length`` tokens after ``prompt``."""
        law = {}
        for text in product(range(VOCAB), repeat=length):
            mass, tokens = 1.0, tuple(prompt)
            for token in text:
                mass *= self.law_after(tokens)[token]
                tokens += (token,)
            law[text] = mass
        return law


@pytest.fixture(scope="module")
def target() -> Small:
    return Small.random()


def moved(name: str, target: Small) -> Drafter:
    """A drafter that agrees with the target in part."""
    drafter = make_drafter(name, Pair(target, None, None), **({"burn_in": 8} if name == "heads" else {}))
    rng = torch.Generator().manual_seed(1)
    if name == "heads":
        drafter.whitener.absorb(torch.randn(8, VOCAB, generator=rng))
    drafter.load(drafter.x + 0.4 * torch.randn(drafter.dimension, generator=rng))
    return drafter


@pytest.mark.slow
@pytest.mark.parametrize("name, rule", [("heads", "token"), ("hydra", "token"), ("eagle", "block")])
def test_a_step_has_the_targets_law_by_exact_enumeration(target, name, rule):
    drafter = moved(name, target)
    leaves = enumerate_step(lambda: alone(target, drafter, PROMPT, 9), GAMMA, SAMPLING, rule, FINEST)
    assert {len(step.tokens) for _, step, _ in leaves} == {1, 2, 3}
    law = output_law(target, PROMPT, leaves, GAMMA + 1, SAMPLING)
    assert total_variation(law, target.text_law(PROMPT, GAMMA + 1, SAMPLING)) < 100 * FINEST


def test_the_enumeration_sees_a_law_that_is_not_the_one_sampled(target):
    drafter = moved("eagle", target)
    honest = drafter.propose

    def flattened(*given):
        made = honest(*given)
        return made._replace(probs=0.5 * made.probs + 0.5 / VOCAB)

    drafter.propose = flattened
    leaves = enumerate_step(lambda: alone(target, drafter, PROMPT, 9), 1, SAMPLING, "token", FINEST)
    law = output_law(target, PROMPT, leaves, 2, SAMPLING)
    assert total_variation(law, target.text_law(PROMPT, 2, SAMPLING)) > 0.01
