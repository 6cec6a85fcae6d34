"""The Learner protocol: what plays the game in the simulator and in the decoder alike.

    x_t = predict(state)            before the loss exists
    state = update(state, loss_t)   the loss is revealed as a function

A learner is a frozen dataclass of hyper-parameters; everything that changes lives in its state, a NamedTuple of
arrays. The last axis is the decision, every leading axis an independent copy. Both methods are pure.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from theory import Ball, Domain, Learner, Linear
    >>> @dataclass(frozen=True)
    ... class Halving(Learner):
    ...     domain: Domain = Ball(1.0)
    ...     def init(self, x_1): return x_1
    ...     def predict(self, state, hint=None): return state
    ...     def update(self, state, loss_t, hint=None): return self.domain.project(state / 2 - loss_t.grad(state))
    >>> learner = Halving()
    >>> learner.predict(learner.update(np.array([1.0, 0.0]), Linear(np.array([0.25, 0.0]))))
    array([0.25, 0.  ])

Those three methods make a learner. What more it can do, its class says by the attributes and methods below them: each
has a default that claims nothing.
"""

from abc import ABC, abstractmethod
from math import inf
from typing import Any, ClassVar, NamedTuple, Self

from theory.arrays import Array, namespace
from theory.domain import Domain, Simplex
from theory.loss import Loss
from theory.problem import Problem

State = Any  # a NamedTuple of arrays, one class per learner

PROVEN_OF_THE_PLAY = ("certified", "constant_steps", "traceable")
"""Attributes that are statements about ``predict`` and ``update``."""


class Terms(NamedTuple):
    """What one round adds to a certificate (``theory/checker/certificate.py`` has the theorem).

    A theorem without distances, such as that of exponential weights, leaves out ``anchor`` and ``error``.
    """

    anchor: Array | None = None  # [..., d]: where the step of this round begins
    error: Array | None = None  # [..., d]: grad_t − hint_t; grad_t for a learner without hints
    step_size: Array | float = 1.0  # η_t, non-increasing
    surplus: Array | float = 0.0  # [...]: what the bound grows by besides


class Learner(ABC):
    """One algorithm. Subclasses are frozen dataclasses; ``theory/checker/checks.py`` tests any of them."""

    domain: Domain
    laws: ClassVar[frozenset[str]] = frozenset()
    """Optional symmetries that hold: "permutation", "translation" (g + c·1 on the simplex), "scaling" (c·g, η/c)."""
    learns: ClassVar[bool] = True
    """Whether decisions ever change; False for a learner that plays x_1 for ever."""
    takes_hints: ClassVar[bool] = False
    """Whether ``predict`` and ``update`` use an outside hint."""
    static: ClassVar[bool] = False
    """Whether ``bound`` is on the regret to the best fixed decision only, as for exponential weights."""
    experts_only: ClassVar[bool] = False
    """Whether ``bound`` and ``guarantee`` cover corners of the simplex only, unless the losses are linear."""
    constant_steps: ClassVar[bool] = False
    """Whether ``bound`` also holds with the sharp energy of ``anchor`` (``bounds.comparator_energy_sharp``)."""
    certified: ClassVar[bool] = False
    """Whether ``terms`` gives what a certificate needs."""
    traceable: ClassVar[bool] = False
    """Whether a compiler may run it with arrays whose values it does not know: no Python branch looks at a value."""
    gradients_per_round: ClassVar[int] = 1
    """How many gradients a round asks for at most; ``update`` may ask where it likes."""
    largest_gradient: ClassVar[float] = inf
    """The largest ‖∇f_t‖ for which the learner claims its bounds."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """What is proven of one play does not hold of another: a class with its own play declares it again."""
        super().__init_subclass__(**arguments)
        if vars(cls).keys() & {"predict", "update"}:
            for name in PROVEN_OF_THE_PLAY:
                if name not in vars(cls):
                    setattr(cls, name, False)

    @abstractmethod
    def init(self, x_1: Array) -> State:
        """State before round 1. ``x_1`` ``[..., d]`` is the first decision (feasible), one per copy."""

    @abstractmethod
    def predict(self, state: State, hint: Array | None = None) -> Array:
        """x_t ``[..., d]``. An outside ``hint`` ``[..., d]`` overrides the learner's own; most learners ignore it."""

    @abstractmethod
    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        """State after loss_t; pass the ``hint`` that ``predict`` was given."""

    # What it is

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """The learner as its theorem tunes it for ``problem``; ``settings`` override single fields.

        By default the class's own settings, on the problem's domain where that is a field.
        """
        given = {"domain": problem.domain} if "domain" in getattr(cls, "__dataclass_fields__", {}) else {}
        return cls(**given | settings)

    @classmethod
    def weighs_experts(cls) -> bool:
        """Whether every decision is a weight for each expert: the class itself plays on the simplex."""
        return isinstance(getattr(cls, "domain", None), Simplex)

    @property
    def bases(self) -> int | None:
        """How many base learners play inside, on the first axis of their states; None for one learner."""
        steps = getattr(self, "step_size", None)
        return len(steps) if isinstance(steps, tuple) else None

    def own_hint(self, state: State) -> Array | None:
        """The guess of grad_t ``[..., d]`` that ``predict`` plays with by itself; None without one."""
        return None

    # What it claims

    def bound(self, state: State, comparator_energy: Array) -> Array | None:
        """Data-dependent bound on the dynamic regret of the rounds played so far ``[...]``; None if none is claimed.

        ``comparator_energy`` is A_T = D² + 2·D·P_T of the comparators, or its sharp form
        ‖x_1−u_1‖² + Σ_{t≥2}(‖x_t−u_t‖²−‖x_t−u_{t−1}‖²), valid for ``constant_steps`` only
        (``bounds.comparator_energy_sharp``).
        """
        return None

    def expert_bound(self, state: State) -> Array | None:
        """Bound on the regret so far against each expert ``[..., N]``; None if none is claimed."""
        return None

    def guarantee(self, problem: Problem) -> float | None:
        """A priori bound on the dynamic regret at ``problem.horizon`` and ``problem.path_length``, or None."""
        return None

    def anchor(self, state: State) -> Array | None:
        """Where the next step begins ``[..., d]`` (with ``bases``, one for each in front); None if it is x_t."""
        return None

    # What a certificate needs; only a ``certified`` learner is asked

    def terms(
        self,
        before: State,
        after: State,
        x_t: Array,
        grad_t: Array,
        hint: Array | None = None,
        expert: int | None = None,
    ) -> Terms:
        """What a round adds to the certificate.

        Args:
            before: state before the round.
            after: the state that ``update`` made of it.
            x_t: the decision ``[d]``.
            grad_t: ∇f_t(x_t) ``[d]``.
            hint: from outside, or None.
            expert: of a learner with ``bases``, the one whose theorem is used; else None.
        """
        raise NotImplementedError(f"{type(self).__name__} is not certified: its class says no terms")

    def prior_cost(self, before: State, candidate: Array) -> float:
        """What the bound against a candidate ``[d]`` begins with, before the first round."""
        return 0.0

    def leader(self, state: State) -> int | None:
        """The expert whose theorem is likely to give the best certificate after ``state``; None without ``bases``."""
        return None


def one_decision(learner: object, shape: tuple[int, ...], wanted: tuple[int, ...], rule: str = "") -> None:
    """ValueError unless what a learner plays has the ``wanted`` shape of its first decision; ``rule`` says why."""
    if shape != wanted:
        rule = rule or f"a round takes one decision a copy, {wanted}"
        raise ValueError(
            f"learner={learner!r}: plays {shape}, {rule}; give scalar settings (a tuple makes one copy an entry)"
        )


def squared_norm(x: Array) -> Array:
    """‖x‖² over the decision axis, kept: ``[..., d]`` → ``[..., 1]``."""
    return namespace(x).sum(x * x, axis=-1, keepdims=True)
