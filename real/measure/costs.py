"""What steps of several systems cost, measured in one contest, so that they are chosen by the same clock.

Every system at every draft length and level, and plain decoding, serve short requests in turn. A step that drafts γ
tokens costs

    verify(γ) + first + γ·more + learning,

verify(γ) being the median over the steps of all systems, for they verify alike. What else a step does is a system's
own, a line in γ: it is fitted to the medians over requests of a request's mean, for what a drafter takes in, it takes
in seldom. Learning is charged to the levels of a drafter that has some, but the lowest: nothing is learned there; it is
the mean over requests, for most of them hold no update. So
nobody is favoured by a machine whose speed wanders. A drafter that copies serves once more by its two other ways,
copies alone wherever something is found (``real/serving/control.py``); what its models then have to catch up with is
in the cost of the steps where nothing is. ``profile.py`` measures one system alone, with limits for promises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np

from real.drafters.base import COPIES, MIXED, MODEL
from real.measure.contenders import Asked, AtLength, Learns, Timed
from real.measure.contest import Contender, contest, warm_up
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method

NEW = 32
"""New tokens of a request: turns are short."""


class Costs(NamedTuple):
    """Of steps that draft 0, 1, … gamma tokens, in plain steps, at each of the drafter's levels, the last last; and by
    its other two ways, where nothing is found to copy and of copies alone, if it has them."""

    levels: tuple[tuple[float, ...], ...]
    ways: tuple[tuple[float, ...], ...] = ()

    def applied(self, serving: Serving) -> Serving:
        """The serving with lengths and levels chosen by these costs."""
        return replace(serving, costs=self.levels[-1], lower_costs=self.levels[:-1], way_costs=self.ways)


class Turn(NamedTuple):
    """Who serves in one turn: a system at a level, how many tokens it drafts a step, and by which way."""

    system: str
    level: int
    gamma: int
    way: str = MIXED


PLAIN, BOTH = Turn("", 0, 0), "both"
Steps = Mapping[Turn, Sequence[Sequence[Timed]]]
"""Of every turn and request, the steps that drafted in full."""


def measure(
    models: Models,
    methods: Mapping[str, Method],
    serving: Serving,
    prompts: Sequence[list[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Costs]:
    """The costs of every method that drafts.

    Raises:
        ValueError: if a length was never drafted in full: there are too few prompts.
    """
    brief = replace(serving, max_new_tokens=NEW)
    made = {name: (models.pair_of(row).target, models.drafter(row, serving)) for name, row in methods.items()}
    drafters = {name: (target, drafter) for name, (target, drafter) in made.items() if drafter is not None}
    target, drafter = next(iter(drafters.values()))
    contenders: dict[Any, Contender[Asked, Any]] = {PLAIN: AtLength(target, drafter, brief, [0])}
    for name, (target, drafter) in drafters.items():
        for level in range(drafter.levels):
            for gamma in range(1, serving.gamma + 1):
                contenders[Turn(name, level, gamma)] = AtLength(target, drafter, brief, [gamma], level)
        for gamma in range(1, serving.gamma + 1) if drafter.copying else ():
            both = AtLength(target, drafter, brief, [gamma], apart=True)
            contenders[Turn(name, drafter.levels - 1, gamma, BOTH)] = both
        if drafter.levels > 1:
            contenders[name] = Learns(models.decoder(methods[name], brief), models.device)
    requests = [Asked(prompt, i + 1) for i, prompt in enumerate(prompts)]
    warm_up(contenders, requests[:1])
    runs = contest(contenders, requests, after=lambda served: progress(served, len(requests)))
    full = {
        turn._replace(way=way): [[one for one in steps if (one.drafted, one.way) == (turn.gamma, way)] for steps in run]
        for turn, run in runs.items()
        if isinstance(turn, Turn)
        for way in ((MODEL, COPIES) if turn.way == BOTH else (MIXED,))
    }
    for turn, steps in full.items():
        if turn.way == MIXED and not any(steps):
            raise ValueError(f"prompts={len(prompts)}: no step of {turn.system!r} drafted {turn.gamma}; take more")
    return {
        name: Costs(
            tuple(costs(full, name, level, mean(runs[name]) if level else 0.0) for level in range(drafter.levels)),
            tuple(costs(full, name, drafter.levels - 1, way=way) for way in (MODEL, COPIES) if drafter.copying),
        )
        for name, (_, drafter) in drafters.items()
    }


def costs(full: Steps, system: str, level: int, learning: float = 0.0, way: str = MIXED) -> tuple[float, ...]:
    """Of one system at one level and by one way, by the formula, ``learning`` in seconds a step; they never fall with
    the length. Where a way other than ``MIXED`` was seldom taken, its line is that of ``MIXED``."""
    own = {
        turn.gamma: [steps for steps in all_ if steps]
        for turn, all_ in full.items()
        if (turn.system, turn.level, turn.way) == (system, level, way)
    }
    if way != MIXED and sum(map(bool, own.values())) < min(2, len(own)):
        return costs(full, system, level)
    own = {gamma: steps for gamma, steps in own.items() if steps}
    lengths = sorted({turn.gamma for turn in full} - {0})
    beside = [median(mean(one.whole - one.verify for one in steps) for steps in own[gamma]) for gamma in sorted(own)]
    more, first = np.polyfit(sorted(own), beside, 1) if len(own) > 1 else (0.0, beside[0])
    plain = median(one.whole for steps in full[PLAIN] for one in steps)
    verify = {
        gamma: median(
            one.verify for turn, all_ in full.items() if turn.gamma == gamma for steps in all_ for one in steps
        )
        for gamma in lengths
    }
    found = [1.0, *((verify[gamma] + first + gamma * more + learning) / plain for gamma in lengths)]
    return tuple(float(cost) for cost in np.maximum.accumulate(found))
