"""Prompt files: one JSON object a line, in Spec-Bench's and MT-bench's schema or as chat messages.

- ``{"question_id": 1, "category": "prose", "turns": ["…", "…"]}``: the turns are all the user's. Each is asked when the
  one before is answered (``turns.py``). A ``"system"`` text comes before them.
- ``{"messages": [{"role": "user", "content": "…"}, …]}``: all but the last are taken as given, the assistant's too; the
  last is the user's, and is asked. ``question_id`` is the line's number if left out, ``category`` is ``chat``.

``"tenant": "name"`` says whose request it is, where a file holds those of several users. Further keys are kept out of
the way.
"""

from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from theory.runs.reading import check_text, json_of, read_text

ROLES = ("system", "user", "assistant")
SHAPE = 'write {"question_id": 1, "category": "name", "turns": ["text"]} or {"messages": [{"role": "user", …}]}'


@dataclass(frozen=True)
class Prompt:
    """A conversation, most often of one turn.

    Attributes:
        question_id, category: its id, its domain. turns: the user's, asked one after the other.
        given: what is said before the first turn, as pairs of role and text. tenant: whose it is. place: its file and
            line.
    """

    question_id: int | str
    category: str
    turns: tuple[str, ...]
    given: tuple[tuple[str, str], ...] = ()
    tenant: str = ""
    place: str = field(default="", compare=False)


def read_prompts(path: Path | str) -> list[Prompt]:
    """The prompts of a JSONL file; empty lines are left out.

    Raises:
        ValueError: if the file is missing or empty, or a line breaks the schema (file, line number and rule).
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"prompts={str(path)!r}: no such file; give a JSONL file in Spec-Bench's schema")
    # only a newline ends a line: JSON strings may hold other separators as they are
    lines = [(i, line) for i, line in enumerate(StringIO(read_text(path), newline=None), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"prompts={str(path)!r}: holds no prompt; write one JSON object a line")
    return [_prompt(line, i, f"{path}, line {i}") for i, line in lines]


def _prompt(line: str, number: int, place: str) -> Prompt:
    line = line.strip()
    try:
        entry = json_of(line)
    except ValueError as error:
        raise ValueError(f"{place}: not JSON ({error}): {line[:60]!r}; {SHAPE}") from None
    needed = ("question_id", "category", "turns")
    if isinstance(entry, dict) and "messages" in entry:
        if "turns" in entry:
            raise ValueError(f"{place}: has both turns and messages: {line[:60]!r}; {SHAPE}")
        entry = {"question_id": number, "category": "chat", **entry}
        needed = ()
    missing = [key for key in needed if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise ValueError(f"{place}: lacks {', '.join(missing)}: {line[:60]!r}; {SHAPE}")
    question, system = entry["question_id"], entry.get("system")
    if isinstance(question, bool) or not isinstance(question, int | str):
        raise ValueError(f"{place}: question_id={question!r} must be a whole number or a text; {SHAPE}")
    if not isinstance(system, str | None):
        raise ValueError(f"{place}: system={system!r} must be a text; {SHAPE}")
    category, tenant = entry["category"], entry.get("tenant", "")
    if not (isinstance(category, str) and category):
        raise ValueError(f"{place}: category={category!r} must be a text that names a domain; {SHAPE}")
    if not isinstance(tenant, str):
        raise ValueError(f"{place}: tenant={tenant!r}: must be a string that names whose request it is; {SHAPE}")
    given, turns = _messages(entry["messages"], place) if not needed else ((), _turns(entry["turns"], place))
    given = ((("system", system),) if system else ()) + given
    prompt = Prompt(question, category, turns, given, tenant, place)
    for text in (str(question), prompt.category, tenant, *turns, *(text for _, text in given)):
        check_text(text, place)
    return prompt


def _turns(turns: Any, place: str) -> tuple[str, ...]:
    if not (isinstance(turns, list) and turns and all(isinstance(turn, str) and turn for turn in turns)):
        raise ValueError(f"{place}: turns={turns!r} must be a non-empty list of non-empty strings; {SHAPE}")
    return tuple(turns)


def _messages(messages: Any, place: str) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """What is given, and the one turn that is asked."""
    if not (isinstance(messages, list) and messages and all(map(_is_message, messages))):
        raise ValueError(
            f"{place}: messages={str(messages)[:60]!r} must be a non-empty list of objects with a 'role', one of "
            f"{', '.join(ROLES)}, and a text as 'content'; {SHAPE}"
        )
    *given, last = ((message["role"], message["content"]) for message in messages)
    if last[0] != "user" or not last[1]:
        raise ValueError(f"{place}: the last message is {last!r}, but it must be a text of the user's; it is answered")
    return tuple(given), (last[1],)


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
