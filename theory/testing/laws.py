"""One test a law: the laws of ``theory/checker/checks.py``, grouped by name."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from theory.checker.breach import hold
from theory.checker.checks import DIMENSIONS, LAWS, checks, untried
from theory.checker.sameness import no_other_library
from theory.learner import Learner

Expected = Mapping[str, str] | Callable[[Learner], Mapping[str, str]]
"""Names of laws that are known not to hold, and why: of all learners alike, or of each."""


class Law:
    """A law of one learner, in all dimensions and games.

    Calling it raises what broke it, an AssertionError where the law says it itself; a law that is not for the learner
    skips the test. It is tried once, however often it is called.

    Args:
        learner: who is to keep it.
        name: of the law.
        tries: of ``checks``.
        untried: why it is not for this learner; None where it is.
    """

    def __init__(self, learner: Learner, name: str, tries: Sequence[partial[None]], untried: str | None = None):
        self.learner, self.name, self.tries, self.untried = learner, name, tries, untried

    @cached_property
    def fault(self) -> BaseException | None:
        """What broke it; None where it holds."""
        try:
            for one in self.tries:
                hold(one.func, *one.args)
        except (Exception, SystemExit) as error:
            return error
        return None

    def __call__(self) -> None:
        if self.untried is not None:
            import pytest

            pytest.skip(f"{self.name} was not tried: {self.untried}")
        if self.fault is not None:
            raise self.fault

    def __repr__(self) -> str:
        settings = re.sub(r" at 0x\w+|\s", "", repr(self.learner))  # the same in every process
        return f"{settings}-{self.name}"


def laws(learner: Learner, dimension: int = 4, dimensions: Sequence[int] = DIMENSIONS) -> Iterator[Law]:
    """Every law, those that are not for this learner too; arguments as of ``checks``."""
    tries: dict[str, list[partial[None]]] = {law.__name__: [] for law in LAWS}
    for name, one in checks(learner, dimension, dimensions=tuple(dimensions)):
        tries[name.partition("[")[0]].append(one)
    reasons = untried(learner, dimension)
    for name, own in tries.items():
        yield Law(learner, name, own, None if own else reasons[name])


def parametrize_with_laws(
    learners: Sequence[Learner],
    *,
    expected_failed_laws: Expected | None = None,
    dimension: int = 4,
    dimensions: Sequence[int] = DIMENSIONS,
) -> Any:
    """A decorator of a test that takes ``law`` and calls it: one test for every law of every learner.

    A law that is not for a learner is a test too, which is skipped and says why.

    Args:
        learners: objects, as they are to be tried.
        expected_failed_laws: by name, why a law is known not to hold; or a function of the learner that gives this. Its
            test is expected to fail, and fails if the law holds after all.
        dimension: d, at least 2.
        dimensions: more of them; none for learners that are made for a single one.

    Raises:
        ValueError: for a name that is no law's, or a law that is for none of the learners of which it is expected.
    """
    import pytest

    known = expected_failed_laws or {}
    told = [dict(known(one) if callable(known) else known) for one in learners]
    held = [list(laws(one, dimension, dimensions)) for one in learners]
    each = list(zip(held, told, strict=True))
    _refuse_unknown({name for expected in told for name in expected})
    _refuse_untried(each)
    params = [
        pytest.param(law, id=repr(law), marks=_known(expected.get(law.name))) for own, expected in each for law in own
    ]
    return pytest.mark.parametrize("law", params)


def _refuse_unknown(names: set[str]) -> None:
    known = [law.__name__ for law in LAWS]
    for name in sorted(names.difference(known)):
        raise ValueError(f"expected_failed_laws={name!r}: no such law; there are {', '.join(known)}")


def _refuse_untried(each: Sequence[tuple[list[Law], dict[str, str]]]) -> None:
    """An expectation that nothing is held against; what is not installed here may be so elsewhere."""
    asked = [law for own, expected in each for law in own if law.name in expected]
    tried = {law.name for law in asked if law.untried is None or law.untried == no_other_library()}
    for law in asked:
        if law.name not in tried:
            raise ValueError(f"expected_failed_laws={law.name!r}: is not tried, as {law.untried}; leave it out")


def _known(reason: str | None) -> Any:
    """The marks of a law that is known not to hold."""
    import pytest

    return () if reason is None else pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)
