"""Prediction with expert advice: decisions on the simplex, losses in [0, 1]."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from sim.environments.base import Environment, LinearEpisode, check
from sim.environments.switching import switch_rounds
from theory.domain import Simplex
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

    def start(self, seeds: int, rng: np.random.Generator) -> LinearEpisode:
        good = np.zeros((self.horizon, seeds), dtype=int)
        for jump in switch_rounds(self.switches, self.horizon, seeds, rng):
            good += np.arange(self.horizon)[:, None] >= jump
        good = (good + rng.integers(self.experts, size=seeds)) % self.experts
        mean = 0.5 - self.gap * (good[..., None] == np.arange(self.experts))
        losses = (rng.random((self.horizon, seeds, self.experts)) < mean).astype(float)
        best = good if self.switches else np.broadcast_to(losses.sum(axis=0).argmin(axis=-1), good.shape)
        return LinearEpisode(losses, np.eye(self.experts)[best])
