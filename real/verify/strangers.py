"""Tiny random checkpoints of families that nobody made for this decoder, and generation configs that strangers ship.

Each is served as any model is, alone and in rows, and its text is what transformers' own ``generate`` commits; sampled,
the laws that its drafts were verified by are those of one forward over the finished text. Or it is refused, and the
reason is printed. The models need no training: their law depends on the whole text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from real.drafters import DRAFTERS, Adapter, Independent
from real.models.hf import DTYPES, CausalLM, Pair
from real.models.random import perturbed
from real.models.sampling import Sampling
from real.serving.decoder import Decoder
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.serving.step import Step
from real.systems.rows import Method
from real.verify.lossless import Prompts, Served, fresh_laws, in_rows, random_prompts, reference, served

VOCAB, CONTEXT = 128, 160
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SHORT = {"max_position_embeddings": CONTEXT}
GROUPED = {"num_key_value_heads": 2}
TIED = {"tie_word_embeddings": True}
HALF = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}
SWITCH = {"original_max_position_embeddings": 60}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "factor": 3.0,
} | SWITCH
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}

FAMILIES: dict[str, dict[str, Any]] = {
    "mistral, window": WIDE | SHORT | GROUPED | {"sliding_window": 12},
    "qwen2, half windows": WIDE | SHORT | GROUPED | HALF | {"use_sliding_window": True},
    "phi3, window": WIDE | SHORT | GROUPED | {"sliding_window": 12, "pad_token_id": None},
    "phi3, longrope": WIDE | SHORT | {"rope_parameters": LONGROPE, "pad_token_id": None} | SWITCH,
    "llama, longrope": WIDE | SHORT | {"rope_parameters": LONGROPE},
    "llama, dynamic": WIDE | {"max_position_embeddings": 60, "rope_parameters": DYNAMIC},
    "gemma2, soft cap": WIDE | SHORT | GROUPED | HALF | TIED | {"head_dim": 8, "final_logit_softcapping": 3.0},
    "gemma3_text, half windows": WIDE | SHORT | GROUPED | HALF | TIED | {"head_dim": 8},
    "falcon, ALiBi": WIDE | {"alibi": True, "multi_query": True, "new_decoder_architecture": False},
    "falcon, MQA": WIDE | SHORT | {"alibi": False, "multi_query": True, "new_decoder_architecture": False},
    "bloom, ALiBi": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2, learned": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 60} | TIED,
    "opt, learned": WIDE | SHORT | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "granite, scaled": WIDE | SHORT | GROUPED | {"logits_scaling": 1.3, "residual_multiplier": 0.7},
    "cohere, scaled": WIDE | SHORT | GROUPED | TIED | {"logit_scale": 0.4},
    "mixtral, experts": WIDE | SHORT | GROUPED | {"num_local_experts": 4, "sliding_window": 12},
    "starcoder2, window": WIDE | SHORT | GROUPED | TIED | {"sliding_window": 12},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": CONTEXT},
    "olmo2": WIDE | SHORT | GROUPED,
    "stablelm": WIDE | SHORT | GROUPED,
    "stablelm, bfloat16": WIDE | SHORT | GROUPED,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}  # fmt: skip
"""By family, a comma and what is odd about it: settings of its configuration."""
DTYPE_OF = {"mixtral, experts": "float32", "stablelm, bfloat16": "bfloat16"}
"""The others are compared in float64."""
CLOSE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.1}
"""How near two laws must be, by the target's type: some families compute parts in float32 whatever their type."""
MIXED = ("stablelm", "gemma2, soft cap")
"""Families that a mixture drafts for as well."""
MAY_REFUSE = {"families": 4, "generation": 2}
"""How many may be refused, in some way, before it counts as a fault."""

GENERATION: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.3},
    "min_new_tokens": {"min_new_tokens": 12, "eos_token_id": list(range(40))},
    "suppress_tokens": {"suppress_tokens": list(range(60)), "begin_suppress_tokens": list(range(60, 100))},
    "forced_eos_token_id": {"forced_eos_token_id": 7, "eos_token_id": 7},
    "bad_words_ids": {"bad_words_ids": [[index] for index in range(30)] + [[40, 41], [50, 51, 52]]},
    "sequence_bias": {"sequence_bias": [[[index], -4.0] for index in range(0, 128, 2)]},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.5},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
    "stop_strings": {"stop_strings": ["e", "R", "q)"]},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (8, 1.5), "eos_token_id": 3},
    "eos_token_id": {"eos_token_id": None},
    "num_beams": {"num_beams": 3},
}
"""Generation configs by the setting that each is about."""


def stranger(name: str, dtype: str = "float64", seed: int = 0, **settings: Any) -> Any:
    """A random transformers model of one of ``FAMILIES``, in evaluation mode; ``settings``: of its configuration."""
    family = name.split(",")[0]
    no_ids = {"bos_token_id": None, "eos_token_id": None}
    config = AutoConfig.for_model(family, **{"vocab_size": VOCAB} | no_ids | FAMILIES[name] | settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype])
    rng, tied = torch.Generator().manual_seed(seed), model.config.tie_word_embeddings
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:  # strong layers: the law depends on the whole text, which does not repeat itself
                noise = torch.randn(weight.shape, generator=rng, dtype=torch.float64)
                embedding = len(weight) == VOCAB
                weight.copy_((0.1 if tied else 1.0) * noise if embedding else 2.0 * noise / weight.shape[-1] ** 0.5)
    return model.eval()


def letters() -> Any:
    """A tokenizer whose ``VOCAB`` tokens are the ASCII characters."""
    raw = Tokenizer(models.WordLevel({chr(index): index for index in range(VOCAB)}, unk_token="?"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="?")


def strange_pair(name: str, generation: str = "", noise: float = 0.05) -> Pair:
    """A stranger as target and its perturbed copy as draft, with one of ``GENERATION`` if named.

    Raises:
        ValueError: if the model is refused.
    """
    model = stranger(name, DTYPE_OF.get(name, "float64"))
    draft = perturbed(CausalLM(model, "target"), noise, 1)
    for setting, value in GENERATION.get(generation, {}).items():
        setattr(model.generation_config, setting, deepcopy(value))
    return Pair(CausalLM(model, "target"), draft, letters())


WAYS: dict[str, Served] = {
    "alone": served(Method("independent")),
    "3 rows": in_rows(Method("independent"), 3),
    "learning": served(Method("adapter", Adapter.trial)),
}
"""How a stranger is served greedily."""


def ways_of(name: str) -> dict[str, Served]:
    """Those in which a family's greedy text is compared: in bfloat16 none, where texts part at near ties."""
    if DTYPE_OF.get(name) == "bfloat16":
        return {}
    return WAYS | ({"mixture": served(Method("mixture", DRAFTERS["mixture"].trial))} if name in MIXED else {})


def compared(
    pair: Pair, prompts: Prompts, new: int, ways: Mapping[str, Served] = WAYS
) -> Iterator[tuple[str, int | str]]:
    """(way, texts that are ``generate``'s, or why it is refused) for every way to serve a stranger; and "sampled".

    A text ends where the target's context does; transformers goes on, or fails.
    """
    longest = pair.target.context + 1
    wanted = [reference(pair, [prompt], min(new, longest - len(prompt)))[0] for prompt in prompts] if ways else []
    for way, method in ways.items():
        try:
            texts = list(method(pair, prompts, new, Sampling(0.0), 0))
        except ValueError as error:
            yield way, str(error)
        else:
            yield way, sum(text == want for text, want in zip(texts, wanted, strict=True))
    yield "sampled", sum(verified_by_fresh_laws(pair, prompt, new) for prompt in prompts)


def verified_by_fresh_laws(pair: Pair, prompt: list[int], new: int) -> bool:
    """Whether a text sampled at temperature 1 was verified, all along, by the laws that the target has without a cache
    (``fresh_laws``), as near as its type allows."""
    assert pair.draft is not None
    steps, sampling = list[Step](), Sampling(1.0)
    drafter = Independent(pair.draft, pair.target.vocab)
    text, _ = Decoder(pair, drafter, Serving(4, 16, sampling, new), seed=1, watch=steps.append).serve(prompt, Ledger())
    fresh, at, close = fresh_laws(pair, prompt, text, sampling), 0, CLOSE[pair.target.dtype]
    for step in steps:
        of, length = step.text, len(step.tokens)
        if step.verified_laws is not None or of.shape is None:  # a plain step of a shaped text tells its raw laws alone
            laws = step.target_probs if step.verified_laws is None else step.verified_laws[:length]
            if not float((laws - fresh[at : at + length]).abs().max()) <= close:
                return False
        at += length
    return at == len(text)


def strangers(prompts: int = 6, new: int = 40) -> bool:
    """Serve all of them and print a line each; False if a text or law differs or more are refused than may be."""
    ids, held = random_prompts(prompts, VOCAB, 7), True
    cases = {"families": [(name, "") for name in FAMILIES], "generation": [("stablelm", name) for name in GENERATION]}
    for what, named in cases.items():
        refused = Counter[str]()
        for family, generation in named:
            label = generation or family
            ways = ways_of(label)
            try:
                found = list(compared(strange_pair(family, generation), ids, new, ways))
            except ValueError as error:
                refused.update([*ways, "sampled"])
                print(f"{label:34} refused: {error}", flush=True)
                continue
            shown = [f"{way} {same}/{prompts}" for way, same in found if isinstance(same, int)]
            print(f"{label:34} identical: {', '.join(shown)}", flush=True)
            for way, same in found:
                if isinstance(same, str):
                    refused[way] += 1
                    print(f"    {way} refused: {same}")
                held = held and same in (prompts, str(same))
        told = ", ".join(f"{way} {sum(way in ways_of(g or f) for f, g in named) - refused[way]}" for way in WAYS)
        print(f"{what}: of {len(named)} served: {told}; sampled {len(named) - refused['sampled']}")
        held = held and max(refused.values(), default=0) <= MAY_REFUSE[what]
    print("strangers: all texts and laws identical or refused" if held else "FAILED: strangers")
    return held
