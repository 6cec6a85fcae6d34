"""`python -m real ranks`: does lower regret go with higher speed? By pairs of systems that share drafter and stream.

Two learners of one drafter, on one text, have the same comparators, so over all positions the difference of their
regrets is that of their losses. What is measured stands in for it: KL(target ‖ draft) and TV, means over the positions
that verification examined. Which these are depends on a system's own draft, and where decoding is sampled the texts of
two systems differ too. A pair is decided for a loss and a speed if the 95 % intervals of both differences, by a
bootstrap over prompts paired between systems, leave out zero; it agrees if the lower loss has the higher speed. Hints
are judged by their gain Σ‖grad − hint‖²/Σ‖grad‖² against the same learner without one, which the theorems put at 1:
below it speed should be higher.

Expected before the first run: TV agrees with tokens per step in at least 90 % of the decided pairs.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from real.measure.contest import quotient
from real.measure.intervals import UNKNOWN, Interval, draws, interval
from real.measure.summary import Sample, by_question, hint_gains, load_runs
from real.studies.systems_table import SMALL
from real.systems.rows import SPECIALISTS, SYSTEMS, Method

EXPECTED = 0.9
"""Of the decided pairs: how often lower TV was expected to go with more tokens per step."""
LOSSES = {"kl": "kl_sum", "tv": "alpha_sum"}
"""Loss → the column of its sum over the positions examined; alpha is 1 − TV."""
SPEEDS = {"tokens_per_step": "steps", "net": "seconds_total"}
HINTED = {"adapter-optimistic": "adapter-ogd", "heads-optimistic": "heads-ogd", "opt-hydra": "osd-hydra"}
"""Systems with hints → the same step without."""


def kind(method: Method) -> tuple[str, str]:
    """What two systems of a pair share: the drafter and where it starts. A small model is one however it learns."""
    small = method.drafter in SMALL and method.drafter != "mixture"
    return ("small model" if small else str(method.drafter)), method.draft


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Every two systems of one kind."""
    rows = SPECIALISTS | SYSTEMS
    found = [name for name in names if name in rows and rows[name].drafter is not None]
    return [(one, other) for one, other in combinations(found, 2) if kind(rows[one]) == kind(rows[other])]


def rows(cells: Mapping[str, Path]) -> list[dict[str, Any]]:
    """One row a pair, loss and speed: both differences, first system less the second, and whether they agree.

    Args:
        cells: name of a stream → the folder of its runs, seed by seed.
    """
    found = []
    for cell, folder in cells.items():
        runs = load_runs(folder)
        sample, gains, known = Sample(runs, units=by_question), hint_gains(runs), SPECIALISTS | SYSTEMS
        for one, other in pairs(sample.names):
            place = {"cell": cell, "drafter": kind(known[one])[0], "one": one, "other": other}
            losses = _losses(sample, one, other) | _hint(gains, one, other)
            for loss, difference in losses.items():
                for speed, column in SPEEDS.items():
                    ratio = interval(np.log(sample.ratio(one, other, column)))
                    told = {"loss": loss, "speed": speed, "loss_difference": difference, "speed_log_ratio": ratio}
                    signs = sign(difference) * sign(ratio)
                    found.append(place | told | {"decided": signs != 0, "agrees": signs < 0})
    return found


def beside(found: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, and those of an earlier report whose cell and drafter they do not have."""
    known = {(row["cell"], row["drafter"]) for row in found}
    return [row for row in earlier if (row["cell"], row["drafter"]) not in known] + list(found)


def _losses(sample: Sample, one: str, other: str) -> dict[str, Interval]:
    """The differences of the losses a position, those that both systems' runs have."""
    found = {}
    for loss, column in LOSSES.items():
        if all(column in sample.columns[name] for name in (one, other)):
            mean = {name: sample.per(name, column, "verified") for name in (one, other)}
            found[loss] = interval((mean[one] - mean[other]) * (-1.0 if loss == "tv" else 1.0))
    return found


def _hint(gains: Mapping[str, Interval], one: str, other: str) -> dict[str, Interval]:
    """The hint gain less 1 where one system is the other with hints, turned so that it is the first's less the
    second's."""
    bare = {name: name.removeprefix("specialist-") for name in (one, other)}
    for hinted, plain, turned in ((one, other, 1.0), (other, one, -1.0)):
        gain = gains.get(hinted, UNKNOWN)
        if HINTED.get(bare[hinted]) == bare[plain] and None not in gain.values():
            ends = sorted(turned * (gain[end] - 1) for end in ("low", "high"))  # pyright: ignore[reportOptionalOperand]
            return {"hint": {"value": turned * (gain["value"] - 1), "low": ends[0], "high": ends[1]}}  # pyright: ignore
    return {}


def sign(ends: Interval) -> int:
    """Of a difference whose interval leaves out zero; 0 if it does not, or is not known."""
    low, high = ends["low"], ends["high"]
    if low is None or high is None or low <= 0 <= high:
        return 0
    return 1 if low > 0 else -1


def shares(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each loss and speed, all drafters together and each alone: pairs, decided ones, and the share that agrees.

    Its interval resamples streams, for the pairs of one stream share systems and text.
    """
    found = []
    for drafter in ("all", *dict.fromkeys(row["drafter"] for row in table)):
        own = [row for row in table if drafter in ("all", row["drafter"])]
        for loss, speed in dict.fromkeys((row["loss"], row["speed"]) for row in own):
            chosen = [row for row in own if (row["loss"], row["speed"]) == (loss, speed)]
            cells = list(dict.fromkeys(row["cell"] for row in chosen))
            decided, agree = (
                np.array([sum(row["decided"] and row[key] for row in chosen if row["cell"] == cell) for cell in cells])
                for key in ("decided", "agrees")
            )
            weights = draws(len(cells))
            entry = {"drafter": drafter, "loss": loss, "speed": speed, "pairs": len(chosen)}
            entry |= {"decided": int(decided.sum()), "agreeing": int(agree.sum())}
            found.append(entry | {"share": interval(quotient(weights @ agree, weights @ decided))})
    return found
