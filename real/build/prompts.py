"""Serving prompts from held-out documents, one JSONL stream per domain in Spec-Bench's schema."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from real.build import corpus, tasks
from theory.runs.files import write_whole

PROMPTS = 160
LENGTHS = (48, 64, 80, 96, 112)
CONTINUATION = 128


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


def text_prompts(tokenizer: Tokenizer, documents: list[corpus.Document], seed: str) -> list[Prompt]:
    """160 prompts: round after round, one window per held-out document, first its beginning, then line starts in it."""
    draw, found = random.Random(seed), []
    for turn in range(40):
        for document in documents:
            text, at = document.text, 0
            if turn:
                starts = [i + 1 for i, ch in enumerate(text[:-600]) if ch == "\n" and not text[i + 1].isspace()]
                if not starts:
                    continue
                at = draw.choice(starts)
            prompt = _cut(tokenizer, text, at, LENGTHS[len(found) % len(LENGTHS)])
            if prompt and prompt.text not in {p.text for p in found}:
                found.append(prompt)
            if len(found) == PROMPTS:
                return found
    return found


def task_prompts(tokenizer: Tokenizer, documents: list[corpus.Document], domain: str) -> list[Prompt]:
    """160 prompts that end where an answer begins: the first question of a sheet that is at least 48 tokens in."""
    found = []
    for document in documents:
        head, items = tasks.sheet(domain, int(document.name))
        before, extra = head, {"schema": head.strip()} if head else {}
        for item in items[:-2]:
            text = before + item.prompt
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if LENGTHS[0] <= len(ids) <= LENGTHS[-1]:
                rest = tokenizer.encode(document.text[len(text) :], add_special_tokens=False).ids[:CONTINUATION]
                found.append(Prompt(tuple(ids), tuple(rest), text, {"reference": item.reference, **extra}))
                break
            before += item.text
        if len(found) == PROMPTS:
            break
    return found


def prompts(tokenizer: Tokenizer, domain: str) -> list[Prompt]:
    """The domain's prompts, all from documents that nothing was trained on, in the stream's order."""
    documents = [d for d in corpus.collect(domain) if domain in corpus.NOVEL or corpus.held_out(d.text)]
    if domain in ("arithmetic", "sql"):
        return task_prompts(tokenizer, documents, domain)
    return text_prompts(tokenizer, documents, f"prompts/{domain}")


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
