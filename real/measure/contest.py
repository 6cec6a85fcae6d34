"""One contest: contenders serve the same requests side by side, and their tokens over seconds are compared.

Every request is a block. Each contender serves it, one after the other, in an order that rotates from request to
request, so that a noisy machine disturbs all alike and ratios can be paired. A speed is total tokens over total
seconds, never a mean of ratios. An interval draws whole requests, the same ones for every contender
(``intervals.py``).

A contender does not know the others, and the contest does not know what serves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from real.measure.intervals import Interval, draws, interval, lower_limit

Name = TypeVar("Name")
Request_contra = TypeVar("Request_contra", contravariant=True)
Measured_co = TypeVar("Measured_co", covariant=True)
Request = TypeVar("Request")
Measured = TypeVar("Measured")

SECONDS = "seconds_total"
"""The column of a measurement that speeds are taken over."""


class Contender(Protocol[Request_contra, Measured_co]):
    """Whoever takes part."""

    def serve(self, request: Request_contra, /) -> Measured_co:
        """Serve one request, whole. What was measured is most often columns that add up over requests: ``tokens``,
        ``steps``, ``seconds_total``, …"""
        ...


def contest(
    contenders: Mapping[Name, Contender[Request, Measured]],
    requests: Iterable[Request],
    runs: dict[Name, list[Measured]] | None = None,
    after: Callable[[int], Any] = lambda served: None,
) -> dict[Name, list[Measured]]:
    """Every contender serves every request → what each measured, in the order of requests.

    Args:
        contenders: by name; who takes part is said before the first request. Warm them up first (``warm_up``).
        requests: those not yet served.
        runs: what was measured before an interruption; it is added to in place.
        after: told how many requests all contenders have served, whenever that grows.
    """
    names, runs = list(contenders), {name: [] for name in contenders} if runs is None else runs
    for request in requests:
        served = min(len(run) for run in runs.values())
        first = served % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(contenders[name].serve(request))
        after(served + 1)
    return runs


def warm_up(contenders: Mapping[Any, Contender[Request, Any]], requests: Iterable[Request]) -> None:
    """Serve requests that do not count, so that nobody pays for first calls in the contest."""
    for request in requests:
        for contender in contenders.values():
            contender.serve(request)


class Totals:
    """Sums over the requests of a contest, of the requests themselves (entry 0) and of every paired resample.

    Args:
        columns: of each contender, ``[requests]`` each.
        weights: how often each request is drawn ``[resamples + 1, requests]``, the first row all ones; every request on
            its own if left out.
    """

    def __init__(
        self, columns: Mapping[Any, Mapping[str, np.ndarray]], weights: np.ndarray | None = None, seed: int = 0
    ):
        lengths = {len(column) for run in columns.values() for column in run.values()}
        assert len(lengths) == 1, f"a comparison is paired: every column is about the same requests, not {lengths}"
        self.columns, self.names = columns, list(columns)
        self._sums: dict[tuple[Any, str], np.ndarray] = {}
        self.weights = draws(lengths.pop(), seed) if weights is None else weights

    @classmethod
    def of(cls, runs: Mapping[Any, Sequence[Mapping[str, float]]], together: str = "") -> "Totals":
        """The totals of what a contest measured; requests that are alike in the column ``together`` are one unit."""
        columns = {name: {key: np.array([row[key] for row in run], float) for key in run[0]}
                   for name, run in runs.items()}  # fmt: skip
        if not together:
            return cls(columns)
        names, unit = np.unique(next(iter(columns.values()))[together], return_inverse=True)
        return cls(columns, draws(len(names))[:, unit])

    def part(self, chosen: np.ndarray, seed: int = 0) -> "Totals":
        """The totals over some of the requests, given as a mask or by their places."""
        return Totals({name: {key: column[chosen] for key, column in run.items()}
                       for name, run in self.columns.items()}, seed=seed)  # fmt: skip

    def sum(self, name: Any, column: str) -> np.ndarray:
        """Sum of one column of one contender ``[resamples + 1]``."""
        if (name, column) not in self._sums:
            self._sums[name, column] = self.weights @ self.columns[name][column]
        return self._sums[name, column]

    def per(self, name: Any, above: str, below: str) -> np.ndarray:
        """Sum of one column over that of another ``[resamples + 1]``; nan where the latter is 0."""
        return quotient(self.sum(name, above), self.sum(name, below))

    def rate(self, name: Any, per: str = SECONDS) -> np.ndarray:
        """Total tokens over total seconds, or over another column ``per`` ``[resamples + 1]``."""
        return self.per(name, "tokens", per)

    def ratio(self, one: Any, other: Any, per: str = SECONDS) -> np.ndarray:
        """The net ratio: the rate of one over that of the other, everything charged ``[resamples + 1]``."""
        return self.rate(one, per) / self.rate(other, per)


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, nan where ``below`` is not positive."""
    return above / np.where(below > 0, below, np.nan)


class Verdict(NamedTuple):
    """Whether a ratio is surely at least ``limit``.

    ``value`` is the sample's own; ``low`` decides: the lower limit of the central 95 %, or the one-sided 95 % limit, in
    which case there is no ``high``. Both are None where there were too few requests to say, and nothing holds there.
    """

    value: float | None
    low: float | None
    high: float | None
    limit: float
    holds: bool

    @property
    def interval(self) -> Interval:
        """``{value, low, high}``."""
        return {"value": self.value, "low": self.low, "high": self.high}


def verdict(ratio: np.ndarray, limit: float, one_sided: bool = False) -> Verdict:
    """Is ``ratio`` ``[resamples + 1]`` surely at least ``limit``, by its two-sided or its one-sided 95 % limit?"""
    found = interval(ratio)
    if one_sided:
        found |= {"low": lower_limit(ratio), "high": None}
    low = found["low"]
    return Verdict(found["value"], low, found["high"], limit, low is not None and low >= limit)
