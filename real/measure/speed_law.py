"""The speed law and the pathwise theorems held against decoder runs, from their result files."""

from pathlib import Path
from typing import Any

import numpy as np

from real.measure.contest import SECONDS, Totals
from real.measure.intervals import half_width
from real.measure.summary import load_runs, pooled
from theory.runs.trace import Trace
from theory.speculation.speedup import speedup, steps_range

LARGEST_ERROR = 0.05  # relative; or the interval, if that is wider


def speed_law(folder: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Costs fitted on odd prompts predict the speedup over plain of even prompts, method by method.

    Fitted: plain seconds a token, and of the method seconds a draft forward (c), a verification (v), and everything
    else a step (b/m, learning included). The acceptance is that of the even prompts: the law is about time. It says
    that costs measured on some requests carry over to others at this draft length; not that they carry to another.
    """
    rows = []
    for experiment in sorted(path for path in folder.iterdir() if path.is_dir()):
        runs = load_runs(experiment)
        for method in next(iter(runs.values()), {}):
            if method != "plain":
                traces = [(run["plain"], run[method]) for run in runs.values()]
                rows.append({"experiment": experiment.name, "method": method, **_law(traces, seed)})
    return rows


def _law(traces: list[tuple[Trace, Trace]], seed: int) -> dict[str, Any]:
    gamma = traces[0][1].header["settings"]["gamma"]
    both = Totals({name: pooled([pair[i] for pair in traces]) for i, name in enumerate(("plain", "ours"))})
    odd = both.columns["plain"]["prompt"] % 2 == 1
    fit, test = both.part(odd, seed), both.part(~odd, seed + 1)
    token, steps = fit.per("plain", SECONDS, "tokens"), fit.sum("ours", "steps")
    draft, verify = (fit.sum("ours", f"seconds_{line}") / steps for line in ("draft", "verify"))
    rest = fit.sum("ours", SECONDS) / steps - draft - verify
    costs = {"cost_ratio": draft / gamma / token, "verify": verify / token, "rest": rest / token}
    predicted = speedup(test.rate("ours", "steps"), gamma, costs["cost_ratio"], costs["verify"], costs["rest"])
    measured = test.ratio("ours", "plain")
    law = {"predicted": float(predicted[0]), "measured": float(measured[0])}
    found = carried_over(predicted, measured)
    holds = found.pop("holds")
    return law | found | {name: float(cost[0]) for name, cost in costs.items()} | {"holds": holds}


def carried_over(predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Whether a ratio ``[resamples + 1]`` was predicted: to ``LARGEST_ERROR``, or to its interval if that is wider."""
    ratio = predicted / measured
    error, width = float(ratio[0] - 1), half_width(ratio)
    return {"error": error, "half_width": width, "holds": abs(error) <= max(LARGEST_ERROR, width)}


def pathwise(folder: Path) -> list[dict[str, Any]]:
    """Steps of every request between the fewest and most its counts allow.

    By committed tokens and rejections, and by verified positions: Theorem 4 of theory/README.md in counts (a step that
    rejects nothing verifies gamma, so steps ≤ R + (C − R)/γ). A request cut by its end may add one step that commits
    or verifies less than it would have.
    """
    rows = []
    for experiment in sorted(path for path in folder.iterdir() if path.is_dir()):
        for number, run in load_runs(experiment).items():
            for method, trace in run.items():
                gamma, columns = trace.header["settings"]["gamma"], trace.columns
                if method == "plain":
                    continue
                fewest, most = steps_range(columns["tokens"], columns["rejections"], gamma)
                by_verified = columns["rejections"] + (columns["verified"] - columns["rejections"]) / gamma
                held = (fewest <= columns["steps"]) & (columns["steps"] <= np.minimum(most, by_verified) + 1)
                entry = {"experiment": experiment.name, "seed": number, "method": method, "requests": len(held)}
                rows.append(entry | {"violations": int((~held).sum()), "holds": bool(held.all())})
    return rows
