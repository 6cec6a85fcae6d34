"""Tiny random models for tests of the decoder: their law depends on the whole text, so that wrong bookkeeping shows."""

from copy import deepcopy

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from real.models.hf import DTYPES, CausalLM


def random_model(family: str, seed: int, dtype: str = "float64", vocab: int = 512, layers: int = 2) -> CausalLM:
    """A tiny random model of ``family`` for tests of the decoder, without an end token.

    Unit-gain matrices and strong attention: its greedy text does not repeat itself, and its law depends on the whole
    prefix (one extra token in the cache moves the law by .25 in total variation), so bookkeeping errors show.
    """
    sizes = {"vocab_size": vocab, "hidden_size": 64, "intermediate_size": 128}
    depth = {"num_hidden_layers": layers, "num_attention_heads": 4, "max_position_embeddings": 512}
    quiet = {"tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None}
    grouped = {} if family == "gpt_neox" else {"num_key_value_heads": 2}
    head = {"head_dim": 16} if family == "qwen3" else {}
    config = AutoConfig.for_model(family, **sizes, **depth, **quiet, **grouped, **head)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    attention = ("q_proj", "k_proj", "v_proj", "o_proj", "query_key_value", "attention.dense")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
            if name.endswith("bias"):
                weight.copy_(0.05 * noise)
            elif "q_norm" in name or "k_norm" in name:
                weight.fill_(2.0)
            elif weight.ndim == 2:
                gain = 2.0 if any(part in name for part in attention) else 1.0
                embedding = "embed_in" in name or "embed_tokens" in name
                weight.copy_(noise if embedding else gain * noise / weight.shape[1] ** 0.5)
    return CausalLM(model.to(DTYPES[dtype]), f"random {family}")


def perturbed(model: CausalLM, noise: float, seed: int, vocab: int | None = None) -> CausalLM:
    """A copy with every matrix moved by ``noise`` of its own spread: a draft that agrees in part.

    vocab: rows to cut or pad the vocabulary to, as padded checkpoints of one family differ; None keeps it.
    """
    copy = deepcopy(model.model)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in copy.parameters():
            if weight.ndim == 2:
                weight += noise * weight.std() * torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
    if vocab is not None:
        copy.resize_token_embeddings(vocab, mean_resizing=False)
    return CausalLM(copy, f"perturbed {model.name}")
