"""The hardest comparators of a stream: the sequence of least loss among those whose path is no longer than the truth's.

A learner's guarantee is for every such sequence; the simulator's rows measure regret against one of them, the truth.
"""

from typing import NamedTuple

import numpy as np

from sim.engine import Game, play
from sim.environments.base import Environment
from theory.learner import Learner
from theory.loss import Linear, Loss, Quadratic
from theory.path_limited import best_on_path


class Hardest(NamedTuple):
    """Dynamic regret of one copy at the horizon."""

    truth: float
    """Against the environment's comparators."""
    hardest: float
    """Against the best sequence known whose path is at most ``problem.path_length``; the truth's is one."""
    at_most: float
    """Against none of them it is more: the solver's certificate."""
    guarantee: float | None
    """The learner's a priori bound on all of them."""


def hardest(
    learner: Learner, environment: Environment, rng: np.random.Generator, tolerance: float = 1e-5, steps: int = 50_000
) -> Hardest:
    """Play one copy and solve for its hardest comparators (``theory.path_limited.best_on_path``).

    Raises:
        ValueError: for losses other than linear ones and quadratics of curvature 1.
    """
    problem = environment.problem
    x_1 = problem.domain.project(np.zeros((1, problem.dimension)))
    game = Game(learner, environment.start(1, rng), problem)
    if game.episode.adaptive:
        seen = (chunk.revealed for chunk in play(game, x_1, problem.horizon))
        game = game._replace(episode=game.episode.in_hindsight(seen))
    (whole,) = play(game, x_1, problem.horizon)
    kind, parameters = _parameters(game.episode.loss(whole.revealed), environment)
    u, gap = best_on_path(parameters, problem.domain, problem.path_length, kind, tolerance, steps)
    losses = (Quadratic if kind == "quadratic" else Linear)(parameters)
    truth = float(np.sum(whole.measured.regret))
    most = float(np.sum(losses.value(whole.played.x[:, 0]) - losses.value(u)))
    return Hardest(truth, max(truth, most), most + gap, learner.guarantee(problem))


def _parameters(losses: Loss, environment: Environment) -> tuple[str, np.ndarray]:
    """The kind of the losses of all rounds, and their slopes or centers ``[T, d]``."""
    if isinstance(losses, Linear):
        return "linear", losses.slope[:, 0]
    if isinstance(losses, Quadratic) and losses.curvature == 1:
        return "quadratic", losses.center[:, 0]
    raise ValueError(
        "the hardest comparators are known for linear losses and quadratics of curvature 1, not for those of "
        f"{type(environment).__name__}; choose another stream"
    )
