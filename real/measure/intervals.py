"""Intervals by a bootstrap: how often each unit (a prompt, a round) is drawn in each resample, and the central 95 %.

A unit's numbers are drawn together for everything compared on it, so a comparison is paired.
"""

import numpy as np

RESAMPLES = 2000
FEWEST = 4
"""Units below which nothing is said about their spread."""
CENTRAL = (0.025, 0.975)
"""Quantiles that hold 95 % between them."""


def draws(units: int, seed: int = 0) -> np.ndarray:
    """Counts ``[RESAMPLES + 1, units]`` of each unit in each resample; row 0 is the sample itself, all ones.

    ``draws(n) @ column`` is the resampled sums of a column ``[n]``. Below ``FEWEST`` units all resamples are nan.
    """
    if units < FEWEST:
        return np.concatenate([np.ones((1, units)), np.full((RESAMPLES, units), np.nan)])
    counts = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), RESAMPLES)
    return np.concatenate([np.ones((1, units)), counts])


def interval(values: np.ndarray) -> dict[str, float | None]:
    """``{value, low, high}``: the sample's own value and the central 95 % of its resamples; None where undefined."""
    if not np.isfinite(values[0]):
        return {"value": None, "low": None, "high": None}
    if np.isnan(values[1:]).all():
        return {"value": float(values[0]), "low": None, "high": None}
    low, high = np.nanquantile(values[1:], CENTRAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
