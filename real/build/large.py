"""Large streams: 800 prompts of a domain, for runs in which the small ones would repeat; two domains are here alone.

A large stream begins with the prompts of its small one, each once. After those, a window of text counts if at most half
of its shingles stand in earlier prompts or in any text that something was trained on. Generated sheets are too alike
for that: those that follow have numbers beyond the trained ones, and count if their prompt is new, in no trained text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, count, islice
from pathlib import Path

from tokenizers import Tokenizer

from real.build import corpus, prompts
from real.build.prompts import PROMPTS, Prompt
from real.traffic.overlap import MOST, overlapping, shingles
from real.traffic.prompts import read_prompts

COUNT = 800
CANDIDATES = 8000
FOLDER = Path("streams") / "large"
DOMAINS = corpus.SERVED | corpus.HELD_OUT
OF_THE_MACHINE = re.compile(r"(^|/)_sysconfigdata")
"""Names of files that tell where and how this Python was built; the small streams have a window of one."""


@cache
def trained() -> list[str]:
    """Every text that a target, draft, start or tokenizer was trained on, but what targets wrote themselves."""
    found = [d.text for name in corpus.DOMAINS for d in corpus.collect(name) if not corpus.held_out(d.text)]
    return found + [d.text for d in corpus.home_documentation()]


def standing(wanted: set[int], texts: Iterable[str]) -> set[int]:
    """Those of the wanted shingles that stand in the texts."""
    return set().union(*(wanted & shingles(text) for text in texts))


def _fresh(candidates: list[Prompt], kept: int, texts: list[str]) -> Iterator[Prompt]:
    """The first `kept` as they are, then those of whose shingles at most half stand in earlier ones or in `texts`."""
    own = [shingles(prompt.text) for prompt in candidates]
    seen = standing(set().union(*own), texts)
    for i, (prompt, mine) in enumerate(zip(candidates, own, strict=True)):
        if i < kept or len(mine & seen) <= MOST * len(mine):
            seen |= mine
            yield prompt


def _unasked(questions: Iterable[Prompt], kept: int, texts: list[str]) -> Iterator[Prompt]:
    """Each once, and after the first `kept` none that stands word for word in `texts`."""
    asked, known = set(), "\0".join(texts)
    for i, prompt in enumerate(questions):
        if prompt.text not in asked and (i < kept or prompt.text not in known):
            asked.add(prompt.text)
            yield prompt


def large(tokenizer: Tokenizer, domain: str, texts: list[str]) -> list[Prompt]:
    """The domain's prompts, at most 800, in the stream's order; `texts` are all that was trained on."""
    documents = prompts.untrained(domain)
    if domain in corpus.GENERATED:
        sheets = chain(documents, corpus.sheets(domain, count(corpus.SHEETS)))
        found = _unasked(prompts.questions(tokenizer, sheets, domain), PROMPTS, texts)
    else:
        windows = islice(prompts.windows(tokenizer, documents, f"prompts/{domain}"), CANDIDATES)
        local = "\0".join(d.text for d in documents if OF_THE_MACHINE.search(d.name))
        candidates = [prompt for i, prompt in enumerate(windows) if i < PROMPTS or prompt.text not in local]
        found = _fresh(candidates, PROMPTS if domain in corpus.SERVED else 0, texts)
    return list(islice(found, COUNT))


def write(out: Path, tokenizer: Tokenizer) -> None:
    """`out/streams/large/<domain>.jsonl` for every domain; question ids are unique over all streams."""
    texts = trained()
    for i, domain in enumerate(DOMAINS):
        found = large(tokenizer, domain, texts)
        prompts.write_stream(found, domain, out / FOLDER / f"{domain}.jsonl", 10_000 + 1000 * i)


def facts(out: Path) -> dict[str, dict]:
    """What provenance says of the streams in `out/streams/large`: counts, sources, and how much of them is not new."""
    found = {domain: read_prompts(out / FOLDER / f"{domain}.jsonl") for domain in DOMAINS}
    own = {domain: [shingles(row.turns[0]) for row in rows] for domain, rows in found.items()}
    known, told = standing(set().union(*chain(*own.values())), trained()), {}
    for domain, spec in DOMAINS.items():
        told[domain] = {
            "prompts": len(found[domain]),
            "mostly_in_earlier_prompts": sum(share > MOST for share in overlapping(found[domain])),
            "mostly_in_train_text": sum(len(mine & known) > MOST * len(mine) for mine in own[domain]),
        }
        if domain in corpus.HELD_OUT:
            documents = corpus.collect(domain)
            told[domain] |= {"source": spec.source, "licence": spec.licence, "weight": spec.weight}
            told[domain] |= {"documents": len(documents), "sha256": corpus.digest(documents)}
    return told
