"""The one training loop of the embedded models: next-token loss, or forward KL to a teacher (distillation)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from theory.runs.files import atomic

SAVE_EVERY = 180.0


@dataclass(frozen=True)
class Budget:
    """Length (in tokens) and step sizes (peaks) of one training; `variation` weighs total variation in distillation."""

    steps: int
    batch: int
    length: int
    lr: float
    matrix_lr: float
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 1
    variation: float = 0.0


def optimizers(model: torch.nn.Module, budget: Budget) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers, AdamW for embeddings, head and norms."""
    matrices = [p for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2]
    tables = [p for n, p in model.named_parameters() if ".layers." not in n and p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [
        torch.optim.Muon(
            matrices,
            lr=budget.matrix_lr,
            weight_decay=budget.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [{"params": tables, "weight_decay": budget.weight_decay}, {"params": vectors, "weight_decay": 0}],
            lr=budget.lr,
            betas=(0.9, 0.95),
            eps=1e-8,
        ),
    ]


def schedule(fraction: float, step: int) -> float:
    """Factor on the peak rate: linear warm-up over 60 steps, flat, then linear to 0 over the last 60 %."""
    return min(1.0, (step + 1) / 60, max(0.0, (1 - fraction) / 0.6))


@dataclass
class Progress:
    """Where a training stands: optimizer steps done, seconds spent, tokens read, the last losses (nats per token)."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    fraction: float = 0.0


def next_token_loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats: logits `[batch, length, vocabulary]` against the next of `ids [batch, length]`."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())


def distillation_loss(logits: torch.Tensor, teacher: torch.Tensor, variation: float) -> torch.Tensor:
    """Mean cross-entropy to the teacher's law, plus `variation` times total variation; both `[batch, length, V]`.

    The first term is forward KL up to the teacher's entropy; total variation is 1 - alpha.
    """
    law, logs = torch.softmax(teacher.float(), -1), torch.log_softmax(logits.float(), -1)
    loss = -(law * logs).sum(-1).mean()
    if variation:
        loss = loss + variation * (1 - torch.minimum(law, logs.exp()).sum(-1).mean())
    return loss


def _save_state(path: Path, model, optimizers, sampler, progress: Progress) -> None:
    content = {
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "sampler": sampler.state(),
        "progress": vars(progress),
    }
    with atomic(path) as partial:
        torch.save(content, partial)


def _load_state(path: Path, model, optimizers, sampler) -> Progress:
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    sampler.resume(state["sampler"])
    return Progress(**state["progress"])


def fit(
    model,
    sampler,
    budget: Budget,
    folder: Path,
    save: Callable[[], None],
    teacher=None,
    minutes: float | None = None,
    compiled: bool = True,
) -> Progress:
    """Trains in place for `budget.steps` steps, or for `minutes` if that ends first; resumes from `folder/state.pt`.

    The rate follows the larger of step/steps and elapsed/minutes, so both kinds of ending decay to 0. `save` writes the
    model for others to use; it is called about every three minutes and at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, steppers = folder / "state.pt", optimizers(model, budget)
    progress = _load_state(state, model, steppers, sampler) if state.exists() else Progress()
    run, guide = (torch.compile(m, dynamic=False) if compiled and m is not None else m for m in (model, teacher))
    saved = mark = time.monotonic()
    while progress.step < budget.steps and progress.fraction < 1:
        _set_rates(steppers, budget, schedule(progress.fraction, progress.step))
        ids = sampler.batch(budget.batch)
        loss = _loss(run, guide, ids, budget.variation)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        for optimizer in steppers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        now = time.monotonic()
        progress.step, progress.tokens = progress.step + 1, progress.tokens + ids.numel()
        progress.seconds, mark = progress.seconds + now - mark, now
        clock = 0.0 if minutes is None else progress.seconds / (60 * minutes)
        progress.fraction = max(progress.step / budget.steps, clock)
        if progress.step % 20 == 0 or progress.step < 4:
            print(
                json.dumps(
                    {
                        "step": progress.step,
                        "loss": round(loss.item(), 4),
                        "tokens": progress.tokens,
                        "fraction": round(progress.fraction, 4),
                        "seconds": round(progress.seconds, 1),
                    }
                ),
                flush=True,
            )
        if now - saved > SAVE_EVERY:
            save()
            _save_state(state, model, steppers, sampler, progress)
            saved = time.monotonic()
    save()
    _save_state(state, model, steppers, sampler, progress)
    return progress


def _set_rates(steppers: list[torch.optim.Optimizer], budget: Budget, factor: float) -> None:
    for optimizer, peak in zip(steppers, (budget.matrix_lr, budget.lr), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = peak * factor


def _loss(run, guide, ids: torch.Tensor, variation: float) -> torch.Tensor:
    """Next-token loss, or forward KL where a guide is given; products in bfloat16, sums and weights in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = run(input_ids=ids, use_cache=False).logits
        if guide is not None:
            with torch.no_grad():
                law = guide(input_ids=ids, use_cache=False).logits
    return next_token_loss(logits, ids) if guide is None else distillation_loss(logits, law, variation)
