"""Conversations in a contest: every contender is asked a turn after the answers that it has given itself.

At temperature 0 all contenders answer alike; sampled, each has answers of its own, and later turns of its own length.
The turns asked are the same for all: one that cannot be asked of some contender is asked of none, and ends its
conversation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from real.measure.contenders import Asked
from real.measure.contest import contest
from real.models.hf import Pair
from real.traffic.turns import Turn


class Answering(Protocol):
    """A contender that keeps what it committed last as ``text``."""

    text: list[int]

    def serve(self, request: Asked, /) -> dict[str, float]:
        """Serve one request."""
        ...


class InTurn:
    """A contender that is asked turns, and the text of whose answers is kept while their conversation lasts.

    A measurement begins with its place: ``prompt``, ``segment``, ``turn``. ``asked``: the token ids of the last turn.
    """

    def __init__(self, contender: Answering, pair: Pair, chat: bool | None):
        self.contender, self.pair, self.chat = contender, pair, chat
        self.answers: list[str] = []
        self.asked: list[int] = []

    def following(self, turn: Turn, tell: Callable[[str], Any]) -> list[int] | None:
        """What it would be asked (``Turn.following``)."""
        return turn.following(self.pair, self.chat, self.answers, tell)

    def serve(self, turn: Turn) -> dict[str, float]:
        """Serve one turn."""
        self.asked = turn.fitting(self.pair, self.chat, self.answers)
        place = {"prompt": turn.place, "segment": turn.segment, "turn": turn.number}
        measured = place | self.contender.serve(Asked(self.asked, turn.at + 1, turn.prompt.tenant))
        if turn.number < len(turn.prompt.turns):
            self.answers[turn.number - 1 :] = [self.pair.decode(self.contender.text)]
        return measured


def askable(contenders: Mapping[Any, InTurn], turns: Iterable[Turn], left_out: list[str]) -> Iterator[Turn]:
    """The turns that can be asked of all, each found when those before it are answered; ``left_out`` says why not.

    First turns are not tried: whoever serves them refuses them.
    """
    ended = None
    for turn in turns:
        if turn.number > 1:
            if turn.place == ended:
                continue
            if any(one.following(turn, left_out.append) is None for one in contenders.values()):
                ended = turn.place
                continue
        yield turn


def converse(
    contenders: Mapping[str, Answering], turns: Sequence[Turn], pair: Pair, chat: bool | None, left_out: list[str]
) -> dict[str, list[dict[str, float]]]:
    """A contest on turns, as ``contest`` on requests."""
    in_turn = {name: InTurn(contender, pair, chat) for name, contender in contenders.items()}
    return contest(in_turn, askable(in_turn, turns, left_out))
