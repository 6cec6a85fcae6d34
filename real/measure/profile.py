"""`python -m real profile`: what a step costs that drafts 0, 1, … gamma tokens, on this machine with these models.

Plain decoding and every draft length serve the same requests in turn; a cost is the median time of the steps that
drafted so many tokens over that of a plain step. A step that drafts after plain ones may cost more, where its draft has
to catch up, and slow the plain ones after it: requests are served once more to time that. What a drafter costs plain
steps farther off is not counted. The other half of the requests then asks whether the speed law, fed with the costs,
turns what their steps drafted and committed into the speed-up measured. A profile is kept by all that it is of.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from real.drafters.base import COPIES, MODEL
from real.measure.contenders import Asked, AtLength, Timed
from real.measure.contest import SECONDS, Totals, contest, warm_up
from real.measure.intervals import draws, interval, upper_limit
from real.measure.served import device_name
from real.measure.speed_law import carried_over
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from theory.learners.frozen import Frozen
from theory.runs.result import load_result, save_result
from theory.runs.trace import plain
from theory.runs.users_file import source

FOLDER = Path("out/profiles")
APART, SEEN = 16, 4
"""Steps from one that drafts to the next where it is timed among plain ones, and steps that it is timed with: itself
and the plain ones after it. Short requests have them nearer."""
LONE = -(2**31)
"""Such a request in the order of turns, beside those of one draft length."""


@dataclass(frozen=True)
class Profile:
    """Median seconds of a step's parts by the number of tokens drafted, 0 … gamma.

    ``limit``: the one-sided 95 % upper limit of a step's cost, in plain steps, by a bootstrap over requests; the cost
    itself, or a little less, where there are too few.
    ``lower``, ``lower_limit``: seconds and limits at each of the drafter's levels but the last. ``extra_limit``: the
    limit of what a step at each level but the first costs more than at the one below. ``ways``: limits of a drafter
    that copies, where nothing is found and of copies alone (``real/serving/control.py``).
    ``switch_cost``: the same of what a step that drafts one token ``APART`` steps after the last costs more than one
    among its like, with what it adds to the plain ones after it; at least 0, and taken for a draft of any length.
    """

    draft: tuple[float, ...]
    verify: tuple[float, ...]
    step: tuple[float, ...]
    limit: tuple[float, ...]
    switch_cost: float = 0.0
    lower: tuple[tuple[float, ...], ...] = ()
    lower_limit: tuple[tuple[float, ...], ...] = ()
    extra_limit: tuple[tuple[float, ...], ...] = ()
    ways: tuple[tuple[float, ...], ...] = ()

    @property
    def costs(self) -> tuple[float, ...]:
        """Of a step in plain steps; the first is 1, and noise apart a longer draft costs no less than a shorter one."""
        return tuple(float(cost) for cost in np.maximum.accumulate(self.step) / self.step[0])

    @property
    def cautious(self) -> tuple[float, ...]:
        """``costs`` at their upper limits: what a promise to be no slower than plain decoding rests on."""
        return self.levels[-1]

    @property
    def levels(self) -> tuple[tuple[float, ...], ...]:
        """Cautious costs of every level; between two of them lies at least the upper limit of what the higher adds."""
        steps, limits = (*self.lower, self.step), (*self.lower_limit, self.limit)
        found = [_cautious(steps[0], limits[0])]
        for step, limit, extra in zip(steps[1:], limits[1:], self.extra_limit, strict=True):
            found.append(_cautious(step, np.maximum(limit, np.add(found[-1], extra))))
        return tuple(found)

    def applied(self, serving: Serving) -> Serving:
        """The serving with lengths and levels chosen by cautious costs."""
        *lower, costs = self.levels
        found = {"costs": costs, "lower_costs": tuple(lower), "way_costs": self.ways}
        return replace(serving, switch_cost=self.switch_cost, **found)

    @property
    def cost_ratio(self) -> float:
        """One drafted token in plain steps, on average over the lengths."""
        return float(np.mean([seconds / gamma for gamma, seconds in enumerate(self.draft) if gamma])) / self.step[0]

    @property
    def verify_curve(self) -> tuple[float, ...]:
        """v(γ): verifying γ + 1 positions in plain steps."""
        return tuple(seconds / self.verify[0] for seconds in self.verify)


def _cautious(step: Sequence[float], limit: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    costs = np.maximum(np.maximum.accumulate(step) / step[0], limit)
    return tuple(float(cost) for cost in np.maximum.accumulate(costs))


class AtLevel(NamedTuple):
    """A draft length at one of the drafter's lower levels."""

    level: int
    gamma: int


class ByWay(NamedTuple):
    """A draft length by one of the ways of a drafter that copies."""

    way: str
    gamma: int


@dataclass(frozen=True)
class Timing:
    """One request served at one draft length: tokens and seconds of its steps, how many tokens each drafted, and the
    parts of the full ones: the last draft less.

    ``lone``, when served once more: seconds of ``SEEN`` steps whose first alone drafted so many tokens; where none are
    to be drafted, of as many plain steps in the same places.
    """

    tokens: int
    drafted: tuple[int, ...]
    seconds: float
    full: tuple[tuple[float, float, float], ...]
    lone: tuple[float, ...] = ()


Runs = Mapping[int | AtLevel | ByWay, list[Timing]]
"""What was measured at every draft length, at the last level, at lower ones and by other ways."""


def _timing(steps: Sequence[Timed], lone: tuple[float, ...]) -> Timing:
    full = tuple((step.draft, step.verify, step.whole) for step in steps if step.drafted == step.asked)
    drafted = tuple(step.drafted for step in steps)
    return Timing(sum(step.tokens for step in steps), drafted, sum(step.whole for step in steps), full, lone)


def _groups(steps: Sequence[Timed], gamma: int, apart: int) -> tuple[float, ...]:
    """Seconds of ``SEEN`` steps whose first, every ``apart``-th one of all, drafted ``gamma`` tokens."""
    groups = (steps[i : i + SEEN] for i in range(apart - 1, len(steps) - SEEN + 1, apart))
    return tuple(sum(step.whole for step in group) for group in groups if group[0].drafted == gamma)


def measure(
    models: Models,
    method: Method,
    serving: Serving,
    prompts: Sequence[list[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Runs:
    """A contest of every length 0 … gamma, nothing learning, and of every length at the drafter's lower levels and, if
    it copies, by its two other ways.

    One contender more decodes plainly but for every ``APART``-th step, nearer where requests are short, which drafts
    one token.

    Raises:
        ValueError: for a method that drafts nothing, or no prompts.
    """
    target, drafter = models.pair_of(method).target, models.drafter(method, serving)
    if drafter is None or not prompts:
        raise ValueError(f"{method}, {len(prompts)} prompts: needs a system that drafts, and at least one prompt")
    apart = max(SEEN, min(APART, serving.max_new_tokens // SEEN))
    plans = {gamma: [gamma] for gamma in range(serving.gamma + 1)} | {LONE: [*[0] * (apart - 1), 1]}
    lower = [AtLevel(level, gamma) for level in range(drafter.levels - 1) for gamma in range(1, serving.gamma + 1)]
    contenders: dict[Any, AtLength] = {
        name: AtLength(target, drafter, serving, lengths) for name, lengths in plans.items()
    }
    contenders |= {one: AtLength(target, drafter, serving, [one.gamma], one.level) for one in lower}
    both = [ByWay("", gamma) for gamma in range(1, serving.gamma + 1)] if drafter.copying else []
    contenders |= {one: AtLength(target, drafter, serving, [one.gamma], apart=True) for one in both}
    requests = [Asked(prompt, i + 1) for i, prompt in enumerate(prompts)]
    warm_up(contenders, requests[:1])
    runs = contest(contenders, requests, after=lambda served: progress(served, len(requests)))
    alone = {0: [_groups(steps, 0, apart) for steps in runs[0]], 1: [_groups(steps, 1, apart) for steps in runs[LONE]]}
    none = [()] * len(requests)
    timed: dict[int | AtLevel | ByWay, list[Timing]] = {
        gamma: [_timing(steps, lone) for steps, lone in zip(runs[gamma], alone.get(gamma, none), strict=True)]
        for gamma in [*range(serving.gamma + 1), *lower]
    }
    for one in both:
        for way in (MODEL, COPIES):
            taken = [[step for step in steps if step.way == way] for steps in runs[one]]
            timed[ByWay(way, one.gamma)] = [_timing(steps, ()) for steps in taken]
    return timed


def profile(runs: Runs) -> Profile:
    """Medians over the full steps of all requests.

    Raises:
        ValueError: if a length never drafted in full, or one token never alone: the requests are too short, or the
            drafter does not reach so far.
    """
    seconds, ratio = dict[Any, list[float]](), dict[Any, np.ndarray]()
    alone = _resampled([[step[-1] for step in request.full] for request in runs[0]])
    for gamma, requests in runs.items():
        steps = [step for request in requests for step in request.full]
        if not steps and isinstance(gamma, ByWay):
            continue
        if not steps:
            raise ValueError(f"gamma={gamma}: no step drafted so many tokens; take longer requests or a smaller gamma")
        seconds[gamma] = [median(column) for column in zip(*steps, strict=True)]
        ratio[gamma] = _resampled([[step[-1] for step in request.full] for request in requests]) / alone
    if not all(any(request.lone for request in runs[gamma]) for gamma in (0, 1)):
        raise ValueError(
            f"requests of {max(request.tokens for request in runs[0])} tokens at most are too short to be profiled: "
            f"none had a draft alone among plain steps; let them have {2 * SEEN} new tokens or more"
        )
    without, once = (_resampled([request.lone for request in runs[gamma]]) for gamma in (0, 1))
    switch_cost = max(0.0, upper_limit(1 + SEEN * (once / without - 1) - ratio[1]))
    lengths = [gamma for gamma in runs if isinstance(gamma, int) and gamma > 0]
    draft, verify, step = zip(*(seconds[gamma] for gamma in (0, *lengths)), strict=True)
    below = sorted({one.level for one in runs if isinstance(one, AtLevel)})
    lower = [[AtLevel(at, gamma) for gamma in lengths] for at in below]
    *low, limit = ((1.0, *(upper_limit(ratio[one]) for one in level)) for level in [*lower, lengths])
    extra = tuple(
        (0.0, *(max(0.0, upper_limit(ratio[high] - ratio[less])) for less, high in zip(*pair, strict=True)))
        for pair in pairwise([*lower, lengths])
    )
    slow = tuple((step[0], *(seconds[one][-1] for one in level)) for level in lower)
    ways = tuple(
        tuple(
            np.maximum.accumulate(
                [1.0, *(_of_way(ratio, ByWay(way, gamma), limit[gamma]) for gamma in lengths)]
            ).tolist()
        )
        for way in (MODEL, COPIES)
        if ByWay(way, 1) in runs
    )
    return Profile(draft, verify, step, limit, switch_cost, slow, tuple(low), extra, ways)


def _of_way(ratio: Mapping[Any, np.ndarray], one: ByWay, usual: float) -> float:
    """The limit of a draft length by a way; where too few requests took it, that of all of the drafter."""
    found = ratio.get(one)
    return usual if found is None or not np.isfinite(found).all() else upper_limit(found)


def _resampled(requests: Sequence[Sequence[float]]) -> np.ndarray:
    """The median second, of the requests themselves and of resamples, nan where those have none; some must have one."""
    seconds = np.array([second for request in requests for second in request])
    owners = np.repeat(np.arange(len(requests)), [len(request) for request in requests])
    order = np.argsort(seconds)
    seconds, owners = seconds[order], owners[order]
    medians = []
    for counts in draws(len(requests)):
        below = counts[owners].cumsum()
        medians.append(seconds[np.searchsorted(below, below[-1] / 2)] if below[-1] > 0 else np.nan)
    return np.array(medians)


def foretold(known: Profile, runs: Runs) -> list[dict[str, Any]]:
    """For each length: the speed-up over plain of these requests, predicted and measured.

    Predicted are their tokens over the costs of their steps by what each drafted.
    """
    of_length = {gamma: timings for gamma, timings in runs.items() if isinstance(gamma, int)}
    totals, rows = Totals.of({gamma: [_columns(one, known) for one in all_] for gamma, all_ in of_length.items()}), []
    for gamma in [gamma for gamma in of_length if gamma > 0]:
        predicted, measured = totals.rate(gamma, "cost"), totals.ratio(gamma, 0)
        found = carried_over(predicted, measured)
        row = {"gamma": gamma, "cost": known.costs[gamma], "tokens_per_step": float(totals.rate(gamma, "steps")[0])}
        row |= {"predicted": float(predicted[0]), "measured": interval(measured)}
        rows.append(row | {"error": found["error"], "holds": found["holds"]})
    return rows


def _columns(one: Timing, known: Profile) -> dict[str, float]:
    cost = sum(known.costs[drafted] for drafted in one.drafted)
    return {"tokens": one.tokens, "steps": len(one.drafted), SECONDS: one.seconds, "cost": cost}


def settings_of(models: Models, method: Method, serving: Serving) -> dict[str, Any]:
    """What a profile is of: made again with the same settings on the same device, it is taken from its file."""
    compiled = models.pair.target.compiled
    at_rest = replace(method, learner=Frozen(), prompt_hint=None, learn_prompt=False)
    return {
        "device": device_name(models.device),
        "dtype": models.dtype,
        "compiled": compiled is not None,
        "tuned": compiled is not None and compiled.tuned,
        "gamma": serving.gamma,
        "models": models.names,
        "method": plain(at_rest),
        **asdict(serving.sampling),
        "max_new_tokens": serving.max_new_tokens,
        **source(method.drafter, "drafter"),
    }


def place(models: Models, method: Method, serving: Serving, folder: Path = FOLDER) -> Path:
    """Where the profile of these settings is kept."""
    settings = settings_of(models, method, serving)
    places = [str(Path(place).resolve()) for place in (models.target, *models.drafts.values())]
    key = sha256(json.dumps([settings, places], sort_keys=True).encode()).hexdigest()[:12]
    drafter = getattr(method.drafter, "__name__", str(method.drafter)).rpartition(":")[2]
    return folder / f"{drafter}-{key}.json"


def cached(
    models: Models, method: Method, serving: Serving, prompts: Sequence[list[int]], folder: Path = FOLDER
) -> Profile:
    """The profile under ``folder``, whatever requests it was measured on; measured and written there if it is not."""
    path = place(models, method, serving, folder)
    found = _kept(path)
    if found is None:
        found = profile(measure(models, method, serving, prompts))
        keep(path, settings_of(models, method, serving), found)
    return found


def _kept(path: Path) -> Profile | None:
    """The profile in a file; None where there is none, or no profile of this form, so that it is measured again."""
    try:
        measured = load_result(path, "profile")["measured"]
    except (OSError, ValueError):
        return None
    if "ways" not in measured:
        return None
    switch_cost = measured.pop("switch_cost")
    of_levels: Any = {
        name: tuple(map(tuple, measured.pop(name, ()))) for name in ("lower", "lower_limit", "extra_limit", "ways")
    }
    if not len(of_levels["lower"]) == len(of_levels["lower_limit"]) == len(of_levels["extra_limit"]):
        return None
    return Profile(**{name: tuple(values) for name, values in measured.items()}, switch_cost=switch_cost, **of_levels)


def keep(path: Path, settings: dict[str, Any], found: Profile, rows: Sequence[dict[str, Any]] = ()) -> None:
    """Write a profile, and how well it foretold."""
    content = {"settings": settings, "measured": asdict(found), "costs": found.costs, "cost_ratio": found.cost_ratio}
    content |= {"cautious_costs": found.cautious, "verify_curve": found.verify_curve, "foretold": list(rows)}
    save_result(path, "profile", content, settings["device"])
