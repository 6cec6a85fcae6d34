"""Corpus to token ids: the byte-pair tokenizer, the two splits of every domain, and the sampler of training windows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from real.build import corpus
from theory.runs.files import atomic, write_whole

VOCABULARY = 1024
EOS, PAD = "<|endoftext|>", "<|pad|>"


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE with 1,024 entries, two of them special."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[EOS, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return raw


def encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """All texts as one row of ids `[tokens]` uint16, each begun by end-of-text."""
    eos, rows = tokenizer.token_to_id(EOS), []
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        rows += [np.array([eos], np.uint16), np.array(encoding.ids, np.uint16)]
    return np.concatenate(rows)


def prepare(cache: Path) -> tuple[Tokenizer, dict[str, dict[str, np.ndarray]], dict]:
    """Tokenizer, ids per domain and split ("train", "held"), and what provenance records of the corpus."""
    facts, texts = {}, {}
    for name, spec in corpus.DOMAINS.items():
        documents = corpus.collect(name)
        split = {
            "train": [d.text for d in documents if not corpus.held_out(d.text)],
            "held": [d.text for d in documents if corpus.held_out(d.text)],
        }
        texts[name] = split
        facts[name] = {
            "source": spec.source,
            "licence": spec.licence,
            "sha256": corpus.digest(documents),
            "weight": spec.weight,
            "documents": len(documents),
            "held_out_documents": len(split["held"]),
            "bytes": sum(len(d.text.encode()) for d in documents),
        }
    sample = [t for split in texts.values() for t in _first_bytes(split["train"], 1_500_000)]
    tokenizer = train_tokenizer(sample)
    ids = {name: {part: encode(tokenizer, rows) for part, rows in split.items()} for name, split in texts.items()}
    for name, parts in ids.items():
        facts[name]["tokens"] = {part: int(row.size) for part, row in parts.items()}
    (cache / "tokenizer").mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(cache / "tokenizer" / "tokenizer.json"))
    for name, parts in ids.items():
        save_arrays(cache / f"ids_{name}.npz", **parts)
    write_whole(cache / "corpus.json", json.dumps(facts, indent=1))  # last: the cache is whole once it is there
    return tokenizer, ids, facts


def _first_bytes(texts: list[str], size: int) -> list[str]:
    kept, total = [], 0
    for text in texts:
        if total > size:
            break
        kept.append(text)
        total += len(text)
    return kept


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays by name to a .npz file, whole or not at all."""
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType] (numpy's stub)


def prepared(cache: Path) -> tuple[Tokenizer, dict[str, dict[str, np.ndarray]], dict]:
    """`prepare`, or its saved result where `cache` has it."""
    if not (cache / "corpus.json").exists():
        return prepare(cache)
    tokenizer = Tokenizer.from_file(str(cache / "tokenizer" / "tokenizer.json"))
    ids = {name: dict(np.load(cache / f"ids_{name}.npz", allow_pickle=False)) for name in corpus.DOMAINS}
    return tokenizer, ids, json.loads((cache / "corpus.json").read_text())


def documentation_ids(cache: Path, tokenizer: Tokenizer) -> np.ndarray:
    """Ids `[tokens]` of the home domain's documentation as written, which the specialist also reads."""
    path = cache / "ids_documentation.npz"
    if not path.exists():
        save_arrays(path, train=encode(tokenizer, [d.text for d in corpus.home_documentation()]))
    return np.load(path, allow_pickle=False)["train"]


class Sampler:
    """Windows of token ids by domain: each domain is read once in a shuffled order of windows before any repeats."""

    def __init__(self, ids: dict[str, np.ndarray], weights: dict[str, float], length: int, seed: int):
        self.ids, self.length = ids, length
        self.names = sorted(weights)
        total = sum(weights.values())
        self.shares = torch.tensor([weights[n] / total for n in self.names], dtype=torch.float64)
        self.generator = torch.Generator().manual_seed(seed)
        self.order: dict[str, list[int]] = {n: [] for n in self.names}

    def window(self, name: str) -> np.ndarray:
        if not self.order[name]:
            count = (self.ids[name].size - 1) // self.length - 1
            shift = int(torch.randint(self.length, (1,), generator=self.generator))
            self.order[name] = [
                shift + self.length * i for i in torch.randperm(count, generator=self.generator).tolist()
            ]
        start = self.order[name].pop()
        return self.ids[name][start : start + self.length]

    def state(self) -> dict:
        return {"generator": self.generator.get_state(), "order": self.order}

    def resume(self, state: dict) -> None:
        self.generator.set_state(state["generator"])
        self.order = state["order"]

    def batch(self, size: int) -> torch.Tensor:
        """Token ids `[size, length]` int64; the count of each domain is systematic, not multinomial."""
        start = torch.rand(1, generator=self.generator, dtype=torch.float64)
        points = (torch.arange(size) + start) / size
        rows = torch.searchsorted(self.shares.cumsum(0), points).clamp(max=len(self.names) - 1)
        return torch.from_numpy(np.stack([self.window(self.names[i]) for i in rows.tolist()]).astype(np.int64))
