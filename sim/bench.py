"""Rounds × copies per second of the bare game: predict, reveal, update; nothing measured."""

from time import perf_counter

import numpy as np

from sim.engine import Game, play
from sim.environments.drift import Drift
from sim.environments.tracking import Tracking
from theory.runs.choose import make_learner


def speed(name: str, seeds: int, dimension: int = 10, horizon: int = 1000, repeats: int = 3) -> float:
    """Rounds times copies per second of learner ``name`` on a drifting quadratic, the best of ``repeats`` runs."""
    environment = Tracking(Drift(8.0), horizon=horizon, dimension=dimension)
    learner = make_learner(name, {}, environment.problem)
    best = float("inf")
    for repeat in range(repeats):
        episode = environment.start(seeds, np.random.default_rng(repeat))
        start = perf_counter()
        (_,) = play(Game(learner, episode, environment.problem), np.zeros((seeds, dimension)), horizon)
        best = min(best, perf_counter() - start)
    return horizon * seeds / best
