"""Frozen: plays its first decision for ever; the draft everybody else must beat."""

from dataclasses import dataclass
from typing import NamedTuple

from theory.arrays import Array
from theory.domain import Domain, Free
from theory.learner import Learner
from theory.loss import Loss


class State(NamedTuple):
    x: Array  # [..., d]


@dataclass(frozen=True)
class Frozen(Learner):
    r"""$x_{t+1} = x_t = x_1$. No guarantee beyond the trivial G·D·T."""

    domain: Domain = Free()
    laws = frozenset({"permutation"})
    traceable = True
    learns = False

    def init(self, x_1: Array) -> State:
        return State(x_1)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return state.x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        return state
