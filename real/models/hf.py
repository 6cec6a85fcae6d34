"""Hugging Face causal language models as the decoder sees them: hidden states, logits, a cache that rolls back.

Nearly all of ``real/`` that knows transformers. Everything goes through its public interface (``base_model``,
``get_output_embeddings``, ``Cache``), and what that assumes is checked once, at load.
"""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from real.models.cache import BLOCK, RowCache, SlotCache, rollback, rows_of
from real.models.compiled import Compiled
from real.models.vocabulary import check_tokenizers

PROVEN = ("llama", "qwen2", "qwen3", "gpt_neox")  # proven by tests and by `python -m real lossless`
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHUNK = 2048
"""Most tokens of one forward over a cache; a longer prompt is prefilled in so many at a time."""
UNLIKELY, COMPARED = -20.0, 64
"""Log-probability below which compiled and eager need not agree, and positions that are compared at once."""
PROBE = (3, 1, 4, 1, 5)  # token ids of the check at load


class CausalLM:
    """One transformers model in evaluation mode, split into a body (hidden states) and a head (logits).

    Attributes:
        model, body, readout: the model, its ``base_model``, its output embeddings (``weight`` ``[V, d]``).
        vocab: V, rows of the output embeddings (padding included). width: d.
        context: longest sequence the model was made for. eos: ids that end a text.
    """

    def __init__(self, model: Any, name: str = "model"):
        """Wrap ``model``; ValueError if body and head do not compose to ``model(...).logits``."""
        self.model, self.name = model.eval().requires_grad_(False), name
        self.body, self.readout = model.base_model, model.get_output_embeddings()
        if self.readout is None:
            raise ValueError(f"{name}={type(model).__name__}: needs output embeddings; give a causal language model")
        self.vocab, self.width = self.readout.weight.shape
        config = model.config.get_text_config()
        self.context = context_of(config)
        self.layers: int = config.num_hidden_layers
        self.eos = _eos_ids(model)
        self.compiled: Compiled | None = None
        self._check()

    @property
    def device(self) -> torch.device:
        return self.readout.weight.device

    @property
    def label(self) -> str:
        """`` (inflated from …)`` for a model of ``real/build/inflate.py``; it goes with every result. Else empty."""
        origin = getattr(self.model.config, "inflated_from", "")
        return f" (inflated from {origin})" if origin else ""

    @property
    def dtype(self) -> torch.dtype:
        return self.readout.weight.dtype

    def copy(self) -> "CausalLM":
        """The same model with weights of its own, eager."""
        return CausalLM(deepcopy(self.model), self.name)

    def new_cache(self, length: int = 0) -> SlotCache:
        """An empty key/value cache with room for ``length`` tokens before it grows.

        Every layer keeps the whole sequence, so that a rollback is exact.
        """
        if self.compiled is not None:
            return self.compiled.new_cache()
        return SlotCache(self.layers, BLOCK * max(1, -(-length // BLOCK)))

    def hidden(self, inputs: Tensor, cache: SlotCache | None = None) -> Tensor:
        """Last hidden states of token ids ``[n]`` after what ``cache`` holds, appended to it: ``[n, d]``.

        Ids ``[1, n]`` give ``[1, n, d]``. More than ``CHUNK`` are read piece by piece, so that memory grows with the
        text and not with its square.
        """
        ids = inputs if inputs.dim() == 2 else inputs[None]
        pieces = [ids] if cache is None or ids.shape[1] <= CHUNK else ids.split(CHUNK, 1)
        found = [self._piece(piece, cache) for piece in pieces]
        states = found[0] if len(found) == 1 else torch.cat(found, 1)
        return states if inputs.dim() == 2 else states[0]

    def _piece(self, ids: Tensor, cache: SlotCache | None) -> Tensor:
        if cache is not None and self.compiled is not None:
            width = self.compiled.width(ids.shape[1], cache)
            if width is not None:
                return self.compiled(ids, cache, width)
        return self.body(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state

    def hidden_rows(self, inputs: Tensor, at: Tensor, reach: int, cache: RowCache) -> Tensor:
        """Last hidden states ``[n, w, d]`` of n texts: ids ``[n, w]``, read and written at positions ``at`` ``[n, w]``.

        reach: above every position of ``at``. What lies before a position in its row must have been written.
        """
        return self.body(input_ids=inputs, **rows_of(at, reach, cache)).last_hidden_state

    def check_rows(self) -> None:
        """ValueError if it cannot read several texts at once: every row needs a mask of its own."""
        kind = self.model.config._attn_implementation
        if kind != "sdpa":
            raise ValueError(f"{self.name}: attention {kind!r} takes no mask of every row; load it with 'sdpa'")

    def head(self, hidden: Tensor) -> Tensor:
        """Next-token logits ``[n, d]`` → ``[n, V]``."""
        return self.readout(hidden)

    def logits(self, ids: Tensor, cache: SlotCache | None = None) -> Tensor:
        """``head(hidden(ids, cache))``: ``[n]`` → ``[n, V]``."""
        return self.readout(self.hidden(ids, cache))

    def compile(self, widths: Sequence[int], size: int, tuned: bool = False) -> None:
        """Compile the body for so many queries at a time over a cache of ``size`` slots (``real/models/compiled.py``).

        Where that fails, or does not reproduce the eager forward, a warning says why and the model stays eager.
        """
        self.compiled = None
        try:
            self.compiled = Compiled(self.body, self.layers, widths, size, tuned)
            error, allowed = self._compiled_error(self.compiled)
        except Exception as error:  # whatever a compiler may raise, or a device without room for what it made
            self._stay_eager(" ".join([f"{type(error).__name__}:", *str(error).split("\n")[:2]]).strip())
            return
        if not error <= allowed:
            self._stay_eager(f"its log-probabilities differ from eager ones by {error:.1e}, more than {allowed:.1e}")

    @torch.inference_mode()
    def _compiled_error(self, compiled: Compiled) -> tuple[float, float]:
        """How far compiled log-probabilities are from those of one eager forward, and how far rounding may move them.

        Every width, every width padded, a piece too long for any, and the last slots, a token taken back after each.
        Tokens less likely than exp(``UNLIKELY``) count as that likely: an id that is never drawn may have a logit so
        large that its rounding alone is more than all others. Rounding is allowed four times what it does to eager
        forwards of the same pieces, and of a log-probability of ``UNLIKELY`` one unit of the model's dtype and 64 of
        float32, in which transformers computes norms and rotations whatever the model's dtype.
        """
        longest = max(compiled.widths)
        text = torch.randint(self.vocab, (compiled.size,), generator=torch.Generator().manual_seed(0)).to(self.device)

        whole = self.hidden(text)

        def told(hidden: Tensor) -> Tensor:
            return self.head(hidden).double().log_softmax(-1).clamp(min=UNLIKELY)

        def worst(cache: SlotCache) -> float:
            errors = [0.0]
            for count in (*compiled.widths, *(width - 1 for width in compiled.widths), compiled.size, longest):
                start = max(0, cache.length - 1)
                rollback(cache, cache.length - start)
                stop = compiled.size - longest if count == compiled.size else start + count
                if start < stop <= compiled.size:
                    rows = (part.split(COMPARED) for part in (self.hidden(text[start:stop], cache), whole[start:stop]))
                    for ours, theirs in zip(*rows, strict=True):  # so many laws at once take little memory
                        errors.append(float((told(ours) - told(theirs)).abs().max().nan_to_num(float("inf"))))
            return max(errors)

        units = 64 * torch.finfo(torch.float32).eps + torch.finfo(self.dtype).eps
        return worst(compiled.new_cache()), 4 * worst(SlotCache(self.layers)) + abs(UNLIKELY) * units

    def compile_like(self, other: "CausalLM", trains: bool = False) -> None:
        """Compile as ``other`` is compiled, if it is; a model that trains cannot be tuned."""
        if other.compiled is not None:
            self.compile(other.compiled.widths, other.compiled.size, other.compiled.tuned and not trains)

    def _stay_eager(self, reason: str) -> None:
        self.compiled = None
        warnings.warn(f"{self.name}={type(self.model).__name__}: not compiled, served eagerly; {reason}", stacklevel=3)

    def _check(self) -> None:
        """Body and head compose to the model, and a rolled-back cache gives the logits a fresh one gives."""
        ids = torch.tensor(PROBE, device=self.device) % self.vocab
        with torch.inference_mode():
            whole = self.model(input_ids=ids[None]).logits[0]
            parts, cache = self.logits(ids), self.new_cache()
            try:
                self.hidden(ids[:4].flip(0), cache)
                rollback(cache, 4)
                self.hidden(ids[:2], cache)
                stepped = self.logits(ids[2:], cache)
            except (RuntimeError, AttributeError, NotImplementedError, IndexError, ValueError) as error:
                raise ValueError(
                    f"{self.name}={type(self.model).__name__}: its cache cannot be rolled back ({error}); "
                    "use a model with full attention"
                ) from error
        tolerance = 64 * torch.finfo(self.dtype).eps * max(1.0, float(whole.abs().max()))
        for what, got, want in (("body and head", parts, whole), ("a rolled-back cache", stepped, whole[2:])):
            error = float((got - want).abs().max())
            if not error <= tolerance:
                raise ValueError(
                    f"{self.name}={type(self.model).__name__}: {what} must reproduce model(...).logits to "
                    f"{tolerance:.1e}, but differ by {error:.1e}; this family scales its logits or keeps other state, "
                    "choose another model"
                )


@dataclass(frozen=True)
class Pair:
    """A target, a draft (None for the n-gram drafter) and the tokenizer they share."""

    target: CausalLM
    draft: CausalLM | None
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        return self.target.device

    def compile(self, lengths: Sequence[int], size: int, draft: bool = True, tuned: bool = False) -> None:
        """Compile both models for plain steps and steps that draft so many tokens, texts of up to ``size`` tokens.

        Drafts of other lengths are padded to the next one.
        draft: the draft model too, if there is one; drafters that run on the target's states have no use for it.
        tuned: see ``Compiled``; drafters that train weights do so in copies of their own.
        """
        self.target.compile((1, *(gamma + 1 for gamma in lengths)), size, tuned)
        if draft and self.draft is not None:
            self.draft.compile((1, 2), size, tuned)

    def encode(self, turns: list[str], chat: bool | None = None) -> list[int]:
        """Token ids of one prompt. ``turns`` alternate user, assistant, user…; the last is answered.

        chat: use the tokenizer's chat template; None uses it exactly when there is one. Without it the turns are
        joined by newlines. ValueError if it is asked for and absent, or the prompt is empty.
        """
        template = getattr(self.tokenizer, "chat_template", None)
        if chat and not template:
            raise ValueError(f"chat={chat!r}: this tokenizer has no chat template; pass chat=False for plain text")
        if template and chat is not False:
            roles = ("user", "assistant")
            messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = self.tokenizer("\n".join(turns))["input_ids"]
        if not ids:
            raise ValueError(f"prompt={chr(10).join(turns)!r}: a prompt needs at least one token; give it some text")
        return list(ids)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation ``[{"role": …, "content": …}, …]`` that the model is to answer.

        Raises:
            ValueError: without a chat template, or for messages that it does not take.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError(f"messages={list(messages)!r}: this tokenizer has no chat template; pass a text instead")
        try:
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # whatever the template's own language raises
            raise ValueError(f"messages={list(messages)!r}: the chat template does not take them ({error})") from None
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, tokens: list[int]) -> str:
        """Text of ``tokens``, special tokens left out."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)


def quiet() -> None:
    """No bars for loading and saving in this process, which take a moment; downloads, which do not, keep theirs."""
    downloads = not are_progress_bars_disabled()
    logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()


def load_model(
    path: str | Path, dtype: str = "float32", device: str = "cpu", name: str = "model", context: int = 0
) -> CausalLM:
    """Load one model by folder or hub name; ``name`` (``target`` or ``draft``) is what error messages call it.

    context: longest text it is to serve, where that is not what it was made for; 0 leaves it as it is.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: must be one of {', '.join(DTYPES)}")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r}: not usable here ({str(error).splitlines()[0]}); try cpu") from None
    longer = {"max_position_embeddings": context} if context else {}
    model = _from_pretrained(AutoModelForCausalLM, path, name, dtype=DTYPES[dtype], **longer)
    return CausalLM(model.to(device), name)


def context_of(config: Any) -> int:
    """The longest sequence that a model of this text configuration was made for."""
    return getattr(config, "max_position_embeddings", None) or 2**31


def load_context(path: str | Path, name: str = "model") -> int:
    """The longest sequence of a model by folder or hub name; its weights are not loaded."""
    return context_of(_from_pretrained(AutoConfig, path, name).get_text_config())


def load_tokenizer(path: str | Path, name: str = "model") -> Any:
    """Load the tokenizer that lies with a model."""
    return _from_pretrained(AutoTokenizer, path, name)


def load_pair(target: str | Path, draft: str | Path | None, dtype: str = "float32", device: str = "cpu") -> Pair:
    """Load target, draft and tokenizer.

    Raises:
        ValueError: a model that cannot be found or split into body and head, or two tokenizers that differ (padded
            vocabularies of different sizes are fine: ids a model does not have get probability 0).
    """
    tokenizer = load_tokenizer(target, "target")
    if draft is not None:
        check_tokenizers(tokenizer, load_tokenizer(draft, "draft"), str(target), str(draft))
    big = load_model(target, dtype, device, "target")
    small = None if draft is None else load_model(draft, dtype, device, "draft")
    return Pair(big, small, tokenizer)


def _from_pretrained(kind: Any, path: str | Path, name: str, **settings: Any) -> Any:
    try:
        return kind.from_pretrained(str(path), **settings)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name}={str(path)!r}: no {kind.__name__} could be loaded from it ({reason}); give a folder written by "
            "save_pretrained or a model name of the Hugging Face hub"
        ) from error


def _eos_ids(model: Any) -> frozenset[int]:
    config = getattr(model, "generation_config", None) or model.config
    ids = config.eos_token_id
    if ids is None:
        ids = model.config.eos_token_id
    return frozenset() if ids is None else frozenset([ids] if isinstance(ids, int) else ids)
