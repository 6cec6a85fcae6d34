"""What is chosen by cost before every step: how many tokens it drafts, and at which level the drafter works.

Both choices read the steps before alone, so that the text stays lossless, and keep a promise on every path
(``theory/speculation/draft_length.py``, ``worth.py``). A drafter of several parts drafts with its first one at level 0,
with all that are cheap at level 1, and with all at the last. Every level has an account of its own, and is on only
where those below it are. What learning costs is held by the costs of ``real/measure/costs.py``, not by a profile's.
"""

from collections.abc import Sequence
from typing import NamedTuple

from real.drafters import Drafter
from real.serving.settings import Serving
from real.serving.step import Step
from theory.speculation.draft_length import DraftLength
from theory.speculation.draft_length import State as Lengths
from theory.speculation.worth import Worth


class Known(NamedTuple):
    """What the past tells: the state of the choice of lengths, and what each level may still spend, in plain steps."""

    lengths: Lengths
    balances: tuple[float, ...]


class Control:
    """Chooses for one drafter; ``serving`` has its costs, and those of its lower levels.

    Attributes:
        level: of the next step, as the place of its costs; the last where there is no choice.

    Raises:
        ValueError: for costs of more or fewer levels than a drafter has that has some.
    """

    def __init__(self, serving: Serving, drafter: Drafter):
        costs = [*serving.lower_costs, serving.costs] if drafter.levels > 1 else [serving.costs]
        if serving.lower_costs and len(costs) != drafter.levels and drafter.levels > 1:
            raise ValueError(
                f"lower_costs={serving.lower_costs!r}: {type(drafter).__name__} has {drafter.levels} levels; give the "
                "costs of all but the last"
            )
        self.levels = [DraftLength(tuple(of_level), serving.switch_cost) for of_level in costs]
        self.drafter, self.worth, self.level = drafter, Worth(), len(costs) - 1

    @property
    def rests(self) -> bool:
        """Whether all parts of the drafter rest in the next step but the first."""
        return self.level < len(self.levels) - 1 and self.level == 0

    def init(self) -> Known:
        """Before the first step."""
        return Known(self.levels[-1].init(), (self.worth.init(),) * (len(self.levels) - 1))

    def next(self, known: Known, after: Sequence[Step]) -> tuple[Known, int]:
        """What is known after the steps of all texts, and how many tokens the next one drafts; sets its level."""
        if len(self.levels) > 1 and after:
            known = self._paid(known, after)
        if after:
            tokens = sum(len(taken.tokens) for taken in after) / len(after)  # a plain step gives each text one
            rejected = sum(taken.rejected for taken in after)
            outcome = tokens, sum(taken.accepted for taken in after) + rejected, rejected
            gamma = max(taken.drafted for taken in after)
            known = known._replace(lengths=self.levels[self.level].observe(known.lengths, gamma, *outcome))
        level = self.highest(known)
        if level != self.level:
            self.level = level
            self.drafter.work(level)
        return known, self.levels[level].choose(known.lengths)

    def highest(self, known: Known) -> int:
        """The highest level at whose next step no account can be overdrawn, its own and those below it."""
        for level in range(len(self.levels) - 1, 0, -1):
            gamma = self.levels[level].choose(known.lengths)
            cost = self.levels[level].cost(known.lengths, gamma)
            spent = [self._extra(below, gamma) for below in range(1, level + 1)]
            if gamma and all(map(self.worth.on, known.balances, [gamma] * level, [cost] * level, spent)):
                return level
        return 0

    def _paid(self, known: Known, after: Sequence[Step]) -> Known:
        """The accounts after one step of all texts: the mean of what they gained, at the longest draft."""
        gamma, balances = max(taken.drafted for taken in after), []
        cost = self.levels[self.level].cost(known.lengths, gamma)
        gained = [self.drafter.gained(row, taken.target_probs) for row, taken in enumerate(after)]
        for above, balance in enumerate(known.balances, 1):
            worked = above <= self.level
            extra = self._extra(above, gamma) if worked else 0.0
            less = sum(one[above - 1] for one in gained) / len(gained) if worked else 0.0
            balances.append(self.worth.observe(balance, gamma, cost, extra, less))
        return known._replace(balances=tuple(balances))

    def _extra(self, level: int, gamma: int) -> float:
        """What a level costs in a step more than the one below it, in plain steps."""
        return max(0.0, self.levels[level].costs[gamma] - self.levels[level - 1].costs[gamma])
