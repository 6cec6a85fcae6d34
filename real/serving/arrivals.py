"""Requests as they come: in order, each with its number and with whose it is."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple


class Arrival(NamedTuple):
    """One request: its place among those that were given with it, its prompt, and its tenant."""

    number: int
    prompt: Sequence[int]
    tenant: str


class Arrivals:
    """Those that have not entered yet.

    Args:
        prompts: token ids; None in place of a prompt says that the next one is not known yet.
        tenant: one name for all, or one each.
    """

    def __init__(self, prompts: Iterable[Sequence[int] | None], tenant: str | Sequence[str]):
        self._prompts = iter(prompts)
        self._names: Iterator[str] = repeat(tenant) if isinstance(tenant, str) else iter(tenant)
        self._first: Arrival | None = None
        self._number = 0

    def first(self) -> Arrival | None:
        """The next request, which stays so until it is ``taken``; None if none can enter now.

        Raises:
            ValueError: for a prompt that no name is left for.
        """
        if self._first is None and (prompt := next(self._prompts, None)) is not None:
            name = next(self._names, None)
            if name is None:
                raise ValueError("tenant: fewer names than there are prompts; give one for all, or one each")
            self._first = Arrival(self._number, prompt, name)
            self._number += 1
        return self._first

    def taken(self) -> None:
        """The first request has entered."""
        self._first = None
