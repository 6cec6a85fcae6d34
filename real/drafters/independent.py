"""A small language model of its own as the draft: the part that every such drafter shares."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from real.drafters.base import Drafter
from real.models.cache import BLOCK, rollback
from real.models.device import sent
from real.models.hf import CausalLM, Pair


class Independent(Drafter):
    """Drafts by running ``model`` one token at a time; its own key/value cache follows the text. Nothing trains.

    The cache holds ``tokens[:cached]``. Row i of the kept features is the hidden state after input token i, which
    predicts position i + 1.
    """

    trains = False

    def __init__(self, model: CausalLM, vocab: int):
        self.model, self.vocab, self.context = model, vocab, model.context
        self.common = min(vocab, model.vocab)  # ids both models have
        self.tokens: list[int] = []
        self.cached = 0
        self._first, self._rows, self._keep = 0, [], False  # whether a loss will ask for features

    @classmethod
    def of(cls, pair: Pair, **settings):
        """Make it for a pair; ValueError without a draft model."""
        if pair.draft is None:
            raise ValueError(f"draft=None: the drafter {cls.__name__.lower()!r} needs a draft model; give one")
        return cls(pair.draft, pair.target.vocab, **settings)

    def logits(self, hidden: Tensor) -> Tensor:
        """The draft's logits ``[n, d]`` → ``[n, model.vocab]`` under the decision being served."""
        return self.model.head(hidden)

    def fitted(self, logits: Tensor) -> Tensor:
        """Logits in the target's vocabulary ``[n, V]``: ids only the draft has are cut, ids it lacks get −inf."""
        missing = self.vocab - logits.shape[-1]
        return F.pad(logits, (0, missing), value=float("-inf")) if missing > 0 else logits[..., : self.vocab]

    def known(self, tokens: Sequence[int]) -> Tensor:
        """Token ids as the draft reads them: a padded id it has no embedding for is read as its last one."""
        return sent(list(tokens), self.model.device).clamp(max=self.model.vocab - 1)

    def common_law(self, target_probs: Tensor) -> Tensor:
        """The target's laws ``[n, V]`` on the ids both models have, renormalised, float32: what a loss may ask for."""
        law = target_probs[:, : self.common].float()
        return law if self.common == self.vocab else law / law.sum(-1, keepdim=True).clamp(min=1e-30)

    @torch.inference_mode()
    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        self.tokens, self.cached, self.cache = tokens, 0, self.model.new_cache(len(tokens) + BLOCK)
        self._first, self._rows = 0, []
        self._read(len(tokens) - 1)
        if not keep_prompt:
            self.forget(len(tokens))

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        ids = drafted[-1] if drafted else self.known(self.tokens[self.cached :])
        return self.fitted(self.logits(self._append(ids)[-1:]))

    def logits_along(self, tokens: Tensor) -> Tensor:
        """In one forward."""
        ids = torch.cat([self.known(self.tokens[self.cached :]), tokens[:-1].clamp(max=self.model.vocab - 1)])
        return self.fitted(self.logits(self._append(ids)[-len(tokens) :]))

    def commit(self) -> None:
        valid = min(self.cached, len(self.tokens) - 1)
        rollback(self.cache, self.cached - valid)
        if self._keep and self.cached > valid:
            self._rows = [torch.cat(self._rows)[: valid - self._first]]
        self.cached = valid

    @torch.inference_mode()
    def catch_up(self) -> None:
        self._read(len(self.tokens) - 1)

    def features(self, start: int, stop: int) -> Tensor | None:
        if not self._keep:
            return None
        assert self._first < start <= stop <= self.cached + 1, (self._first, start, stop, self.cached)
        rows = torch.cat(self._rows) if len(self._rows) > 1 else self._rows[0]
        self._rows = [rows]
        return rows[start - 1 - self._first : stop - 1 - self._first]

    def forget(self, before: int) -> None:
        """Keep the feature rows of positions ``before``, ``before + 1``, … only."""
        drop = min(before - 1, self.cached) - self._first
        if self._rows and drop > 0:
            rows = torch.cat(self._rows)[drop:].clone()
            self._rows = [rows] if len(rows) else []
        self._first += max(drop, 0)

    def _read(self, stop: int) -> None:
        if stop > self.cached:
            self._append(self.known(self.tokens[self.cached : stop]))

    def _append(self, ids: Tensor) -> Tensor:
        hidden = self.model.hidden(ids, self.cache)
        self.cached += len(ids)
        if self._keep:
            self._rows.append(hidden)
        return hidden
