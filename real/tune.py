"""The table that hyper-parameters were read from: learners at several step sizes, on a domain no result shifts to.

One frozen sampled run of ``TUNING`` is recorded; its losses are oblivious to the draft, so every learner can be run on
them without decoding again. The last half of the rounds is what counts.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from real.experiments import TUNING, Models
from real.online import Serving
from real.record import losses, record
from theory.acceptance import alpha
from theory.hints import LastGradient, MovingAverage
from theory.learner import Learner
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.speedup import tokens_per_step
from theory.step_size import geometric
from theory.trace import plain, provenance, save_json

STEPS = geometric(4.0, 7)
CANDIDATES: tuple[Learner, ...] = (
    Frozen(),
    *(OGD(step) for step in STEPS),
    *(OptimisticOGD(step, LastGradient()) for step in STEPS),
    *(OptimisticOGD(step, MovingAverage(0.9)) for step in STEPS),
    *(Momentum(step / 10, 0.9) for step in STEPS),
    *(Adam(step, beta_2=0.99, epsilon=1e-4) for step in geometric(0.00125, 6)),
    *(Ensemble(OGD(geometric(first, 6))) for first in (4.0, 16.0)),
)
LENGTHS = (8, 16, 32)
"""Round lengths ν that are tried."""


def tune(out: Path, console: Console, seed: int = 100) -> list[dict[str, Any]]:
    """Print and save the table: mean alpha over the last half of the rounds, and E(1 − alpha, 4)."""
    rows = []
    with TemporaryDirectory() as folder:
        for nu in LENGTHS:
            path = record(Models(), TUNING, Serving(nu=nu), seed, Path(folder) / f"{nu}.npz")
            seen = losses(path, torch.float32)
            rows += [{"nu": nu, **_score(learner, seen)} for learner in CANDIDATES]
    for row in rows:
        console.print(f"nu {row['nu']:3}  alpha {row['alpha']:.4f}  E {row['tokens_per_step']:.3f}  {row['learner']}",
                      highlight=False)  # fmt: skip
    save_json(out, {"stream": TUNING, "seed": seed, "rows": rows, "provenance": provenance()})
    return rows


def _score(learner: Learner, seen: list) -> dict[str, Any]:
    width = seen[0].features.shape[-1]
    state, overlaps = learner.init(torch.zeros(width * width)), []
    for loss in seen:
        x_t = learner.predict(state)
        overlaps.append(float(alpha(loss.target_probs, loss.draft_probs(x_t)).mean()))
        state = learner.update(state, loss)
    late = overlaps[len(overlaps) // 2 :]
    mean = sum(late) / len(late)
    return {"learner": plain(learner), "alpha": mean, "tokens_per_step": float(tokens_per_step(1 - mean, 4))}
