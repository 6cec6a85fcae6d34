"""Tenants: whose requests are served. Everything that a decoder remembers is remembered of one of them.

One memory is live. When another tenant's turn comes it is put aside whole, and the other's is taken up, or begins as on
day 0. So nothing of one tenant's text moves another's drafts, laws or random numbers, or gets into another's state.
"""

from collections.abc import Sequence
from copy import copy
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from real.models.state import between, generator
from real.serving.control import Control, Known
from theory.require import whole
from theory.runs.reading import check_text
from theory.speculation.draft_length import State as Lengths
from theory.speculation.gumbel_rule import key

TENANTS = 16
"""Memories that are kept, unless another number is given."""


def of_each(tenant: Any, count: int) -> Sequence[str]:
    """Whose each of ``count`` requests is: one name for all, or one each.

    Raises:
        ValueError: for what is no name, or another number of them.
    """
    tenants = [tenant] * count if isinstance(tenant, str) else tenant
    if not isinstance(tenants, Sequence) or list(map(type, tenants)) != [str] * count:
        raise ValueError(f"tenant={tenant!r}: give one name, a string, or one for each of {count} prompts")
    for name in tenants:
        check_text(name, f"tenant={name[:60]!r}")
    return tenants


class Own:
    """One tenant's random numbers, and what its draft lengths are chosen from.

    Args:
        seed: of the decoder; the default tenant's is the same. control: what chooses by cost, None where nothing does.

    Attributes:
        rng: of its texts, where they are served one at a time. entered: texts so far. known: what is chosen from.
    """

    def __init__(self, seed: int, tenant: str, control: Control | None):
        name = tenant.encode("utf-8", "surrogatepass")
        self.seed = _number([seed, *name]) if tenant else seed
        self.rng, self.entered = torch.Generator().manual_seed(self.seed), 0
        self.known = None if control is None else control.init()
        self.most = [] if self.known is None else [self.known.lengths.account, *self.known.balances]

    def entering(self, several: bool) -> dict[str, Any]:
        """What the next text enters with: the key of its noise and, among several, a generator, whoever is beside."""
        rng = torch.Generator().manual_seed(_number([self.seed, self.entered])) if several else None
        return {"rng": rng, "key": key(self.seed, self.entered)}

    def state(self) -> dict[str, Tensor]:
        """Named tensors."""
        named = {"rng": self.rng.get_state(), "entered": torch.tensor(self.entered)}
        if self.known is not None:
            named["lengths"] = torch.tensor([*chain(*self.known)], dtype=torch.float64)
        return named

    def restored(self, named: dict[str, Tensor]) -> "Own":
        """The same tenant's, as ``state`` gave them; ValueError for what cannot be (the entry)."""
        made = copy(self)
        made.rng = generator("rng", named["rng"])
        between("entered", named["entered"], 0)
        made.entered = int(named["entered"])
        if self.known is not None:
            between("lengths", named["lengths"], 0)
            numbers, sizes = iter(named["lengths"].tolist()), map(len, self.known)
            lengths, *others = (tuple(islice(numbers, size)) for size in sizes)
            known = Known(Lengths(*lengths), *others)
            accounts = torch.tensor([known.lengths.account, *known.balances])
            between("lengths", accounts / torch.tensor(self.most), 0, 1)
            for verified, rejected in filter(None, (known.lengths[:2], known.model, known.copies)):
                between("lengths", torch.tensor(rejected) / torch.tensor(verified), 0, 1)
            made.known = known
        return made


def _number(words: list[int]) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0])  # a CPU generator takes 32 bits


class Memory(NamedTuple):
    """What a decoder remembers of one tenant: besides its own numbers, what drafter and learner have put aside."""

    own: Own
    drafter: Any
    learning: Any


class Aside:
    """Memories that are not live, the one put aside last at the end.

    Args:
        most: memories kept, the live one included; whose turn was longest ago is forgotten first.
    """

    def __init__(self, most: int = TENANTS):
        whole("Aside", 1, "so many memories are kept", tenants=most)
        self.most = most
        self.memories: dict[str, Memory] = {}

    def put(self, tenant: str, memory: Memory) -> None:
        """Put a memory aside."""
        self.memories[tenant] = memory

    def taken(self, tenant: str) -> None:
        """This tenant's is live now; the oldest of the others are forgotten where they are too many."""
        self.memories.pop(tenant, None)
        while len(self.memories) >= self.most:
            del self.memories[next(iter(self.memories))]
