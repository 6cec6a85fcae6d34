"""What provenance records of the models: losses, alpha on the target's own text, repetition, distinct greedy tokens."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch

from real.build.fit import next_token_loss
from real.build.prompts import CONTINUATION, LENGTHS, Prompt
from real.build.text import VOCABULARY

ALPHA_HOME, ALPHA_AWAY = 0.75, (0.45, 0.70)
MEASURED = 96


@torch.no_grad()
def held_out_loss(model, ids: np.ndarray, windows: int = 64, length: int = 256) -> float:
    """Mean nats per token on `windows` evenly spread windows of held-out ids `[tokens]`."""
    starts = np.linspace(0, ids.size - length - 1, windows).astype(int)
    rows = torch.from_numpy(np.stack([ids[s : s + length] for s in starts]).astype(np.int64))
    losses = [next_token_loss(model(input_ids=part, use_cache=False).logits, part).item() for part in rows.split(16)]
    return float(np.mean(losses))


@torch.no_grad()
def continue_text(model, ids: torch.Tensor, new: int, generator: torch.Generator | None) -> torch.Tensor:
    """Tokens `[batch, new]` after `ids [batch, length]`: sampled at temperature 1, greedy where generator is None."""
    out, step, cache = [], ids, None
    for _ in range(new):
        answer = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache, last = answer.past_key_values, answer.logits[:, -1].float()
        if generator is None:
            step = last.argmax(-1, keepdim=True)
        else:
            step = torch.multinomial(torch.softmax(last, -1), 1, generator=generator)
        out.append(step)
    return torch.cat(out, 1)


def batches(found: list[Prompt], size: int = 96) -> list[list[Prompt]]:
    """Prompts in batches of one length, the shortest a stream has: longer ones lose their beginning."""
    rows = [replace(prompt, ids=prompt.ids[-LENGTHS[0] :]) for prompt in found]
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def repeated_share(row: list[int], begin: int, n: int = 8) -> float | None:
    """Share of the n-grams that start at or after `begin` and occurred before in `row`; None where there are none."""
    seen, hits, total = set(), 0, 0
    for i in range(len(row) - n + 1):
        gram = tuple(row[i : i + n])
        if i >= begin:
            total, hits = total + 1, hits + (gram in seen)
        seen.add(gram)
    return hits / total if total else None


def _until_end(row: list[int], end: int) -> list[int]:
    return row[: row.index(end)] if end in row else row


@torch.no_grad()
def _alpha_sums(laws: torch.Tensor, draft, full: torch.Tensor, begin: int, mask: torch.Tensor) -> float:
    other = torch.softmax(draft(input_ids=full, use_cache=False).logits.float(), -1)[:, begin - 1 : -1]
    return float((torch.minimum(laws, other).sum(-1) * mask).sum())


@torch.no_grad()
def measure(target, drafts: dict[str, torch.nn.Module], found: list[Prompt], seed: int, greedy: int = 32) -> dict:
    """Alpha of each draft on sampled continuations of the prompts, with repetition and variety of the target's text.

    alpha = mean over positions of sum_y min(target(y), draft(y)) at temperature 1, up to the end-of-text token.
    """
    generator, end = torch.Generator().manual_seed(seed), target.config.eos_token_id
    sums, positions, shares, own = dict.fromkeys(drafts, 0.0), 0, [], []
    for rows in batches(found):
        ids = torch.tensor([p.ids for p in rows])
        new = continue_text(target, ids, CONTINUATION, generator)
        full, begin = torch.cat([ids, new], 1), ids.shape[1]
        mask = ((new == end).cumsum(1) - (new == end).long() == 0).float()
        laws = torch.softmax(target(input_ids=full, use_cache=False).logits.float(), -1)[:, begin - 1 : -1]
        positions += int(mask.sum())
        for name, draft in drafts.items():
            sums[name] += _alpha_sums(laws, draft, full, begin, mask)
        shares += [
            repeated_share(list(p.ids) + _until_end(r, end), begin) for p, r in zip(rows, new.tolist(), strict=True)
        ]
        own += [repeated_share(list(p.ids + p.rest), begin) for p in rows]
    distinct = [
        len(set(_until_end(r, end)))
        for rows in batches(found[:greedy])
        for r in continue_text(target, torch.tensor([p.ids for p in rows]), CONTINUATION, None).tolist()
    ]
    return {
        "alpha": {name: round(total / positions, 4) for name, total in sums.items()},
        "positions": positions,
        "repeated_8gram_generated": round(float(np.mean([s for s in shares if s is not None])), 4),
        "repeated_8gram_held_out": round(float(np.mean([s for s in own if s is not None])), 4),
        "greedy_distinct_tokens_median": median(distinct),
        "prompts": len(found),
    }


def hashes(out: Path, parts: tuple[str, ...]) -> dict[str, dict]:
    """Size in bytes and sha256 of every file under the named folders of `out`."""
    files = [path for part in parts for path in sorted((out / part).rglob("*")) if path.is_file()]
    return {
        p.relative_to(out).as_posix(): {"bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
        for p in files
    }


def claims(served: dict[str, dict], home: str) -> dict:
    """Does the specialist reach alpha .75 at home, and which other domains lie within .45 and .70, which do not."""
    alpha = {name: fact["alpha"]["specialist"] for name, fact in served.items() if name != home}
    within = [name for name, value in alpha.items() if ALPHA_AWAY[0] <= value <= ALPHA_AWAY[1]]
    reached = served[home]["alpha"]["specialist"]
    return {
        "home": {"wanted": ALPHA_HOME, "measured": reached, "holds": reached >= ALPHA_HOME},
        "elsewhere": {
            "wanted": ALPHA_AWAY,
            "within": within,
            "outside": {n: a for n, a in alpha.items() if n not in within},
        },
    }


def provenance(
    targets: dict,
    drafts: dict,
    prompts: dict[str, list[Prompt]],
    held: dict[str, np.ndarray],
    trainings: dict,
    home: str,
):
    """Everything that is measured: targets and drafts by name, prompts and held-out ids by domain."""
    models = {**targets, **drafts}
    everywhere = {
        target: {name: measure(model, drafts, found[:MEASURED], seed=5) for name, found in prompts.items()}
        for target, model in targets.items()
    }
    served = everywhere.pop("target")
    table = {
        name: {
            "parameters": model.num_parameters(),
            "trainings": trainings[name],
            "held_out_loss_nats_per_token": {d: round(held_out_loss(model, ids), 4) for d, ids in held.items()},
        }
        for name, model in models.items()
    }
    packages = ("torch", "transformers", "tokenizers", "numpy", "scipy", "matplotlib", "networkx", "sympy")
    return {
        "home": home,
        "served": served,
        "served_by": everywhere,
        "claims": claims(served, home),
        "models": table,
        "tokenizer": {"kind": "byte-level BPE", "vocabulary": VOCABULARY, "trained_on": "train split of every domain"},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "device": f"cpu, {platform.machine()}, {torch.get_num_threads()} thread(s)",
        "precision": "trained in float32 with bfloat16 products, measured in float32; models bfloat16, starts 8 bits",
    }
