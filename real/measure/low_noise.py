"""The low-noise net: what a net ratio would be on one shared text, without the luck of each contender's own samples.

A measured net ratio compares texts that each contender has sampled for itself, and how many drafts were accepted on the
way is chance as well. Both can be taken out. All contenders read the same text of a request, as if they had served it;
a draft has an acceptance rate at each of its positions, and from these the number of steps that the text takes is
expected exactly (``theory.speculation.speedup.expected_steps``). The low-noise rate is

    expected tokens per step on the shared texts  ×  steps a second as they were measured, interleaved,

everything charged, and the low-noise net is the ratio of two such rates. Its noise is that of the clock, and of which
requests there were.

The rate at a position is the overlap Σ_y min(target, draft). Of the one token y that stands there, a draft would be
accepted with probability min(1, draft(y)/target(y)), of which the overlap is the mean over the target's law. The mean
has much less noise. Since what follows depends on y, it is not exact: on random chains of three symbols the steps are
off by a thousandth in the median and by two hundredths at worst (``tests/real/measure/test_low_noise.py``), alike for
contenders that are compared.

Where contenders choose lengths or rest by cost, what they do depends on the steps before, and there is no such text.
There the luck of verification alone is taken out (``without_luck``): the accepted tokens of a step are replaced by the
overlaps at its examined positions. Whether a position is examined is known before it is, and then its overlap is the
chance that it is accepted; so both have the same expectation, however the lengths were chosen.

A draft needs a law of its own at every position of a given text. ``contenders.why_unfollowed``
says who has none, and why.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from real.measure.contest import SECONDS, Totals, quotient
from real.measure.intervals import UNKNOWN, Interval, interval
from theory.speculation.speedup import expected_steps

SHARED, EXPECTED = "shared_tokens", "expected_steps"
"""Columns: tokens of the shared text, and the steps that they are expected to take."""


class Follower(Protocol):
    """Reads texts that another has committed, and learns from them.

    ``gamma`` is how many tokens it drafts a step, 0 if it decodes plainly.
    """

    gamma: int

    def follow(self, prompt: list[int], text: list[int], /) -> Sequence[float]:
        """The acceptance rate at every position of the text, each before the learner has seen it."""
        ...


def expected(follower: Follower, prompt: list[int], text: list[int]) -> dict[str, float]:
    """The columns of one request for one follower."""
    rates = np.clip(follower.follow(prompt, text), 0.0, 1.0)  # sums of float32 laws miss 1 by their rounding
    return {SHARED: len(text), EXPECTED: float(expected_steps(rates, follower.gamma))}


def without(row: Mapping[str, float]) -> dict[str, float]:
    """A measurement without these columns."""
    return {name: value for name, value in row.items() if name not in (SHARED, EXPECTED)}


def low_noise_rate(totals: Totals, name: str) -> np.ndarray | None:
    """Expected tokens a step × measured steps a second ``[resamples + 1]``; None for who followed no text."""
    if EXPECTED not in totals.columns[name]:
        return None
    return totals.per(name, SHARED, EXPECTED) * totals.per(name, "steps", SECONDS)


def low_noise_net(totals: Totals, one: str, other: str) -> Interval:
    """The low-noise net of one contender over another; unknown where either followed no text."""
    ours, theirs = (low_noise_rate(totals, name) for name in (one, other))
    return dict(UNKNOWN) if ours is None or theirs is None else interval(ours / theirs)


def expected_tokens(totals: Totals, name: str) -> np.ndarray:
    """Tokens, had every examined position been accepted as often as its laws say ``[resamples + 1]``."""
    return totals.sum(name, "tokens") - totals.sum(name, "accepted") + totals.sum(name, "alpha_sum")


def without_luck(totals: Totals, name: str) -> np.ndarray:
    """The same a second ``[resamples + 1]``."""
    return quotient(expected_tokens(totals, name), totals.sum(name, SECONDS))


def followed(columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a text was followed at all."""
    return any(EXPECTED in run for run in columns.values())
