"""Warm-ups that are shipped: every drafter for every embedded target, as generalist and as specialist."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from real.build.warm import WarmUp, read, warm
from real.drafters import make_drafter
from real.drafters.start import save_start
from real.models.hf import Pair

WINDOW = 256


@dataclass(frozen=True)
class Start:
    """A drafter's warm-up: settings of its constructor while it trains, and the budget."""

    settings: tuple[tuple[str, Any], ...]
    budget: WarmUp


STARTS = {
    "adapter": Start((("burn_in", 20_000),), WarmUp(0)),
    "heads": Start((("burn_in", 20_000),), WarmUp(12_000, lr=0.4)),
    "hydra": Start((), WarmUp(12_000, lr=4e-3)),
    "eagle": Start((("regression", 1.0),), WarmUp(12_000, lr=4e-3)),
}
"""An adapter starts at zero: its warm-up is the whitening alone."""


def windows(rows: dict[str, np.ndarray], shares: dict[str, float], count: int, seed: int = 6) -> list[list[int]]:
    """``count`` windows of ``WINDOW`` tokens, domains by their shares; each domain's rows in a shuffled order."""
    rng, total, chosen = torch.Generator().manual_seed(seed), sum(shares.values()), []
    for name in sorted(shares):
        parts = rows[name][: rows[name].size // WINDOW * WINDOW].reshape(-1, WINDOW)
        wanted = min(len(parts), max(1, round(count * shares[name] / total)))
        chosen += [parts[i].tolist() for i in torch.randperm(len(parts), generator=rng)[:wanted].tolist()]
    return chosen


def warm_up(
    pair: Pair, drafter: str, texts: Sequence[Sequence[int]], path: Path, about: dict[str, str],
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Train one drafter on what the target wrote and save it at ``path`` → what was done, for provenance."""
    start, losses = STARTS[drafter], []

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 100 == 0:
            progress(json.dumps({"start": path.stem, "step": step, "loss": round(float(np.mean(losses[-100:])), 4)}))

    made = make_drafter(drafter, pair, **dict(start.settings))
    warm(made, pair.target, list(read(pair.target, texts)), start.budget, report)
    save_start(path, made, about)
    last = float(np.mean(losses[-100:])) if losses else None
    return {"budget": vars(start.budget), "texts": len(texts), "entries": made.dimension, "last_loss": last}
