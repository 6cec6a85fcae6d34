"""A request that is being served, or was."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from real.models.text import Text
from real.serving.feedback import Counts


@dataclass(eq=False)
class Request:
    """One request: its place among those that were given with it, its text, and the counts of its steps."""

    number: int
    text: Text
    counts: Counts = field(default_factory=Counts)

    @property
    def tokens(self) -> list[int]:
        """What was committed."""
        return self.text.committed


def in_order(served: Iterable[Request]) -> list[Request]:
    """All of them, by number."""
    found = sorted(served, key=lambda request: request.number)
    assert all(b.number == a.number + 1 for a, b in pairwise(found))
    return found
