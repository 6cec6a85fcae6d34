"""`python -m real wide`: every drafter with every learner at a large vocabulary, a request of each.

It asks what a vocabulary costs: milliseconds a step and an update, bytes that a drafter and a learner hold, and how far
the loss on laws cut to their likeliest tokens is from that on whole laws. A request before the one that is timed warms
up and burns in. Times are of one request without a rival beside it: they tell orders of magnitude.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from real.drafters import DRAFTERS, Drafter, Piece, drafter_class
from real.drafters.objective import Objective
from real.models.hf import Pair
from real.models.sampling import Sampling
from real.serving.ledger import Ledger
from real.serving.rounds import cut
from real.serving.settings import Serving
from real.systems.loaded import decoder_of, drafter_of
from real.systems.rows import Method
from theory.domain import Ball, Simplex
from theory.learner import Learner
from theory.learners import LEARNERS
from theory.learners.frozen import Frozen
from theory.problem import Problem

SERVING = Serving(gamma=3, nu=8, sampling=Sampling(1.0), max_new_tokens=12, burn_in=8)
SETTINGS: Mapping[str, tuple[tuple[str, Any], ...]] = {"weights": (("lora", 8),)}
"""Of drafters: all weights of such a draft are some hundred million, and Adam keeps three numbers of each."""
EVERY = ("adapter", "mixture")
"""Drafters on which every learner plays, one of free decisions and one of weights; on others those of practice do."""
RADIUS = 8.0
"""Of the ball in which a learner plays that needs one; a decision of ``ADAPTER_LEARNERS`` is about so far from 0."""


def learners_on(name: str) -> dict[str, Learner]:
    """Learners of this drafter's decision: those of practice, and on ``EVERY`` the others too, as theory tunes them."""
    kind = drafter_class(name)
    found: dict[str, Learner] = dict(kind.learners) if kind.trains else {"frozen": Frozen()}
    if name not in EVERY:
        return found
    problem = Problem(Ball(RADIUS), 1, 1000, 2.0**0.5, 0.5)
    if kind.simplex:
        problem = Problem(Simplex(), 2, 1000, 1.0, loss_range=1.0, exp_concavity=1.0)
    others = {key: one for key, one in LEARNERS.items() if one.weighs_experts() == kind.simplex and key not in found}
    return found | {key: one.tuned(problem) for key, one in others.items()}


def wide(pair: Pair, prompts: Sequence[list[int]], top_k: int) -> Iterator[dict[str, Any]]:
    """A row of every drafter with every learner; two ``prompts``, the first to warm up."""
    models = [model.model for model in (pair.target, pair.draft) if model is not None]
    theirs = {part.untyped_storage().data_ptr() for part in tensors(models)}
    for name in DRAFTERS:
        settings = SETTINGS.get(name, ())
        drafter = drafter_of(pair, Method(name, settings=settings), SERVING)
        assert drafter is not None
        x_1 = drafter.x
        for learner_name, learner in learners_on(name).items():
            if drafter.trains:
                drafter.load(x_1)
            row = served(pair, Method(name, learner, settings=settings), drafter, prompts, top_k)
            told = {"drafter": name, "learner": learner_name} | dict(settings)
            yield told | row | {"drafter_bytes": held(drafter, theirs)}


def served(pair: Pair, method: Method, drafter: Drafter, prompts: Sequence[list[int]], top_k: int) -> dict[str, Any]:
    """Serve the requests, learning, and tell what the last one took.

    Raises:
        ValueError: if a learner learned nothing, or what it plays is not finite.
    """
    rounds: list[Sequence[Piece]] = []
    decoder = decoder_of(pair, method, drafter, SERVING, record=rounds.append)
    learning = decoder.learning
    assert learning is not None
    decoder.serve(prompts[0], Ledger(pair.device))
    before, ledger = learning.log.rounds, Ledger(pair.device)
    _, counts = decoder.serve(prompts[1], ledger)
    updates, seconds = learning.log.rounds - before, ledger.seconds
    if method.learner.learns and not (updates and bool(drafter.x.isfinite().all())):
        raise ValueError(f"{method}: after {updates} updates its decision must be finite, and there must be one")
    stepping = ledger.total - seconds["prefill"] - seconds["learn"]
    row = {"dimension": drafter.dimension, "steps": counts.steps, "updates": updates}
    row |= {"tokens_per_step": counts.tokens / counts.steps, "milliseconds_step": 1e3 * stepping / counts.steps}
    row |= {"milliseconds_update": 1e3 * seconds["learn"] / updates if updates else None}
    row |= {"learner_bytes": held(learning.learner_state)}
    at_rest = drafter.trains and not method.learner.learns
    return row | (losses(drafter, rounds[-1], learning.objective, top_k) if at_rest else {})


@torch.no_grad()
def losses(drafter: Drafter, pieces: Sequence[Piece], objective: Objective, top_k: int) -> dict[str, float]:
    """The mean loss of a draft on whole laws, and how much more it is on laws cut to ``top_k`` tokens."""
    short = [replace(piece, target_probs=cut(piece.target_probs, top_k)) for piece in pieces]
    whole, lacking = (
        [float(loss.value(drafter.x)) for loss in drafter.losses(some, objective)] for some in (pieces, short)
    )
    loss = sum(whole) / len(whole)
    return {"loss": loss, "top_k_error": sum(lacking) / len(lacking) - loss}


def held(part: Any, without: Collection[int] = ()) -> int:
    """Bytes of the tensors inside, each storage once; those at the addresses ``without`` are not counted."""
    storages = {one.data_ptr(): one.nbytes() for one in (tensor.untyped_storage() for tensor in tensors(part))}
    return sum(count for address, count in storages.items() if address not in without)


def tensors(part: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every tensor inside that holds numbers: of modules, containers and our own objects, each object once."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, Tensor):
        if part.device.type != "meta":
            yield part
    elif isinstance(part, nn.Module):
        yield from (*part.parameters(), *part.buffers())
    else:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
        if type(part).__module__.startswith(("real.", "theory.")) and hasattr(part, "__dict__"):
            inner = vars(part).values()
        for one in inner:
            yield from tensors(one, seen)
