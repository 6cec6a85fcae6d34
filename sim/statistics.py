"""What tables of many games say: means with their intervals, paired differences, rates in the horizon.

Copies are independent draws, so they are what is resampled. Two tables of one environment, seed and number of copies
have the same draws, copy by copy: their difference is paired.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sim.tidy import KEYS, Tidy

RESAMPLES = 2000
ENDS = (0.025, 0.975)
"""Quantiles of the resamples: a 95 % interval."""


def summary(table: Tidy, name: str = "dynamic_regret") -> list[dict[str, Any]]:
    """One column over the copies, a row a game: mean with its 95 % interval, median, the 10 % and 90 % quantiles.

    ``low`` and ``high`` are the mean's, by a bootstrap over copies; ``lower`` and ``upper`` are the quantiles.
    """
    rows = []
    for label, here in games(table):
        values = table.columns[name][here]
        low, high = np.quantile(np.mean(values[_draws(len(values))], axis=1), ENDS)
        row = dict(label) | {
            "copies": len(values),
            "mean": float(np.mean(values)),
            "low": float(low),
            "high": float(high),
        }
        row |= dict(zip(("lower", "median", "upper"), np.quantile(values, (0.1, 0.5, 0.9)).tolist(), strict=True))
        rows.append(row | {"violations": int(table.columns["violations"][here].sum())})
    return rows


def paired(one: Tidy, other: Tidy, name: str = "dynamic_regret") -> list[dict[str, Any]]:
    """The mean of ``one`` less that of ``other`` over the same draws, a row for every two games of one environment and
    horizon, with the 95 % interval of a bootstrap over copies, which both share.

    Raises:
        ValueError: if nothing pairs, or two games have different numbers of copies.
    """
    rows = []
    for mine, here in games(one):
        for yours, there in games(other):
            if any(mine[key] != yours[key] for key in ("environment", "horizon")):
                continue
            difference = [table.columns[name][rows_] for table, rows_ in ((one, here), (other, there))]
            if len(difference[0]) != len(difference[1]):
                raise ValueError(
                    f"paired: {len(difference[0])} copies of {mine} and {len(difference[1])} of {yours}; play as many"
                )
            gap = difference[0] - difference[1]
            low, high = np.quantile(np.mean(gap[_draws(len(gap))], axis=1), ENDS)
            told = {"one": _named(mine), "other": _named(yours), "environment": mine["environment"]}
            told |= {"horizon": mine["horizon"], "copies": len(gap)}
            rows.append(told | {"difference": float(np.mean(gap)), "low": float(low), "high": float(high)})
    if not rows:
        raise ValueError("paired: no two games share environment and horizon; play both on the same")
    return rows


def rates(table: Tidy, name: str = "dynamic_regret", bound: str = "guarantee") -> list[dict[str, Any]]:
    """How a mean grows with the horizon: the slope of its logarithm over that of T, by least squares, a row a setting.

    The 95 % interval resamples the copies of every horizon. ``declared`` is the slope of the bound over the same
    horizons, where every game has one: what the theorem says of the rate.

    Raises:
        ValueError: for fewer than three horizons, or a mean that is not positive.
    """
    rows = []
    for label, parts in _by_setting(table):
        horizons = np.array([horizon for horizon, _ in parts], dtype=float)
        if len(horizons) < 3:
            raise ValueError(f"rates: {len(horizons)} horizons of {label}; a rate needs three at least")
        values = [table.columns[name][here] for _, here in parts]
        means = np.array([np.mean(one) for one in values])
        if not np.all(means > 0):
            raise ValueError(
                f"rates: the mean {name} of {label} is {means.min():g} at one horizon; a rate needs positive ones"
            )
        resampled = np.stack([np.mean(one[_draws(len(one), i)], axis=1) for i, one in enumerate(values)])
        low, high = np.quantile(_slopes(horizons, np.maximum(resampled, np.finfo(float).tiny)), ENDS)
        row = dict(label) | {"horizons": len(horizons), "slope": float(_slopes(horizons, means[:, None])[0])}
        row |= {"low": float(low), "high": float(high)}
        limits = [table.columns[bound][here] for _, here in parts] if bound in table.columns else []
        known = bool(limits) and all(np.all(limit > 0) for limit in limits)
        declared = _slopes(horizons, np.array([[np.mean(limit)] for limit in limits]))[0] if known else np.nan
        rows.append(row | {"declared": float(declared)})
    return rows


def games(table: Tidy) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """What tells a game apart, and which rows are its copies, bool ``[rows]``."""
    keys = [key for key in table.columns if key in KEYS[:-1] or key in table.swept]
    labels = list(zip(*(table.columns[key].tolist() for key in keys), strict=True))
    for label in dict.fromkeys(labels):
        yield dict(zip(keys, label, strict=True)), np.array([one == label for one in labels])


def _by_setting(table: Tidy) -> Iterator[tuple[Mapping[str, Any], list[tuple[int, np.ndarray]]]]:
    found: dict[tuple, list[tuple[int, np.ndarray]]] = {}
    labels: dict[tuple, Mapping[str, Any]] = {}
    for label, here in games(table):
        rest = {key: value for key, value in label.items() if key != "horizon"}
        found.setdefault(tuple(rest.values()), []).append((label["horizon"], here))
        labels[tuple(rest.values())] = rest
    for key, parts in found.items():
        yield labels[key], sorted(parts, key=lambda part: part[0])


def _named(label: Mapping[str, Any]) -> str:
    settings = [f"{key}={value:g}" for key, value in label.items() if key not in KEYS]
    return ",".join([label["learner"], *settings])


def _draws(count: int, stream: int = 0) -> np.ndarray:
    """Which copies are drawn in every resample, ``[RESAMPLES, count]``; ``stream`` tells independent ones apart."""
    return np.random.default_rng([count, stream]).integers(count, size=(RESAMPLES, count))


def _slopes(horizons: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Least squares of log means ``[horizons, n]`` on log T → ``[n]``."""
    x = np.log(horizons) - np.mean(np.log(horizons))
    return x @ np.log(means) / np.sum(x * x)
