"""The decoder's steps over committed positions, for many copies at once: which draft was in force, what was accepted.

Used by the token environment (copies are seeds) and by the replay (copies are draws of the acceptance).
"""

from typing import NamedTuple

import numpy as np

from theory.speculation.acceptance import Walk, accept


class Decoded(NamedTuple):
    """What happened at ``n`` consecutive committed positions, every field bool ``[n, copies]``."""

    stale: np.ndarray
    """The step under way had been drafted before the last swap."""
    first: np.ndarray
    """The first position of a step."""
    examined: np.ndarray
    """A draft token was verified here; otherwise the position holds a bonus token."""
    accepted: np.ndarray
    """Examined and kept; examined and not kept is a recovered token."""
    place: np.ndarray
    """Where the position is in its step, counted from 0, as far as drafts differ by place: int."""


def decode(
    walk: Walk, kept: np.ndarray, kept_stale: np.ndarray, gamma: int, starts: np.ndarray | None = None
) -> tuple[Walk, Decoded]:
    """Commit n positions; new weights are in force from the first step boundary on.

    Args:
        walk: where each copy stands, fields ``[copies]``.
        kept: bool ``[n, places, copies]``, whether the new draft's token would be accepted at each position if it came
            at each place of its step; one place where that does not matter.
        kept_stale: the same under the weights before the swap; entries beyond the first ``gamma`` are not read.
        gamma: draft length.
        starts: bool ``[n]``, where a new prompt begins: the step under way was cut by the prompt's end.
    """
    stale, last = walk.run > 0, kept.shape[1] - 1
    rows: list[tuple[np.ndarray, ...]] = []
    for i in range(len(kept)):
        walk = walk if starts is None or not starts[i] else walk.cut()
        stale = stale & (walk.run > 0)
        examined, place = walk.examined(gamma), np.minimum(walk.run, last)
        kept_i = np.where(stale, kept_stale[i], kept[i]) if i < len(kept_stale) else kept[i]
        kept_i = np.take_along_axis(kept_i, place[None], axis=0)[0]
        rows.append((stale, walk.run == 0, examined, examined & kept_i, place))
        walk = walk.commit(kept_i, gamma)
    return walk, Decoded(*(np.stack(part) for part in zip(*rows, strict=True)))


def accept_committed(target_probs: np.ndarray, draft_probs: np.ndarray, token: np.ndarray, uniform: np.ndarray):
    """Whether the position whose *committed* token is known had its draft token accepted: ``[...]``.

    Under the token rule a position commits y and accepts with probability min(target, draft)(y), and commits y with
    probability target(y). So, given y, it accepted with probability min(1, draft(y)/target(y)): the accept rule with
    the two laws exchanged.
    """
    return accept(draft_probs, target_probs, token, uniform)


def begin(copies: int) -> Walk:
    """Nothing committed yet."""
    return Walk.begin(np.zeros(copies, dtype=int))
