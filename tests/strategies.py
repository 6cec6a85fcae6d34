"""Hypothesis strategies for the game: domains, laws, and games with structure.

Independent random losses are a mediocre adversary: they cancel. So a game draws a few vectors and a sequence of indices
into them, which shrinks well and finds alternations and long runs.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.domain import Ball, Box, Domain, Simplex
from theory.hindsight import best_piecewise, linear_minimiser
from theory.loss import Linear, Loss, Quadratic

BOUNDED = [Ball(1.0), Ball(2.5), Box(-1.0, 1.0), Box(-0.5, 2.0), Simplex()]
DIMENSION = 3


def vectors(*shape: int, size: float = 3.0) -> st.SearchStrategy[np.ndarray]:
    """Arrays of the shape with entries in [−size, size]."""
    return arrays(float, shape, elements=st.floats(-size, size, allow_subnormal=False))


@st.composite
def laws(draw: st.DrawFn, *shape: int, positive: bool = False) -> np.ndarray:
    """Probability laws on the last axis; entries may be 0 unless ``positive``."""
    low = 0.01 if positive else 0.0
    weights = draw(arrays(float, shape, elements=st.floats(low, 1.0, allow_subnormal=False)))
    weights = np.where(weights < 1e-6, 0.0, weights)
    weights[..., 0] += np.where(weights.sum(axis=-1) == 0, 1.0, 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Played:
    """One copy's game: first decision ``[d]``, slopes (linear) or centers (quadratic) ``[T, d]``."""

    domain: Domain
    x_1: np.ndarray
    parameters: np.ndarray
    kind: str = "linear"

    @property
    def losses(self) -> list[Loss]:
        return [Linear(p) if self.kind == "linear" else Quadratic(p) for p in self.parameters]

    @property
    def horizon(self) -> int:
        return len(self.parameters)

    @property
    def diameter(self) -> float:
        return self.domain.diameter(self.parameters.shape[-1])

    @property
    def gradient_bound(self) -> float:
        """The largest gradient norm that the game's losses have on the domain."""
        largest = np.max(np.linalg.norm(self.parameters, axis=-1))
        return float(largest if self.kind == "linear" else largest + np.max(np.linalg.norm(self.corners, axis=-1)))

    @property
    def corners(self) -> np.ndarray:
        """Border points of the domain in many directions, ``[K, d]``."""
        directions = np.random.default_rng(0).normal(size=(32, self.parameters.shape[-1]))
        if isinstance(self.domain, Box):
            signs = np.sign(directions)
            return np.where(signs > 0, self.domain.high, self.domain.low)
        return linear_minimiser(directions, self.domain)

    def comparators(self) -> list[np.ndarray]:
        """Best with 1, 2 and 5 segments, and the first decision for ever: each ``[T, d]``."""
        best = [best_piecewise(self.parameters, self.domain, min(k, self.horizon), self.kind) for k in (1, 2, 5)]
        return [*best, np.broadcast_to(self.x_1, self.parameters.shape)]


@st.composite
def games(draw: st.DrawFn, domains: list[Domain] = BOUNDED, kinds: tuple[str, ...] = ("linear",), longest: int = 40):
    """A game of up to ``longest`` rounds made of at most four different losses."""
    domain, kind = draw(st.sampled_from(domains)), draw(st.sampled_from(kinds))
    pool = draw(vectors(4, DIMENSION))
    order = draw(st.lists(st.integers(0, 3), min_size=1, max_size=longest))
    x_1 = domain.project(draw(vectors(DIMENSION)))
    return Played(domain, x_1, pool[np.array(order)], kind)


def expert_losses(experts: int = 4, longest: int = 60, size: float = 1.0) -> st.SearchStrategy[np.ndarray]:
    """Losses ``[T, experts]`` in [0, size], from at most four different rounds."""
    pool = arrays(float, (4, experts), elements=st.floats(0.0, size, allow_subnormal=False))
    order = st.lists(st.integers(0, 3), min_size=1, max_size=longest)
    return st.tuples(pool, order).map(lambda drawn: drawn[0][np.array(drawn[1])])
