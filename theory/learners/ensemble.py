"""Ensemble: base learners on a grid of step sizes, weighed by a meta learner on their cumulative losses."""

from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any, NamedTuple, Self

from theory import bounds, step_size
from theory.arrays import Array, namespace
from theory.domain import Domain
from theory.learner import Learner, Terms
from theory.learner import State as AnyState
from theory.learners.adahedge import AdaHedge
from theory.learners.hedge import Hedge
from theory.learners.ogd import OGD
from theory.loss import Linear, Loss
from theory.problem import Problem


class State(NamedTuple):
    base: AnyState  # every array with the experts axis in front, [N, ..., d]
    meta: AnyState  # weights' state, [..., N]


@dataclass(frozen=True)
class Ensemble(Learner):
    r"""$x_t = \sum_i w_{t,i}\, x_{t,i}$; each base plays its own trajectory, the meta learner its cumulative losses.

    With ``surrogate`` the loss is linearised once at $x_t$, $\ell_t(x) = \langle\nabla f_t(x_t), x\rangle$, and every
    base and the meta learner see that: one gradient a round. Without it each base queries $f_t$ at its own point.

    Guarantee: base i's bound + the meta learner's regret to i, for the best i, known only in hindsight
    (``bounds.ader`` and ``bounds.ensemble_doubling`` a priori, for their grids and priors). An ensemble promises
    robustness, close to the step size tuned in hindsight, not a win over it. The a priori forms are reached to 0.69
    (the paper's grid) and 0.37 (Ader): no game is worst for the best base and for the meta learner at once, and Ader's
    proof rests on ``bounds.zinkevich``.
    Reference: Zhang, Lu & Zhou 2018 (Ader), Theorems 3 and 4; AdaHedge as meta learner: theory/README.md.
    """

    base: Learner
    meta: Learner = AdaHedge()
    surrogate: bool = True
    prior: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.bases is None:
            raise ValueError(f"Ensemble(base={self.base!r}): the base's step_size must be a tuple, one per expert")
        if self.prior is not None and (len(self.prior) != self.bases or not min(self.prior) > 0):
            raise ValueError(f"Ensemble(prior={self.prior!r}): one positive weight for each of {self.bases} experts")

    @property
    def domain(self) -> Domain:
        return self.base.domain

    @property
    def laws(self) -> frozenset[str]:
        return self.base.laws - {"scaling"}

    @property
    def bases(self) -> int | None:
        return self.base.bases

    @property
    def takes_hints(self) -> bool:
        return self.base.takes_hints

    @property
    def traceable(self) -> bool:
        return self.base.traceable and self.meta.traceable

    @property
    def gradients_per_round(self) -> int:
        """One where bases see the surrogate; else each asks at its own point."""
        assert self.bases is not None  # checked when made
        return 1 if self.surrogate else self.bases * self.base.gradients_per_round

    @property
    def constant_steps(self) -> bool:
        return self.base.constant_steps

    @property
    def certified(self) -> bool:
        return self.surrogate and alone(self.base, 0).certified

    def init(self, x_1: Array) -> State:
        base = self.base.init(x_1)
        assert self.bases is not None  # checked when made
        prior = namespace(x_1).asarray(self.prior or [1.0] * self.bases, like=x_1)
        return State(base, self.meta.init(0.0 * x_1[..., :1] + prior / prior.sum()))

    def _weighted(self, state: State, plays: Array) -> Array:
        xp = namespace(plays)
        weights = self.meta.predict(state.meta)
        return (weights[..., None, :] @ xp.moveaxis(plays, 0, -2))[..., 0, :]

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return self._weighted(state, self.base.predict(state.base, hint))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        plays = self.base.predict(state.base, hint)
        seen = Linear(loss_t.grad(self._weighted(state, plays))) if self.surrogate else loss_t
        losses = namespace(plays).moveaxis(seen.value(plays), 0, -1)
        return State(self.base.update(state.base, seen, hint), self.meta.update(state.meta, Linear(losses)))

    def bound(self, state: State, comparator_energy: Array) -> Array | None:
        base_bounds = self.base.bound(state.base, comparator_energy)
        expert_bounds = self.meta.expert_bound(state.meta)
        if base_bounds is None or expert_bounds is None:
            return None
        return bounds.ensemble(base_bounds, namespace(base_bounds).moveaxis(expert_bounds, -1, 0))

    def own_hint(self, state: State) -> Array | None:
        """That of every base on the surrogate; without it every base has another."""
        hints = self.base.own_hint(state.base) if self.surrogate else None
        return None if hints is None else hints[0]

    def anchor(self, state: State) -> Array | None:
        return self.base.anchor(state.base)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        assert expert is not None  # it has bases
        return through(self.base, before.base, after.base, x_t, grad_t, hint, expert)

    def leader(self, state: State) -> int:
        return int(self.meta.predict(state.meta).argmax())

    def guarantee(self, problem: Problem) -> float | None:
        g, t, c = problem.gradient_bound, problem.horizon, problem.range
        if self == type(self).ader(problem, self.surrogate):
            return bounds.ader(g, problem.diameter, problem.path_length, t, c)
        if self == type(self).paper(problem, self.surrogate):
            steps = step_size.doubling_grid(problem.diameter, g, t)
            return bounds.ensemble_doubling(g, problem.comparator_energy, t, c, len(steps))
        return None

    @classmethod
    def ader(cls, problem: Problem, surrogate: bool = True) -> Self:
        """The grid, prior and Hedge of Zhang, Lu & Zhou 2018: worst-case optimal up to constants, horizon known."""
        grid = step_size.ader_grid(problem.diameter, problem.gradient_bound, problem.horizon)
        prior = tuple((1 + 1 / len(grid)) / (i * (i + 1)) for i in range(1, len(grid) + 1))
        meta = Hedge(meta_step_size=sqrt(8 / problem.horizon) / problem.range)
        return cls(OGD(grid, problem.domain), meta, surrogate, prior)

    @classmethod
    def paper(cls, problem: Problem, surrogate: bool = True) -> Self:
        """The grid of arXiv 2603.12617, factors of 2 from D/(G√T), with a uniform prior and Hedge, horizon known."""
        grid = step_size.doubling_grid(problem.diameter, problem.gradient_bound, problem.horizon)
        meta = Hedge(meta_step_size=sqrt(8 * log(len(grid)) / problem.horizon) / problem.range)
        return cls(OGD(grid, problem.domain), meta, surrogate)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """Ader; on real models give a ``base`` with a measured grid and keep AdaHedge as the meta learner."""
        if "base" in settings:
            return cls(**settings)
        ader = cls.ader(problem)
        return cls(**{"base": ader.base, "meta": ader.meta, "prior": ader.prior, **settings})


def alone(base: Learner, expert: int) -> Any:
    """One expert of a base on a grid of step sizes, as a learner by itself."""
    return replace(base, step_size=base.step_size[expert])  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue, reportCallIssue]


def through(
    base: Learner, before: AnyState, after: AnyState, x_t: Array, grad_t: Array, hint: Array | None, expert: int
) -> Terms:
    """What a round adds to the certificate of an ensemble by the theorem of one expert, any of them.

    Σ ⟨grad_t, x_t − u_t⟩ = Σ ⟨grad_t, x_t − x_t^i⟩ + Σ ⟨grad_t, x_t^i − u_t⟩: the second sum is bounded by what the
    expert proves on the surrogates it was given; the first is surplus.

    Args:
        base: the base on its grid.
        before: its state before the round, experts in front, for one copy.
        after: its state after the round.
        x_t: the ensemble's decision ``[d]``.
        grad_t: ∇f_t(x_t) ``[d]``.
        hint: from outside, or None.
        expert: i.
    """
    learner = alone(base, expert)
    was, now = _one(before, expert), _one(after, expert)
    play = learner.predict(was, hint)
    inside = learner.terms(was, now, play, grad_t, hint)
    return inside._replace(surplus=inside.surplus + (grad_t * (x_t - play)).sum())


def _one(state: AnyState, expert: int) -> AnyState:
    """The state of one expert."""
    return type(state)(*(_one(part, expert) if isinstance(part, tuple) else part[expert] for part in state))
