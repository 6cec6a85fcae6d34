"""The pytest plugin: ``pytest --onlinespec-learner my.py:MyLearner FILE`` adds one test a law, and one of claims."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from theory.testing.laws import Law


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, which begin with our name: every pytest of the environment has them."""
    group = parser.getgroup("onlinespec", "learners held to their laws")
    group.addoption(
        "--onlinespec-learner",
        action="append",
        default=[],
        metavar="LEARNER",
        help="a name or file.py:Class; one test a law, and one of what it claims. May be repeated.",
    )
    group.addoption(
        "--onlinespec-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of those learners, on top of their defaults. May be repeated.",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of every learner asked for, after those that were collected."""
    learners, pairs = config.getoption("onlinespec_learner") or [], config.getoption("onlinespec_set") or []
    if pairs and not learners:
        raise pytest.UsageError(f"--onlinespec-set {pairs[0]}: is of no learner; give one by --onlinespec-learner")
    for spec in learners:
        items.extend(_items(session, spec, pairs))


def _items(session: pytest.Session, spec: str, pairs: list[str]) -> list[pytest.Item]:
    from theory.checker.trial import default_problem
    from theory.runs.choose import make_learner, parse_settings
    from theory.testing.laws import laws

    try:
        settings = parse_settings(pairs)
        learner = make_learner(spec, settings, default_problem(spec))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    own = list(laws(learner))
    found = [_Item.of(session, f"{spec}::{law.name}", law) for law in own]
    return [*found, _Item.of(session, f"{spec}::claims", lambda: _claims(spec, settings, own))]


def _claims(spec: str, settings: Mapping[str, Any], laws: Sequence["Law"]) -> None:
    """Search for a game that breaks a claim; skipped where that would mean nothing, and where nothing is claimed."""
    from theory.checker.trial import HONEST, check, repair_first

    if dishonest := [law.name for law in laws if law.name in HONEST and law.fault is not None]:
        pytest.skip(repair_first(dishonest))
    report = check(spec, settings=settings, laws=False)
    if not report.holds:
        raise AssertionError(str(report))
    if not report.findings:
        pytest.skip("; ".join(report.notes))


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
