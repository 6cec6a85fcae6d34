"""Rounds × copies per CPU-second: both engines, and beside them the loops that people write.

The game is a drifting quadratic, whose losses are drawn before the clock starts. Contenders take turns; a rate is that
of the median turn. ``objects`` is one object an expert and copy, as libraries for online learning have it; ``batched``
is Ader written out in numpy for all experts and copies at once. Both play what the learner plays, and measure nothing.
"""

from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from sim.engine import CHUNK, Game, play
from sim.environments.base import Drawn, Episode
from sim.environments.drift import Drift
from sim.environments.tracking import Tracking
from theory.learners.ensemble import Ensemble
from theory.loss import Loss
from theory.runs.choose import make_learner

LEARNERS = ("frozen", "ogd", "optimistic", "ensemble", "momentum", "adam")
FEWER = 50
"""The loop of objects plays so many times fewer rounds."""


class Kept(Episode):
    """An episode whose rounds were drawn before."""

    def __init__(self, episode: Episode, size: int):
        self.episode, self.drawn = episode, list(episode.chunks(size))

    def chunks(self, size: int) -> Iterator[Drawn]:
        yield from self.drawn

    def loss(self, revealed: Drawn) -> Loss:
        return self.episode.loss(revealed)

    def floor(self, revealed: Drawn) -> Any:
        return self.episode.floor(revealed)


def contenders(
    name: str, copies: int, dimension: int, horizon: int, engines: tuple[str, ...]
) -> tuple[dict[str, Callable[[], Any]], float]:
    """What takes turns, and the CPU-seconds a round and copy that drawing took."""
    environment = Tracking(Drift(8.0), horizon=horizon, dimension=dimension)
    problem, learner = environment.problem, make_learner(name, {}, environment.problem)
    size = max(1, CHUNK // (copies * environment.width))
    begun = process_time()
    episode = Kept(environment.start(copies, np.random.default_rng(0)), size)
    drawing = (process_time() - begun) / (horizon * copies)
    x_1 = np.zeros((copies, dimension))
    claims = not learner.static and learner.guarantee(problem) is not None
    whole, bare = (
        Game(learner, episode, problem, claims, claims and learner.constant_steps),
        Game(learner, episode, problem),
    )

    def run(game: Game, engine: str, without: bool) -> Callable[[], Any]:
        return lambda: [None for _ in play(game, x_1, size, engine, without)]

    found = {}
    for engine in engines:
        found[engine] = run(whole, engine, False)
        found[f"{engine}, bare"] = run(bare, engine, True)
    if isinstance(learner, Ensemble):
        centers = np.concatenate([chunk.parameter for chunk in episode.drawn])
        found["batched, bare"] = lambda: batched(learner, centers, x_1)
        found["objects, bare"] = lambda: [objects(learner, centers[: horizon // FEWER, copy]) for copy in range(copies)]
    return found, drawing


def speeds(
    name: str,
    copies: int,
    dimension: int = 10,
    horizon: int = 2000,
    turns: int = 3,
    engines: tuple[str, ...] = ("numpy",),
) -> dict[str, float]:
    """Contender → rounds × copies per CPU-second, by its median turn; ``drawing`` among them. A turn more warms up."""
    running, drawing = contenders(name, copies, dimension, horizon, engines)
    seconds: dict[str, list[float]] = {contender: [] for contender in running}
    for turn in range(turns + 1):
        for contender, run in running.items():
            begun = process_time()
            run()
            if turn:
                seconds[contender].append(process_time() - begun)
    rounds = {contender: horizon // FEWER if contender.startswith("objects") else horizon for contender in running}
    found = {contender: copies * rounds[contender] / median(times) for contender, times in seconds.items()}
    return found | {"drawing": 1 / drawing}


# Loops that people write, of quadratics around ``centers``


class OneExpert:
    """Projected gradient descent of one copy, on a ball."""

    def __init__(self, x_1: np.ndarray, step_size: float, radius: float):
        self.x, self.step_size, self.radius = x_1.copy(), step_size, radius

    def update(self, slope: np.ndarray) -> None:
        self.x = self.x - self.step_size * slope
        self.x = self.x / max(1.0, float(np.linalg.norm(self.x)) / self.radius)


def objects(learner: Ensemble, centers: np.ndarray) -> np.ndarray:
    """The last weighted play ``[d]`` of Ader with one object an expert: centers ``[T, d]``."""
    radius, meta = learner.domain.radius, learner.meta.meta_step_size  # pyright: ignore
    experts = [OneExpert(np.zeros(centers.shape[-1]), step, radius) for step in learner.base.step_size]  # pyright: ignore
    total = np.zeros(len(experts))
    prior = np.log(np.array(learner.prior) / sum(learner.prior or ()))
    x = np.zeros(centers.shape[-1])
    for center in centers:
        weights = np.exp(prior - meta * total - max(prior - meta * total))
        x = np.sum([weight * expert.x for weight, expert in zip(weights / weights.sum(), experts, strict=True)], axis=0)
        slope = x - center
        for place, expert in enumerate(experts):
            total[place] += float(slope @ expert.x)
            expert.update(slope)
    return x


def batched(learner: Ensemble, centers: np.ndarray, x_1: np.ndarray) -> np.ndarray:
    """The last plays ``[seeds, d]`` of the same, all experts and copies at once: centers ``[T, seeds, d]``."""
    radius, meta = learner.domain.radius, learner.meta.meta_step_size  # pyright: ignore
    steps = np.array(learner.base.step_size)[:, None, None]  # pyright: ignore
    x = np.stack([x_1] * len(steps))
    total, prior = np.zeros(x.shape[:2]), np.log(np.array(learner.prior) / sum(learner.prior or ()))[:, None]
    play = x_1
    for center in centers:
        logits = prior - meta * total
        weights = np.exp(logits - logits.max(axis=0))
        play = np.einsum("is,isd->sd", weights / weights.sum(axis=0), x)
        slope = play - center
        total += np.einsum("sd,isd->is", slope, x)
        x = x - steps * slope
        x /= np.maximum(1.0, np.linalg.norm(x, axis=-1, keepdims=True) / radius)
    return play
