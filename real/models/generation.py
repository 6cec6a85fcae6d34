"""What a checkpoint's generation config asks of every text: transformers' own processors and stopping criteria.

A processor that depends on the text alone shapes the target's and the draft's logits alike, so the text stays the
target's. What cannot be served so is refused by name, never ignored.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from transformers import StopStringCriteria

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
}
"""Settings that change the text and cannot be served, with their values that do nothing."""

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
        self.eos = frozenset() if ids is None else frozenset([ids] if isinstance(ids, int) else ids)
        self.shapes = bool(self._set(SHAPING))
        self._stop_strings = getattr(self.config, "stop_strings", None)

    def check(self, tokenizer: Any) -> None:
        """Serve with this tokenizer.

        Raises:
            ValueError: for a setting that changes the text and cannot be served.
        """
        self.tokenizer, refused = tokenizer, self._set(REFUSED)
        if refused:
            raise ValueError(
                f"{self.name}: its generation config sets {refused[0]}={getattr(self.config, refused[0])!r}, which is "
                "not served; take it out of generation_config.json"
            )

    def _set(self, settings: dict[str, tuple[Any, ...]]) -> list[str]:
        """Those that do something here."""
        values = {name: getattr(self.config, name, None) for name in settings}
        return [name for name, value in values.items() if value is not None and value not in settings[name]]

    def shape(self, prompt: Sequence[int], end: int, device: torch.device) -> Shape | None:
        """What shapes the logits of a text that follows ``prompt`` and may become ``end`` tokens long."""
        if self.config is None or not self.shapes:
            return None
        config = deepcopy(self.config)
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
