"""The hardest comparators of a stream: the sequence of least loss among those whose path is no longer than the truth's.

A learner's guarantee is for every such sequence; the simulator's rows measure regret against one of them, the truth.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from sim.environments.base import Environment
from sim.simulator import game
from theory.learner import Learner
from theory.loss import Linear, Loss, Quadratic
from theory.path_limited import best_on_path
from theory.regret import dynamic_regret


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
    episode = environment.start(1, rng)
    if episode.adaptive:
        deque(game(learner, episode, x_1, problem.horizon), maxlen=0)
        episode = episode.in_hindsight()
    played = list(game(learner, episode, x_1, problem.horizon))
    suffered = np.array([one.loss_t.value(one.x_t)[0] for one in played])
    compared = np.array([one.loss_t.value(episode.comparator(one.t))[0] for one in played])
    kind, parameters = _parameters([one.loss_t for one in played], environment)
    u, gap = best_on_path(parameters, problem.domain, problem.path_length, kind, tolerance, steps)
    least = (Quadratic if kind == "quadratic" else Linear)(parameters).value(u)
    truth, most = (float(dynamic_regret(suffered, losses)[-1]) for losses in (compared, least))
    return Hardest(truth, max(truth, most), most + gap, learner.guarantee(problem))


def _parameters(losses: list[Loss], environment: Environment) -> tuple[str, np.ndarray]:
    """The kind of the losses, and their slopes or centers ``[T, d]``."""
    if all(isinstance(loss, Linear) for loss in losses):
        return "linear", np.stack([loss.slope[0] for loss in losses if isinstance(loss, Linear)])
    if all(isinstance(loss, Quadratic) and loss.curvature == 1 for loss in losses):
        return "quadratic", np.stack([loss.center[0] for loss in losses if isinstance(loss, Quadratic)])
    raise ValueError(
        "the hardest comparators are known for linear losses and quadratics of curvature 1, not for those of "
        f"{type(environment).__name__}; choose another stream"
    )
