"""Streams: prompts in order, with a schedule of domain shifts. Prompts are read by ``real/traffic/prompts.py``.

A schedule is text: ``prose:40,python:80`` serves 40 prompts of the shipped domain prose, then 80 of python; other kinds
are in ``real/traffic/schedules.py``. A shipped domain has 160 prompts; its large stream, ``prose-large:400``, has 800.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from real.traffic.prompts import Prompt, read_prompts
from real.traffic.schedules import stretches
from real.traffic.turns import Turn, turns_of

ASSETS = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True)
class Stream:
    """Prompts in serving order; ``segment`` numbers them by stretch between shifts, ``names`` names the stretches."""

    prompts: tuple[Prompt, ...]
    segment: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def turns(self) -> list[Turn]:
        """The requests: every turn of every prompt, in order."""
        return list(turns_of(self.prompts, self.segment))


def domains(folder: Path = ASSETS / "streams") -> list[str]:
    """The domains that are there."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def large(folder: Path = ASSETS / "streams") -> list[str]:
    """The large streams that are there, as a schedule names them: ``c-large`` is ``large/c.jsonl``."""
    return [f"{domain}-large" for domain in domains(folder / "large")]


def file_of(domain: str, folder: Path = ASSETS / "streams") -> Path:
    """The prompts of a domain, or of its large stream."""
    if domain in large(folder):
        return folder / "large" / f"{domain.removesuffix('-large')}.jsonl"
    return folder / f"{domain}.jsonl"


def scheduled(schedule: str, seed: int, folder: Path = ASSETS / "streams") -> Stream:
    """The stream of a schedule over the domains in ``folder``; each domain's prompts are shuffled by ``seed``.

    A domain that comes back goes on where it stopped, and starts over when its prompts are used up.

    Raises:
        ValueError: for a schedule that does not parse or a domain that is not there.
    """
    shuffled: dict[str, list[Prompt]] = {}
    taken: dict[str, int] = {}
    prompts, segment, names = [], [], []
    for number, (name, served) in enumerate(stretches(schedule, seed, domains(folder) + large(folder))):
        for domain in served:
            if domain not in shuffled:
                shuffled[domain], taken[domain] = read_prompts(file_of(domain, folder)), 0
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
