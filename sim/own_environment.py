"""An environment of your own: two quadratic targets that take turns, with noise.

python -m sim play ogd {file}:OwnEnvironment --copies 100
python -m sim play ogd {file}:OwnEnvironment --sweep step_size=1e-3:1:50log --horizon 1e2,1e3,1e4
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.environments.base import DrawnEpisode, Environment
from theory import Ball, Loss, Problem, Quadratic
from theory.arrays import Array


@dataclass(frozen=True)
class OwnEnvironment(Environment):
    """Every ``period`` rounds the target moves to the other side. Fields are its settings."""

    horizon: int = 1000
    period: int = 100
    noise: float = 0.2

    @property
    def problem(self) -> Problem:
        """What theorems may know: the domain, d, T, G ≥ ‖∇f_t‖ on the domain, and P_T of the comparators below."""
        moves = (self.horizon - 1) // self.period
        return Problem(Ball(1.0), 2, self.horizon, 1.5 + self.noise, smoothness=1.0, path_length=1.0 * moves)

    def start(self, seeds: int, rng: np.random.Generator) -> "OwnEpisode":
        """One draw for so many independent copies."""
        return OwnEpisode(self, seeds, rng)


class Drawn(NamedTuple):
    """What is drawn of a round, each ``[rounds, seeds, d]``. The comparator must be there, the rest is yours."""

    comparator: np.ndarray
    center: np.ndarray


class OwnEpisode(DrawnEpisode):
    """Rounds are drawn in order, many at a time; every number must come from ``rng``, one kind of draw alone."""

    def __init__(self, environment: OwnEnvironment, seeds: int, rng: np.random.Generator):
        self.environment, self.seeds = environment, seeds
        super().__init__(environment.horizon, rng)  # last: what is drawn before it is drawn once

    def draw(self, t: np.ndarray, rng: np.random.Generator) -> Drawn:
        """Of the rounds t, counted from 0."""
        side = np.where(t // self.environment.period % 2 == 0, 0.5, -0.5)
        u = np.zeros((len(t), self.seeds, 2))
        u[..., 0] = side[:, None]
        angle = 2 * np.pi * rng.random((len(t), self.seeds))
        noise = self.environment.noise * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return Drawn(u, u + noise)

    def loss(self, revealed: Drawn) -> Loss:
        """f_t as a function; of one round, or of many with their axis in front."""
        return Quadratic(revealed.center)

    def floor(self, revealed: Drawn) -> Array:
        """A lower bound of f_t over R^d; leave it out if there is none."""
        return 0.0 * revealed.center[..., 0]
