"""By how much a mixture's levels differ in what verification rejects: level 0 the first part, the last all of them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from real.drafters.blend import Blend, rows_of
from real.models.sampling import one_hot
from real.models.text import Text, shaped
from theory.speculation.acceptance import alpha

Said = tuple[Blend, int]
"""Parts' laws at one position: a blend, and which of its texts or positions it is."""


def gains(
    said: Sequence[Said], mixed: Tensor, without: Tensor | None, target: Tensor, text: Text, start: int, greedy: bool
) -> list[float]:
    """Σ overlap at each level but the first less that at the level before, over m positions of a text from ``start``.

    ``said`` are the parts' laws there, ``mixed`` ``[m, V]`` the mixture, ``without`` the same without dear parts where
    there is such a level between, ``target`` the target's laws as they were verified. The text may shape laws: the
    draft's are shaped here. Of laws that are drafted from greedily, their argmax counts.
    """
    first = [rows_of(blend.law(0), row) for blend, row in said]
    served = torch.cat([*first, *([] if without is None else [without]), mixed])
    served = served.view(-1, len(said), served.shape[-1])  # [levels, m, V]
    if text.shape is not None:
        before = [text.until(start + i) for i in range(len(said))] * len(served)
        served = shaped(before, [], served.clamp_min(0).flatten(0, 1).log()).softmax(-1).nan_to_num(0)
        served = served.unflatten(0, (-1, len(said)))
    if greedy:
        served = one_hot(served.argmax(-1), served)
    kept = alpha(target.to(served), served).sum(-1).tolist()
    return [after - before for before, after in pairwise(kept)]


def without_parts(
    said: Sequence[Said], mixed: Tensor, weights: Sequence[float], dear: Sequence[int], bases: Sequence[int | None]
) -> Tensor:
    """The mixture ``[m, V]`` where the parts ``dear`` say what their bases say, at the same weights."""
    moved = list[Tensor]()
    for blend, row in said:
        own = blend.spread(row, weights)
        for k in dear:
            if (base := bases[k]) is not None and blend.law(base) is not blend.law(k):
                moved.append(own[k] * (rows_of(blend.law(base), row) - rows_of(blend.law(k), row)))
            else:
                moved.append(mixed.new_zeros(1, mixed.shape[1]))
    return mixed + torch.cat(moved).unflatten(0, (len(said), -1)).sum(1)
