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

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from real.models.hf import DTYPES, PROBE, CausalLM, load_model, load_tokenizer
from real.traffic.streams import ASSETS

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
FORBIDDING = -1e4
"""Weight with which ids that the small model lacks read the constant, whose normed value is about 1."""
KEPT = ("rope_parameters", "hidden_act", "bos_token_id", "eos_token_id", "pad_token_id", "attention_bias", "mlp_bias",
        "use_parallel_residual")  # fmt: skip
"""Entries of a configuration that the law rests on."""
FURTHEST = 0.05
"""Total variation from the small model's law above which what was made is no inflated model; bfloat16's own is .01."""


@dataclass(frozen=True)
class Plan:
    """Where the small model's parts lie in the large one.

    Attributes:
        width, large: d and D. heads: the large head of every small one. groups: the large key/value heads of every
            small one, several where not all its queries fit beside one. dims: where a head's dimensions go.
        size: dimensions of a large head. epsilon, scaled: ε and ε'. scale: √((D_h/d_h)·(ε'/ε)), a power of two.
        centred: norms take the mean away.
    """

    width: int
    large: int
    heads: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    dims: tuple[int, ...]
    size: int
    epsilon: float
    scaled: float
    scale: float
    centred: bool

    @property
    def constants(self) -> tuple[float, ...]:
        """What the features after the live ones always hold: c, or c and −c."""
        energy = self.width * self.epsilon - self.large * self.scaled
        return ((energy / 2) ** 0.5, -((energy / 2) ** 0.5)) if self.centred else (energy**0.5,)


def planned(small: Any, large: Any) -> Plan:
    """The plan for two configurations of one family.

    Raises:
        ValueError: if the small model does not fit into the large one.
    """

    def refuse(what: str, need: str) -> None:
        raise ValueError(f"like: its {what}={getattr(large, what)!r} must be {need}; choose a larger configuration")

    if small.model_type != large.model_type:
        refuse("model_type", f"the model's own, {small.model_type!r}")
    kind = small.rope_parameters.get("rope_type", "default")
    if kind != "default":
        raise ValueError(
            f"model: its rope_type={kind!r} must be 'default'; other rotary positions may depend on the text"
        )
    centred = small.model_type == "gpt_neox"
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"):
        least = getattr(small, name) + (1 + centred if name == "hidden_size" else 0)
        if getattr(large, name) < least:
            refuse(name, f"at least {least}")
    d, size = _head_size(small), _head_size(large)
    if size % d:
        refuse("head_dim", f"a multiple of {d}")
    each, room = (of.num_attention_heads // _key_value_heads(of) for of in (small, large))
    chunks = -(-each // room)
    if _key_value_heads(small) * chunks > _key_value_heads(large):
        refuse("num_key_value_heads", f"at least {_key_value_heads(small) * chunks}")
    beside = [divmod(head, each) for head in range(small.num_attention_heads)]
    heads = tuple((group * chunks + i // room) * room + i % room for group, i in beside)
    groups = tuple(tuple(range(j * chunks, (j + 1) * chunks)) for j in range(_key_value_heads(small)))
    turned, times = int(d * small.rope_parameters.get("partial_rotary_factor", 1.0)), size // d
    dims = tuple(i * times for i in range(turned)) + tuple(turned * times + i for i in range(d - turned))
    width, epsilon = small.hidden_size, getattr(small, "rms_norm_eps", None) or small.layer_norm_eps
    # Dε' < dε leaves room for c; a power of two is exact in every dtype
    scale = 2.0 ** floor(log2((times * width / large.hidden_size) ** 0.5 * 0.99))
    scaled = scale**2 * epsilon / times
    return Plan(width, large.hidden_size, heads, groups, dims, size, epsilon, scaled, scale, centred)


def _key_value_heads(config: Any) -> int:
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def _head_size(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


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
            config = AutoConfig.from_pretrained(like)
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
    here, there = (of.double().softmax(-1) for of in (small.logits(ids), logits))
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
    large.save_pretrained(out)
    if Path(model).resolve().parent == ASSETS.resolve():
        tokenizer.chat_template = None
    tokenizer.save_pretrained(out)
    return sum(parameter.numel() for parameter in large.parameters())


class Corner(ABC):
    """Copies a small model's parts to where the plan has them."""

    outputs: tuple[str, str]
    last_norm: str

    def __init__(self, plan: Plan):
        self.plan, self.live = plan, slice(0, plan.width)

    @abstractmethod
    def layer(self, large: Any, small: Any) -> None:
        """One decoder layer."""

    def silence(self, large: Any) -> None:
        """Let a layer write nothing into the hidden state."""
        for path in self.outputs:
            for parameter in large.get_submodule(path).parameters():
                parameter.zero_()

    def ends(self, large: Any, small: CausalLM) -> None:
        """Embeddings, the last norm, the output matrix."""
        plan, vocab = self.plan, small.vocab
        embedding, theirs = large.get_input_embeddings().weight, small.model.get_input_embeddings().weight
        embedding[:, plan.width :] = 0
        embedding[: len(theirs), self.live] = self._without_mean(theirs, 1).to(embedding)
        embedding[:, plan.width : plan.width + len(plan.constants)] = torch.tensor(plan.constants).to(embedding)
        norm, theirs = getattr(large.base_model, self.last_norm), getattr(small.body, self.last_norm)
        self.norm(norm, theirs)
        readout = large.get_output_embeddings().weight  # what it reads of features that are zero stays random
        readout[:vocab, self.live] = small.readout.weight.to(readout)
        if len(readout) > vocab:
            norm.weight[plan.width] = _typical_size(small, theirs, plan.centred) / (plan.constants[0] * plan.large**0.5)
            readout[:vocab, plan.width], readout[vocab:, self.live] = 0, 0
            readout[vocab:, plan.width] = FORBIDDING

    def norm(self, large: nn.Module, small: nn.Module) -> None:
        """A norm of the hidden state; it hides c from what reads it."""
        for name, factor in (("weight", (self.plan.width / self.plan.large) ** 0.5), ("bias", 1.0)):
            ours, theirs = getattr(large, name, None), getattr(small, name, None)
            if ours is not None and theirs is not None:
                ours.zero_()
                ours[self.live] = (theirs.double() * factor).to(ours)

    def head_rows(self, large: Any, small: Any, places: Iterable[tuple[int, int]], scale: float = 1.0) -> None:
        """Rows of a projection, a head at a time: ``places`` are (first large row, first small row)."""
        dims, size = torch.tensor(self.plan.dims), self.plan.size
        for to, of in places:
            for ours, theirs in _weights(large, small):
                ours[to : to + size] = 0
                values = (theirs[of : of + len(dims)].double() * scale).to(ours)
                if ours.ndim == 1:
                    ours[to + dims] = values
                else:
                    ours[to + dims[:, None], torch.arange(self.plan.width)] = values

    def rows(self, large: Any, small: Any) -> None:
        """Rows of an MLP, the first of many."""
        for ours, theirs in _weights(large, small):
            ours[: len(theirs)] = 0
            ours[: len(theirs), *([self.live] if ours.ndim == 2 else [])] = theirs.to(ours)

    def writes(self, large: Any, small: Any, columns: Tensor) -> None:
        """A matrix that writes into the hidden state, reading from these columns; ``silence`` has emptied it."""
        for ours, theirs in _weights(large, small):
            values = self._without_mean(theirs, 0).to(ours)
            if ours.ndim == 1:
                ours[self.live] = values
            else:
                ours[torch.arange(self.plan.width)[:, None], columns] = values

    def head_columns(self) -> Tensor:
        """Columns of an output projection that read the small model's heads."""
        dims = torch.tensor(self.plan.dims)
        return torch.cat([head * self.plan.size + dims for head in self.plan.heads])

    def _without_mean(self, values: Tensor, dim: int) -> Tensor:
        values = values.double()
        return values - values.mean(dim, keepdim=True) if self.plan.centred else values


class LlamaCorner(Corner):
    """Llama, Qwen2 and Qwen3."""

    outputs = ("self_attn.o_proj", "mlp.down_proj")
    last_norm = "norm"

    def layer(self, large: Any, small: Any) -> None:
        plan, ours, theirs = self.plan, large.self_attn, small.self_attn
        d, times = len(plan.dims), plan.size / len(plan.dims)
        queries, keys = times**0.5, 1.0
        if hasattr(theirs, "q_norm"):  # a norm over a head's dimensions, with the epsilon of all norms
            queries = keys = plan.scale
            for name, factor in (("q_norm", 1.0), ("k_norm", times**-0.5)):
                weight = getattr(ours, name).weight
                weight.zero_()
                weight[torch.tensor(plan.dims)] = (getattr(theirs, name).weight.double() * factor).to(weight)
        one = [(head * plan.size, i * d) for i, head in enumerate(plan.heads)]
        shared = [(head * plan.size, j * d) for j, group in enumerate(plan.groups) for head in group]
        self.head_rows(ours.q_proj, theirs.q_proj, one, queries)
        self.head_rows(ours.k_proj, theirs.k_proj, shared, keys)
        self.head_rows(ours.v_proj, theirs.v_proj, shared)
        self.writes(ours.o_proj, theirs.o_proj, self.head_columns())
        self.rows(large.mlp.gate_proj, small.mlp.gate_proj)
        self.rows(large.mlp.up_proj, small.mlp.up_proj)
        self.writes(large.mlp.down_proj, small.mlp.down_proj, torch.arange(small.mlp.down_proj.in_features))
        self.norm(large.input_layernorm, small.input_layernorm)
        self.norm(large.post_attention_layernorm, small.post_attention_layernorm)


class NeoXCorner(Corner):
    """GPT-NeoX: queries, keys and values of a head lie together, and everything has a bias."""

    outputs = ("attention.dense", "mlp.dense_4h_to_h")
    last_norm = "final_layer_norm"

    def layer(self, large: Any, small: Any) -> None:
        plan, ours, theirs = self.plan, large.attention, small.attention
        d, size = len(plan.dims), plan.size
        for part, scale in enumerate(((size / d) ** 0.5, 1.0, 1.0)):
            places = [((3 * head + part) * size, (3 * i + part) * d) for i, head in enumerate(plan.heads)]
            self.head_rows(ours.query_key_value, theirs.query_key_value, places, scale)
        self.writes(ours.dense, theirs.dense, self.head_columns())
        self.rows(large.mlp.dense_h_to_4h, small.mlp.dense_h_to_4h)
        self.writes(large.mlp.dense_4h_to_h, small.mlp.dense_4h_to_h, torch.arange(small.mlp.dense_4h_to_h.in_features))
        self.norm(large.input_layernorm, small.input_layernorm)
        self.norm(large.post_attention_layernorm, small.post_attention_layernorm)


def _weights(large: nn.Module, small: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weight and, if there is one, bias of two linear layers.

    Raises:
        ValueError: if only one of them has a bias.
    """
    pairs = [(getattr(large, name), getattr(small, name)) for name in ("weight", "bias")]
    if any((ours is None) != (theirs is None) for ours, theirs in pairs):
        raise ValueError("like: one of the two models has biases that the other has not; choose one that agrees")
    return [pair for pair in pairs if pair[0] is not None]


def _typical_size(small: CausalLM, norm: nn.Module, centred: bool) -> float:
    """‖h‖ at the last norm, on a few tokens."""
    seen: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double()))
    small.hidden(torch.tensor(PROBE, device=small.device) % small.vocab)
    hook.remove()
    hidden = seen[0] - seen[0].mean(-1, keepdim=True) if centred else seen[0]
    return float(hidden.norm(dim=-1).mean())
