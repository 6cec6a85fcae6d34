"""The speed law and the pathwise theorems held against decoder runs, from their result files."""

from pathlib import Path
from typing import Any

import numpy as np

from real.measure.intervals import CENTRAL, draws
from real.measure.summary import load_runs
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
                traces = [(of["plain"], of[method]) for of in runs.values()]
                rows.append({"experiment": experiment.name, "method": method, **_law(traces, seed)})
    return rows


def _law(traces: list[tuple[Trace, Trace]], seed: int) -> dict[str, Any]:
    gamma = traces[0][1].header["settings"]["gamma"]
    plain, ours = (_pooled([pair[i] for pair in traces]) for i in (0, 1))
    odd, even = (np.flatnonzero(plain["prompt"] % 2 == part) for part in (1, 0))
    fit, test = draws(len(odd), seed), draws(len(even), seed + 1)

    def fitted(run: dict[str, np.ndarray], column: str) -> np.ndarray:
        return fit @ run[column][odd]

    def tested(run: dict[str, np.ndarray], column: str) -> np.ndarray:
        return test @ run[column][even]

    token, steps = fitted(plain, "seconds_total") / fitted(plain, "tokens"), fitted(ours, "steps")
    draft, verify = (fitted(ours, f"seconds_{line}") / steps for line in ("draft", "verify"))
    rest = fitted(ours, "seconds_total") / steps - draft - verify
    costs = {"cost_ratio": draft / gamma / token, "verify": verify / token, "rest": rest / token}
    pace = tested(ours, "tokens") / tested(ours, "steps")
    predicted = speedup(pace, gamma, costs["cost_ratio"], costs["verify"], costs["rest"])
    rates = [tested(run, "tokens") / tested(run, "seconds_total") for run in (ours, plain)]
    measured = rates[0] / rates[1]
    ratio = predicted / measured
    width = float(np.nan_to_num(np.diff(np.quantile(ratio[1:], CENTRAL))[0] / 2))
    error = float(ratio[0] - 1)
    holds = bool(abs(error) <= max(LARGEST_ERROR, width))
    law = {"predicted": float(predicted[0]), "measured": float(measured[0]), "error": error, "half_width": width}
    return law | {name: float(cost[0]) for name, cost in costs.items()} | {"holds": holds}


def _pooled(traces: list[Trace]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([t.columns[name] for t in traces]).astype(float) for name in traces[0].columns}


def pathwise(folder: Path) -> list[dict[str, Any]]:
    """Steps of every request between the fewest and most its counts allow.

    By committed tokens and rejections, and by verified positions: Theorem 4 of theory/README.md in counts (a step that
    rejects nothing verifies gamma, so steps ≤ R + (C − R)/γ). A request cut by its end may add one step that commits
    or verifies less than it would have.
    """
    rows = []
    for experiment in sorted(path for path in folder.iterdir() if path.is_dir()):
        for number, of in load_runs(experiment).items():
            for method, trace in of.items():
                gamma, columns = trace.header["settings"]["gamma"], trace.columns
                if method == "plain":
                    continue
                fewest, most = steps_range(columns["tokens"], columns["rejections"], gamma)
                by_verified = columns["rejections"] + (columns["verified"] - columns["rejections"]) / gamma
                held = (fewest <= columns["steps"]) & (columns["steps"] <= np.minimum(most, by_verified) + 1)
                entry = {"experiment": experiment.name, "seed": number, "method": method, "requests": len(held)}
                rows.append(entry | {"violations": int((~held).sum()), "holds": bool(held.all())})
    return rows
