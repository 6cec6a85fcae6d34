"""The game as its definition says it, round by round: what the engines are held against."""

from typing import NamedTuple

import numpy as np

from sim.engine import round_of


class Round(NamedTuple):
    """One round."""

    t: int
    x_t: np.ndarray
    loss_t: object
    before: object
    after: object
    u_t: np.ndarray
    revealed: object


def rounds_of(episode):
    """What was drawn, one round at a time."""
    for chunk in episode.chunks(1):
        yield round_of(chunk, 0)


def game(learner, episode, x_1):
    """Predict, reveal, update."""
    state, memory = learner.init(x_1), episode.begin(x_1)
    for t, drawn in enumerate(rounds_of(episode)):
        x_t = np.array(learner.predict(state))
        memory, revealed = episode.reveal(memory, drawn, x_t)
        loss_t = episode.loss(revealed)
        after = learner.update(state, loss_t)
        yield Round(t, x_t, loss_t, state, after, drawn.comparator, revealed)
        state = after


def stacked(parts):
    """Rounds as one chunk."""
    return type(parts[0])(*(np.stack(column) for column in zip(*parts, strict=True)))


def in_hindsight(learner, episode, x_1):
    """The episode with its comparators known, once ``learner`` has played it."""
    if not episode.adaptive:
        return episode
    return episode.in_hindsight([stacked([played.revealed for played in game(learner, episode, x_1)])])
