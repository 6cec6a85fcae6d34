"""Drafters: what proposes tokens, by name. A new one is its file and one line of ``DRAFTERS``."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from real.drafters.adapter import Adapter
from real.drafters.backoff import Backoff
from real.drafters.base import Drafter
from real.drafters.eagle import Eagle
from real.drafters.heads import Heads
from real.drafters.hydra import Hydra
from real.drafters.independent import Independent
from real.drafters.memory import ResidualMemory
from real.drafters.mixture import Mixture
from real.drafters.ngram import NGram
from real.drafters.piece import Piece
from real.drafters.proposal import Proposal
from real.drafters.uniform import Uniform
from real.drafters.weights import Weights
from real.models.hf import Pair
from theory.require import is_number, is_whole
from theory.require import seed as check_seed
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
    "memory": ResidualMemory,
    "backoff": Backoff,
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
    for key, value in settings.items():
        _check_kind(called(name), key, value, named[key].annotation)
    if kind.made_of:
        settings["parts"] = _parts(settings.get("parts", kind.made_of), pair)
    with users_own(name):
        try:
            return kind.of(pair, **settings)
        except TypeError as error:  # a text where a number belongs
            if not settings:
                raise
            raise ValueError(f"drafter={called(name)!r} with {settings}: {error}") from error


def _check_kind(drafter: str, key: str, value: Any, wanted: Any) -> None:
    """ValueError unless a number stands where the constructor says that one belongs, and True or False where those."""
    if key == "seed":
        check_seed(f"drafter {drafter}", value)
    rules = {int: (is_whole, "a whole number"), float: (is_number, "a number"), bool: (_is_bool, "True or False")}
    fits, said = rules.get(wanted, (None, "")) if isinstance(wanted, type) else (None, "")
    if fits is not None and not fits(value):
        raise ValueError(f"drafter={drafter!r}: {key}={value!r}: must be {said}")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _parts(specs: Sequence[Any], pair: Pair) -> list[Drafter]:
    """Drafters of a mixture, each with its own defaults: ``NAME``, or ``NAME@BASE`` on the last part of that name.

    A pair (NAME, settings) stands for a name, and a drafter that is made already for itself.

    Raises:
        ValueError: for what is no list of such, or a base that is none of the parts before.
    """
    if isinstance(specs, str) or not isinstance(specs, Sequence):
        raise ValueError(f"parts={specs!r}: must be a list of drafters, such as ('independent', 'ngram')")
    found, named = list[Drafter](), dict[str, Drafter]()
    for spec in specs:
        one, settings = (spec, {}) if not isinstance(spec, tuple) else spec
        if isinstance(one, Drafter):
            found.append(one)
            continue
        name, on, base = one.partition("@") if isinstance(one, str) and ":" not in one else (one, "", "")
        if on and base not in named:
            raise ValueError(f"parts={specs!r}: {one!r} builds on {base!r}, which must be a part before it")
        made = make_drafter(name, pair, **settings, **({"base": named[base]} if on else {}))
        found.append(made)
        named[name if isinstance(name, str) else name.__name__] = made
    return found
