"""Truths that jump a given number of times: at any rounds, or in bursts between long rests."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from sim.environments.base import check
from sim.environments.stationary import Known


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
class Bursts:
    """``bursts`` times the truth jumps in ``jumps`` rounds one after another, each to an orthogonal direction.

    Bursts never meet; where they begin is drawn. The path length is √2·reach·bursts·jumps.
    """

    bursts: int
    jumps: int = 8

    def __post_init__(self):
        check(
            self,
            bursts=(self.bursts, self.bursts >= 1, "must be at least 1"),
            jumps=(self.jumps, self.jumps >= 1, "must be at least 1; 1 is Switching"),
        )

    def directions(self, horizon: int) -> int:
        return self.bursts * self.jumps + 1

    def length(self, horizon: int, reach: float) -> float:
        rule = f"{horizon} rounds hold at most {(horizon - 1) // self.jumps} bursts of {self.jumps} jumps; lower it"
        check(self, bursts=(self.bursts, self.bursts * self.jumps < horizon, rule))
        return sqrt(2) * reach * self.bursts * self.jumps

    def start(self, horizon: int, reach: float, directions: np.ndarray, rng: np.random.Generator) -> "Jumps":
        self.length(horizon, reach)
        gaps = switch_rounds(self.bursts, horizon - self.bursts * (self.jumps - 1), directions.shape[1], rng)
        begins = gaps + (self.jumps - 1) * np.arange(self.bursts)[:, None]
        rounds = (begins[:, None] + np.arange(self.jumps)[:, None]).reshape(-1, directions.shape[1])
        return Jumps(reach, directions, rounds)


@dataclass(frozen=True)
class Jumps(Known):
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
