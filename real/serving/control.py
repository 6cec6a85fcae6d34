"""What is chosen by cost before every step: how many tokens it drafts, and whether the drafter's parts draft or rest.

Both choices read the steps before alone, so that the text stays lossless, and keep a promise on every path
(``theory/speculation/draft_length.py``, ``worth.py``). A drafter of several parts that rests drafts with its first one,
and neither it nor its learner looks at what verification reveals. Costs do not hold a learner's updates.
"""

from typing import NamedTuple

from real.drafters import Drafter
from real.serving.settings import Serving
from real.serving.step import Step
from theory.speculation.draft_length import DraftLength
from theory.speculation.draft_length import State as Lengths
from theory.speculation.worth import Worth


class Known(NamedTuple):
    """What the past tells: the state of the choice of lengths, and what the parts may still spend, in plain steps."""

    lengths: Lengths
    balance: float


class Chosen(NamedTuple):
    """Of the next step: tokens to draft, and whether the parts rest."""

    gamma: int
    rests: bool


class Control:
    """Chooses for one drafter; ``serving`` has its costs, and those at rest if it can."""

    def __init__(self, serving: Serving, drafter: Drafter):
        self.working = DraftLength(serving.costs, serving.switch_cost)
        rests = drafter.rests and bool(serving.rest_costs)
        self.resting = DraftLength(serving.rest_costs, serving.switch_cost) if rests else None
        self.worth = Worth()

    def init(self) -> Known:
        """Before the first step."""
        return Known(self.working.init(), self.worth.init())

    def choose(self, known: Known) -> Chosen:
        """Before a step."""
        lengths, balance = known
        gamma = self.working.choose(lengths)
        if self.resting is None:
            return Chosen(gamma, False)
        if gamma and self.worth.on(balance, gamma, self.working.cost(lengths, gamma), self._extra(gamma)):
            return Chosen(gamma, False)
        return Chosen(self.resting.choose(lengths), True)

    def observe(self, known: Known, taken: Step, rested: bool, less: float = 0.0) -> Known:
        """After a step; ``less``: by how much the parts' total variations were smaller than the first one's."""
        lengths, balance = known
        used = self.resting if rested and self.resting is not None else self.working
        if self.resting is not None:
            extra = 0.0 if rested else self._extra(taken.drafted)
            balance = self.worth.observe(balance, taken.drafted, used.cost(lengths, taken.drafted), extra, less)
        outcome = len(taken.tokens), taken.accepted + taken.rejected, int(taken.rejected)
        return Known(used.observe(lengths, taken.drafted, *outcome), balance)

    def _extra(self, gamma: int) -> float:
        """What the parts cost in a step, in plain steps."""
        assert self.resting is not None
        return max(0.0, self.working.costs[gamma] - self.resting.costs[gamma])
