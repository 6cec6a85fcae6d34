"""Quadratic or linear losses whose best decision follows a path."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.environments.base import Environment, Episode, check, random_directions, unit
from sim.environments.stationary import STATIONARY, Path, Track
from theory.arrays import Array
from theory.domain import Ball
from theory.loss import Linear, Loss, Quadratic
from theory.problem import Problem

REACH = 0.8
"""Norm of the quadratic truth over the ball's radius: the truth lies inside, its noisy copies mostly too."""


@dataclass(frozen=True)
class Tracking(Environment):
    """f_t follows u_t on a path in the ball.

    loss "quadratic": f_t(x) = ½‖x − u_t − noise·ζ_t‖², ‖u_t‖ = 0.8·radius; G = 1.8·radius + noise, L = 1. The small
        loss F_T = Σ f_t(u_t) is T·noise²/2, exactly; without noise the game is realisable.
    loss "linear": f_t(x) = −⟨(1 − noise)·u_t/radius + noise·ζ_t, x⟩, ‖u_t‖ = radius; G = 1.
    ζ_t are independent unit vectors, uniform on the sphere.
    """

    path: Path = STATIONARY
    horizon: int = 2000
    dimension: int = 8
    radius: float = 1.0
    noise: float = 0.5
    loss: str = "quadratic"

    def __post_init__(self):
        check(
            self,
            loss=(self.loss, self.loss in ("quadratic", "linear"), "must be 'quadratic' or 'linear'"),
            horizon=(self.horizon, self.horizon >= 2, "must be at least 2 rounds"),
            dimension=(self.dimension, self.dimension >= 2, "must be at least 2: paths need a plane"),
            noise=(self.noise, 0 <= self.noise <= 1, "must lie in [0, 1]"),
        )
        self.path.length(self.horizon, self.reach)

    @property
    def reach(self) -> float:
        """‖u_t‖."""
        return self.radius * (REACH if self.loss == "quadratic" else 1.0)

    @property
    def problem(self) -> Problem:
        quadratic = self.loss == "quadratic"
        return Problem(
            Ball(self.radius),
            self.dimension,
            self.horizon,
            gradient_bound=self.radius + self.reach + self.noise if quadratic else 1.0,
            smoothness=1.0 if quadratic else None,
            path_length=self.path.length(self.horizon, self.reach),
        )

    def start(self, seeds: int, rng: np.random.Generator) -> "TrackingEpisode":
        directions = random_directions(self.path.directions(self.horizon), seeds, self.dimension, rng)
        return TrackingEpisode(self, seeds, self.path.start(self.horizon, self.reach, directions, rng), rng)


class Followed(NamedTuple):
    """u_t, and the center or the slope of the loss, each ``[rounds, seeds, d]``."""

    comparator: np.ndarray
    parameter: np.ndarray


class TrackingEpisode(Episode):
    """Path and noise are drawn round by round, each from a generator of its own."""

    def __init__(self, environment: Tracking, seeds: int, track: Track, rng: np.random.Generator):
        self.environment, self.seeds, self.track, self._rng = environment, seeds, track, deepcopy(rng)

    def chunks(self, size: int) -> Iterator[Followed]:
        setting, rng = self.environment, deepcopy(self._rng)
        for u in self.track.walk(setting.horizon, size):
            noise = setting.noise * unit(rng.standard_normal(u.shape))
            if setting.loss == "linear":
                yield Followed(u, -(1 - setting.noise) * u / setting.radius - noise)
            else:
                yield Followed(u, u + noise)

    def loss(self, revealed: Followed) -> Loss:
        return (Quadratic if self.environment.loss == "quadratic" else Linear)(revealed.parameter)

    def floor(self, revealed: Followed) -> Array | None:
        return 0.0 * revealed.parameter[..., 0] if self.environment.loss == "quadratic" else None
