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
from theory.runs.users_file import called, load, unknown, users_own

DRAFTERS: dict[str, type[Drafter]] = {
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

__all__ = ["DRAFTERS", "Drafter", "Piece", "Proposal", "drafter_class", "make_drafter"]


GIVEN = ("self", "model", "target", "vocab", "pair", "device", "args", "kwargs", "settings")
"""Parameters of constructors that are no settings."""


def drafter_class(spec: str | type[Drafter]) -> type[Drafter]:
    """The class behind a name of ``DRAFTERS`` or behind ``path/file.py:Class``; a class is itself.

    Raises:
        ValueError: for an unknown name, a missing file or class, a file that cannot be run, or a class that is no
            drafter.
    """
    if isinstance(spec, str) and spec in DRAFTERS:
        return DRAFTERS[spec]
    if isinstance(spec, str) and ":" not in spec:
        raise unknown("drafter", spec, DRAFTERS, "file.py:Class")
    found = load(spec, "drafter") if isinstance(spec, str) else spec
    if not (isinstance(found, type) and issubclass(found, Drafter)):
        raise ValueError(f"drafter={spec!r}: is {found!r}; it must be a class derived from real.drafters.Drafter")
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    lacking += [] if callable(getattr(found, "of", None)) else ["the class method of(pair, **settings)"]
    if lacking:
        raise ValueError(f"drafter={spec!r}: lacks {', '.join(lacking)}; see real/drafters/base.py for what they do")
    return found


def make_drafter(name: str | type[Drafter], pair: Pair, **settings: Any) -> Drafter:
    """The drafter ``name`` (see ``drafter_class``) for this pair; ``settings`` go to its constructor.

    Raises:
        ValueError: an unknown name, a setting out of range, or a pair without the draft model the drafter needs.
    """
    kind: Any = drafter_class(name)
    named = {**signature(kind.__init__).parameters, **signature(kind.of).parameters}
    known = [key for key in named if key not in GIVEN]
    strange = [key for key in settings if key not in known]
    if strange:
        raise ValueError(f"drafter={name!r}: has no setting {strange[0]!r}; there are {', '.join(known) or 'none'}")
    if kind.made_of:  # every part with its own defaults
        settings["parts"] = [make_drafter(part, pair) for part in settings.get("parts", kind.made_of)]
    with users_own(name):
        try:
            return kind.of(pair, **settings)
        except TypeError as error:  # a text where a number belongs
            if not settings:
                raise
            raise ValueError(f"drafter={called(name)!r} with {settings}: {error}") from error
