"""What steps of several systems cost, measured in one contest, so that they are chosen by the same clock.

Every system at every draft length and level, and plain decoding, serve short requests in turn, nothing learning. A step
that drafts γ tokens costs

    verify(γ) + γ·draft + rest,

verify(γ) being the median over the steps of all systems, for they verify alike; draft, the mean of a drafted token, and
rest, the mean of what neither drafts nor verifies, are a system's own: what it takes in, it takes in seldom. So nobody
is favoured by a machine whose speed wanders. ``profile.py`` measures one system alone, with limits for promises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import NamedTuple

import numpy as np

from real.measure.contenders import Asked, AtLength, Timed
from real.measure.contest import contest, warm_up
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method

NEW = 32
"""New tokens of a request: turns are short."""
TYPICAL = 0.95
"""Of all steps those that enter a mean, the shortest: the others were disturbed."""


class Costs(NamedTuple):
    """Of steps that draft 0, 1, … gamma tokens, in plain steps, at each of the drafter's levels, the last last."""

    levels: tuple[tuple[float, ...], ...]

    def applied(self, serving: Serving) -> Serving:
        """The serving with lengths and levels chosen by these costs."""
        return replace(serving, costs=self.levels[-1], lower_costs=self.levels[:-1])


class Turn(NamedTuple):
    """Who serves in one turn: a system at a level, and how many tokens it drafts a step."""

    system: str
    level: int
    gamma: int


PLAIN = Turn("", 0, 0)


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
    contenders = {PLAIN: AtLength(target, drafter, brief, [0])} | {
        Turn(name, level, gamma): AtLength(target, drafter, brief, [gamma], level)
        for name, (target, drafter) in drafters.items()
        for level in range(drafter.levels)
        for gamma in range(1, serving.gamma + 1)
    }
    requests = [Asked(prompt, i + 1) for i, prompt in enumerate(prompts)]
    warm_up(contenders, requests[:1])
    runs = contest(contenders, requests, after=lambda served: progress(served, len(requests)))
    full = {turn: [one for steps in runs[turn] for one in steps if one.drafted == turn.gamma] for turn in contenders}
    for turn, steps in full.items():
        if not steps:
            raise ValueError(f"prompts={len(prompts)}: no step of {turn.system!r} drafted {turn.gamma}; take more")
    return {
        name: Costs(tuple(costs(full, name, level) for level in range(drafter.levels)))
        for name, (_, drafter) in drafters.items()
    }


def costs(full: Mapping[Turn, Sequence[Timed]], system: str, level: int) -> tuple[float, ...]:
    """Of one system at one level, by the formula; they never fall with the length."""
    own = [(turn.gamma, one) for turn, steps in full.items() if turn[:2] == (system, level) for one in steps]
    draft = _typical([one.draft / gamma for gamma, one in own])
    rest = _typical([one.whole - one.draft - one.verify for _, one in own])
    plain = median(one.whole for one in full[PLAIN])
    lengths = range(1, max(gamma for gamma, _ in own) + 1)
    verify = [median(one.verify for t, steps in full.items() if t.gamma == gamma for one in steps) for gamma in lengths]
    found = [1.0, *((seconds + gamma * draft + rest) / plain for gamma, seconds in zip(lengths, verify, strict=True))]
    return tuple(float(cost) for cost in np.maximum.accumulate(found))


def _typical(seconds: Sequence[float]) -> float:
    """The mean of all but the longest."""
    return mean(sorted(seconds)[: max(1, round(TYPICAL * len(seconds)))])
