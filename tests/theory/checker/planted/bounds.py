"""Planted faults of bounds that are too small, those of wrappers included."""

from dataclasses import dataclass, replace

from theory import bounds
from theory.domain import Ball
from theory.learners import OGD
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.step_size import AdaGradNorm, SelfConfident


@dataclass(frozen=True)
class Overconfident(OGD):
    """A guarantee without the path length."""

    def guarantee(self, problem):
        return super().guarantee(replace(problem, path_length=0.0))


@dataclass(frozen=True)
class ForgetsThePath(OGD):
    """A bound that knows no moving comparators."""

    def bound(self, state, comparator_energy):
        return super().bound(state, 0.0 * comparator_energy + 4.0)


@dataclass(frozen=True)
class SharpWithChangingSteps(OGD):
    """Claims the sharp energy, which telescopes for constant steps only."""

    constant_steps = True


@dataclass(frozen=True)
class BoundOfAllCopies(OGD):
    """Sums what its copies spent."""

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, self.step_size, state.stability.sum())


@dataclass(frozen=True)
class WithoutDrift(Delayed):
    """Late gradients are bounded as if they had come in time."""

    def bound(self, state, comparator_energy):
        known = state.known
        for place in range(self.delay):
            sent = state.under_way >= self.delay - place
            known = self._arrived(known, state.gradients[place], state.suffered[place], sent)
        return self.learner.bound(known.base, comparator_energy)


@dataclass(frozen=True)
class OneChunkForAll(Chunked):
    """The bound of the means that the learner inside sees, not of the rounds."""

    def bound(self, state, comparator_energy):
        return self.learner.bound(self._closed(state), comparator_energy)


FAULTS = {
    Overconfident(0.25, Ball(1.0)): "guarantee",
    ForgetsThePath(0.1, Ball(1.0)): "bound",
    SharpWithChangingSteps(SelfConfident(2.0, 1.0), Ball(1.0)): "bound, sharp energy",
    BoundOfAllCopies(0.1, Ball(1.0)): "independent_copies",
    WithoutDrift(OGD(0.1, Ball(1.0)), 2): "bound",
    OneChunkForAll(OGD(AdaGradNorm(2.0), Ball(1.0)), 3): "bound",
}
