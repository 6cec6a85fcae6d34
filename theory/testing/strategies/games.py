"""Games on a domain, and games whose comparators and losses move no more than is stated."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory import regret
from theory.checker.games import Game
from theory.domain import Ball, Box, Domain, Free, Simplex
from theory.hindsight import best_piecewise, linear_minimiser
from theory.loss import Quadratic
from theory.testing.strategies.numbers import Drawn, value, vectors
from theory.testing.strategies.tokens import laws

BOUNDED: tuple[Domain, ...] = (Ball(1.0), Ball(2.5), Box(-1.0, 1.0), Box(-0.5, 2.0), Simplex())
ANY = st.sampled_from(BOUNDED)
POOL = 4
"""How many different losses, or comparators, a game is made of at most."""
INSIDE = 1 - 1e-9
"""What is pulled to a stated value is pulled a little further, so that rounding does not lead out again."""


@dataclass(frozen=True)
class DomainGame(Game):
    """A game and the domain it is for, before anybody has played it.

    (``theory.Played`` is what a learner made of one: decisions, their losses, the state at the end.)
    """

    domain: Domain = field(kw_only=True)

    @property
    def horizon(self) -> int:
        """T."""
        return len(self.slopes)

    @property
    def diameter(self) -> float:
        """D."""
        return self.domain.diameter(self.slopes.shape[-1])

    @property
    def gradient_bound(self) -> Any:
        """G: no gradient of the losses on the domain is longer. ``[...]``; of linear losses it is the longest.

        Raises:
            ValueError: for quadratics on a domain without a diameter.
        """
        largest = np.max(np.linalg.norm(np.asarray(self.slopes), axis=-1), axis=0)
        if not self.quadratic:
            return largest
        ones = np.ones(self.slopes.shape[-1])
        return largest + np.max(np.linalg.norm(linear_minimiser(np.stack([ones, -ones]), self.domain), axis=-1))

    def hard_comparators(self) -> list[np.ndarray]:
        """Of one copy: the best with 1, 2 and 5 segments, and the first decision for ever, each ``[T, d]``."""
        pieces = (min(k, self.horizon) for k in (1, 2, 5))
        best = [best_piecewise(self.slopes, self.domain, k, self.kind) for k in pieces]
        return [*best, np.broadcast_to(self.x_1, self.slopes.shape)]


@dataclass(frozen=True)
class StatedGame(DomainGame):
    """A game with its comparators ``[T, ..., d]``, and how large what bounds are stated in came out, each ``[...]``."""

    comparators: np.ndarray = field(kw_only=True)

    @property
    def path_length(self) -> Any:
        """P_T of the comparators."""
        return regret.path_length(self.comparators)[-1]

    @property
    def switches(self) -> Any:
        """How often the comparator changes."""
        return regret.switches(self.comparators)[-1]

    @property
    def gradient_variation(self) -> Any:
        """V_T of the losses."""
        return _variation(self.slopes)

    @property
    def comparator_loss(self) -> Any:
        """F_T = Σ f_t(u_t) − inf f_t over all of R^d: inf where a loss is linear."""
        return self.loss.value(self.comparators).sum(0) if self.quadratic else inf + 0.0 * self.path_length

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Self:
        """The game with ``change`` applied to x_1, to the slopes and to the comparators."""
        return replace(super().each(change), comparators=change(self.comparators))

    def copy(self, index: int) -> Self:
        """One copy alone."""
        return replace(super().copy(index), comparators=self.comparators[:, index])


def domains(free: bool = False) -> st.SearchStrategy[Domain]:
    """Balls, boxes and the simplex; also all of R^d if ``free``."""
    sizes = st.floats(0.125, 8.0)
    drawn = st.one_of(
        st.sampled_from(BOUNDED),
        sizes.map(Ball),
        st.tuples(st.floats(-8.0, 8.0), sizes).map(lambda b: Box(b[0], sum(b))),
    )
    return drawn | st.just(Free()) if free else drawn


@st.composite
def games(
    draw: st.DrawFn,
    domain: Drawn[Domain] = ANY,
    quadratic: Drawn[bool] = False,
    *,
    longest: int = 40,
    dimension: Drawn[int] = 3,
    copies: Drawn[tuple[int, ...]] = (),
) -> DomainGame:
    """Games on the domain of at most ``longest`` rounds, made of at most four different losses.

    Losses are ½‖x − center‖² if ``quadratic``, else linear. ``dimension`` is d, ``copies`` the shape of the axes before
    it: x_1 is ``[*copies, d]``, slopes and centers are ``[T, *copies, d]``. On the simplex no entry of x_1 is 0:
    against an expert with a prior of 0 exponential weights promise nothing.
    """
    where, axes = value(draw, domain), (*value(draw, copies), value(draw, dimension))
    pool, order = draw(vectors(POOL, *axes)), draw(st.lists(st.integers(0, POOL - 1), min_size=1, max_size=longest))
    x_1 = draw(laws(*axes, positive=True) if isinstance(where, Simplex) else vectors(*axes).map(where.project))
    return DomainGame(x_1, pool[np.array(order)], value(draw, quadratic), domain=where)


@st.composite
def comparators(
    draw: st.DrawFn,
    domain: Domain,
    rounds: int,
    *,
    dimension: Drawn[int] = 3,
    copies: Drawn[tuple[int, ...]] = (),
    path_length: Drawn[float] = inf,
    switches: Drawn[int | None] = None,
) -> np.ndarray:
    """Sequences ``[rounds, *copies, d]`` in the domain, of every copy P_T ≤ ``path_length`` and at most ``switches``
    changes; None for any number.
    """
    most, changes = _amount("path_length", value(draw, path_length)), value(draw, switches)
    pool = domain.project(draw(vectors(POOL, *value(draw, copies), value(draw, dimension))))
    path = pool[draw(_order(rounds, None if changes is None else int(_amount("switches", changes))))]
    return _pulled(path, path[:1], lambda u: regret.path_length(u)[-1], most)


@st.composite
def stated_games(
    draw: st.DrawFn,
    domain: Drawn[Domain] = ANY,
    quadratic: Drawn[bool] = False,
    *,
    path_length: Drawn[float] = inf,
    switches: Drawn[int | None] = None,
    gradient_variation: Drawn[float] = inf,
    comparator_loss: Drawn[float] = inf,
    longest: int = 40,
    dimension: Drawn[int] = 3,
    copies: Drawn[tuple[int, ...]] = (),
) -> StatedGame:
    """Games as of ``games``, with comparators, in which nothing exceeds what is stated, in any copy.

    Stated are P_T and the number of ``switches`` (None: any) of the comparators, V_T of the losses, and F_T, the
    ``comparator_loss``, which is finite for quadratics only. The game says what it has of each.

    Raises:
        ValueError: when it is drawn, for a negative value, or a finite F_T of linear losses.
    """
    game = draw(games(domain, quadratic, longest=longest, dimension=dimension, copies=copies))
    *axes, d = game.x_1.shape
    moving = comparators(
        game.domain, game.horizon, dimension=d, copies=tuple(axes), path_length=path_length, switches=switches
    )
    u, slopes = draw(moving), game.slopes
    varied = _amount("gradient_variation", value(draw, gradient_variation))
    suffered = _amount("comparator_loss", value(draw, comparator_loss))
    if suffered == inf:
        slopes = _pulled(slopes, slopes[:1], _variation, varied, 2)
    elif game.quadratic:
        slopes = _pulled(slopes, u, lambda centers: np.sum(Quadratic(centers).value(u), axis=0), suffered, 2)
        both = np.stack([slopes, u])  # where all are one point P_T, V_T and F_T are 0, and on the way there they shrink
        slopes, u = _pulled(both, u[:1], lambda pair: _variation(pair[0]), varied, 2)
    else:
        raise ValueError(
            f"comparator_loss={suffered!r}: a linear loss has no least value, so that F_T is infinite; "
            "give quadratic=True"
        )
    return StatedGame(game.x_1, slopes, game.quadratic, domain=game.domain, comparators=u)


def expert_losses(experts: int = 4, longest: int = 60, size: float = 1.0) -> st.SearchStrategy[np.ndarray]:
    """Losses ``[T, experts]`` in [0, size], from at most four different rounds."""
    pool = arrays(float, (POOL, experts), elements=st.floats(0.0, size, allow_subnormal=False))
    order = st.lists(st.integers(0, POOL - 1), min_size=1, max_size=longest)
    return st.tuples(pool, order).map(lambda drawn: drawn[0][np.array(drawn[1])])


def _order(rounds: int, changes: int | None) -> st.SearchStrategy[np.ndarray]:
    """Indices ``[rounds]`` into a pool that change at most so often."""
    index = st.integers(0, POOL - 1)
    if changes is None:
        return st.lists(index, min_size=rounds, max_size=rounds).map(np.array)

    def laid(starts: list[tuple[int, int]]) -> np.ndarray:
        order = np.zeros(rounds, dtype=int)
        for start, which in sorted(starts):
            order[start:] = which
        return order

    return st.lists(st.tuples(st.integers(0, rounds - 1), index), max_size=changes).map(laid)


def _pulled(
    path: np.ndarray, anchor: np.ndarray, measure: Callable[[np.ndarray], Any], limit: float, degree: int = 1
) -> np.ndarray:
    """The path, copies that ``measure`` more than ``limit`` pulled towards ``anchor``, of which it measures 0.

    The measure ``[...]`` of what is left of a path is that share of it to the power ``degree``.
    """
    much = np.asarray(measure(path))
    over = much > limit
    share = INSIDE * (limit / np.where(over, much, 1.0)) ** (1 / degree) if np.any(over) else np.zeros_like(much)
    pulled = np.where(over[..., None], anchor + share[..., None] * (path - anchor), path)
    return np.where((np.asarray(measure(pulled)) <= limit)[..., None], pulled, anchor)  # where rounding is all there is


def _variation(slopes: np.ndarray) -> Any:
    """V_T of linear losses, and of quadratics of one curvature."""
    return regret.gradient_variation(slopes)[-1]


def _amount(name: str, given: float) -> float:
    if not given >= 0:
        raise ValueError(f"{name}={given!r}: must be at least 0")
    return given
