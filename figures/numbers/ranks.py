"""Numbers of the paper's thesis: does lower regret go with higher speed?"""

from collections.abc import Iterator
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import limits, percent, table

SOURCE = "ranks.json"
LOSSES = {"kl": "KL", "tv": "TV", "hint": "hint error"}
SPEEDS = {"tokens_per_step": "tokens per step", "net": "net speed"}


def ranks(results: Results) -> Iterator[str]:
    """How often the lower loss has the higher speed, in all and by drafter."""
    yield (
        "Two learners of one drafter on one stream have the same comparators, so their regrets differ by their losses: "
        "KL or TV, means over the positions that verification examined. A pair is decided if the 95 % intervals of "
        "both differences, in loss and in speed, leave out zero; it agrees if the lower loss is faster. *Hint error*: "
        "systems with hints against the same step without. Drafters start from one domain, all learning is charged. "
        "Intervals resample streams. Expected beforehand: TV agrees with tokens per step in "
        f"{percent(_file(results)['expected'], 0)} of the decided pairs."
    )
    heads = ["drafter", "lower", "goes with higher", "pairs", "decided", "agreeing", "share"]
    yield table(heads, [
        [one["drafter"], LOSSES[one["loss"]], SPEEDS[one["speed"]], *(str(one[key]) for key in
         ("pairs", "decided", "agreeing")), limits(one["share"])]
        for one in _file(results)["shares"]
    ])  # fmt: skip


def _file(results: Results) -> dict[str, Any]:
    return results.json(SOURCE)


def share(results: Results, loss: str, speed: str) -> dict[str, Any]:
    """The row over all drafters."""
    (row,) = [
        one for one in _file(results)["shares"] if (one["drafter"], one["loss"], one["speed"]) == ("all", loss, speed)
    ]
    return row
