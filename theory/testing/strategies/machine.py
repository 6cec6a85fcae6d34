"""A learner under every order of calls: what it plays must be what it plays when nobody asks twice.

    TestMine = learner_machine(MyLearner(step_size=0.1)).TestCase

Beside every line of play runs a plain one: the same losses, one ``update`` each, on copies that nothing else touches.
"""

from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from theory.arrays import Array, namespace
from theory.checker.demand import demand
from theory.checker.honesty import identical
from theory.checker.sameness import close
from theory.domain import Simplex
from theory.learner import Learner, State
from theory.loss import Linear, Loss, Quadratic
from theory.testing.strategies.numbers import in_library, vectors
from theory.testing.strategies.tokens import laws

MOST = 4
"""Lines of play at once."""
POOL = 4
"""Different slopes, centers and hints."""
CHOICE = st.integers(0, POOL - 1)


class Shown(NamedTuple):
    """A loss that has been played, and the hint it was played with."""

    loss: Loss
    hint: Array | None


class Line:
    """One line of play, and the plain one beside it."""

    def __init__(self, learner: Learner, state: State, plain: tuple[Learner, State], waiting: list[Shown]):
        self.learner, self.state, self.plain, self.waiting = learner, state, plain, waiting
        self.expected = self._plainly()

    def _plainly(self) -> np.ndarray:
        learner, state = deepcopy(self.plain)
        return _kept(learner.predict(state))

    def play(self, hint: Array | None = None) -> np.ndarray:
        """What it plays now, kept from changes."""
        return _kept(self.learner.predict(self.state, hint))

    def fork(self) -> "Line":
        """Another line that goes on from the very same learner and state."""
        return Line(self.learner, self.state, deepcopy(self.plain), list(self.waiting))

    def show(self, shown: Shown) -> None:
        """Update with a loss, in both lines."""
        kept = deepcopy(self.state)
        following = self.learner.update(self.state, *shown)
        demand(identical(self.state, kept), "update changes the state that it was given")
        learner, state = self.plain
        loss, hint = deepcopy(shown) if learner.takes_hints else Shown(deepcopy(shown.loss), None)
        self.state, self.plain = following, (learner, learner.update(state, loss, hint))
        self.expected = self._plainly()


def _kept(play: Array) -> np.ndarray:
    return np.asarray(play).copy()


class LearnerMachine(RuleBasedStateMachine):
    """The rules; ``learner_machine`` fills in whose."""

    learner: ClassVar[Learner]
    dimension: ClassVar[int]
    copies: ClassVar[tuple[int, ...]]
    library: ClassVar[str]
    saved: ClassVar[Callable[[State], State]]
    lines = Bundle("lines")

    def __init__(self):
        super().__init__()
        self.all: list[Line] = []

    def _added(self, line: Line) -> Line:
        self.all.append(line)
        return line

    @initialize(target=lines, x_1=st.runner().flatmap(lambda machine: machine._starts()),
                pool=st.runner().flatmap(lambda machine: machine._vectors(POOL)))  # fmt: skip
    def starts(self, x_1: Array, pool: Array) -> Line:
        self.pool = pool
        learner, alone = deepcopy(self.learner), deepcopy(self.learner)
        return self._added(Line(learner, learner.init(x_1), (alone, alone.init(deepcopy(x_1))), []))

    @rule(line=lines)
    def is_asked_twice(self, line: Line) -> None:
        """The same play, and the state as it was."""
        kept = deepcopy(line.state)
        demand(np.array_equal(line.play(), line.play()), "predict gives another decision when asked twice")
        demand(identical(line.state, kept), "predict changes the state that it was given")

    @rule(line=lines, hint=CHOICE)
    def is_given_a_hint_and_then_none(self, line: Line, hint: int) -> None:
        """A hint is of the one call that it is given to."""
        before, hinted, after = line.play(), line.play(self.pool[hint]), line.play()
        demand(np.array_equal(before, after), "predict without a hint remembers the last one")
        uses = not np.array_equal(hinted, before)
        demand(line.learner.takes_hints or not uses, "takes_hints is False, but predict uses a hint")

    @rule(line=lines, which=CHOICE, hint=st.none() | CHOICE, quadratic=st.booleans())
    def plays(self, line: Line, which: int, hint: int | None, quadratic: bool) -> None:
        """A round whose loss is shown later."""
        centered = quadratic and not isinstance(self.learner.domain, Simplex)
        shown = Shown((Quadratic if centered else Linear)(self.pool[which]), None if hint is None else self.pool[hint])
        line.play(shown.hint)
        line.waiting.append(shown)

    @rule(line=lines, count=st.integers(1, 3))
    def sees(self, line: Line, count: int) -> None:
        """Losses that were waiting, oldest first, without a play between them."""
        arrived, line.waiting = line.waiting[:count], line.waiting[count:]
        for shown in arrived:
            line.show(shown)

    @precondition(lambda self: len(self.all) < MOST)
    @rule(target=lines, line=lines)
    def forks(self, line: Line) -> Line:
        """Two lines go on from one state."""
        return self._added(line.fork())

    @rule(line=lines)
    def is_saved_and_loaded(self, line: Line) -> None:
        """Another process goes on, with a learner of the same settings and what a file keeps of the state."""
        loaded = type(self).saved(line.state)
        demand(identical(loaded, line.state), "the state that was loaded is not the one that was saved")
        line.learner, line.state = deepcopy(self.learner), loaded

    @invariant()
    def plays_what_it_plays_alone(self) -> None:
        for line in self.all:
            close("a line of play differs from the same losses shown plainly", line.expected, line.play())

    def _vectors(self, *shape: int) -> st.SearchStrategy[Any]:
        return in_library(vectors(*shape, *self.copies, self.dimension), self.library)

    def _starts(self) -> st.SearchStrategy[Any]:
        if isinstance(self.learner.domain, Simplex):
            return in_library(laws(*self.copies, self.dimension, positive=True), self.library)
        return self._vectors().map(self.learner.domain.project)


def through_bytes(state: State) -> State:
    """The state as a file gives it back: arrays and numbers, each by itself, in NamedTuples.

    Raises:
        AssertionError: for an entry that is neither.
    """
    if isinstance(state, tuple):
        parts = map(through_bytes, state)
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    file, entry = BytesIO(), np.asarray(state)
    demand(entry.dtype != object, f"the state must be a NamedTuple of arrays, but has a {type(state).__name__}")
    np.save(file, entry, allow_pickle=False)
    file.seek(0)
    loaded = np.load(file, allow_pickle=False)
    return (
        type(state)(loaded.item()) if isinstance(state, int | float) else namespace(state).asarray(loaded, like=state)
    )


def learner_machine(
    learner: Learner,
    *,
    dimension: int = 3,
    copies: tuple[int, ...] = (2,),
    library: str = "numpy",
    saved: Callable[[State], State] = through_bytes,
) -> type[LearnerMachine]:
    """A state machine whose ``TestCase`` goes into a test suite.

    Its rules ask twice, give hints or none, show losses late, fork, save and load, in any order. After each of them
    every line of play must be where the same losses lead that are shown one by one.

    Args:
        learner: as it is to be tried; it is copied, and never called itself.
        dimension: d, at least 2 on the simplex.
        copies: the shape of the axes before d.
        library: of the arrays, "numpy" or "torch".
        saved: how a state is saved and loaded again, if not as bytes of each of its arrays.
    """
    own = {"learner": deepcopy(learner), "dimension": dimension, "copies": copies, "library": library}
    return type(f"{type(learner).__name__}Machine", (LearnerMachine,), {**own, "saved": staticmethod(saved)})
