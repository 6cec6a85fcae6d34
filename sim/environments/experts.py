"""Prediction with expert advice: decisions on the simplex, losses in [0, 1]."""

from abc import abstractmethod
from dataclasses import dataclass
from math import sqrt

import numpy as np

from sim.environments.base import DrawnEpisode, Environment, Slopes, check
from sim.environments.switching import jumps, switch_rounds
from theory.domain import Simplex
from theory.loss import Linear, Loss
from theory.problem import Problem


def simplex_problem(experts: int, horizon: int, switches: int = 0) -> Problem:
    """Losses in [0, 1]: G = √N, range 1; a switch of expert has length √2."""
    return Problem(Simplex(), experts, horizon, sqrt(experts), path_length=sqrt(2) * switches, loss_range=1.0)


@dataclass(frozen=True)
class Experts(Environment):
    """Bernoulli losses of mean ½, the good expert's ½ − gap; the good expert changes exactly ``switches`` times.

    Comparator: without switches the best expert in hindsight, with switches the good one of each round.
    At gap 0 the losses are pure noise, the case Hedge's bound is asymptotically tight for.
    """

    horizon: int = 2000
    experts: int = 8
    gap: float = 0.1
    switches: int = 0

    def __post_init__(self):
        check(
            self,
            experts=(self.experts, self.experts >= 2, "must be at least 2"),
            gap=(self.gap, 0 <= self.gap <= 0.5, "must lie in [0, 0.5], so that ½ − gap is a probability"),
            switches=(self.switches, 0 <= self.switches < self.horizon, f"must lie in [0, {self.horizon})"),
        )

    @property
    def problem(self) -> Problem:
        return simplex_problem(self.experts, self.horizon, self.switches)

    def start(self, seeds: int, rng: np.random.Generator) -> "ExpertsEpisode":
        return ExpertsEpisode(self, seeds, rng)


class BestExpert(DrawnEpisode):
    """Linear losses of experts, against the best one in hindsight: a first pass over the losses finds it."""

    best: np.ndarray = np.array(0)

    @abstractmethod
    def losses(self, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of every expert, ``[rounds, seeds, N]``."""

    def find(self, size: int = 1000) -> None:
        """Set ``best`` ``[seeds]``."""
        self.best = np.argmin(sum(chunk.slope.sum(axis=0) for chunk in self.chunks(size)), axis=-1)

    def draw(self, t: np.ndarray, rng: np.random.Generator) -> Slopes:
        losses = self.losses(t, rng)
        return Slopes(np.eye(losses.shape[-1])[np.broadcast_to(self.best, losses.shape[:-1])], losses)

    def loss(self, revealed: Slopes) -> Loss:
        return Linear(revealed.slope)


class ExpertsEpisode(BestExpert):
    """Who is good is known from the start; losses are drawn round by round."""

    def __init__(self, environment: Experts, seeds: int, rng: np.random.Generator):
        self.environment, self.seeds = environment, seeds
        self.rounds = switch_rounds(environment.switches, environment.horizon, seeds, rng)
        self.first = rng.integers(environment.experts, size=seeds)
        super().__init__(environment.horizon, rng)
        if not environment.switches:
            self.find()

    def good(self, t: np.ndarray) -> np.ndarray:
        """The good expert of every round and copy, ``[rounds, seeds]``."""
        return (jumps(self.rounds, t) + self.first) % self.environment.experts

    def losses(self, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        experts = self.environment.experts
        mean = 0.5 - self.environment.gap * (self.good(t)[..., None] == np.arange(experts))
        return (rng.random((len(t), self.seeds, experts)) < mean).astype(float)

    def draw(self, t: np.ndarray, rng: np.random.Generator) -> Slopes:
        drawn = super().draw(t, rng)
        return (
            drawn._replace(comparator=np.eye(self.environment.experts)[self.good(t)])
            if self.environment.switches
            else drawn
        )
