"""A truth that jumps a given number of times."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from sim.environments.base import check


@dataclass(frozen=True)
class Switching:
    """Exactly ``switches`` jumps at rounds drawn without repetition, each to an orthogonal direction.

    A jump has length √2·reach, so the path length is √2·reach·switches for every copy, wherever the jumps fall.
    """

    switches: int

    def __post_init__(self):
        check(self, switches=(self.switches, self.switches >= 0, "must be 0 or more; 0 is Stationary"))

    def directions(self, horizon: int) -> int:
        return self.switches + 1

    def length(self, horizon: int, reach: float) -> float:
        rule = f"{horizon} rounds hold at most {horizon - 1} switches; lower it"
        check(self, switches=(self.switches, self.switches < horizon, rule))
        return sqrt(2) * reach * self.switches

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> "Jumps":
        self.length(horizon, reach)
        return Jumps(reach, directions, switch_rounds(self.switches, horizon, directions.shape[1], rng))


@dataclass(frozen=True)
class Jumps:
    """u_t = reach · directions[number of jumps at rounds ≤ t]; rounds ``[switches, seeds]``."""

    reach: float
    directions: np.ndarray
    rounds: np.ndarray

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.reach * self.directions[jumps(self.rounds, t), np.arange(self.rounds.shape[1])]


def switch_rounds(switches: int, horizon: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """``switches`` distinct rounds of 1 … horizon−1 for every copy, ascending: ``[switches, seeds]``."""
    chosen = [rng.choice(horizon - 1, switches, replace=False, shuffle=False) for _ in range(seeds)]
    return np.sort(1 + np.stack(chosen, axis=1), axis=0)


def jumps(rounds: np.ndarray, t: np.ndarray) -> np.ndarray:
    """How many of ``rounds`` ``[switches, seeds]``, ascending, each round of ``t`` has seen: ``[len(t), seeds]``."""
    return np.stack([np.searchsorted(of_copy, t, side="right") for of_copy in rounds.T], axis=1)
