"""Games built by hand in which a bound is attained, or nearly; ``worst`` says which bound, and which learner plays.

D = 2, G = 1 and L = 1, and x_1 lies opposite to the comparator, unless a line says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from theory.checker.claims import Played, play, replay
from theory.checker.games import Adversary, Game
from theory.learner import Learner
from theory.loss import Linear, Loss, MixtureKL

# Losses that are neither linear nor quadratic


@dataclass(frozen=True)
class Bowl:
    """Σ over coordinates of Huber's loss: L = 1, a quadratic near ``center``, and of slope ``slope`` beyond it."""

    center: np.ndarray
    slope: float

    def value(self, x: np.ndarray) -> np.ndarray:
        away = np.abs(x - self.center)
        return np.sum(np.where(away < self.slope, 0.5 * away**2, self.slope * (away - 0.5 * self.slope)), axis=-1)

    def grad(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x - self.center, -self.slope, self.slope)

    def value_and_grad(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.value(x), self.grad(x)


@dataclass(frozen=True)
class Shaped(Game):
    """A game with losses of its own: ``shape`` of every row of the slopes."""

    shape: Callable[[np.ndarray], Loss] = Linear

    @property
    def losses(self) -> list[Loss]:
        return [self.shape(row) for row in self.slopes]

    @property
    def loss(self) -> Loss:
        return self.shape(self.slopes)


def committed(probabilities: np.ndarray) -> MixtureKL:
    """−log of what the mixture gave a token to which the drafts gave ``probabilities`` ``[..., N]``."""
    return MixtureKL(probabilities[..., None], np.ones((*probabilities.shape[:-1], 1)))


# Games


def line(learner: Learner, slopes: Any, comparators: Any, start: float = -1.0, quadratic: bool = False) -> Played:
    """In one dimension: slopes (or centers) and comparators ``[T]``, or one comparator for all rounds."""
    column = np.asarray(slopes, dtype=float)[:, None]
    against = np.broadcast_to(np.asarray(comparators, dtype=float).reshape(-1, 1), column.shape)
    return replay(learner, [start], column, against, quadratic)


def sweep(learner: Learner, rounds: int) -> Played:
    """The same slope in every round: from one end of the diameter towards the comparator at the other."""
    return line(learner, [-1.0] * rounds, 1.0)


def there_and_back(learner: Learner, sweeps: int) -> Played:
    """One round a sweep, each from one end to the other, the comparators always at the end that is left."""
    signs = (-1.0) ** np.arange(sweeps)
    return line(learner, -signs, signs)


def turns(learner: Learner, rounds: int, start: float) -> Played:
    """Slopes of alternating sign, an even number, which move x to and fro; the comparator is x_1."""
    return line(learner, (-1.0) ** np.arange(rounds), start, start)


def orthogonal(learner: Learner, rounds: int, repeats: int = 1) -> Played:
    """A dimension a round: x goes to the comparator by right angles, and every slope is at a right angle to the way."""
    x_1 = np.full(rounds, rounds**-0.5)
    slopes = np.eye(rounds).repeat(repeats, axis=0)
    return replay(learner, x_1, slopes, np.broadcast_to(-x_1, slopes.shape))


def across(learner: Learner, sizes: np.ndarray, back: int, block: int = 1, push: float = 0.0) -> Played:
    """Turns across the diameter, which cost all that the sum of squares allows, and at last the way itself.

    Args:
        learner: who plays.
        sizes: norms of the slopes ``[T]``.
        back: how many rounds the way takes.
        block: rounds between two turns.
        push: norm of the first slope instead, which holds x_1 where it is.
    """
    rounds = len(sizes)
    sides = np.where((np.arange(rounds) + block // 2) // block % 2 == 0, 1.0, -1.0)
    slopes = np.stack([np.zeros(rounds), sizes * sides], axis=1)
    slopes[rounds - back :] = [-1.0, 0.0]
    if push:
        slopes[0] = [push, 0.0]
    return replay(learner, [-1.0, 0.0], slopes, np.broadcast_to([1.0, 0.0], slopes.shape))


def bowl(learner: Learner, rounds: int, slope: float) -> Played:
    """One bowl in every round, so flat that x comes down by small steps, its lowest point the comparator."""
    center = np.ones((rounds, 1))
    return replace(play(learner, Shaped(-center[0], center, shape=partial(Bowl, slope=slope))), comparators=center)


def past(learner: Learner, beyond: float, rounds: int = 1) -> Played:
    """Quadratics whose center lies ``beyond`` the comparator, seen from x_1, by so many diameters."""
    return line(learner, [1.0 + 2.0 * beyond] * rounds, 1.0, quadratic=True)


def experts(learner: Learner, losses: Any, comparators: Any) -> Played:
    """Losses ``[T, N]`` from even weights."""
    losses = np.asarray(losses, dtype=float)
    count = losses.shape[-1]
    return replay(learner, np.full(count, 1 / count), losses, np.broadcast_to(comparators, losses.shape))


def take_turns(learner: Learner, rounds: int, steady: float, size: float = 1.0) -> Played:
    """Two experts take turns in losing; in the last ``steady``·√T rounds the first one loses."""
    loser = np.arange(rounds) % 2
    loser[rounds - round(steady * sqrt(rounds)) :] = 0
    return experts(learner, size * np.eye(2)[loser], [0.0, 1.0])


def last_weights(learner: Learner) -> Played:
    """Random losses, and the weights after them as comparator."""
    played = experts(learner, np.random.default_rng(0).random((20, 3)), np.zeros(3))
    return replace(played, comparators=np.broadcast_to(learner.predict(played.state), (20, 3)))


def one_possible(learner: Learner, rounds: int, count: int, switches: int) -> Played:
    """Committed tokens that one draft at a time finds possible."""
    able = np.eye(count)[np.arange(rounds) * (switches + 1) // rounds % count]
    game = Shaped(np.full(count, 1 / count), np.where(able == 1, 0.9, 1e-30), shape=committed)
    return replace(play(learner, game), comparators=able)


def anyone(learner: Learner, rounds: int, count: int) -> Played:
    """All experts lose but one, which in each round but every ``count``-th is another than before."""
    moves = np.arange(1, rounds) % count != 0
    best = np.eye(count)[np.concatenate([[0], np.cumsum(moves)]) % count]
    return experts(learner, 1 - best, best)


def forced(learner: Learner, rounds: int, segments: int) -> Played:
    """``games.Adversary``."""
    adversary = Adversary(np.random.default_rng(0).standard_normal((rounds, 3)), segments)
    slopes = adversary.against(learner, np.zeros(3))
    return replay(learner, np.zeros(3), slopes, adversary.comparators(2.0))


def segments(learner: Learner, rounds: int, count: int, first: int) -> Played:
    """In every segment ``first`` rounds of one sign, then turns; the sign changes from segment to segment."""
    length, t = rounds // count, np.arange(rounds)
    side = np.where(t // length % 2 == 0, 1.0, -1.0)
    return line(learner, np.where((t % length >= first) & (t % 2 == 0), -side, side), -side, start=1.0)
