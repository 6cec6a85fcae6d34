"""What is chosen by cost before every step: how many tokens it drafts, at which level the drafter works, and by which
way.

All read the steps before alone, so that the text stays lossless, and keep a promise on every path
(``theory/speculation/draft_length.py``, ``worth.py``). A drafter of several parts drafts with its first one at level 0,
with all that are cheap at level 1, and with all at the last. Every level has an account of its own, and is on only
where those below it are. What learning costs is held by the costs of ``real/measure/costs.py``, not by a profile's.

A drafter that copies has three ways. Where nothing is found to copy after some text, its models draft; if there is one
alone, nothing more is looked up. Where something is found after all, copies alone draft, and no model runs, if the
speed law says that this is faster than all of it together. Each way has its own estimate of what is rejected, and at
rest the first part has that of steps where nothing was found. Of two ways that compete, the one that is not taken
fades to a guess, and is tried again where that promises more: for copies the one before the first step, for all parts
together the better of that and what the models do where nothing is found. A step of copies alone tells no account
what the draft would have been worth: it is held against the speed that the law gives the first part alone, by its
steps where nothing was found. That is an estimate; the promise against plain decoding knows none.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from real.drafters import Drafter
from real.drafters.base import COPIES, MIXED, MODEL
from real.serving.settings import Serving
from real.serving.step import Step
from theory.speculation.draft_length import DraftLength
from theory.speculation.draft_length import State as Lengths
from theory.speculation.worth import Worth

DEAREST = 2
"""Steps of the longest draft, all of it lost, that the account of a level covers, or it would hardly ever be on."""


class Known(NamedTuple):
    """What the past tells: the state of the choice of lengths, and what each level may still spend, in plain steps.

    ``model``, ``copies``: positions verified and rejected in steps of these two ways; ``lengths`` has those of steps in
    which all of the drafter drafts.
    """

    lengths: Lengths
    balances: tuple[float, ...]
    model: tuple[float, ...] = ()
    copies: tuple[float, ...] = ()


class Control:
    """Chooses for one drafter; ``serving`` has its costs, those of its lower levels, and of its ways.

    Attributes:
        level: of the next step, as the place of its costs; the last where there is no choice. way: the same.

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
        self.model, self.copies = list[DraftLength](), None
        if serving.way_costs and drafter.copying:
            model, copies = serving.way_costs
            self.model = [DraftLength(one, serving.switch_cost) for one in _model_costs(costs, model)]
            self.copies = DraftLength(tuple(copies))  # no model has anything to catch up with
        self.drafter, self.level, self.way = drafter, len(costs) - 1, MIXED
        self.gamma = 0  # that the step under way was asked for
        own = [level.costs for level in self.levels]
        self._extra = [[0.0] * len(own[0]), *(_more(above, below) for below, above in pairwise(own))]
        self._looked = _more(self.model[1].costs, own[0]) if len(self.model) > 1 else self._extra[0]
        spent = [
            extra + gamma * (cost + serving.switch_cost)
            for more, of_level in zip(self._extra[1:], own[1:], strict=True)
            for gamma, (extra, cost) in enumerate(zip(more, of_level, strict=True))
        ]
        self.worth = Worth(account=max([Worth.account, *(DEAREST * one for one in spent)]))

    @property
    def rests(self) -> bool:
        """Whether all parts of the drafter rest in the next step but the first."""
        return self.level < len(self.levels) - 1 and self.level == 0

    def init(self) -> Known:
        """Before the first step."""
        lengths, balances = self.levels[-1].init(), (self.worth.init(),) * (len(self.levels) - 1)
        return Known(lengths, balances, *[lengths[:2]] * (2 if self.copies else 0))

    def begin(self, known: Known) -> int:
        """How many tokens the next step drafts; sets its way."""
        if self.copies:
            self.way = MODEL if self.rests else self._choose_way(known, self.copies)
            self.drafter.draft_by(self.way)
        self.gamma = self._policy(self.way).choose(_lengths(known, self.way))
        while self.gamma and self.way != MIXED and not self._affordable(known, self.gamma):
            self.gamma -= 1
        return self.gamma

    def end(self, known: Known, after: Sequence[Step]) -> Known:
        """What is known after the steps of all texts; sets the level of the next one."""
        if after:
            if len(self.levels) > 1:
                known = self._paid(known, after)
            known = self._observed(known, after)
        level = self.highest(known)
        if level != self.level:
            self.level = level
            self.drafter.work(level)
        return known

    def highest(self, known: Known) -> int:
        """The highest level at whose next step no account can be overdrawn, its own and those below it."""
        for level in range(len(self.levels) - 1, 0, -1):
            gamma = self.levels[level].choose(known.lengths) or int(self.copies is not None)  # copies cost less
            cost = self.levels[level].cost(known.lengths, gamma)
            spent = [extra[gamma] for extra in self._extra[1 : level + 1]]
            if gamma and all(map(self.worth.on, known.balances, [gamma] * level, [cost] * level, spent)):
                return level if self._can_look(known, level) else 0
        return 0

    def _can_look(self, known: Known, level: int) -> bool:
        """Whether the first account can pay for a step in which nothing is found."""
        if not self.copies:
            return True
        return self._looked[self.model[level].choose(_lengths(known, MODEL))] <= known.balances[0]

    def _choose_way(self, known: Known, copies: DraftLength) -> str:
        if not self.drafter.finds():
            return MODEL
        faster = copies.speed(_lengths(known, COPIES)) >= self.levels[self.level].speed(known.lengths)
        return COPIES if faster else MIXED

    def _affordable(self, known: Known, gamma: int) -> bool:
        """Whether such a step can overdraw no account, by the way that is set; ``highest`` has seen to ``MIXED``."""
        cost, own = self._policy(self.way).cost(_lengths(known, self.way), gamma), known.balances[: self.level]
        if not own:
            return True
        if self.way == COPIES:
            return cost <= own[0]
        extra = [self._looked[gamma], *(more[gamma] for more in self._extra[2 : self.level + 1])]
        if self.drafter.first_alone:  # it loses nothing but what looking costs
            return extra[0] <= own[0]
        return all(self.worth.on(balance, gamma, cost, more) for balance, more in zip(own, extra, strict=False))

    def _policy(self, way: str) -> DraftLength:
        if way == COPIES and self.copies:
            return self.copies
        return self.model[self.level] if way == MODEL else self.levels[self.level]

    def _observed(self, known: Known, after: Sequence[Step]) -> Known:
        """What a step tells of its way."""
        tokens = sum(len(taken.tokens) for taken in after) / len(after)  # a plain step gives each text one
        rejected = sum(taken.rejected for taken in after)
        verified = sum(taken.accepted for taken in after) + rejected
        if self.way == COPIES:  # a draft that ended early is no better than one that was rejected there
            ended = sum(taken.drafted < self.gamma <= taken.room and not taken.rejected for taken in after)
            verified, rejected = verified + ended, rejected + ended
        policy, gamma = self._policy(self.way), max(taken.drafted for taken in after)
        state = policy.observe(_lengths(known, self.way), gamma, tokens, verified, rejected)
        if not self.copies:
            return known._replace(lengths=state)
        rest, fresh = known.lengths._replace(account=state.account, drafting=state.drafting), policy.init()[:2]
        if self.way == MIXED:
            return known._replace(lengths=state, copies=_faded(known.copies, fresh, policy.memory))
        if self.way == MODEL:
            return known._replace(lengths=rest, model=state[:2])
        guess = _better(fresh, known.model)
        tried = rest.verified > fresh[0]
        verified, rejected = _faded(rest[:2], guess, policy.memory) if tried else guess
        return known._replace(lengths=Lengths(verified, rejected, state.account, 0.0), copies=state[:2])

    def _paid(self, known: Known, after: Sequence[Step]) -> Known:
        """The accounts after one step of all texts: the mean of what they gained, at the longest draft."""
        gamma, free = max(taken.drafted for taken in after), [0.0] * len(known.balances)
        cost = self._policy(self.way).cost(_lengths(known, self.way), gamma)
        extra, less = [more[gamma] for more in self._extra[1 : self.level + 1]] + free[self.level :], free
        if self.way == COPIES:
            tokens = sum(len(taken.tokens) for taken in after) / len(after)
            extra = [cost - tokens / self.levels[0].speed(_lengths(known, MODEL)), *free[1:]]
        elif self.drafter.asks_all:
            gained = [self.drafter.gained(row, taken.verified_probs) for row, taken in enumerate(after)]
            less = [sum(one) / len(one) for one in zip(*gained, strict=True)] + free[self.level :]
        if self.way == MODEL and not self.rests:
            extra[0] = self._looked[gamma]
        paid = zip(known.balances, extra, less, strict=True)
        return known._replace(balances=tuple(self.worth.observe(one, gamma, cost, *more) for one, *more in paid))


def _more(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """By how much steps of every length cost more, in plain steps."""
    return [max(0.0, cost - less) for cost, less in zip(above, below, strict=True)]


def _model_costs(levels: Sequence[Sequence[float]], measured: Sequence[float]) -> list[tuple[float, ...]]:
    """What steps in which nothing was found cost at every level; ``measured`` at the last one."""
    if len(levels) == 1:
        return [tuple(measured)]
    known = np.array(levels)
    found = known - known[1] + known[0] + np.maximum(0.0, measured - known[-1] + known[1] - known[0])
    found = np.maximum.accumulate(np.concatenate([known[:1], found[1:]]), 1)
    found[:, 0] = 1.0
    return [tuple(one) for one in found.tolist()]


def _lengths(known: Known, way: str) -> Lengths:
    """The state of the choice of lengths in steps of this way."""
    if way == MIXED:
        return known.lengths
    verified, rejected = known.model if way == MODEL else known.copies
    return known.lengths._replace(verified=verified, rejected=rejected)


def _better(fresh: Sequence[float], known: Sequence[float]) -> tuple[float, float]:
    """The counts before the first step, or as few as those in which what is known is rejected, if that is less."""
    verified, rejected = fresh
    return verified, min(rejected, verified * known[1] / known[0])


def _faded(counts: Sequence[float], fresh: Sequence[float], memory: float) -> tuple[float, ...]:
    """The counts of a way that was not taken, a little nearer to those before the first step."""
    return tuple(one + (new - one) / memory for one, new in zip(counts, fresh, strict=False))
