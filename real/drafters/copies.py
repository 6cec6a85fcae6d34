r"""Where the last tokens of a text stood in it before, and what followed: copies on the host, for drafts on a CPU.

The back-off of ``backoff.py`` as one sum, law = A·base + Σ_i weight_i·token_i, for a table of one text. The last tokens
stood nowhere before or a few times, so that to look them up costs less than to compare whole arrays. A GPU compares
arrays: it would have to wait for every token that is looked up.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Copies(NamedTuple):
    """A ``share`` of the base's law, and what every token that followed adds: as many ``ids`` as ``weights``."""

    share: float
    ids: list[int]
    weights: list[float]


NOWHERE = Copies(1.0, [], [])


def copies(tokens: Sequence[int], stop: int, last: Sequence[int], least: int, longest: int, entries: int) -> Copies:
    """What followed in ``tokens[:stop]`` after the tokens ``last``, nearest first; of the newest ``entries`` positions.

    A position counts for every length from ``least`` to ``longest`` to which its own last tokens are the same.
    """
    newest, at = last[0], max(stop - 1 - entries, 0)
    ids, depths = [], []
    while True:
        try:
            at = tokens.index(newest, at, stop - 1)
        except ValueError:
            break
        k, most = 1, min(longest, at + 1, len(last))
        while k < most and tokens[at - k] == last[k]:
            k += 1
        at += 1
        if k >= least:
            ids.append(tokens[at])
            depths.append(k)
    if not ids:
        return NOWHERE
    share, of_depth = 1.0, [0.0] * (longest + 1)  # Σ_{least ≤ j ≤ k} A_j, A_k = Π_{j≥k} 1/(n_j + 1)
    for k in range(longest, least - 1, -1):
        share /= sum(depth >= k for depth in depths) + 1
        of_depth[k] = share
    for k in range(least + 1, longest + 1):
        of_depth[k] += of_depth[k - 1]
    return Copies(share, ids, [of_depth[depth] for depth in depths])


def with_copies(laws: Tensor, found: Sequence[Copies]) -> Tensor:
    """Laws ``[n, V]`` on the CPU, each with the copies found for it."""
    if not any(one.ids for one in found):
        return laws
    mixed = laws * laws.new_tensor([one.share for one in found])[:, None]
    rows = mixed.numpy()  # over the same memory
    for row, one in enumerate(found):
        for token, weight in zip(one.ids, one.weights, strict=True):
            rows[row, token] += weight
    return mixed
