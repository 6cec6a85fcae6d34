"""Where a small model lies in a large one, and how its weights are put there: one corner a family of architectures."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log2
from typing import Any

import torch
from torch import Tensor, nn

from real.models.hf import PROBE, CausalLM

FORBIDDING = -1e4
"""Weight with which ids that the small model lacks read the constant, whose normed value is about 1."""


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
    each, room = (one.num_attention_heads // _key_value_heads(one) for one in (small, large))
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
        for to, start in places:
            for ours, theirs in _weights(large, small):
                ours[to : to + size] = 0
                values = (theirs[start : start + len(dims)].double() * scale).to(ours)
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
