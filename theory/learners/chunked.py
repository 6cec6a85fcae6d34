"""Chunked: any learner, updated once every few rounds."""

from dataclasses import dataclass, replace
from math import ceil, isfinite, sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain
from theory.learner import Learner
from theory.learner import State as AnyState
from theory.learners.ogd import OGD
from theory.loss import Linear, Loss
from theory.problem import Problem


class State(NamedTuple):
    base: AnyState  # of the learner inside, as it was at the last chunk's end
    gradients: Array  # [..., d]: Σ grad_s of the open chunk
    weight: Array  # [...]: Σ ‖grad_s‖ of the open chunk
    heaviest: Array  # [...]: the largest weight of a chunk so far
    filled: Array  # []: rounds of the open chunk, the same for all copies


@dataclass(frozen=True)
class Chunked(Learner):
    r"""$x_t$ stays for a chunk of b = ``rounds`` rounds; the learner inside then sees $\frac1b\sum\nabla f_s(x_s)$.

    Guarantee: ``bounds.chunked``: b times the bound of the learner inside, on T/b rounds, for comparators constant
    inside a chunk; for others half the heaviest chunk's $\sum\|\nabla f_s\|$ times $P_T$ more. With OGD at
    $\eta = \sqrt{bA_T/T}/G$ and the former that is $G\sqrt{bTA_T}$ (``bounds.ogd_chunked``). An outside hint goes to
    the learner inside and must not change inside a chunk; ``bound`` then holds whenever a chunk is complete.
    Reference: Dekel, Gilad-Bachrach, Shamir & Xiao 2012 (mini-batches); dynamic form as derived in theory/bounds.py.
    """

    learner: Learner
    rounds: int

    def __post_init__(self):
        require.whole(self, 1, "1 is the learner itself", rounds=self.rounds)

    @property
    def domain(self) -> Domain:
        return self.learner.domain

    @property
    def laws(self) -> frozenset[str]:
        return self.learner.laws

    @property
    def takes_hints(self) -> bool:
        return self.learner.takes_hints

    @property
    def traceable(self) -> bool:
        return self.learner.traceable

    def own_hint(self, state: State) -> Array | None:
        return self.learner.own_hint(state.base)

    def init(self, x_1: Array) -> State:
        base = self.learner.init(x_1)
        nothing = 0.0 * self.learner.predict(base)
        return State(base, nothing, nothing[..., 0], nothing[..., 0], 0.0 * namespace(nothing).sum(nothing))

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return self.learner.predict(state.base, hint)

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        grad_t = loss_t.grad(self.predict(state, hint))
        xp = namespace(grad_t)
        weight = state.weight + xp.norm(grad_t)[..., 0]
        now = State(
            state.base, state.gradients + grad_t, weight, xp.maximum(state.heaviest, weight), state.filled + 1.0
        )
        zero = 0.0 * now.gradients
        closed = State(self._closed(now, hint), zero, zero[..., 0], now.heaviest, 0.0 * now.filled)
        return chosen(now.filled >= self.rounds, closed, now)

    def _closed(self, state: State, hint: Array | None = None) -> AnyState:
        """The learner after the open chunk, its missing rounds without gradient; as it is if none is open."""
        closed = self.learner.update(state.base, Linear(state.gradients / self.rounds), hint)
        return chosen(state.filled > 0, closed, state.base)

    def bound(self, state: State, comparator_energy: Array) -> Array | None:
        """With the sharp energy of the learner inside, or unbounded, for comparators constant inside a chunk."""
        if self.learner.static:
            return None
        inside = self.learner.bound(self._closed(state), comparator_energy)
        if inside is None:
            return None
        diameter, path_length = self.domain.diameter(state.gradients.shape[-1]), 0.0
        if isfinite(diameter):
            excess = comparator_energy - diameter**2 + 0.0 * state.heaviest  # 2D·P_T
            path_length = namespace(excess).maximum(excess, 0.0) / (2 * diameter)
        return bounds.chunked(inside, self.rounds, state.heaviest, path_length)

    def guarantee(self, problem: Problem) -> float | None:
        """By the guarantee of the learner inside, whichever it is, on ⌈T/b⌉ rounds of linear losses."""
        inside = self.learner.guarantee(linearised(problem, ceil(problem.horizon / self.rounds)))
        heaviest = problem.gradient_bound * min(self.rounds, problem.horizon)
        return None if inside is None else bounds.chunked(inside, self.rounds, heaviest, problem.path_length)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """OGD at η = √(bA_T/T)/G inside chunks of ``rounds``, 25 by default (arXiv 2603.12617 has 25 to 80)."""
        rounds = settings.get("rounds", 25)
        inside = OGD(sqrt(rounds) * problem.oracle_step_size, problem.domain)
        return cls(**{"learner": inside, "rounds": rounds, **settings})


def linearised(problem: Problem, horizon: int) -> Problem:
    """What a learner may count on that sees ⟨grad_t, ·⟩ for f_t: the same G, the range G·D, no curvature."""
    return replace(problem, horizon=horizon, loss_range=None, exp_concavity=None, strong_convexity=None)


def chosen(condition: Array, yes: AnyState, no: AnyState) -> AnyState:
    """``yes`` if the condition ``[]`` holds, else ``no``: array by array, two states of one shape, no branch."""
    if isinstance(yes, tuple):
        return type(yes)(*(chosen(condition, one, other) for one, other in zip(yes, no, strict=True)))
    return namespace(yes, no).where(condition, yes, no)
