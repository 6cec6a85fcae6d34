"""What a checkpoint's generation config asks of every text: transformers' own processors and stopping criteria.

A processor that depends on the text alone shapes the target's and the draft's logits alike, so the text stays the
target's. What cannot be served so is refused by name, never ignored.
"""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from transformers import StopStringCriteria

from real.models.sampling import has_law
from theory.require import is_whole
from theory.runs.reading import first_line

SHAPING: dict[str, tuple[Any, ...]] = {
    "sequence_bias": ({}, []),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "exponential_decay_length_penalty": (),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
}
"""Settings that shape logits given the text so far: served. With the values, besides None, at which they do nothing."""
REFUSED: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "constraints": (),
    "force_words_ids": (),
    "guidance_scale": (1,),
    "watermarking_config": (),
    "max_time": (),
    "token_healing": (False,),
    "remove_invalid_values": (False,),
    "min_p": (0,),
    "top_h": (1,),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "cache_implementation": (
        *("dynamic", "offloaded", "static", "offloaded_static", "sliding_window", "paged"),
        *("hybrid", "hybrid_chunked", "offloaded_hybrid", "offloaded_hybrid_chunked"),
    ),  # all but a quantized one
}
"""Settings that change the text and cannot be served, with their values that do nothing."""
WITHOUT_EFFECT = frozenset(
    {
        *("eos_token_id", "stop_strings", "do_sample", "temperature", "top_k", "top_p"),  # served apart from SHAPING
        *("max_length", "max_new_tokens", "bos_token_id", "pad_token_id", "decoder_start_token_id"),  # the caller's
        *("renormalize_logits", "early_stopping", "length_penalty", "diversity_penalty", "low_memory"),  # or of beams
        *("use_cache", "cache_config", "max_cache_len", "prefill_chunk_size", "compile_config", "disable_compile"),
        *("continuous_batching_config", "return_dict_in_generate", "transformers_version"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
        *("is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
        *("prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind"),
        *("target_lookbehind", "assistant_ensemble_weight", "speculation_type", "use_mtp"),  # how it drafts
    }
)
"""All other settings: what they do to the text of a request is done elsewhere, or nothing."""

Shape = Callable[[Tensor, Tensor], Tensor]
"""(ids int64 ``[1, n]``, logits ``[1, V]``) → the logits of the next token as they are to be served."""
Stops = Callable[[Tensor], bool]
"""Whether a text ``[1, n]`` ends with its last token."""


class Generation:
    """The generation config of one model.

    Attributes:
        eos: ids that end a text. tokenizer: of stop strings, once there is one. shapes: whether it shapes logits.
    """

    def __init__(self, model: Any, name: str):
        self.model, self.name, self.tokenizer = model, name, None
        self.config = getattr(model, "generation_config", None)
        ids = (model.config if self.config is None else self.config).eos_token_id
        listed = ids if isinstance(ids, list | tuple) else [] if ids is None else [ids]
        if not all(map(is_whole, listed)):
            raise ValueError(
                f"{name}: its generation config sets eos_token_id={ids!r}, which must be a token id or a list of them; "
                "write the number in generation_config.json"
            )
        self.eos = frozenset(listed)
        self.shapes = bool(self._set(SHAPING))
        self._stop_strings = getattr(self.config, "stop_strings", None)

    def check(self, tokenizer: Any) -> None:
        """Serve with this tokenizer.

        Raises:
            ValueError: for a setting that changes the text and cannot be served, or a value that transformers does not
                take or that leaves no token.
        """
        self.tokenizer, refused = tokenizer, self._set(REFUSED)
        if refused:
            raise self._refusal(refused[:1], "which is not served", "take it out of generation_config.json")
        asked = self._set(SHAPING)
        for names in [*([name] for name in asked), *([asked] if len(asked) > 1 else [])]:
            self._try(names)
        if self._stop_strings and tokenizer is not None:
            self._try_stops()

    def _try(self, names: list[str]) -> None:
        """Do what these settings ask on texts of one token and more, up to their end."""
        config: Any = deepcopy(self.config)
        vocab = self.model.get_output_embeddings().weight.shape[0]
        for other in SHAPING.keys() - set(names):
            setattr(config, other, None)
        decay = getattr(config, "exponential_decay_length_penalty", None)
        if isinstance(decay, list | tuple) and decay and is_whole(decay[0]):
            config.exponential_decay_length_penalty = (0, *decay[1:])  # at once, not that far on
        texts = [torch.zeros(1, length, dtype=torch.long) for length in (1, 2, 3)]
        try:
            with warnings.catch_warnings(action="ignore"):
                shape = self._shape(config, [0], 4, torch.device("cpu"))
                laws = [torch.linspace(-1, 1, vocab)[None] for _ in texts]
                laws = laws if shape is None else [shape(text, law) for text, law in zip(texts, laws, strict=True)]
        except Exception as error:  # whatever transformers' processors raise for values that they do not take
            raise self._refusal(names, f"which transformers does not take ({first_line(error)})") from error
        if not all(bool(has_law(law)) for law in laws):
            raise self._refusal(names, "by which logits are NaN or +inf, or all are -inf")

    def _try_stops(self) -> None:
        strings = self._stop_strings
        if not isinstance(strings, str | list | tuple) or not all(isinstance(one, str) and one for one in strings):
            raise self._refusal(["stop_strings"], "which must be a text or a list of texts")
        try:
            self.stops()
        except Exception as error:
            raise self._refusal(["stop_strings"], f"which its tokenizer cannot spell ({first_line(error)})") from error

    def _refusal(self, names: list[str], why: str, remedy: str = "") -> ValueError:
        said = ", ".join(f"{name}={repr(getattr(self.config, name))[:80]}" for name in names)
        remedy = remedy or "correct it in generation_config.json, or take it out"
        return ValueError(f"{self.name}: its generation config sets {said}, {why}; {remedy}")

    def _set(self, settings: dict[str, tuple[Any, ...]]) -> list[str]:
        """Those that do something here."""
        values = {name: getattr(self.config, name, None) for name in settings}
        return [name for name, value in values.items() if value is not None and value not in settings[name]]

    def shape(self, prompt: Sequence[int], end: int, device: torch.device) -> Shape | None:
        """What shapes the logits of a text that follows ``prompt`` and may become ``end`` tokens long."""
        if self.config is None or not self.shapes:
            return None
        return self._shape(deepcopy(self.config), prompt, end, device)

    def _shape(self, config: Any, prompt: Sequence[int], end: int, device: torch.device) -> Shape | None:
        config.do_sample, config.max_length = False, end
        self.model._prepare_special_tokens(config, True, device=device)
        asked = torch.tensor([list(prompt)], device=device)  # what transformers gives "encoder" settings of a decoder
        found = self.model._get_logits_processor(config, len(prompt), asked, device=device)
        return found if len(found) else None

    def stops(self) -> Stops | None:
        """Whether a text ends by one of the stop strings.

        Raises:
            ValueError: if there are some and no tokenizer.
        """
        if not self._stop_strings:
            return None
        if self.tokenizer is None:
            raise ValueError(
                f"{self.name}: its generation config sets stop_strings={self._stop_strings!r}, which need a tokenizer; "
                "give one to the Pair"
            )
        criterion = StopStringCriteria(self.tokenizer, self._stop_strings)
        return lambda ids: bool(criterion(ids, None)[0])  # pyright: ignore[reportArgumentType] (it reads no scores)
