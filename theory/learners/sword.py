"""Sword: an ensemble that is optimistic twice, bases and meta learner, and asks one gradient a round."""

from dataclasses import dataclass
from math import isfinite, log
from typing import Any, NamedTuple, Self

from theory import bounds, step_size
from theory.arrays import Array, namespace
from theory.domain import Domain
from theory.hints import LastGradient
from theory.learner import Learner, Terms, squared_norm
from theory.learners import optimistic, optimistic_hedge
from theory.learners.ensemble import alone, through
from theory.learners.optimistic import OptimisticOGD
from theory.learners.optimistic_hedge import OptimisticHedge
from theory.loss import Linear, Loss
from theory.problem import Problem


class State(NamedTuple):
    base: optimistic.State  # every array with the experts axis in front, [N, ..., d]
    meta: optimistic_hedge.State  # [..., N]
    last: Array  # [N, ..., d]: x_{t−1,i}
    moved: Array  # [..., N]: Σ corrections λ‖x_{s,i} − x_{s−1,i}‖² of each expert
    charged: Array  # [...]: Σ ⟨w_s, corrections_s⟩


class Round(NamedTuple):
    plays: Array  # [N, ..., d]
    weights: Array  # [..., N]
    believed: Array  # [..., N]: hint of the meta learner
    corrections: Array  # [..., N]
    x: Array  # [..., d]


@dataclass(frozen=True)
class Sword(Learner):
    r"""$x_t = \sum_i w_{t,i} x_{t,i}$: optimistic bases under optimistic Hedge, all on $\langle g_t, \cdot\rangle$.

    With $g_t = \nabla f_t(x_t)$ and $c_{t,i} = \lambda\|x_{t,i} - x_{t-1,i}\|^2$ the meta learner's losses and hints
    are $\ell_{t,i} = \langle g_t, x_{t,i}\rangle + c_{t,i}$ and $h_{t,i} = \langle g_{t-1}, x_{t,i}\rangle + c_{t,i}$.
    The correction c charges experts that move: that pays for the part of $g_t - g_{t-1}$ which comes from
    $x_t \neq x_{t-1}$.

    Guarantee: at constant rates, for L-smooth losses, $\epsilon \le 1/(2LD^2)$, $\lambda = L$, for every i with
    $\eta_i \le 1/(8L)$: ``bounds.sword``, $A_T/(2\eta_i) + \ln(1/p_i)/\epsilon + (\eta_i + \epsilon D^2/4)
    (G^2 + 2V_T)$; with $F_T$ in place of $V_T$, for losses smooth on all of $R^d$ and smaller steps,
    ``bounds.sword_small_loss``. With the adaptive rate of ``tuned`` only the data-dependent bound is proven here (for
    any η, ε, λ and convex losses); the literature proves $O(\sqrt{(1+P_T+\min\{V_T,F_T\})(1+P_T)})$ for a schedule
    of its own.
    Reference: Zhao, Zhang, Zhang & Zhou 2024 (arXiv 2112.14368), Section 4.3, Sword++; Theorem 3 there is Sword.
    """

    base: OptimisticOGD
    meta: OptimisticHedge = OptimisticHedge()
    correction: float = 0.0
    takes_hints = True
    traceable = True

    def __post_init__(self):
        if self.bases is None:
            raise ValueError(f"Sword(base={self.base!r}): the base's step_size must be a tuple, one per expert")
        if not (self.correction >= 0 and isfinite(self.correction)):
            raise ValueError(f"Sword(correction={self.correction!r}): must be at least 0 and finite; theory wants L")

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
    def constant_steps(self) -> bool:
        return self.base.constant_steps

    @property
    def certified(self) -> bool:
        return alone(self.base, 0).certified

    def init(self, x_1: Array) -> State:
        base = self.base.init(x_1)
        experts = len(base.anchor)
        uniform = 0.0 * x_1[..., :1] + namespace(x_1).asarray([1.0 / experts] * experts, like=x_1)
        return State(base, self.meta.init(uniform), base.anchor, 0.0 * uniform, 0.0 * x_1[..., 0])

    def _round(self, state: State, hint: Array | None) -> Round:
        xp = namespace(state.last)
        plays = self.base.predict(state.base, hint)
        corrections = xp.moveaxis(self.correction * squared_norm(plays - state.last)[..., 0], 0, -1)
        guess = state.base.hint if hint is None else hint
        believed = xp.moveaxis(xp.sum(guess * plays, axis=-1), 0, -1) + corrections
        weights = self.meta.predict(state.meta, believed)
        x = (weights[..., None, :] @ xp.moveaxis(plays, 0, -2))[..., 0, :]
        return Round(plays, weights, believed, corrections, x)

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return self._round(state, hint).x

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        now = self._round(state, hint)
        xp, seen = namespace(now.x), Linear(loss_t.grad(now.x))
        losses = Linear(xp.moveaxis(seen.value(now.plays), 0, -1) + now.corrections)
        return State(
            self.base.update(state.base, seen, hint),
            self.meta.update(state.meta, losses, now.believed),
            now.plays,
            state.moved + now.corrections,
            state.charged + xp.sum(now.weights * now.corrections, axis=-1),
        )

    def bound(self, state: State, comparator_energy: Array) -> Array:
        """Base i's bound + the meta learner's to i + what i was charged − what all were charged on average, best i."""
        xp = namespace(state.charged)
        meta_bounds = xp.moveaxis(self.meta.expert_bound(state.meta) + state.moved, -1, 0)
        return bounds.ensemble(self.base.bound(state.base, comparator_energy), meta_bounds) - state.charged

    def own_hint(self, state: State) -> Array:
        return state.base.hint[0]  # bases see one gradient, so they have one hint

    def anchor(self, state: State) -> Array:
        return self.base.anchor(state.base)

    def terms(self, before: State, after: State, x_t: Array, grad_t: Array, hint=None, expert=None) -> Terms:
        assert expert is not None  # it has bases
        return through(self.base, before.base, after.base, x_t, grad_t, hint, expert)

    def leader(self, state: State) -> int:
        return int(self._round(state, None).weights.argmax())

    def guarantee(self, problem: Problem) -> float | None:
        """For constant rates within the theorem's limits, at the largest possible V_T = 4G²(T−1)."""
        smoothness, steps, rate = problem.smoothness, self.base.step_size, self.meta.meta_step_size
        assert isinstance(steps, tuple)
        plain = self.base.hint == LastGradient() and not self.meta.adaptive and problem.domain == self.domain
        if smoothness is None or not plain or abs(self.correction - smoothness) > 1e-12 * smoothness:
            return None
        fitting = [eta for eta in steps if eta <= step_size.sword_ceiling(smoothness)]
        if not fitting or rate > bounds.sword_rate(smoothness, problem.diameter):
            return None
        g, d, prior = problem.gradient_bound, problem.diameter, log(len(steps))
        variation = 4 * g**2 * (problem.horizon - 1)
        return min(bounds.sword(problem.comparator_energy, prior, eta, rate, d, g, variation) for eta in fitting)

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """The grid for every path length and variation, λ = L, an adaptive rate below its limit 1/(2LD²).

        Losses of unknown smoothness are treated as linear, L = 0.
        """
        smoothness, d, g = problem.smoothness or 0.0, problem.diameter, problem.gradient_bound
        chosen: dict[str, Any] = {"correction": smoothness}
        if "base" not in settings:
            grid = step_size.sword_grid(d, g, problem.horizon, smoothness)
            chosen["base"] = OptimisticOGD(grid, domain=problem.domain)
        if "meta" not in settings:
            chosen["meta"] = OptimisticHedge(bounds.sword_rate(smoothness, d))
        return cls(**chosen | settings)
