"""The pytest plugin: ``pytest --learner my.py:MyLearner FILE`` adds one test a law, and one of the learner's claims."""

from collections.abc import Callable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option ``--learner``."""
    group = parser.getgroup("onlinespec", "learners held to their laws")
    group.addoption(
        "--learner",
        action="append",
        default=[],
        metavar="LEARNER",
        help="a name or file.py:Class; one test a law, and one of what it claims. May be repeated.",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of every learner asked for, after those that were collected."""
    for spec in config.getoption("learner") or []:
        items.extend(_items(session, spec))


def _items(session: pytest.Session, spec: str) -> list[pytest.Item]:
    from theory.checker.trial import default_problem
    from theory.runs.choose import make_learner
    from theory.testing.laws import laws

    try:
        learner = make_learner(spec, {}, default_problem(spec))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    found = [_Item.of(session, f"{spec}::{law.name}", law) for law in laws(learner)]
    return [*found, _Item.of(session, f"{spec}::claims", lambda: _claims(spec))]


def _claims(spec: str) -> None:
    from theory.checker.trial import assert_learner

    assert_learner(spec)


class _Item(pytest.Item):
    """A law, or the search for a game that breaks a claim, as a test."""

    tried: Callable[[], None]

    @classmethod
    def of(cls, session: pytest.Session, name: str, tried: Callable[[], None]) -> "_Item":
        made = cls.from_parent(session, name=name.rpartition("::")[2], nodeid=name)
        made.tried = tried
        return made

    def runtest(self) -> None:
        self.tried()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *arguments: Any, **more: Any) -> Any:
        """Of a law that is broken, what it says; of anything else, where it was raised."""
        broken = isinstance(excinfo.value, AssertionError)
        return str(excinfo.value) if broken else super().repr_failure(excinfo, *arguments, **more)

    def reportinfo(self) -> tuple[Any, None, str]:
        return self.path, None, self.name
