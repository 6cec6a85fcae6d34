"""A drafter on trial: the pair that it is made for, what it is given to serve, and how a broken law is told.

The pair is tiny, random and in float64; its greedy text does not repeat itself and its law depends on the whole text,
so that wrong bookkeeping shows. It has no tokenizer.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from real.drafters import Drafter, Piece, drafter_class, make_drafter
from real.models.hf import PROVEN, Pair
from real.models.random import perturbed, random_model
from real.models.sampling import Sampling
from real.serving.step import Step, alone, generate

VOCAB = 128
PROMPT = [5, 6, 7, 8]
PROMPTS = ([9], PROMPT, [7, 7, 7, 1, 2, 3, 9, 9, 4])
SAMPLED, GREEDY = Sampling(0.8), Sampling(0.0)
BURN_IN = 20
"""Tokens of burn-in, where a drafter has one: enough to whiten by, and soon over."""


class Broken(AssertionError):
    """A law does not hold; the message says which values break it."""


def pair_of(family: str = "llama", dtype: str = "float64", draft_vocab: int | None = None) -> Pair:
    """A random target and a draft near it; ValueError for a family that is not one of ``PROVEN``."""
    if family not in PROVEN:
        raise ValueError(f"family={family!r}: must be one of {', '.join(PROVEN)}")
    target = random_model(family, 0, dtype, vocab=VOCAB)
    return Pair(target, perturbed(target, 0.05, 1, draft_vocab), None)


@dataclass(frozen=True)
class Subject:
    """A drafter on trial: its class, its settings, and the pair it is made for."""

    name: str | type[Drafter]
    settings: dict[str, Any]
    pair: Pair

    @classmethod
    def of(cls, name: str | type[Drafter], pair: Pair | None = None, **settings: Any) -> "Subject":
        """By name, ``file.py:Class`` or class; a short burn-in unless the settings have another."""
        kind: Any = drafter_class(name)
        short = {"burn_in": BURN_IN} if "burn_in" in signature(kind.__init__).parameters else {}
        return cls(name, short | settings, pair or pair_of())

    @property
    def kind(self) -> type[Drafter]:
        return drafter_class(self.name)

    def make(self) -> Drafter:
        """A fresh one."""
        return make_drafter(self.name, self.pair, **self.settings)

    def warmed(self) -> tuple[Drafter, Piece]:
        """One that is ready, at a decision of its own, and a piece of what it served there."""
        drafter = self.make()
        while not drafter.ready:
            drafter.absorb([serve(self.pair, drafter)[1]])
        drafter.load(elsewhere(drafter, torch.Generator().manual_seed(1)))
        return drafter, serve(self.pair, drafter)[1]


def serve(pair: Pair, drafter: Drafter, new: int = 30, seed: int = 3) -> tuple[list[Step], Piece]:
    """One sampled request → its steps, and what they reveal as one piece."""
    drafter.keep_features()
    session = alone(pair.target, drafter, PROMPT, new)
    steps = list(generate(session, 3, SAMPLED, torch.Generator().manual_seed(seed)))
    drafter.catch_up()
    (text,) = session.texts
    start, stop = text.prompt_length, len(text.tokens)
    laws = torch.cat([step.target_probs for step in steps])
    wrong = torch.cat([torch.arange(len(s.tokens)) == (s.accepted if s.rejected else -1) for s in steps])
    hidden = None if text.hidden is None else text.hidden[: stop - 1]
    return steps, Piece(text.tokens, start, stop, laws, drafter.features(start, stop), hidden, wrong)


def elsewhere(drafter: Drafter, rng: torch.Generator) -> Tensor:
    """A decision near the one being served: of a mixture on the simplex, of a deep drafter close by."""
    noise = torch.randn(drafter.dimension, generator=rng)
    if drafter.simplex:
        return (drafter.x.log() + noise).softmax(-1)
    return drafter.x + (1.0 if drafter.convex else 0.03) * noise


def widened(part: Any) -> Any:
    """The theory's losses, which are dataclasses of arrays, in float64, so that differences mean something."""
    if isinstance(part, Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, tuple):
        return tuple(widened(one) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{one.name: widened(getattr(part, one.name)) for one in fields(part) if one.init})
    return part


def need(holds: bool | Tensor, message: str) -> None:
    """Raise ``Broken`` unless it holds."""
    if not bool(holds):
        raise Broken(message)
