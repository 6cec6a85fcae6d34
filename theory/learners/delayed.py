"""Delayed: any learner, when the loss of a round arrives some rounds later."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain
from theory.learner import Learner
from theory.learner import State as AnyState
from theory.learners.chunked import chosen
from theory.learners.ogd import OGD
from theory.loss import Linear, Loss
from theory.problem import Problem


class Known(NamedTuple):
    base: AnyState  # of the learner inside, which has seen all gradients that have arrived
    drift: Array  # [...]: Σ ⟨grad_s, x_s − y_s⟩ over them, y_s what it would have played with f_1 … f_{s−1} known


class State(NamedTuple):
    known: Known
    gradients: Array  # [delay, ..., d]: grad_s at the x_s played, on their way, oldest first
    suffered: Array  # [delay, ...]: ⟨grad_s, x_s⟩ of the same rounds
    under_way: Array  # []: how many there are, at the end of the ring; the same for all copies


@dataclass(frozen=True)
class Delayed(Learner):
    r"""$x_t = y_{t-d}$, d = ``delay``, $y_1$ in the first d rounds; $y_{s+1}$ is what the learner inside plays after
    $g_1, …, g_s$, $g_s = \nabla f_s(x_s)$.

    The gradient is taken where the round was played, kept for d rounds, and only then shown to the learner inside. An
    outside hint of round t goes to the learner inside for $y_{t-d}$, whose gradient is the next to arrive.

    Guarantee: regret is the learner's own regret on the losses $\langle g_t, \cdot\rangle$ plus the drift
    $\sum_t\langle g_t, x_t - y_t\rangle$, which is known once the gradients have arrived: ``bound`` lets those still on
    their way arrive first. For OGD the drift is at most $\eta d G^2 T$: ``bounds.ogd_delayed``, at the best step
    $G\sqrt{(2d+1)TA_T}$ (``bounds.ogd_delayed_oracle``).
    Reference: Langford, Smola & Zinkevich 2009, Theorem 1 (static); the dynamic form as derived in theory/bounds.py.
    """

    learner: Learner
    delay: int

    def __post_init__(self):
        require.whole(self, 0, "0 is the learner itself", delay=self.delay)

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
        return self.learner.own_hint(state.known.base)

    def init(self, x_1: Array) -> State:
        base = self.learner.init(x_1)
        nothing = 0.0 * self.learner.predict(base)
        xp = namespace(nothing)
        ring = 0.0 + xp.broadcast_to(nothing, (self.delay, *nothing.shape))
        return State(Known(base, nothing[..., 0]), ring, ring[..., 0], 0.0 * xp.sum(nothing))

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return self.learner.predict(state.known.base, hint)

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        x_t = self.predict(state, hint)
        grad_t = loss_t.grad(x_t)
        xp = namespace(grad_t)
        gradients = xp.concatenate([state.gradients, grad_t[None]], axis=0)
        suffered = xp.concatenate([state.suffered, xp.sum(grad_t * x_t, axis=-1)[None]], axis=0)
        arrives = state.under_way >= self.delay
        known = self._arrived(state.known, gradients[0], suffered[0], arrives, hint)
        return State(known, gradients[1:], suffered[1:], chosen(arrives, state.under_way, state.under_way + 1.0))

    def _arrived(
        self, known: Known, grad_s: Array, suffered_s: Array, arrives: Array, hint: Array | None = None
    ) -> Known:
        """The learner inside after one more gradient, if it ``arrives``; ``hint`` is what y_s was played with."""
        drift_s = suffered_s - namespace(grad_s).sum(grad_s * self.learner.predict(known.base, hint), axis=-1)
        after = Known(self.learner.update(known.base, Linear(grad_s), hint), known.drift + drift_s)
        return chosen(arrives, after, known)

    def bound(self, state: State, comparator_energy: Array) -> Array | None:
        """With all gradients arrived. The sharp energy is that of y_1, y_2, …, not of the decisions played."""
        if self.learner.static:
            return None
        known = state.known
        for place in range(self.delay):
            sent = state.under_way >= self.delay - place
            known = self._arrived(known, state.gradients[place], state.suffered[place], sent)
        inside = self.learner.bound(known.base, comparator_energy)
        return None if inside is None else inside + known.drift

    def guarantee(self, problem: Problem) -> float | None:
        """For OGD inside, at a constant step."""
        inside, energy = self.learner, problem.gradient_bound**2 * problem.horizon
        if not (isinstance(inside, OGD) and inside.constant_steps):  # a subclass may play in a way of its own
            return None
        if isinstance(inside.step_size, int | float) and problem.domain == self.domain:
            return bounds.ogd_delayed(problem.comparator_energy, inside.step_size, energy, self.delay * energy)
        return None

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """OGD at η = √(A_T/((2d+1)T))/G; a delay of 1 unless given."""
        delay = settings.get("delay", 1)
        inside = OGD(problem.oracle_step_size / sqrt(2 * delay + 1), problem.domain)
        return cls(**{"learner": inside, "delay": delay, **settings})
