"""Turns: those of one prompt are asked one after the other, each after the answers generated to those before it.

The tokenizer's chat template renders what was said, answers as the assistant's. Without one, what was given, turns and
answers are joined by newlines, and the text is continued. A later turn that no longer fits the target's context, or
that the template does not take, is not asked, and ends its conversation; what was served before it stays.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from real.traffic.prompts import Prompt

if TYPE_CHECKING:
    from real.models.hf import Pair

Next = Callable[[int, Sequence[list[int]]], list[int] | None]
"""(row, its texts so far) → token ids of what it is asked next; None at its end."""


def nothing(row: int, texts: Sequence[list[int]]) -> None:
    """No turn follows: a ``Next``."""


LEFT_OUT = "left out, with what follows it"
STAND_IN = "-"
"""For an answer, where all that matters is whether the turns after it can be asked at all."""


class Turn(NamedTuple):
    """One request.

    Attributes:
        prompt: whose turn it is. number: which, from 1. place: the prompt's in the stream. segment: its stretch.
        at: the turn's own place among all turns of the stream.
    """

    prompt: Prompt
    number: int = 1
    place: int = 0
    segment: int = 0
    at: int = 0

    def ids(self, pair: "Pair", chat: bool | None, answers: Sequence[str] = ()) -> list[int]:
        """Its token ids, after ``answers`` to the turns before it. ``chat``: see ``Pair.encode``.

        Raises:
            ValueError: for what ``Pair.encode`` refuses, with the prompt's line.
        """
        asked = list(self.prompt.turns[: self.number])
        for i, answer in enumerate(answers[: self.number - 1]):
            asked.insert(2 * i + 1, answer)
        assert len(asked) == 2 * self.number - 1, "a turn is asked when all before it are answered"
        roles = ("user", "assistant")
        given = [{"role": role, "content": text} for role, text in self.prompt.given]
        told = [*given, *({"role": roles[i % 2], "content": text} for i, text in enumerate(asked))] if given else asked
        try:
            return pair.encode(told, chat)
        except ValueError as error:
            raise ValueError(f"{self}: {error}") from None

    def fitting(
        self, pair: "Pair", chat: bool | None, answers: Sequence[str] = (), context: int | None = None
    ) -> list[int]:
        """The same; ValueError as well if they are too long for the target."""
        ids, context = self.ids(pair, chat, answers), pair.target.context if context is None else context
        if len(ids) > context:
            said = " with the answers before it" if self.number > 1 else ""
            raise ValueError(f"{self}: has {len(ids)} tokens{said}, but the target's context is {context}; shorten it")
        return ids

    def following(
        self, pair: "Pair", chat: bool | None, answers: Sequence[str], tell: Callable[[str], Any]
    ) -> list[int] | None:
        """Its token ids after these answers; None where it cannot be asked, and ``tell`` is told why."""
        try:
            return self.fitting(pair, chat, answers)
        except ValueError as error:
            tell(f"{LEFT_OUT}: {error}")
            return None

    def __str__(self) -> str:
        where = f"{self.prompt.place}, " if self.prompt.place else ""
        return f"{where}question_id {self.prompt.question_id}, turn {self.number}"


def turns_of(prompts: Sequence[Prompt], segments: Sequence[int] = ()) -> Iterator[Turn]:
    """Every turn of the prompts, in order; ``segments`` are those of the prompts, 0 if left out."""
    at = count()
    for place, (prompt, segment) in enumerate(zip(prompts, segments or [0] * len(prompts), strict=True)):
        for number in range(1, len(prompt.turns) + 1):
            yield Turn(prompt, number, place, segment, next(at))


def script(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """What is said in the prompt's conversation, in order, as role and text; answers are still to come."""
    yield from prompt.given
    for number, turn in enumerate(prompt.turns, start=1):
        yield f"user, turn {number}", turn
        yield "assistant", f"(its answer to turn {number})"


def tried(pair: "Pair", prompt: Prompt, chat: bool | None) -> list[int]:
    """Token ids of the prompt's last turn, with stand-ins for answers, every turn having been tried.

    Raises:
        ValueError: for a turn that cannot be asked, whatever is answered to those before it.
    """
    turns = range(1, len(prompt.turns) + 1)
    return [Turn(prompt, number).ids(pair, chat, [STAND_IN] * (number - 1)) for number in turns][-1]


def encoded(pair: "Pair", prompts: Iterable[Prompt], chat: bool | None, context: int | None = None) -> list[list[int]]:
    """Token ids of the prompts' first turns; that every turn can be asked is known then, before any is served.

    context: of the target; None takes the pair's.

    Raises:
        ValueError: for a prompt that cannot be encoded, or a first turn that is too long, with line and question_id.
    """
    known: dict[Prompt, list[int]] = {}  # a schedule serves a prompt again and again
    found = []
    for prompt in prompts:
        if prompt not in known:
            tried(pair, prompt, chat)
            known[prompt] = Turn(prompt).fitting(pair, chat, context=context)
        found.append(known[prompt])
    return found


def longest(pair: "Pair", prompts: Iterable[Prompt], chat: bool | None, new: int) -> int:
    """About how many tokens the longest text has at its end, every answer being of ``new`` tokens."""
    return max(len(tried(pair, prompt, chat)) + len(prompt.turns) * new for prompt in prompts)


class FollowUps:
    """What rows of prompts are asked after their first turns: a ``Next``. Turns that cannot be asked get ``left_out``
    as keys, with the reasons."""

    def __init__(self, pair: "Pair", prompts: Sequence[Prompt], chat: bool | None, left_out: dict[str, str]):
        self.pair, self.prompts, self.chat, self.left_out = pair, prompts, chat, left_out

    def __call__(self, row: int, texts: Sequence[list[int]]) -> list[int] | None:
        """The turn after so many."""
        turn = Turn(self.prompts[row], len(texts) + 1)
        if turn.number > len(turn.prompt.turns):
            return None
        answers = [self.pair.decode(text) for text in texts]
        return turn.following(self.pair, self.chat, answers, partial(self.left_out.__setitem__, str(turn)))


class Waiting:
    """Conversations as ``Decoder.serve_all`` takes them: a turn enters when the one before it has ended.

    Other texts go on meanwhile: an item is None while all that is left follows on texts in flight.
    """

    def __init__(self, prompts: Sequence[list[int]], following: Next):
        self.following = following
        self.ready = deque(enumerate(prompts))
        self.texts: list[list[list[int]]] = [[] for _ in prompts]
        self.entered: list[int] = []
        """The row of every request that has entered."""

    def __iter__(self) -> "Waiting":
        return self

    def __next__(self) -> list[int] | None:
        if self.ready:
            row, prompt = self.ready.popleft()
            self.entered.append(row)
            return prompt
        if sum(map(len, self.texts)) < len(self.entered):
            return None
        raise StopIteration

    def ended(self, number: int, text: list[int]) -> None:
        """The request of this number has this text: what follows on it is next."""
        row = self.entered[number]
        self.texts[row].append(text)
        prompt = self.following(row, self.texts[row])
        if prompt is not None:
            self.ready.appendleft((row, prompt))
