"""`python -m real audit`: is what was served the target's own text? Every kind of drafter, on the embedded models.

The served tokens are read back: one plain transformers forward over the finished text gives the law each of them should
have had, and ``theory/speculation/audit.py`` bets against it, all texts of a system one after the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch

from real.serving.decoder import in_order, online_decoder
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.serving.step import RULES
from real.systems.loaded import FAMILIES, Models, start_path
from real.systems.rows import Method
from real.traffic.streams import mixed
from real.verify.lossless import BATCHES, BY_WAYS, MATRIX, Prompts, transforms
from theory.speculation.audit import Audit


@dataclass(frozen=True)
class Audited:
    """One system under one rule: the evidence against it, log M_t at the end and at its peak, and the verdict.

    ``tokens_per_step`` tells how much of the text was drafted.
    """

    family: str
    system: str
    rule: str
    tokens: int
    tokens_per_step: float
    log_wealth: float
    log_peak: float
    alarm: bool


BETTOR = Audit()
SYSTEMS: dict[str, tuple[Method, dict[str, Any]]] = {name: (method, {}) for name, method in MATRIX.items()}
SYSTEMS["mixture, ways"] = MATRIX["mixture"], BY_WAYS
"""What is audited one text at a time, and how it is served."""


def audit(
    tokens: int = 100_000, families: Sequence[str] = tuple(FAMILIES), seed: int = 0, bettor: Audit = BETTOR
) -> Iterator[Audited]:
    """Serve at least ``tokens`` at temperature 1, shared by all systems → each as it is done.

    Raises:
        ValueError: for no token, or a family that is not embedded.
    """
    if tokens < 1:
        raise ValueError(f"tokens={tokens!r}: at least one")
    share = -(-tokens // (len(families) * (len(SYSTEMS) * len(RULES) + len(BATCHES))))
    for family in families:
        models = Models(family=family)
        asked = models.encoded(mixed(seed).prompts)
        for name, (method, rows) in BATCHES.items():
            served, pace, state = _watch_rows(models, method, rows, asked, share, seed, bettor)
            evidence = float(state.log_wealth), float(state.log_peak), bool(bettor.alarm(state))
            yield Audited(family, name, "token", served, pace, *evidence)
        for name, (method, settings) in SYSTEMS.items():
            for rule in RULES:
                served, pace, state = _watch(models, method, rule, asked, share, seed, bettor, settings)
                evidence = float(state.log_wealth), float(state.log_peak), bool(bettor.alarm(state))
                yield Audited(family, name, rule, served, pace, *evidence)


def _watch_rows(models: Models, method: Method, rows: int, asked: Prompts, share: int, seed: int, bettor: Audit):
    """The same for requests served ``rows`` at a time."""
    serving = Serving(max_new_tokens=48, burn_in=320)
    warm = _warmed(models.family, method) if method.drafter else method
    pair = models.pair_of(warm)
    decoder = online_decoder(pair, models.drafter(warm, serving), method.learner, serving, seed, rows)
    rng, served, steps = torch.Generator().manual_seed(seed + 1), 0, 0
    state = bettor.init(torch.zeros((), dtype=torch.float64))
    requests = cycle(asked)
    while served < share:
        prompts = [next(requests) for _ in range(rows + rows // 2)]
        for request in in_order(decoder.serve_all(prompts, Ledger())):  # the order must not depend on what was sampled
            pits = transforms(pair, prompts[request.number], request.tokens, serving.sampling, rng)
            state, _ = bettor.watch(state, pits, torch.ones(len(request.tokens), dtype=torch.bool))
            served, steps = served + len(request.tokens), steps + request.counts.steps
    return served, served / steps, state


def _warmed(family: str, method: Method) -> Method:
    """The method from a draft that knows every domain, as it would be served."""
    warm = replace(method, draft="generalist", start="generalist")
    return warm if start_path(family, warm).is_file() else replace(warm, start="")


def _watch(
    models: Models,
    method: Method,
    rule: str,
    asked: Prompts,
    share: int,
    seed: int,
    bettor: Audit,
    settings: dict[str, Any],
):
    """The same for requests served one at a time."""
    serving = Serving(rule=rule, max_new_tokens=96, burn_in=320, **settings)
    decoder = models.decoder(_warmed(models.family, method), serving, seed)
    rng, served, steps = torch.Generator().manual_seed(seed + 1), 0, 0
    state = bettor.init(torch.zeros((), dtype=torch.float64))
    for prompt in cycle(asked):
        text, counts = decoder.serve(prompt, Ledger())
        pits = transforms(models.pair, prompt, text, serving.sampling, rng)
        state, _ = bettor.watch(state, pits, torch.ones(len(text), dtype=torch.bool))
        served, steps = served + len(text), steps + counts.steps
        if served >= share:
            break
    return served, served / steps, state
