"""Repeated: any learner, shown every loss several times."""

from dataclasses import dataclass

from theory import require
from theory.arrays import Array
from theory.domain import Domain
from theory.learner import Learner
from theory.learner import State as AnyState
from theory.loss import Loss


@dataclass(frozen=True)
class Repeated(Learner):
    r"""$x_t$ is what the learner inside plays after every earlier loss was revealed to it ``times`` times in a row.

    A round takes ``times`` gradients, each where the learner inside stands by then; where losses change little from
    round to round this is a larger step that does not overshoot. No bound is claimed: the regret of the learner inside
    is against its own plays, most of which are never played here.
    """

    learner: Learner
    times: int = 2

    def __post_init__(self):
        require.whole(self, 1, "1 is the learner itself", times=self.times)

    @property
    def domain(self) -> Domain:
        return self.learner.domain

    @property
    def takes_hints(self) -> bool:
        return self.learner.takes_hints

    @property
    def traceable(self) -> bool:
        return self.learner.traceable

    @property
    def gradients_per_round(self) -> int:
        return self.times * self.learner.gradients_per_round

    def own_hint(self, state: AnyState) -> Array | None:
        return self.learner.own_hint(state)

    def init(self, x_1: Array) -> AnyState:
        return self.learner.init(x_1)

    def predict(self, state: AnyState, hint: Array | None = None) -> Array:
        return self.learner.predict(state, hint)

    def update(self, state: AnyState, loss_t: Loss, hint: Array | None = None) -> AnyState:
        for _ in range(self.times):
            state = self.learner.update(state, loss_t, hint)
        return state
