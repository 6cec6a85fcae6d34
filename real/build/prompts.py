"""Serving prompts from held-out documents, one JSONL stream per domain in Spec-Bench's schema."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from real.build import corpus, tasks
from theory.runs.files import write_whole

PROMPTS = 160
LENGTHS = (48, 64, 80, 96, 112)
CONTINUATION = 128
ROUNDS, FLUSH = 400, 40
"""Windows of one document at most, and how many of them begin at lines that are not indented."""


@dataclass(frozen=True)
class Prompt:
    """`ids` of the prompt, `rest` the held-out text's own next tokens (at most 128), `extra` keys for the stream."""

    ids: tuple[int, ...]
    rest: tuple[int, ...]
    text: str
    extra: dict[str, str] = field(default_factory=dict)


def _cut(tokenizer: Tokenizer, text: str, at: int, length: int) -> Prompt | None:
    """A prompt of `length` tokens from character `at`; None where the text is too short or does not round-trip."""
    ids = tokenizer.encode(text[at : at + 8 * (length + CONTINUATION)], add_special_tokens=False).ids
    if len(ids) < length + CONTINUATION:
        return None
    prompt = tokenizer.decode(ids[:length])
    if tokenizer.encode(prompt, add_special_tokens=False).ids != ids[:length]:
        return None
    return Prompt(tuple(ids[:length]), tuple(ids[length : length + CONTINUATION]), prompt)


def windows(tokenizer: Tokenizer, documents: list[corpus.Document], seed: str) -> Iterator[Prompt]:
    """Distinct prompts: round after round, one window per document, first its beginning, then line starts in it."""
    draw, texts = random.Random(seed), set()
    for turn in range(ROUNDS):
        for document in documents:
            text, at = document.text, 0
            if turn:
                indented = turn >= FLUSH
                starts = [
                    i + 1 for i, ch in enumerate(text[:-600]) if ch == "\n" and (indented or not text[i + 1].isspace())
                ]
                if not starts:
                    continue
                at = draw.choice(starts)
            prompt = _cut(tokenizer, text, at, LENGTHS[len(texts) % len(LENGTHS)])
            if prompt and prompt.text not in texts:
                texts.add(prompt.text)
                yield prompt


def questions(tokenizer: Tokenizer, documents: Iterable[corpus.Document], domain: str) -> Iterator[Prompt]:
    """Prompts that end where an answer begins: the first question of a sheet that is at least 48 tokens in."""
    for document in documents:
        head, items = tasks.sheet(domain, int(document.name))
        before, extra = head, {"schema": head.strip()} if head else {}
        for item in items[:-2]:
            text = before + item.prompt
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if LENGTHS[0] <= len(ids) <= LENGTHS[-1]:
                rest = tokenizer.encode(document.text[len(text) :], add_special_tokens=False).ids[:CONTINUATION]
                yield Prompt(tuple(ids), tuple(rest), text, {"reference": item.reference, **extra})
                break
            before += item.text


def untrained(domain: str) -> list[corpus.Document]:
    """The domain's documents that nothing was trained on."""
    return [d for d in corpus.collect(domain) if domain not in corpus.DOMAINS or corpus.held_out(d.text)]


def prompts(tokenizer: Tokenizer, domain: str) -> list[Prompt]:
    """The domain's 160 prompts, all from documents that nothing was trained on, in the stream's order."""
    documents = untrained(domain)
    if domain in corpus.GENERATED:
        found = questions(tokenizer, documents, domain)
    else:
        found = windows(tokenizer, documents, f"prompts/{domain}")
    return list(islice(found, PROMPTS))


def also_in_training(found: list[Prompt], domain: str) -> int:
    """How many prompts stand word for word in a train document as well: passages that two files share."""
    if domain in corpus.NOVEL:
        return 0
    train = "\0".join(d.text for d in corpus.collect(domain) if not corpus.held_out(d.text))
    return sum(p.text in train for p in found)


def write_stream(found: list[Prompt], domain: str, path: Path, first_id: int) -> None:
    """One JSON line per prompt: question_id, category, turns, and reference (and schema) where an answer is known."""
    rows = [
        {"question_id": first_id + i, "category": domain, "turns": [p.text], **p.extra} for i, p in enumerate(found)
    ]
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
