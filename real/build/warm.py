"""Offline warm-up of any drafter: the loss of serving, on text the target wrote, before the first request.

Nothing here knows a drafter. A window of text becomes the ``Piece`` that serving would have made of it, the drafter
turns pieces into its loss, and Adam moves the flat vector x; what is saved is x and the drafter's own state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from real.build.fit import schedule
from real.drafters import Drafter, Piece
from real.models.hf import CausalLM


@dataclass(frozen=True)
class WarmUp:
    """Windows read in all, windows a step of Adam, its peak step size (rate: ``fit.schedule``), and the seed."""

    windows: int
    batch: int = 4
    lr: float = 1e-3
    seed: int = 5

    @property
    def steps(self) -> int:
        """Steps of Adam."""
        return self.windows // self.batch


@torch.inference_mode()
def piece(drafter: Drafter, target: CausalLM, tokens: Sequence[int], hidden: Tensor) -> Piece:
    """What serving ``tokens`` would have revealed at positions 1 … n − 1, given the target's states ``[n, D]``."""
    drafter.begin(list(tokens), hidden, keep_prompt=True)
    drafter.catch_up()
    laws = target.head(hidden[:-1]).float().softmax(-1)
    return Piece(tuple(tokens), 1, len(tokens), laws, drafter.features(1, len(tokens)), hidden[:-1])


@torch.inference_mode()
def read(target: CausalLM, windows: Iterable[Sequence[int]]) -> Iterator[tuple[list[int], Tensor]]:
    """Each window with the target's hidden states ``[n, D]`` after each of its tokens."""
    for window in windows:
        yield list(window), target.hidden(torch.tensor(window, device=target.device))


def warm(
    drafter: Drafter,
    target: CausalLM,
    windows: Sequence[tuple[Sequence[int], Tensor]],
    budget: WarmUp,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Drafter:
    """Train in place; ``windows`` (see ``read``) are read in shuffled order, again and again.

    ``progress`` is told (step, loss).

    Raises:
        ValueError: without windows, or for a drafter with nothing to train.
    """
    if not windows:
        raise ValueError("windows=[]: a warm-up needs text; give at least one window of it")
    if not drafter.trains:
        raise ValueError(f"drafter={type(drafter).__name__}: has nothing to train; leave it out")
    rng = torch.Generator().manual_seed(budget.seed)
    order: list[int] = []

    def following() -> Piece:
        if not order:
            order.extend(torch.randperm(len(windows), generator=rng).tolist())
        return piece(drafter, target, *windows[order.pop()])

    while not drafter.ready:
        drafter.absorb([following()])
    x = drafter.x.requires_grad_()
    adam = torch.optim.Adam([x], lr=budget.lr, betas=(0.9, 0.95))
    for step in range(budget.steps):
        adam.param_groups[0]["lr"] = budget.lr * schedule(step / budget.steps, step)
        loss = drafter.loss([following() for _ in range(budget.batch)])
        value, x.grad = loss.value_and_grad(x.detach())
        torch.nn.utils.clip_grad_norm_([x], 1.0)
        adam.step()
        progress(step + 1, float(value))
    drafter.load(x.detach())
    return drafter
