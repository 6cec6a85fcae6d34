r"""`python -m real inflate`: a checkpoint with a small model's law and a large model's cost.

The small model sits in a corner of the large one. With d, D the widths, ε and ε' the epsilons of the norms, and h the
small model's hidden state, the large one's is h' = (h, c, 0 …), where c is constant:

    norms       ‖h‖² + dε = ‖h'‖² + Dε',  c² = dε − Dε',  so that weights times √(d/D) norm h' as h is normed
    heads       a head's dimensions go where rotary frequencies are the same; scores keep their scale
    the rest    further heads, rows of the MLP and layers are random, and what they write is multiplied by zero; so are
                columns that read features which are always zero
    vocabulary  logits of ids that the small model lacks read c with a large negative weight

A LayerNorm takes the mean away first: there h is stored without its mean, and c comes with −c. Nothing is skipped:
every matrix has its full size and is multiplied, so any engine pays the real cost. What is measured on such a model is
called ``inflated``.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from real.build.corner import LlamaCorner, NeoXCorner, planned
from real.models.hf import DTYPES, PROBE, CausalLM, Pair
from real.models.load import load_model, load_pair, load_tokenizer
from real.traffic.streams import ASSETS
from theory.runs.files import atomic

QWEN3 = {"model_type": "qwen3", "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-8b": QWEN3
    | {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
    "qwen3-0.6b": QWEN3
    | {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "qwen3-tiny": QWEN3
    | {"hidden_size": 320, "intermediate_size": 1024, "num_hidden_layers": 17, "num_attention_heads": 16}
    | {"vocab_size": 2048},
}
"""Shapes by name: two that are published, and one to try commands on."""
CONTEXT = 40960
"""Positions of an inflated model: rotary positions have no table, so the small model's own context is no limit."""
KEPT = ("rope_parameters", "hidden_act", "bos_token_id", "eos_token_id", "pad_token_id", "attention_bias", "mlp_bias",
        "use_parallel_residual")  # fmt: skip
"""Entries of a configuration that the law rests on."""
FURTHEST = 0.05
"""Total variation from the small model's law above which what was made is no inflated model; bfloat16's own is .01."""


def large_config(small: CausalLM, like: str | Path, name: str = "") -> Any:
    """A configuration of that shape, with what the law rests on taken from ``small``, which is called ``name``.

    like: a name of ``SHAPES``, or a folder or file with a configuration.

    Raises:
        ValueError: if there is no such configuration, or ``small`` does not fit into it.
    """
    if str(like) in SHAPES:
        shape = dict(SHAPES[str(like)])
        config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    else:
        try:
            config = AutoConfig.from_pretrained(like, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"like={str(like)!r}: must be one of {', '.join(SHAPES)}, or a configuration") from error
    theirs = small.model.config
    plan = planned(theirs, config)
    for entry in KEPT:
        if hasattr(theirs, entry):
            setattr(config, entry, getattr(theirs, entry))
    setattr(config, "layer_norm_eps" if plan.centred else "rms_norm_eps", plan.scaled)
    config.tie_word_embeddings, config.max_position_embeddings = False, CONTEXT
    config.inflated_from = name or small.name
    return config


@torch.no_grad()
def inflate(small: CausalLM, config: Any, seed: int = 0, dtype: str = "bfloat16", device: str = "cpu") -> Any:
    """The transformers model of ``config`` (from ``large_config``) with the law of ``small``; random parts by ``seed``.

    Raises:
        ValueError: if ``small`` does not fit into ``config``.
    """
    plan = planned(small.model.config, config)
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []), torch.device(device):
        torch.manual_seed(seed)
        large = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype])
    corner = NeoXCorner(plan) if plan.centred else LlamaCorner(plan)
    corner.ends(large, small)
    for i, layer in enumerate(large.base_model.layers):
        corner.silence(layer)
        if i < small.layers:
            corner.layer(layer, small.body.layers[i])
    large.generation_config = small.model.generation_config
    _check(small, large.eval())
    return large


def _check(small: CausalLM, large: Any) -> None:
    """ValueError unless the large model has the small one's law on a few tokens."""
    ids = torch.tensor(PROBE, device=small.device) % small.vocab
    logits = large(input_ids=ids[None].to(large.device)).logits[0].to(small.device)
    here, there = (found.double().softmax(-1) for found in (small.logits(ids), logits))
    further = float(there[:, small.vocab :].sum(-1).mean())
    distance = float((here - there[:, : small.vocab]).abs().sum(-1).mean() + further) / 2
    if not distance <= FURTHEST:
        raise ValueError(
            f"model={type(small.model).__name__}: its law is not reproduced (total variation {distance:.3f}); it has "
            "parts that real/build/inflate.py does not know, or does not fit this dtype"
        )


def write(
    model: str | Path, like: str | Path, out: Path, seed: int = 0, dtype: str = "bfloat16", device: str = "cpu"
) -> int:
    """Write the checkpoint with its tokenizer to a new folder; returns its number of parameters.

    An embedded model's tokenizer goes without its chat template: these models continue text.

    Raises:
        ValueError: if the folder is there, or what ``large_config`` refuses.
    """
    if out.exists():
        raise ValueError(f"out={str(out)!r}: is there already; nothing was written. Choose a new folder")
    small, tokenizer = load_model(model), load_tokenizer(model)
    large = inflate(small, large_config(small, like, Path(model).name), seed, dtype, device)
    if Path(model).resolve().parent == ASSETS.resolve():
        tokenizer.chat_template = None
    with atomic(out) as partial:
        large.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return sum(parameter.numel() for parameter in large.parameters())


def shallow_pair(like: str | Path, dtype: str = "bfloat16", seed: int = 0) -> Pair:
    """The embedded drafts in that shape but for its depth, the specialist as draft of the generalist; nothing is kept.

    Raises:
        ValueError: what ``large_config`` refuses.
    """
    names = ("generalist", "specialist")
    small = load_pair(ASSETS / names[0], ASSETS / names[1])
    assert small.draft is not None
    target, draft = (
        _shallow(model, like, name, role, dtype, seed)
        for model, name, role in zip((small.target, small.draft), names, ("target", "draft"), strict=True)
    )
    return Pair(target, draft, small.tokenizer)


def _shallow(small: CausalLM, like: str | Path, name: str, role: str, dtype: str, seed: int) -> CausalLM:
    config = large_config(small, like, name)
    config.num_hidden_layers = small.layers
    if hasattr(config, "layer_types"):
        config.layer_types = config.layer_types[: small.layers]
    return CausalLM(inflate(small, config, seed, dtype), role)
