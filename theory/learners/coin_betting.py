"""Coin betting: a parameter-free learner, no step size at all."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, Self

from theory import bounds, require
from theory.arrays import Array, namespace
from theory.domain import Domain, Free
from theory.learner import Learner
from theory.loss import Loss
from theory.problem import Problem


class State(NamedTuple):
    x_1: Array  # [..., d]: what is bet is the distance from here
    coins: Array  # [..., d]: C = Σ c_s
    wealth: Array  # [..., 1]: ε + Σ ⟨c_s, z_s⟩, a length; positive
    rounds: Array  # [..., 1]: played so far


@dataclass(frozen=True)
class CoinBetting(Learner):
    r"""$x_t = \Pi_X[x_1 + z_t], \quad z_t = \frac1t C_{t-1} W_{t-1}, \quad W_t = W_{t-1} + \langle c_t, z_t\rangle,
    \quad C_t = C_{t-1} + c_t$.

    A gambler with wealth $W_0 = \epsilon$ (``endowment``, a length) bets the fraction $C_{t-1}/t$ of it on the next
    coin $c_t = -\tilde g_t/G$ (Krichevsky & Trofimov's estimate). $\tilde g_t = \nabla f_t(x_t)$ where nothing was
    projected; else what pulls $x_1 + z_t$ further out along the normal n is removed, $\tilde g_t = g_t +
    \max\{0, -\langle g_t, n\rangle\}n$. That loses nothing: $\langle g_t, x_t - u\rangle \le \langle\tilde g_t,
    x_1 + z_t - u\rangle$ for all u in X, and $\|\tilde g_t\| \le \|g_t\|$. A gradient longer than G is shortened to G,
    so that wealth stays positive whatever comes; the guarantee then holds for the shortened gradients.

    Guarantee, static: ``bounds.coin_betting``: $G[\|u - x_1\|\sqrt{(T+1)\ln(1 + \frac\pi2 (T+1)^2\|u-x_1\|^2/
    \epsilon^2)} + \epsilon]$ for *every* u at once, also on all of $R^d$: up to the logarithm what OGD reaches with a
    step tuned to $\|u-x_1\|$. From the log: ``static_bound``. Not covered: moving comparators. Nothing is claimed for
    dynamic regret, and after a long steady stretch the bets are so large that turning takes long.
    Reference: Orabona & Pál 2016, Algorithm 1 and Corollary 5; the projection: Cutkosky & Orabona 2018, Theorem 3, in
    the form of Cutkosky 2020 (without its factor of 2).
    """

    endowment: float
    gradient_bound: float
    domain: Domain = Free()
    laws = frozenset({"permutation"})
    traceable = True

    def __post_init__(self):
        require.positive(self, endowment=self.endowment, gradient_bound=self.gradient_bound)

    @property
    def largest_gradient(self) -> float:
        return self.gradient_bound

    def init(self, x_1: Array) -> State:
        zero = 0.0 * x_1[..., :1]
        return State(x_1, 0.0 * x_1, zero + self.endowment, zero)

    def _bet(self, state: State) -> Array:
        return state.coins / (state.rounds + 1.0) * state.wealth

    def predict(self, state: State, hint: Array | None = None) -> Array:
        return self.domain.project(state.x_1 + self._bet(state))

    def update(self, state: State, loss_t: Loss, hint: Array | None = None) -> State:
        z_t, x_t = self._bet(state), self.predict(state)
        seen_t = _charged_outside(loss_t.grad(x_t), state.x_1 + z_t, x_t)
        xp = namespace(seen_t)
        coin_t = -seen_t / xp.maximum(xp.norm(seen_t), self.gradient_bound)
        won_t = xp.sum(coin_t * z_t, axis=-1, keepdims=True)
        return State(state.x_1, state.coins + coin_t, state.wealth + won_t, state.rounds + 1.0)

    def static_bound(self, state: State, distance: Array) -> Array:
        """Regret to every fixed u with ‖u − x_1‖ ≤ ``distance`` ``[...]``, from what the state has seen ``[...]``."""
        coins, wealth = namespace(state.coins).norm(state.coins)[..., 0], state.wealth[..., 0]
        return bounds.coin_betting_wealth(distance, self.gradient_bound, self.endowment, coins, wealth)

    def guarantee(self, problem: Problem) -> float | None:
        if problem.path_length > 0 or not isfinite(problem.diameter) or problem.gradient_bound > self.gradient_bound:
            return None
        return float(bounds.coin_betting(problem.diameter, self.gradient_bound, problem.horizon, self.endowment))

    @classmethod
    def tuned(cls, problem: Problem, **settings: Any) -> Self:
        """Endowed with the diameter, or with 1 where there is none."""
        known = {"endowment": problem.diameter if isfinite(problem.diameter) else 1.0}
        return super().tuned(problem, **{**known, "gradient_bound": problem.gradient_bound, **settings})


def _charged_outside(grad_t: Array, bet_t: Array, x_t: Array) -> Array:
    """g + max{0, −⟨g, n⟩}·n, n the direction from x_t to the ``bet_t`` it is the projection of; g where they agree."""
    xp = namespace(grad_t)
    outside = bet_t - x_t
    distance = xp.norm(outside)
    rounding = xp.abs(3.0 * ((0.0 * distance + 4.0 / 3.0) - 1.0) - 1.0)  # 0 in exact arithmetic: one ulp of this dtype
    is_outside = distance > 64.0 * rounding * xp.norm(bet_t)  # a projection may move what is inside by rounding
    normal = xp.where(is_outside, outside, 0.0 * outside) / xp.where(is_outside, distance, 1.0 + 0.0 * distance)
    away = xp.maximum(-xp.sum(grad_t * normal, axis=-1, keepdims=True), 0.0)
    return grad_t + away * normal
