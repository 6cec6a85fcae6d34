"""The tables that hyper-parameters were read from: learners at several step sizes, on a stream no result shifts to.

One frozen sampled run is recorded; what it revealed is oblivious to the draft, so every learner can be run on it
without decoding again. The last half of the rounds is what counts.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from real.drafters import Drafter, Piece
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.studies.experiments import TUNING
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.streams import scheduled
from real.verify.record import losses, record
from theory.hints import LastGradient, MovingAverage
from theory.learner import Learner
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.runs.result import save_result
from theory.runs.trace import plain
from theory.speculation.acceptance import alpha
from theory.speculation.speedup import tokens_per_step
from theory.step_size import geometric

STEP_SIZES = geometric(4.0, 7)
CANDIDATES: tuple[Learner, ...] = (
    Frozen(),
    *(OGD(step) for step in STEP_SIZES),
    *(OptimisticOGD(step, LastGradient()) for step in STEP_SIZES),
    *(OptimisticOGD(step, MovingAverage(0.9)) for step in STEP_SIZES),
    *(Momentum(step / 10, 0.9) for step in STEP_SIZES),
    *(Adam(step, beta_2=0.99, epsilon=1e-4) for step in geometric(0.00125, 6)),
    *(Ensemble(OGD(geometric(first, 6))) for first in (4.0, 16.0)),
)
LENGTHS = (8, 16, 32)
"""Round lengths ν that are tried."""

WARM: dict[str, tuple[Learner, ...]] = {
    "adapter": (*(OGD(4.0**k) for k in range(1, 6)), *(Adam(10.0**-k, beta_2=0.99) for k in (2, 3))),
    "heads": (*(OGD(4.0**k) for k in range(2, 7)), *(Adam(10.0**-k, beta_2=0.99) for k in (1, 2))),
    "hydra": (*(OGD(10.0**-k) for k in (0, 1, 2)), *(Adam(step, beta_2=0.99) for step in (3e-5, 1e-4, 3e-4, 1e-3))),
    "eagle": (*(OGD(10.0**-k) for k in (0, 1, 2)), *(Adam(step, beta_2=0.99) for step in (3e-5, 1e-4, 3e-4, 1e-3))),
    "weights": (*(OGD(10.0**-k) for k in (0, 1, 2)), *(Adam(step, beta_2=0.99) for step in (3e-5, 1e-4, 3e-4, 1e-3))),
}
"""Learners of the drafters that a warm-up left as generalists."""
WARM_LENGTHS = (16, 64, 128)


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
    save_result(out, "tuning", {"stream": TUNING, "seed": seed, "rows": rows})
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


def tune_warm(drafter: str, family: str, schedule: str, seed: int = 100) -> Iterator[dict[str, Any]]:
    """Rows of a drafter that starts as a generalist: late mean loss of each learner over that of standing still.

    Raises:
        ValueError: for a drafter without candidates.
    """
    if drafter not in WARM:
        raise ValueError(f"drafter={drafter!r}: must be one of {', '.join(WARM)}")
    method = Method(drafter, draft="generalist", start="" if drafter == "weights" else "generalist")
    models, shortest = Models(family=family), min(WARM_LENGTHS)
    rounds: list[Sequence[Piece]] = []
    decoder = models.decoder(method, Serving(nu=shortest), seed, record=rounds.append)
    for prompt in models.encoded(scheduled(schedule, seed).prompts):
        decoder.serve(prompt, Ledger())
    assert decoder.learning is not None
    at_rest, objective = decoder.learning.drafter, decoder.learning.objective
    for nu in WARM_LENGTHS:
        width = nu // shortest
        joined = [list(chain(*rounds[i : i + width])) for i in range(0, len(rounds), width)]
        rest = _late_loss(Frozen(), at_rest, joined, objective)
        for learner in WARM[drafter]:
            value = _late_loss(learner, at_rest, joined, objective) / rest
            yield {"drafter": drafter, "family": family, "nu": nu, "relative_loss": value, "learner": plain(learner)}


def _late_loss(learner: Learner, drafter: Drafter, rounds: Sequence[Sequence[Piece]], objective: Any) -> float:
    state, seen = learner.init(drafter.x), []
    with torch.no_grad():
        for pieces in rounds:
            for loss in drafter.losses(pieces, objective):
                seen.append(float(loss.value(learner.predict(state))))
                state = learner.update(state, loss)
    return sum(seen[len(seen) // 2 :]) / len(seen[len(seen) // 2 :])
