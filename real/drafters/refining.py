"""A drafter whose law is another's, changed by what it remembers; alone, or as a part of a mixture.

Alone it takes its base along: what it is told, the base is told. In a mixture that has the base among its parts, the
mixture tells both, and hands on what the base has just said, so that no model runs twice.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import MODEL, Drafter
from real.drafters.copies import Copies
from real.models.memory import Memory
from real.models.sampling import Sampling
from real.models.state import under
from real.models.text import Text

PLAIN = Sampling(1.0)
"""How a law is sampled that stands alone."""
NOTHING = torch.zeros(0)
"""What a part that copies is told of its base's law, which it does not ask for."""


class Refining(Drafter):
    """Refines what ``base`` says.

    Attributes:
        of_laws: it adds copies to the base's law as it is served; otherwise it refines logits.
        leads: whether the base is told what this one is told; a mixture of both sets it to False.
        dear: it costs so much that a mixture chooses on its own whether it takes part.
        idle: it takes no part, and says what its base says.
    """

    of_laws = False
    dear = False
    idle = False

    def __init__(self, base: Drafter):
        self.base, self.vocab, self.context, self.leads = base, base.vocab, base.context, True
        self.uses_draft, self.reads_target, self.alone = base.uses_draft, base.reads_target, base.alone

    @abstractmethod
    def follow(self, said: Tensor, drafted: list[Tensor]) -> None:
        """What the base said after the tokens ``drafted`` ``[n, V]``, told in order before it is refined, and once.

        A part ``of_laws`` is told of a step's beginning once more, without what the base said, where it was asked what
        it finds.
        """

    @abstractmethod
    def refined(self, said: Tensor) -> Tensor:
        """What the base says after what was followed last ``[n, V]``, refined."""

    @abstractmethod
    def refined_at(self, said: Tensor, start: int, stop: int, row: int = 0) -> Tensor:
        """The same at committed positions of one text ``[stop − start, V]``, by what was remembered before them."""

    def pause(self, idle: bool) -> None:
        """Take no part in the steps to come, nor be told of them; or again. What is not known yet never will be."""
        self.idle = idle

    def copies(self) -> list[Copies]:
        """``of_laws``: what is added to the base's law of each text after what was followed last."""
        raise NotImplementedError(f"{type(self).__name__}: refines logits, and adds no copies")

    def find(self) -> list[Copies]:
        """``copies`` after the texts themselves, asked before a step; nothing is taken in for it."""
        self.follow(NOTHING, [])
        return self.copies()

    def take_in(self) -> None:
        """``of_laws``: remember what was revealed before, if enough of it waits; nothing before it is asked for now."""
        return None

    def copies_at(self, start: int, stop: int, row: int = 0) -> list[Copies]:
        """``of_laws``: the same at committed positions of one text, by what was remembered before them."""
        raise NotImplementedError(f"{type(self).__name__}: refines logits, and adds no copies")

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        logits = self.base.logits_after(drafted)
        if self.copying and self.way == MODEL:
            return logits
        said = PLAIN.law(logits) if self.of_laws else logits
        self.follow(said, drafted)
        found = self.refined(said)
        return found.log() if self.of_laws else found

    def logits_at(self, start: int, stop: int, row: int = 0) -> Tensor | None:
        logits = self.base.logits_at(start, stop, row)
        if logits is None:
            return None
        found = self.refined_at(PLAIN.law(logits) if self.of_laws else logits, start, stop, row)
        return found.log() if self.of_laws else found

    @property
    def reads_texts(self) -> bool:
        return self.base.reads_texts

    @property
    def followed(self) -> list[Drafter]:
        """The base, where it is to be told."""
        return [self.base] if self.leads else []

    @property
    def memories(self) -> list[Memory]:
        return [memory for base in self.followed for memory in base.memories]

    def known(self, row: int) -> int:
        return self.base.known(row)

    def reach(self, text: Text) -> int:
        return self.base.reach(text)

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        for base in self.followed:
            base.open(texts, rows)

    def enter(self, keep_prompt: bool = False) -> None:
        for base in self.followed:
            base.enter()

    def leave(self, row: int) -> None:
        for base in self.followed:
            base.leave(row)

    def commit(self) -> None:
        for base in self.followed:
            base.commit()

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        for base in self.followed:
            base.reveal(row, logits, drafted)

    def draft_by(self, way: str) -> None:
        super().draft_by(way)
        for base in self.followed:
            base.draft_by(way)

    def goes(self, lengths: list[int] | None) -> None:
        super().goes(lengths)
        for base in self.followed:
            base.goes(lengths)

    def catch_up(self) -> None:
        for base in self.followed:
            base.catch_up()

    def reseed(self, seed: int) -> None:
        for base in self.followed:
            base.reseed(seed)

    def state(self) -> dict[str, Tensor]:
        return {f"base.{name}": part for base in self.followed for name, part in base.state().items()}

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        found = dict(state)
        for base in self.followed:
            found |= {f"base.{name}": part for name, part in base.textless(under("base.", state)).items()}
        return found

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        for base in self.followed:
            base.check_state(under("base.", state), f"{at}base.")

    def restore(self, state: dict[str, Tensor]) -> None:
        for base in self.followed:
            base.restore(under("base.", state))


def base_of(pair: Any, base: Drafter | str | type, kind: type[Drafter] = Drafter) -> Drafter:
    """A base given as a drafter, or by its name.

    Raises:
        ValueError: for another kind of drafter than the one that is refined.
    """
    from real.drafters import make_drafter

    made = base if isinstance(base, Drafter) else make_drafter(base, pair)
    if not isinstance(made, kind):
        raise ValueError(f"base={type(made).__name__}: must be of the kind {kind.__name__}, whose states are read")
    return made


def place_of(part: Drafter, before: Sequence[Drafter]) -> int | None:
    """Which of the parts ``before`` this one refines, if it does: the mixture tells that one itself.

    Raises:
        ValueError: for logits to be refined of a part that has laws, or a memory that brings a draft of its own.
    """
    if not isinstance(part, Refining):
        return None
    place = next((i for i, other in enumerate(before) if other is part.base), None)
    if place is None and part.dear:
        name = type(part).__name__
        raise ValueError(f"parts: {name} brings a draft of its own; let it build on a part, as memory@independent does")
    if place is None:
        return None
    if not part.of_laws and getattr(part.base, "of_laws", False):
        raise ValueError(
            f"parts: {type(part).__name__} refines logits, and {type(part.base).__name__} gives laws; let it refine a "
            "part before that"
        )
    part.leads = False
    return place
