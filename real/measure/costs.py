"""What steps of several systems cost, measured in one contest, so that they can be chosen by the same clock.

Every system at every draft length and plain decoding serve short requests in turn, nothing learning. A cost is the
median time of steps that drafted so many tokens over that of plain ones. ``profile.py`` measures one system alone, with
limits for promises; here noise must favour nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import numpy as np

from real.measure.contenders import Asked, AtLength
from real.measure.contest import contest, warm_up
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method

NEW = 32
"""New tokens of a request: turns are short, so that a machine whose speed wanders disturbs all alike."""


class Costs(NamedTuple):
    """Median ``seconds`` of a step that drafts 0, 1, … gamma tokens; ``rests``: whether the parts can."""

    seconds: tuple[float, ...]
    rests: bool

    @property
    def costs(self) -> tuple[float, ...]:
        """In plain steps; noise apart a longer draft costs no less than a shorter one."""
        return tuple(float(cost) for cost in np.maximum.accumulate(self.seconds) / self.seconds[0])


def measure(
    models: Models,
    methods: Mapping[str, Method],
    serving: Serving,
    prompts: Sequence[list[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Costs]:
    """The costs of every method that drafts.

    Raises:
        ValueError: if a length never drafted in full: there are too few prompts.
    """
    brief, plain = replace(serving, max_new_tokens=NEW), ("", 0)
    drafters = {name: (models.pair_of(row).target, models.drafter(row, serving)) for name, row in methods.items()}
    drafters = {name: (target, drafter) for name, (target, drafter) in drafters.items() if drafter is not None}
    contenders = {
        (name, gamma): AtLength(target, drafter, brief, [gamma])
        for name, (target, drafter) in drafters.items()
        for gamma in range(1, serving.gamma + 1)
    }
    target, drafter = next(iter(drafters.values()))
    contenders[plain] = AtLength(target, drafter, brief, [0])
    requests = [Asked(prompt, i + 1) for i, prompt in enumerate(prompts)]
    warm_up(contenders, requests[:1])
    runs = contest(contenders, requests, after=lambda served: progress(served, len(requests)))
    seconds = {}
    for place, turns in runs.items():
        full = [step.whole for steps in turns for step in steps if step.drafted == step.asked]
        if not full:
            raise ValueError(f"prompts={len(prompts)}: no step of {place[0]!r} drafted {place[1]} tokens; take more")
        seconds[place] = median(full)
    lengths = range(1, serving.gamma + 1)
    return {
        name: Costs((seconds[plain], *(seconds[name, gamma] for gamma in lengths)), drafter.rests)
        for name, (_, drafter) in drafters.items()
    }


def applied(serving: Serving, found: Costs, at_rest: Costs) -> Serving:
    """The serving by these costs; where its parts can rest, ``at_rest`` are those of the first part alone."""
    return replace(serving, costs=found.costs, rest_costs=at_rest.costs if found.rests else ())
