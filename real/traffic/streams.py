"""Streams: prompts in order, with a schedule of domain shifts. Prompts come in Spec-Bench's JSONL schema.

One prompt is one line, ``{"question_id": 1, "category": "prose", "turns": ["…"]}``; further keys are kept out of the
way. A schedule is text: ``prose:40,python:80`` serves 40 prompts of the shipped domain prose, then 80 of python; other
kinds are in ``real/traffic/schedules.py``.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from real.traffic.schedules import stretches

ASSETS = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True)
class Prompt:
    """One request: its id, its domain and the user's turns; ``place``: file and line that it was read from."""

    question_id: int
    category: str
    turns: tuple[str, ...]
    place: str = field(default="", compare=False)

    @property
    def told(self) -> str:
        """What errors call it."""
        return f"{self.place + ', ' if self.place else ''}question_id {self.question_id}"


@dataclass(frozen=True)
class Stream:
    """Prompts in serving order; ``segment`` numbers them by stretch between shifts, ``names`` names the stretches."""

    prompts: tuple[Prompt, ...]
    segment: tuple[int, ...]
    names: tuple[str, ...]


def read_prompts(path: Path | str) -> list[Prompt]:
    """The prompts of a JSONL file.

    Raises:
        ValueError: if the file is missing or empty, or a line breaks the schema (file, line number and rule).
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"prompts={str(path)!r}: no such file; give a JSONL file in Spec-Bench's schema")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    # only a newline ends a line: JSON strings may hold other separators as they are
    lines = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"prompts={str(path)!r}: holds no prompt; write one JSON object a line")
    return [_prompt(line, f"{path}, line {i}") for i, line in lines]


def _prompt(line: str, where: str) -> Prompt:
    shape = 'write {"question_id": 1, "category": "name", "turns": ["text"]}'
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at column {error.colno}): {line[:60]!r}; {shape}") from None
    missing = [k for k in ("question_id", "category", "turns") if not isinstance(entry, dict) or k not in entry]
    if missing:
        raise ValueError(f"{where}: lacks {', '.join(missing)}: {line[:60]!r}; {shape}")
    turns = entry["turns"]
    if not (isinstance(turns, list) and turns and all(isinstance(turn, str) and turn for turn in turns)):
        raise ValueError(f"{where}: turns={turns!r} must be a non-empty list of non-empty strings; {shape}")
    return Prompt(entry["question_id"], str(entry["category"]), tuple(turns), where)


def domains(folder: Path = ASSETS / "streams") -> list[str]:
    """The domains that are there."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def scheduled(schedule: str, seed: int, folder: Path = ASSETS / "streams") -> Stream:
    """The stream of a schedule over the domains in ``folder``; each domain's prompts are shuffled by ``seed``.

    A domain that comes back goes on where it stopped, and starts over when its prompts are used up.

    Raises:
        ValueError: for a schedule that does not parse or a domain that is not there.
    """
    shuffled: dict[str, list[Prompt]] = {}
    taken: dict[str, int] = {}
    prompts, segment, names = [], [], []
    for number, (name, served) in enumerate(stretches(schedule, seed, domains(folder))):
        for domain in served:
            if domain not in shuffled:
                shuffled[domain], taken[domain] = read_prompts(folder / f"{domain}.jsonl"), 0
                Random(f"{seed}/{domain}").shuffle(shuffled[domain])
            prompts.append(shuffled[domain][taken[domain] % len(shuffled[domain])])
            taken[domain] += 1
        segment += [number] * len(served)
        names.append(name)
    return Stream(tuple(prompts), tuple(segment), tuple(names))


def mixed(seed: int, folder: Path = ASSETS / "streams") -> Stream:
    """Every prompt of every shipped domain once, domains interleaved, one segment; shuffled by ``seed``."""
    prompts = [prompt for path in sorted(folder.glob("*.jsonl")) for prompt in read_prompts(path)]
    Random(f"{seed}/mixed").shuffle(prompts)
    return Stream(tuple(prompts), (0,) * len(prompts), ("mixed",))


def as_given(prompts: Iterable[Prompt]) -> Stream:
    """A user's prompts in their own order; a new segment wherever the category changes."""
    prompts = tuple(prompts)
    segment, names = [], []
    for prompt in prompts:
        if not names or names[-1] != prompt.category:
            names.append(prompt.category)
        segment.append(len(names) - 1)
    return Stream(prompts, tuple(segment), tuple(names))
