"""Several drafters that follow the same texts: what one is told all are told, and their laws are found together.

A part may refine another's law (``refining.py``): that one has said it already, so that no model runs twice.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.drafters.blend import Blend
from real.drafters.copies import Copies, found_for_all
from real.drafters.refining import NOTHING, Refining, place_of
from real.models.memory import Memory
from real.models.sampling import Sampling
from real.models.state import under
from real.models.text import Text, shaped

Refined = Callable[[Refining, Tensor], Tensor]
"""A part that refines another's logits, what that one says → what this one says."""
Copied = Callable[[Refining], list[Copies]]
"""A part that copies → what it finds for every text, or position."""


class Several(Drafter):
    """Drafters for the same pair. ``bases[k]``: the place of the part that part k refines, None where it refines none.

    Args:
        parts: in order; one that refines another comes after it.

    Attributes:
        copiers: by their place, those that copy onto another's law. device: of laws that no part gives.
    """

    device = torch.device("cpu")

    def __init__(self, parts: Sequence[Drafter]):
        self.parts, self.vocab = list(parts), parts[0].vocab
        self.bases = [place_of(part, self.parts[:i]) for i, part in enumerate(parts)]
        self.copiers = {
            k: part
            for k, (part, base) in enumerate(zip(parts, self.bases, strict=True))
            if base is not None and isinstance(part, Refining) and part.of_laws
        }
        self.reads_target = any(part.reads_target for part in parts)
        self.watches = any(part.watches for part in parts)
        self.uses_draft = any(part.uses_draft for part in parts)
        self.context = min(part.context for part in parts)

    def _blend(self, logits: dict[int, Tensor], sampling: Sampling, refined: Refined, copied: Copied) -> Blend:
        """Laws of all parts from the logits ``[n, V]`` of those that refine none; the others are asked."""
        laws = list[Tensor | list[Copies]]()
        for k, (part, base) in enumerate(zip(self.parts, self.bases, strict=True)):
            if base is None or not isinstance(part, Refining):
                laws.append(law_of(logits[k], sampling))
            elif part.of_laws:
                laws.append(copied(part))
            else:
                logits[k] = refined(part, logits[base])
                same = logits[k] is logits[base]  # where it has nothing to say
                laws.append(laws[base] if same else law_of(logits[k], sampling))
        return Blend(
            laws, [base if isinstance(law, list) else None for law, base in zip(laws, self.bases, strict=True)]
        )

    def finds(self) -> bool:
        return found_for_all([part.find() for part in self.copiers.values()])

    def _copied(self, drafted: list[Tensor], weights: Sequence[Sequence[float]]) -> Tensor:
        """The mass ``[n, V]`` that parts copy after the tokens drafted, by the weights of each text; no model runs."""
        laws: list[Tensor | list[Copies]] = [NOTHING] * len(self.parts)
        for k, part in self.copiers.items():
            part.follow(NOTHING, drafted)
            laws[k] = part.copies()
        blend = Blend(laws, [base if k in self.copiers else None for k, base in enumerate(self.bases)])
        return blend.copied(weights, torch.zeros(len(self.texts), self.vocab, device=self.device))

    def _as_served(self, law: Tensor, drafted: Sequence[Tensor]) -> Tensor:
        """A mixed law ``[n, V]`` as the texts shape it after these drafted tokens; NaN where that leaves none."""
        if all(text.shape is None for text in self.texts):
            return law
        return shaped(self.texts, drafted, law.log()).softmax(-1)

    def _going(self, before: list[int], counts: list[int]) -> list[int]:
        """The lengths of drafts, told to the parts if they have changed."""
        if counts != before:
            self.goes(counts)
        return counts

    def reach(self, text: Text) -> int:
        return min(part.reach(text) for part in self.parts)

    @property
    def memories(self) -> list[Memory]:
        return [memory for part in self.parts for memory in part.memories]

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        for part in self.parts:
            part.open(texts, rows)

    def enter(self, keep_prompt: bool = False) -> None:
        for part in self.parts:
            part.enter()

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        for part in self.parts:
            if not (isinstance(part, Refining) and part.idle):
                part.reveal(row, logits, drafted)

    def take_in(self) -> None:
        """Let parts remember what was revealed before, if enough of it waits; nothing before it is asked for now."""
        for part in self.parts:
            if isinstance(part, Refining):
                part.take_in()

    def leave(self, row: int) -> None:
        for part in reversed(self.parts):  # what refines a part reads it once more
            part.leave(row)

    def commit(self) -> None:
        known = [self.known(row) for row in range(len(self.texts))]
        for part in self.parts:
            part.commit()
            for row, length in enumerate(known):
                part.forget(length, row)

    def goes(self, lengths: list[int] | None) -> None:
        super().goes(lengths)
        for part in self.parts:
            part.goes(lengths)

    def state(self) -> dict[str, Tensor]:
        """Every part's own, under its number."""
        return _joined([part.state() for part in self.parts])

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state | _joined([part.textless(under(f"{i}.", state)) for i, part in enumerate(self.parts)])

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        for i, part in enumerate(self.parts):
            part.check_state(under(f"{i}.", state), f"{at}{i}.")

    def restore(self, state: dict[str, Tensor]) -> None:
        for i, part in enumerate(self.parts):
            part.restore(under(f"{i}.", state))

    def put_aside(self) -> Any:
        return [part.put_aside() for part in self.parts]

    def take_up(self, memory: Any) -> None:
        for part, own in zip(self.parts, memory, strict=True):
            part.take_up(own)


def _joined(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The parts' states as one, each under its number."""
    return {f"{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}


def law_of(logits: Tensor, sampling: Sampling) -> Tensor:
    """``[n, V]`` → the law served from it; at temperature 0 the law at temperature 1."""
    return (Sampling(1.0) if sampling.greedy else sampling).law(logits)
