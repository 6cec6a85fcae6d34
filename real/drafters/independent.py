"""A small language model of its own as the draft: the part that every such drafter shares."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from real.drafters.base import Drafter
from real.models.cache import BLOCK
from real.models.device import sent
from real.models.hf import CausalLM, Pair
from real.models.memory import Memory, memory_of
from real.models.text import Text, close_up


class States:
    """A draft's hidden states of one text from position ``first`` on; row i predicts position first + i + 1."""

    def __init__(self, first: int = 0):
        self.first = first
        self.parts: list[Tensor] = []

    def add(self, states: Tensor) -> None:
        """Append states ``[n, d]``."""
        self.parts.append(states)

    def joined(self) -> Tensor:
        """All of them ``[n, d]``."""
        if len(self.parts) > 1:
            self.parts = [torch.cat(self.parts)]
        return self.parts[0]

    def keep(self, stop: int) -> None:
        """Drop the states from input ``stop`` on."""
        if self.parts:
            self.parts = [self.joined()[: max(stop - self.first, 0)]]

    def forget(self, before: int, stop: int) -> None:
        """Keep the states that predict positions ``before``, …, ``stop`` only."""
        drop = min(before - 1, stop) - self.first
        if drop > 0 and drop >= sum(map(len, self.parts)):
            self.parts = []
        elif self.parts and drop > 0:
            kept = self.joined()[drop:].clone()
            self.parts = [kept] if len(kept) else []
        self.first += max(drop, 0)


def newest(states: Tensor, counts: Sequence[int]) -> Tensor:
    """The state after the last of ``counts[row]`` inputs of each row: ``[n, w, d]`` → ``[n, d]``."""
    if len(set(counts)) == 1:
        return states[:, -1]
    last = sent([max(count - 1, 0) for count in counts], states.device)
    return states[torch.arange(len(counts), device=states.device), last]


class Independent(Drafter):
    """Drafts by running ``model`` one token at a time; its own memory follows the texts. Nothing trains.

    The memory holds the first ``memory.lengths[row]`` tokens of a text.
    """

    prefix_only = True
    uses_draft = True
    keeps_states = False
    """Whether a loss will ask for features."""

    def __init__(self, model: CausalLM, vocab: int):
        self.model, self.vocab, self.context = model, vocab, model.context
        self.common = min(vocab, model.vocab)  # ids both models have
        self.memory: Memory = memory_of(model, 1)
        self.states: list[States] = []
        self.newest = torch.zeros(0)  # the hidden states ``[n, d]`` behind the logits given last

    @property
    def memories(self) -> list[Memory]:
        return [self.memory]

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

    def known_ids(self, ids: Tensor) -> Tensor:
        """Token ids as the draft reads them: one that it has no embedding for is read as its last one.

        That moves its own laws alone, which are reported as they are: the text keeps the id, and stays the target's.
        """
        return ids.clamp(max=self.model.readable - 1) if self.model.readable < self.vocab else ids

    def common_law(self, target_probs: Tensor) -> Tensor:
        """The target's laws ``[n, V]`` on the ids both models have, renormalised, float32: what a loss may ask for."""
        law = target_probs[:, : self.common].float()
        return law if self.common == self.vocab else law / law.sum(-1, keepdim=True).clamp(min=1e-30)

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self.memory, self.states = memory_of(self.model, rows), []

    @torch.inference_mode()
    def enter(self, keep_prompt: bool = False) -> None:
        tokens = self.texts[-1].tokens
        read = tokens[: min(len(tokens) - 1, self.context)]
        ids = self.known_ids(sent(torch.tensor(read, dtype=torch.long), self.model.device))
        hidden, states = self.memory.enter(ids, len(tokens) + BLOCK), States()
        if self.keeps_states and hidden is not None:
            states.add(hidden)
        self.states.append(states)
        if not keep_prompt:
            self.forget(len(read) + 1, len(self.states) - 1)

    def leave(self, row: int) -> None:
        self.memory.leave(row)
        close_up(self.states, row)

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        if drafted:
            counts = [int(more) for more in self.goes_on(len(drafted))]
            self.newest = self._append(self.known_ids(drafted[-1][:, None]), counts)[:, -1]
        else:
            pending = self._pending(self.goes_on(0))
            counts = [len(ids) for ids in pending]
            self.newest = newest(self._append(self._padded(pending), counts), counts)
        return self.fitted(self.logits(self.newest))

    def logits_along(self, tokens: Tensor) -> Tensor:
        """In one forward, for a text alone."""
        if len(self.texts) > 1:
            return super().logits_along(tokens)
        (pending,) = self._pending([True])
        ids = torch.cat([self._padded([pending]), self.known_ids(tokens[:, :-1])], 1)
        hidden = self._append(ids, [ids.shape[1]])
        return self.fitted(self.logits(hidden[0, -tokens.shape[1] :]))[None]

    def commit(self) -> None:
        for row, text in enumerate(self.texts):
            held = self.memory.lengths[row]
            valid = min(held, len(text.tokens) - 1)
            self.memory.keep(row, valid)
            if self.keeps_states and held > valid:
                self.states[row].keep(valid)

    @torch.inference_mode()
    def catch_up(self) -> None:
        self._read_to([min(len(text.tokens) - 1, self.context) for text in self.texts])

    def known(self, row: int) -> int:
        return self.memory.lengths[row] + 1

    def features(self, start: int, stop: int, row: int = 0) -> Tensor | None:
        if not self.keeps_states:
            return None
        first, held = self.states[row].first, self.memory.lengths[row]
        assert first < start <= stop <= held + 1, (first, start, stop, held)
        return self.states[row].joined()[start - 1 - first : stop - 1 - first]

    def logits_at(self, start: int, stop: int, row: int = 0) -> Tensor | None:
        hidden = self.features(start, stop, row)
        return None if hidden is None else self.fitted(self.logits(hidden))

    def forget(self, before: int, row: int = 0) -> None:
        self.states[row].forget(before, self.memory.lengths[row])

    def _pending(self, wanted: Sequence[bool]) -> list[list[int]]:
        """The tokens of every text that were not read yet; none where they are not wanted."""
        return [
            text.tokens[held:] if want else []
            for text, held, want in zip(self.texts, self.memory.lengths, wanted, strict=True)
        ]

    def _padded(self, ids: Sequence[list[int]]) -> Tensor:
        """Token ids of every row as one tensor ``[n, w]``."""
        width = max(map(len, ids))
        rows = [row + [0] * (width - len(row)) for row in ids]
        return self.known_ids(sent(torch.tensor(rows, dtype=torch.long), self.model.device))

    def _read_to(self, stops: Sequence[int]) -> None:
        """Read every text up to input ``stops[row]``, where less is held."""
        missing = [
            text.tokens[held:stop] for text, held, stop in zip(self.texts, self.memory.lengths, stops, strict=True)
        ]
        if any(missing):
            self._append(self._padded(missing), [len(ids) for ids in missing])

    def _append(self, ids: Tensor, counts: Sequence[int]) -> Tensor:
        """Read ``counts[row]`` ids of each row ``[n, w]``: hidden states ``[n, w, d]``."""
        hidden = self.memory.read(ids, counts)
        if self.keeps_states:
            for row, count in enumerate(counts):
                if count:
                    self.states[row].add(hidden[row, :count])
        return hidden
