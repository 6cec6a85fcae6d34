"""Drafters: what proposes tokens, by name. A new one is its file and one line of ``DRAFTERS``."""

from inspect import signature
from typing import Any

from real.drafters.adapter import Adapter
from real.drafters.base import Drafter, Piece, Proposal
from real.drafters.eagle import Eagle
from real.drafters.heads import Heads
from real.drafters.hydra import Hydra
from real.drafters.independent import Independent
from real.drafters.mixture import Mixture
from real.drafters.ngram import NGram
from real.drafters.uniform import Uniform
from real.drafters.weights import Weights
from real.models.hf import Pair

DRAFTERS = {
    "independent": Independent,
    "adapter": Adapter,
    "weights": Weights,
    "ngram": NGram,
    "uniform": Uniform,
    "heads": Heads,
    "hydra": Hydra,
    "eagle": Eagle,
    "mixture": Mixture,
}

__all__ = ["DRAFTERS", "Drafter", "Piece", "Proposal", "make_drafter"]


GIVEN = ("self", "model", "target", "vocab", "pair", "device", "args", "kwargs", "settings")
"""Parameters of constructors that are no settings."""


def make_drafter(name: str, pair: Pair, **settings: Any) -> Drafter:
    """The drafter called ``name`` for this pair; ``settings`` go to its constructor.

    Raises:
        ValueError: an unknown name, a setting out of range, or a pair without the draft model the drafter needs.
    """
    if name not in DRAFTERS:
        raise ValueError(f"drafter={name!r}: must be one of {', '.join(DRAFTERS)}")
    kind = DRAFTERS[name]
    named = {**signature(kind.__init__).parameters, **signature(kind.of).parameters}
    known = [key for key in named if key not in GIVEN]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(f"drafter={name!r}: has no setting {unknown[0]!r}; there are {', '.join(known) or 'none'}")
    if kind.made_of:  # every part with its own defaults
        settings["parts"] = [make_drafter(part, pair) for part in settings.get("parts", kind.made_of)]
    return kind.of(pair, **settings)
