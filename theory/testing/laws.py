"""One test a law: the laws of ``theory/checker/checks.py``, grouped by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from theory.checker.checks import DIMENSIONS, LAWS, checks
from theory.learner import Learner


class Law:
    """A law of one learner, in all dimensions and games; calling it raises AssertionError where it is broken."""

    def __init__(self, learner: Learner, name: str, tries: Sequence[Callable[[], None]]):
        self.learner, self.name, self.tries = learner, name, tries

    def __call__(self) -> None:
        for one in self.tries:
            one()

    def __repr__(self) -> str:
        return f"{type(self.learner).__name__}-{self.name}"


def laws(learner: Learner, dimension: int = 4, dimensions: Sequence[int] = DIMENSIONS) -> Iterator[Law]:
    """Every law that is for this learner; arguments as of ``checks``."""
    named = checks(learner, dimension, dimensions=tuple(dimensions))
    for name, group in groupby(named, lambda one: one[0].partition("[")[0]):
        yield Law(learner, name, [check for _, check in group])


def parametrize_with_laws(
    learners: Sequence[Learner],
    *,
    expected_failed_laws: Mapping[str, str] | None = None,
    dimension: int = 4,
    dimensions: Sequence[int] = DIMENSIONS,
) -> Any:
    """A decorator of a test that takes ``law`` and calls it: one test for every law of every learner.

    Args:
        learners: objects, as they are to be tried.
        expected_failed_laws: by name, why a law is known not to hold. Its test is expected to fail, and fails if the
            law holds after all.
        dimension: d, at least 2.
        dimensions: more of them; none for learners that are made for a single one.

    Raises:
        ValueError: for a name that is no law's.
    """
    import pytest

    expected = dict(expected_failed_laws or {})
    known = [law.__name__ for law in LAWS]
    for name in expected:
        if name not in known:
            raise ValueError(f"expected_failed_laws={name!r}: no such law; there are {', '.join(known)}")
    params = [
        pytest.param(law, id=repr(law), marks=_known(expected.get(law.name)))
        for learner in learners
        for law in laws(learner, dimension, dimensions)
    ]
    return pytest.mark.parametrize("law", params)


def _known(reason: str | None) -> Any:
    """The marks of a law that is known not to hold."""
    import pytest

    return () if reason is None else pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)
