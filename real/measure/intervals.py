"""Intervals by a bootstrap: how often each unit (a prompt, a round) is drawn in each resample, and what holds 95 %.

A unit's numbers are drawn together for everything compared on it, so a comparison is paired.
"""

import numpy as np

Interval = dict[str, float | None]
"""``{value, low, high}``: the sample's own value, and the limits of its central 95 %; None where undefined."""
UNKNOWN: Interval = {"value": None, "low": None, "high": None}

RESAMPLES = 2000
FEWEST = 4
"""Units below which nothing is said about their spread."""
CENTRAL = (0.025, 0.975)
"""Quantiles that hold 95 % between them."""
ONE_SIDED = 0.05
"""Quantile that has 95 % above it."""


def draws(units: int, seed: int = 0) -> np.ndarray:
    """Counts ``[RESAMPLES + 1, units]`` of each unit in each resample; row 0 is the sample itself, all ones.

    ``draws(n) @ column`` is the resampled sums of a column ``[n]``. Below ``FEWEST`` units all resamples are nan.
    """
    if units < FEWEST:
        return np.concatenate([np.ones((1, units)), np.full((RESAMPLES, units), np.nan)])
    counts = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), RESAMPLES)
    return np.concatenate([np.ones((1, units)), counts])


def interval(values: np.ndarray) -> Interval:
    """The sample's own ``values[0]`` with the central 95 % of its resamples ``values[1:]``."""
    if not np.isfinite(values[0]):
        return dict(UNKNOWN)
    if np.isnan(values[1:]).all():
        return {"value": float(values[0]), "low": None, "high": None}
    low, high = np.nanquantile(values[1:], CENTRAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def lower_limit(values: np.ndarray) -> float | None:
    """The one-sided 95 % lower limit by the resamples ``values[1:]``; None where there are none."""
    return None if np.isnan(values[1:]).all() else float(np.nanquantile(values[1:], ONE_SIDED))


def upper_limit(values: np.ndarray) -> float:
    """The one-sided 95 % upper limit by the resamples ``values[1:]``; the sample's own value where there are none."""
    return float(values[0]) if np.isnan(values[1:]).all() else float(np.nanquantile(values[1:], 1 - ONE_SIDED))


def half_width(values: np.ndarray) -> float:
    """Half the width of the central 95 % of the resamples ``values[1:]``; 0 where one of them is undefined."""
    return float(np.nan_to_num(np.diff(np.quantile(values[1:], CENTRAL))[0] / 2))
