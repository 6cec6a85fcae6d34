"""Hugging Face causal language models as the decoder sees them: hidden states, logits, a cache that rolls back.

Nearly all of ``real/`` that knows transformers. Everything goes through its public interface (``base_model``,
``get_output_embeddings``, ``Cache``), and what that assumes is checked once, at load.
"""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from real.models.cache import BLOCK, RowCache, SlotCache, rollback, rows_of
from real.models.compiled import Compiled
from real.models.fingerprint import fingerprint
from real.models.generation import Generation
from real.models.head import Head
from real.models.masks import Masks, widest
from theory.runs.reading import check_text

PROVEN = ("llama", "qwen2", "qwen3", "gpt_neox")  # proven by tests and by `python -m real lossless`
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHUNK = 2048
"""Most tokens of one forward over a cache; a longer prompt is prefilled in so many at a time."""
UNLIKELY, COMPARED = -20.0, 64
"""Log-probability below which compiled and eager need not agree, and positions that are compared at once."""
PROBE = (3, 1, 4, 1, 5)  # token ids of the check at load
ULPS, ROUNDED = 4, 64
"""Units of the last place, of the largest logit, by which body and head may miss the model's own logits, and a forward
in other pieces may miss one in a whole."""


class CausalLM:
    """One transformers model in evaluation mode, split into a body (hidden states) and a head (logits).

    Attributes:
        model, body, readout: the model, its ``base_model``, its output embeddings (``weight`` ``[V, d]``).
        scores: what makes logits of hidden states; ``head`` calls it.
        vocab: V, rows of the output embeddings (padding included). width: d. readable: ids that have an embedding.
        context: longest sequence that it serves. generation: what its generation config asks. eos: ids that end a text.
    """

    def __init__(self, model: Any, name: str = "model"):
        """Wrap ``model``; ValueError if body and head do not compose to ``model(...).logits``."""
        self.model, self.name = model.eval().requires_grad_(False), name
        self.body, self.readout = model.base_model, model.get_output_embeddings()
        if self.readout is None:
            raise ValueError(f"{name}={type(model).__name__}: needs output embeddings; give a causal language model")
        self.vocab, self.width = self.readout.weight.shape
        config = model.config.get_text_config()
        self.scores = Head(self.readout, config)
        self.readable: int = model.get_input_embeddings().weight.shape[0]
        self.context: int = context_of(config)
        self.layers: int = config.num_hidden_layers
        self.generation = Generation(model, name)
        self.eos = self.generation.eos
        self.compiled: Compiled | None = None
        self._masks: Masks | None = None  # of several texts, once they were checked
        self._check()

    @property
    def device(self) -> torch.device:
        return self.readout.weight.device

    @cached_property
    def fingerprint(self) -> str:
        """Which weights these are (``real/models/fingerprint.py``), as they were when it was first asked."""
        return fingerprint(self.model)

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
        assert self._masks is not None, "check_rows comes first"
        return self.body(input_ids=inputs, **rows_of(at, reach, cache, self._masks)).last_hidden_state

    def check_rows(self) -> None:
        """ValueError if it cannot read several texts at once: every row needs positions and a mask of its own."""
        if self._masks is not None:
            return
        try:
            self._masks = Masks.of(self.model.config.get_text_config(), self.dtype)
            error = self._rows_error()
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, NotImplementedError) as problem:
            self._masks, error = None, problem
        unit = max(torch.finfo(dtype).eps for dtype in (self.dtype, torch.float32))  # norms are computed in float32
        if isinstance(error, Exception) or not error <= ROUNDED * unit:
            self._masks = None
            why = error if isinstance(error, Exception) else f"its states differ by {error:.1e} of the largest"
            raise ValueError(
                f"{self.name}={type(self.model).__name__}: does not read several texts side by side as it reads each "
                f"alone ({why}); serve one text at a time (rows=1)"
            )

    @torch.inference_mode()
    def _rows_error(self) -> float:
        """How far states of two texts read side by side are from those of each alone, relative to the largest."""
        longest = max(4, min(widest(self.model.config.get_text_config()) + 3, self.context - 2))
        ids = torch.arange(longest + 1, device=self.device) * 7 % min(self.vocab, self.readable)
        cache, held = RowCache(self.layers, 2), (longest, 1)
        for row, length in enumerate(held):
            alone = SlotCache(self.layers)
            self.hidden(ids[:length], alone)
            cache.put(row, alone)
        at = torch.tensor([[length, length + 1] for length in held], device=self.device)
        together = self.hidden_rows(ids[:2].expand(2, 2), at, longest + 2, cache)
        wanted = [self.hidden(torch.cat([ids[:length], ids[:2]]))[length:] for length in held]
        return float((together - torch.stack(wanted)).abs().max() / torch.stack(wanted).abs().max())

    def head(self, hidden: Tensor) -> Tensor:
        """Next-token logits ``[…, d]`` → ``[…, V]``."""
        return self.scores(hidden)

    def logits(self, ids: Tensor, cache: SlotCache | None = None) -> Tensor:
        """``head(hidden(ids, cache))``: ``[n]`` → ``[n, V]``."""
        return self.head(self.hidden(ids, cache))

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
        ids = torch.tensor(PROBE, device=self.device) % min(self.vocab, self.readable)
        with torch.inference_mode():
            whole = self.model(input_ids=ids[None], use_cache=False).logits[0]
            states, cache = self.hidden(ids), self.new_cache()
            parts = self.head(states)
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
        unit = torch.finfo(self.dtype).eps * max(1.0, float(whole.abs().max()))
        checks = (
            ("body and head", float((parts - whole).abs().max()) / unit, ULPS),
            ("its head on larger states", self.scores.error(self.model, ids, states), ULPS),
            ("a rolled-back cache", float((stepped - whole[2:]).abs().max()) / unit, ROUNDED),
        )
        for what, error, allowed in checks:
            if not error <= allowed:
                raise ValueError(
                    f"{self.name}={type(self.model).__name__}: {what} must reproduce model(...).logits to {allowed} "
                    f"units of the last place, but differ by {error:.3g}; this family does more to its logits or keeps "
                    "other state, choose another model"
                )


def context_of(config: Any) -> int:
    """The longest text that a model of this text configuration serves: what it was made for, or up to its switch."""
    return min(getattr(config, "max_position_embeddings", None) or 2**31, switch_of(config))


def switch_of(config: Any) -> int:
    """The length beyond which longrope turns all positions of a text by other factors; what was read before would have
    to be read again. 2³¹ where there is none."""
    given = getattr(config, "rope_parameters", None) or {}
    kinds = [given] if "rope_type" in given else [kind for kind in given.values() if isinstance(kind, Mapping)]
    found = [kind.get("original_max_position_embeddings") for kind in kinds if kind.get("rope_type") == "longrope"]
    return min((switch for switch in found if switch), default=2**31)


@dataclass(frozen=True)
class Pair:
    """A target, a draft (None for the n-gram drafter) and the tokenizer they share."""

    target: CausalLM
    draft: CausalLM | None
    tokenizer: Any

    def __post_init__(self):
        """ValueError for what the target's generation config asks and cannot be served."""
        if self.target is not None:  # a pair of no models only reads prompts
            self.target.generation.check(self.tokenizer)

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

    def encode(self, said: Sequence[str | Mapping[str, str]], chat: bool | None = None) -> list[int]:
        """Token ids of one prompt, whose last entry is answered. Texts alternate user, assistant, user…; messages
        ``{"role": …, "content": …}`` say whose they are.

        chat: use the tokenizer's chat template; None uses it exactly when there is one. Without it all is joined by
        newlines. ValueError if it is asked for and absent or takes no such messages, or the prompt is empty or no text.
        """
        template = getattr(self.tokenizer, "chat_template", None)
        if chat and not template:
            raise ValueError(f"chat={chat!r}: this tokenizer has no chat template; pass chat=False for plain text")
        if template and chat is not False:
            roles = ("user", "assistant")
            return self.encode_chat(
                [{"role": roles[i % 2], "content": one} if isinstance(one, str) else one for i, one in enumerate(said)]
            )
        return self._ids("\n".join(one if isinstance(one, str) else one["content"] for one in said), True)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation ``[{"role": …, "content": …}, …]`` that the model is to answer.

        Raises:
            ValueError: without a chat template, or for messages that it does not take or that are no text.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError(f"messages={list(messages)!r}: this tokenizer has no chat template; pass a text instead")
        try:
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # whatever the template's own language raises
            raise ValueError(f"messages={list(messages)!r}: the chat template does not take them ({error})") from None
        return self._ids(text, False)

    def _ids(self, text: str, special: bool) -> list[int]:
        check_text(text, f"prompt={text[:60]!r}")
        ids = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        if not ids:
            raise ValueError(f"prompt={text!r}: a prompt needs at least one token; give it some text")
        for name, model in (("target", self.target), ("draft", self.draft)):
            odd = next((token for token in ids if model is not None and token >= model.readable), None)
            if model is not None and odd is not None:
                raise ValueError(
                    f"prompt: token {self.tokenizer.convert_ids_to_tokens(odd)!r} has id {odd}, and the {name} has "
                    f"embeddings of {model.readable} ids only; resize its embeddings, or use the tokenizer it came with"
                )
        return list(ids)

    def decode(self, tokens: list[int]) -> str:
        """Text of ``tokens``, special tokens left out."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)
