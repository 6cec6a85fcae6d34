"""The Learner protocol: what plays the game in the simulator and in the decoder alike.

    x_t = predict(state)            before the loss exists
    state = update(state, loss_t)   the loss is revealed as a function

A learner is a frozen dataclass of hyper-parameters; everything that changes lives in its state, a NamedTuple of
arrays. The last axis is the decision, every leading axis an independent copy. Both methods are pure.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from theory.arrays import Array, namespace
from theory.domain import Domain
from theory.loss import Loss
from theory.problem import Problem

State = Any  # a NamedTuple of arrays, one class per learner


class Learner(ABC):
    """One algorithm. Subclasses are frozen dataclasses; ``theory/checker/checks.py`` tests any of them."""

    domain: Domain
    laws: ClassVar[frozenset[str]] = frozenset()
    """Optional symmetries that hold: "permutation", "translation" (g + c·1 on the simplex), "scaling" (c·g, η/c)."""
    static: ClassVar[bool] = False
    """Whether ``bound`` is on the regret to the best fixed decision only, as for exponential weights."""

    @abstractmethod
    def init(self, x_1: Array) -> State:
        """State before round 1. ``x_1`` ``[..., d]`` is the first decision (feasible), one per copy."""

    @abstractmethod
    def predict(self, state: State, hint: Array | None = None) -> Array:
        """x_t ``[..., d]``. An outside ``hint`` ``[..., d]`` overrides the learner's own; most learners ignore it."""

    @abstractmethod
    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        """State after loss_t; pass the ``hint`` that ``predict`` was given."""

    def bound(self, state: State, comparator_energy: Array) -> Array | None:
        """Data-dependent bound on the dynamic regret of the rounds played so far ``[...]``; None if none is claimed.

        ``comparator_energy`` is A_T = D² + 2·D·P_T of the comparators, or its sharp form
        ‖x_1−u_1‖² + Σ_{t≥2}(‖x_t−u_t‖²−‖x_t−u_{t−1}‖²), valid for constant step sizes only
        (``bounds.comparator_energy_sharp``).
        """
        return None

    def guarantee(self, problem: Problem) -> float | None:
        """A priori bound on the dynamic regret at ``problem.horizon`` and ``problem.path_length``, or None."""
        return None

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """The learner as its theorem tunes it for ``problem``; ``settings`` override single fields."""
        return cls(**{"domain": problem.domain, **settings})


def squared_norm(x: Array) -> Array:
    """‖x‖² over the decision axis, kept: ``[..., d]`` → ``[..., 1]``."""
    return namespace(x).sum(x * x, axis=-1, keepdims=True)
