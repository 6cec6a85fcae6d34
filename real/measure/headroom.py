"""`python -m real headroom`: what each limit costs, as the net speed-up that a run would have had without it.

One system beside plain decoding on every domain. From the run's own laws and clock, each bar takes away one limit:

    learning    its time                                      drafting   its time
    overhead    time that is neither drafting, verifying, prefill nor learning
    rule        the block rule instead of the token rule, on the very chains that were drafted
    one draft   two draws a position, if the best lossless rule chose between them
    (``theory/speculation/multi_draft.py``) draft       a draft that is the target: gamma + 1 tokens a step
    memory      verification that reads the target's weights once, at the copy bandwidth of this device

The longest bar is the limit that binds. ``memory`` says what a better kernel could give; on a
small target calls take the time that it would save.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from real.measure.contest import Totals
from real.measure.served import Comparison
from real.models.device import drain
from real.models.hf import CausalLM
from real.serving.settings import Serving
from real.serving.step import Step
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.streams import scheduled
from theory.speculation.block_rule import block_thresholds, prefix_weights
from theory.speculation.multi_draft import best_acceptance
from theory.speculation.speedup import tokens_per_step

DRAFTS = 2
"""Draws a position of the bar ``one draft``."""
COPIED = 256 * 2**20
"""Bytes that measure the copy bandwidth: more than caches hold."""


@dataclass
class Meter:
    """Sums over the steps of a run, and over those that sampled what verification could have accepted.

    ``overlap``, ``several``: the best acceptance with one draw and with ``DRAFTS`` at the positions examined.
    ``by_token``, ``by_block``: tokens that each rule is expected to accept of the chains drafted.
    """

    steps: int = 0
    drafted: int = 0
    tokens: int = 0
    examined: int = 0
    accepted: int = 0
    overlap: float = 0.0
    several: float = 0.0
    sampled: int = 0
    by_token: float = 0.0
    by_block: float = 0.0

    def note(self, step: Step) -> None:
        """Look at one step; greedy ones have no laws and count no expectations."""
        examined = step.accepted + step.rejected
        self.steps += 1
        self.tokens += len(step.tokens)
        self.drafted += step.drafted
        self.examined += examined
        self.accepted += step.accepted
        if step.draft_probs is None or step.verified_laws is None:
            return
        target, draft = step.verified_laws[:-1], step.draft_probs
        self.overlap += float(best_acceptance(target[:examined], draft[:examined], 1).sum())
        self.several += float(best_acceptance(target[:examined], draft[:examined], DRAFTS).sum())
        chosen = torch.tensor(step.drafted_tokens, device=draft.device)
        weights = prefix_weights(step.verified_laws, draft, chosen)
        stops = (1 - block_thresholds(step.verified_laws, draft, weights)).flip(-1).cumprod(-1)
        here, drawn = (law.gather(-1, chosen[:, None])[:, 0] for law in (target, draft))
        self.sampled += 1
        self.by_block += float((1 - stops).sum())
        self.by_token += float((here / drawn).clamp(max=1).cumprod(-1).sum())


def bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a copy of ``COPIED`` bytes, the best of five."""
    source = torch.empty(COPIED, dtype=torch.uint8, device=device).fill_(1)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(6):
        drain(device)
        start = time.perf_counter()
        target.copy_(source)
        drain(device)
        best = min(best, time.perf_counter() - start)
    return 2 * COPIED / best


def weight_bytes(model: CausalLM) -> int:
    """Bytes of the weights that one forward reads: all but embeddings that are not the output matrix too."""
    embedding = model.model.get_input_embeddings().weight
    unread = embedding.nbytes if embedding is not model.readout.weight else 0
    return sum(weight.nbytes for weight in model.model.parameters()) - unread


def headroom(
    meter: Meter, seconds: dict[str, float], plain: dict[str, float], gamma: int, memory_seconds: float
) -> dict[str, Any]:
    """The speed-up measured, the one without each limit, and the limit that binds; ``shares`` of the time by line.

    Args:
        meter: what was noted of the run's steps.
        seconds: of the run by line of the ledger, with ``total``.
        plain: the same of plain decoding, and ``tokens``.
        gamma: tokens drafted a step.
        memory_seconds: one reading of the target's weights.
    """
    plain_rate, whole, pace = plain["tokens"] / plain["total"], seconds["total"], meter.tokens / meter.steps

    def speedup(without: float = 0.0, tokens: float = meter.tokens) -> float:
        return tokens / (whole - without) / plain_rate

    def at(tokens_a_step: float) -> float:
        return speedup(tokens=meter.tokens * tokens_a_step / pace)

    bars: dict[str, float | None] = {
        "learning": speedup(seconds["learn"]),
        "overhead": speedup(seconds["other"] + seconds["unattributed"]),
        "drafting": speedup(seconds["draft"]),
        "draft": at(1 + meter.drafted / meter.steps),
        "memory": speedup(max(0.0, seconds["verify"] - meter.steps * memory_seconds)),
        "rule": None,
        "one draft": None,
    }
    if meter.sampled:
        alpha, several = meter.overlap / meter.examined, meter.several / meter.examined
        bars["rule"] = at(pace * (meter.sampled + meter.by_block) / (meter.sampled + meter.by_token))
        bars["one draft"] = at(pace * float(tokens_per_step(1 - several, gamma) / tokens_per_step(1 - alpha, gamma)))
    known = {name: value for name, value in bars.items() if value is not None}
    found = {"speedup": speedup(), "without": bars, "binds": max(known, key=known.__getitem__), "tokens_per_step": pace}
    found["accepted"] = meter.accepted / max(meter.examined, 1)
    found["shares"] = {line: spent / whole for line, spent in seconds.items() if line not in ("total", "tokens")}
    found["overlap"] = meter.overlap / meter.examined if meter.sampled else None
    verify = seconds["verify"] / meter.steps
    return found | {"verify_ms": 1e3 * verify, "memory_ms": 1e3 * memory_seconds, "of_memory": memory_seconds / verify}


def measure(
    models: Models,
    name: str,
    method: Method,
    serving: Serving,
    domains: Sequence[str],
    prompts: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """One row a domain, of the system beside plain decoding on so many requests of it.

    Raises:
        ValueError: for a system that drafts nothing, or fewer than one prompt.
    """
    if method.drafter is None or prompts < 1:
        raise ValueError(f"{name}, prompts={prompts!r}: needs a system that drafts, and at least one prompt")
    reading = weight_bytes(models.pair_of(method).target) / bandwidth(torch.device(models.device))
    rows, streams = [], [scheduled(f"{domain}:{prompts}", 0) for domain in domains]
    models.encoded(prompt for stream in streams for prompt in stream.prompts)
    for i, (domain, stream) in enumerate(zip(domains, streams, strict=True)):
        comparison = Comparison(models, {"plain": Method(None), name: method}, stream, serving)
        comparison.warm_up()
        meter = Meter()
        comparison.decoders[name].watch = meter.note
        comparison.run(lambda done, total, i=i: progress(i * total + done, len(domains) * total))
        totals = Totals.of(comparison.rows)
        sums = {who: {key: float(totals.sum(who, key)[0]) for key in totals.columns[who]} for who in totals.names}
        plain, ours = (_spent(sums[who]) | {"tokens": sums[who]["tokens"]} for who in ("plain", name))
        rows.append({"domain": domain, "system": name} | headroom(meter, ours, plain, serving.gamma, reading))
    return rows


def _spent(sums: dict[str, float]) -> dict[str, float]:
    """Seconds by line of the ledger."""
    return {key.removeprefix("seconds_"): value for key, value in sums.items() if key.startswith("seconds_")}
