"""`python -m real claims`: do an ensemble of step sizes and a hint pay on real streams? Runs side by side, over seeds.

An ensemble is held against every one of its step sizes alone, and against the one that was best on the first stream. A
hint is held against gradient descent with the same step size, with and without the prompt as feedback: the theorem's
sign says that it helps where hint_gain = Σ‖grad − hint‖²/Σ‖grad‖² is below 1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real.measure.contest import Totals
from real.measure.intervals import UNKNOWN, Interval, interval
from real.measure.summary import Sample, by_question, hint_gains, load_runs, made_by
from real.serving.settings import Serving
from real.studies.experiments import Experiment
from real.systems.rows import CONTROLS, HINTS, STEPS

FIRST = "home"
STREAMS = {
    FIRST: "prose:{n}",
    "sql": "sql:{n}",
    "c": "c:{n}",
    "arithmetic": "arithmetic:{n}",
    "stubs": "stubs:{n}",
    "shift": "prose:{half},sql:{half}",
    "return": "return(prose,sql;5):{n}",
    "mixing": "mix(prose,c):{n}",
    "tenants": "tenants(prose=2,sql=1):{n}",
    "adverse": "adverse(prose,sql,c):{n}",
}
"""What is served, by name; the step size that is best on the first is the one tuned beforehand."""
AT_REST, ENSEMBLE = "specialist-sd", "specialist-adapter-ensemble"
"""The drafter that all of these teach, and the ensemble of all step sizes."""
SAME_STEP, PROMPTED, MOMENTUM = "ogd-32", "ogd-prompt", "momentum-matched"
"""What hints are held against: gradient descent at their step size, the same with the prompt as feedback; and what the
public code has in their place."""
MIDDLE = 16
"""Committed tokens a round, at which step sizes are compared."""
ROUNDS = {FIRST: (8, MIDDLE, 32), "sql": (8, MIDDLE, 32)}
"""Round lengths at which hints are compared, where there are several."""


def cells(
    prompts: int, seeds: Sequence[int], names: Sequence[str] = (), family: str = "llama"
) -> dict[str, Experiment]:
    """One experiment for every stream and round length.

    Raises:
        ValueError: for a stream that is not there, fewer than two prompts, or no seed.
    """
    unknown = [name for name in names if name not in STREAMS]
    if unknown:
        raise ValueError(f"stream={unknown[0]!r}: must be one of {', '.join(STREAMS)}")
    if prompts < 2 or not seeds:
        raise ValueError(f"prompts={prompts!r}, seeds={len(seeds)}: at least two prompts and one seed")
    hints = ("plain", AT_REST, SAME_STEP, *HINTS)
    everything = ("plain", AT_REST, *STEPS, ENSEMBLE, *CONTROLS, *HINTS)
    return {
        f"{name}/{nu}": Experiment(
            STREAMS[name].format(n=prompts, half=prompts // 2),
            everything if nu == MIDDLE else hints,
            Serving(nu=nu, max_new_tokens=64),
            tuple(seeds),
            family,
        )
        for name in names or STREAMS
        for nu in ROUNDS.get(name, (MIDDLE,))
    }


@dataclass(frozen=True)
class OfEnsemble:
    """One stream: the best step size in hindsight, and net speeds over that step's.

    ``tuned`` is the step size that was best on the first stream; ``last_loss`` the ensemble that follows the last loss.
    """

    stream: str
    seeds: int
    best: str
    ensemble: Interval
    tuned: Interval
    last_loss: Interval


def ensembles(out: Path, names: Sequence[str] = tuple(STREAMS)) -> list[OfEnsemble]:
    """The ensemble's claim on every stream that was run; the first stream has to be among them."""
    runs = {name: found for name in names if (found := load_runs(out / f"{name}/{MIDDLE}"))}
    samples = {name: Sample(found, units=by_question) for name, found in runs.items()}
    if FIRST not in samples:
        return []
    tuned, points = _best(samples[FIRST]), []
    for name, sample in samples.items():
        best = _best(sample)
        ratios = [interval(sample.ratio(method, best)) for method in (ENSEMBLE, tuned, "last-loss")]
        points.append(OfEnsemble(name, len(runs[name]), best, *ratios))
    return points


def _best(sample: Totals) -> str:
    return max(STEPS, key=lambda step: sample.rate(step)[0])


@dataclass(frozen=True)
class OfHint:
    """One stream, round length and hint: hint_gain, and alpha over that of gradient descent at the same step size.

    ``prompted`` is alpha over that of gradient descent which also learns the prompt; ``net`` and ``net_prompted`` are
    the same ratios of net speed. Momentum, which the public code has for a hint, and the learner that reads the prompt
    are rows without a hint_gain.
    """

    stream: str
    nu: int
    hint: str
    seeds: int
    hint_gain: Interval
    alpha: Interval
    prompted: Interval
    net: Interval
    net_prompted: Interval

    def agrees(self, ratio: Interval) -> bool | None:
        """Whether a ratio of alpha is above 1 exactly if hint_gain is below 1; None where an interval holds 1."""
        gain, alpha = _side(self.hint_gain), _side(ratio)
        return None if gain == 0 or alpha == 0 else gain != alpha


def _side(ratio: Interval) -> int:
    """1 if surely above 1, −1 if surely below, 0 if the interval holds 1 or is missing."""
    low, high = ratio["low"], ratio["high"]
    if low is None or high is None:
        return 0
    return 1 if low > 1 else -1 if high < 1 else 0


def hints(out: Path, names: Sequence[str] = tuple(STREAMS)) -> list[OfHint]:
    """Every hint on every stream and round length that was run."""
    found = []
    for name in names:
        for nu in ROUNDS.get(name, (MIDDLE,)):
            runs = load_runs(out / f"{name}/{nu}")
            if not runs:
                continue
            sample = Sample(runs, units=by_question)
            gains = hint_gains(runs) | {MOMENTUM: UNKNOWN, PROMPTED: UNKNOWN}
            for hint in [method for method in (*HINTS, MOMENTUM) if method in sample.names]:
                ratios = [
                    *(interval(_alpha(sample, hint) / _alpha(sample, base)) for base in (SAME_STEP, PROMPTED)),
                    *(interval(sample.ratio(hint, base)) for base in (SAME_STEP, PROMPTED)),
                ]
                found.append(OfHint(name, nu, hint, len(runs), gains.get(hint, UNKNOWN), *ratios))
    return found


def _alpha(sample: Totals, method: str) -> np.ndarray:
    return sample.per(method, "alpha_sum", "verified")


def report(out: Path, names: Sequence[str] = tuple(STREAMS)) -> dict[str, Any]:
    """Both claims, their points, and whether they hold over all that was run; None where nothing was."""
    of_ensembles, of_hints = ensembles(out, names), hints(out, names)
    rows, told, prompted = [], [], []
    for point in of_hints:
        verdicts = {"agrees": point.agrees(point.alpha), "agrees_prompted": point.agrees(point.prompted)}
        rows.append(asdict(point) | verdicts)
        told += [verdicts["agrees"]] * (verdicts["agrees"] is not None)
        prompted += [verdicts["agrees_prompted"]] * (verdicts["agrees_prompted"] is not None)
    worst = min((p.ensemble["value"] or 0 for p in of_ensembles), default=None)
    cells = [f"{name}/{nu}" for name in names for nu in ROUNDS.get(name, (MIDDLE,))]
    return {
        "runs": made_by(out, cells),
        "ensembles": [asdict(point) for point in of_ensembles],
        "hints": rows,
        "verdict": {
            "streams": len(of_ensembles),
            "seeds": min((p.seeds for p in of_ensembles), default=0),
            "worst_ensemble": worst,
            "ensemble_at_least_0.98_everywhere": None if worst is None else worst >= 0.98,
            "worst_tuned": min((p.tuned["value"] or 1 for p in of_ensembles), default=None),
            "tuned_surely_loses_on": [p.stream for p in of_ensembles if (p.tuned["high"] or 1) < 1],
            "tuned_loses_5_percent_on": [p.stream for p in of_ensembles if (p.tuned["value"] or 1) <= 0.95],
            "hints_in_all": sum(p.hint_gain["value"] is not None for p in of_hints),
            "decided": len(told),
            "agreeing": sum(told),
            "decided_against_one_that_reads_the_prompt": len(prompted),
            "agreeing_against_one_that_reads_the_prompt": sum(prompted),
        },
    }
