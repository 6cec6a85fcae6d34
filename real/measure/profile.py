"""`python -m real profile`: what a step costs that drafts 0, 1, … gamma tokens, on this machine with these models.

Plain decoding and every draft length serve the same requests in turn; a cost is the median time of the steps that
drafted so many tokens over that of a plain step. A step that drafts after plain ones may cost more, where its draft has
to catch up, and slow the plain ones after it: requests are served once more to time that. What a drafter costs plain
steps farther off is not counted. The other half of the requests then asks whether the speed law, fed with the costs,
turns what their steps drafted and committed into the speed-up measured. A profile is kept by all that it is of.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from real.drafters import Drafter
from real.measure.contest import departures, device_name
from real.measure.intervals import CENTRAL, draws, interval
from real.measure.speed_law import LARGEST_ERROR
from real.models.hf import CausalLM
from real.models.sampling import Sampling
from real.serving.decoder import Serving
from real.serving.ledger import Ledger
from real.serving.step import Session, plain_step, speculative_step
from real.systems.loaded import Models
from real.systems.rows import Method
from theory.learners.frozen import Frozen
from theory.runs.result import load_result, save_result

FOLDER = Path("out/profiles")
ONE_SIDED = 0.05
APART, SEEN = 16, 4
"""Steps from one that drafts to the next where it is timed among plain ones, and steps that it is timed with: itself
and the plain ones after it. Short requests have them nearer."""
MIXED = -1
"""Such a request in the order of turns, beside those of one draft length."""


@dataclass(frozen=True)
class Profile:
    """Median seconds of a step's parts by the number of tokens drafted, 0 … gamma.

    ``limit``: the one-sided 95 % upper limit of a step's cost, in plain steps, by a bootstrap over requests; the cost
    itself, or a little less, where there are too few.
    ``switch_cost``: the same of what a step that drafts one token ``APART`` steps after the last costs more than one
    among its like, with what it adds to the plain ones after it; at least 0, and taken for a draft of any length.
    """

    draft: tuple[float, ...]
    verify: tuple[float, ...]
    step: tuple[float, ...]
    limit: tuple[float, ...]
    switch_cost: float = 0.0

    @property
    def costs(self) -> tuple[float, ...]:
        """Of a step in plain steps; the first is 1, and noise apart a longer draft costs no less than a shorter one."""
        return tuple(float(cost) for cost in np.maximum.accumulate(self.step) / self.step[0])

    @property
    def cautious(self) -> tuple[float, ...]:
        """``costs`` at their upper limits: what a promise to be no slower than plain decoding rests on."""
        return tuple(float(cost) for cost in np.maximum.accumulate(np.maximum(self.costs, self.limit)))

    @property
    def cost_ratio(self) -> float:
        """One drafted token in plain steps, on average over the lengths."""
        return float(np.mean([seconds / gamma for gamma, seconds in enumerate(self.draft) if gamma])) / self.step[0]

    @property
    def verify_curve(self) -> tuple[float, ...]:
        """v(γ): verifying γ + 1 positions in plain steps."""
        return tuple(seconds / self.verify[0] for seconds in self.verify)


class Timed(NamedTuple):
    """One step: tokens it was asked to draft, drafted and committed, and its seconds."""

    asked: int
    drafted: int
    tokens: int
    draft: float
    verify: float
    whole: float


@dataclass(frozen=True)
class Request:
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


def served(
    target: CausalLM, drafter: Drafter | None, serving: Serving, lengths: Iterable[int], prompt: list[int], seed: int
) -> list[Timed]:
    """Serve a prompt, each step asked to draft the next of endless ``lengths``; prefill is not timed."""
    session = Session(target, drafter, prompt, serving.max_new_tokens)
    ledger, rng, steps = Ledger(target.device), torch.Generator().manual_seed(seed), []
    for asked in lengths:
        if session.done:
            break
        before, start = dict(ledger.seconds), ledger.now()
        if asked:
            step = speculative_step(session, asked, serving.sampling, rng, ledger)
        else:
            step = plain_step(session, serving.sampling, rng, ledger)
        whole = ledger.now() - start
        draft, verify = (ledger.seconds[line] - before[line] for line in ("draft", "verify"))
        steps.append(Timed(asked, step.drafted, len(step.tokens), draft, verify, whole))
    return steps


def _request(steps: Sequence[Timed], lone: tuple[float, ...]) -> Request:
    full = tuple((step.draft, step.verify, step.whole) for step in steps if step.drafted == step.asked)
    drafted = tuple(step.drafted for step in steps)
    return Request(sum(step.tokens for step in steps), drafted, sum(step.whole for step in steps), full, lone)


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
) -> dict[int, list[Request]]:
    """Every prompt at every length 0 … gamma, the drafter at rest, in rotating order, after a warm-up on the first.

    Once more it is served by plain steps but for every ``APART``-th, nearer where requests are short, which drafts one
    token. What a drafter remembers of requests is forgotten before each.

    Raises:
        ValueError: for a method that drafts nothing, or no prompts.
    """
    target, drafter = models.pair_of(method).target, models.drafter(method, serving)
    if drafter is None or not prompts:
        raise ValueError(f"{method}, {len(prompts)} prompts: needs a system that drafts, and at least one prompt")
    apart = max(SEEN, min(APART, serving.max_new_tokens // SEEN))
    plans: dict[int, Iterable[int]] = {gamma: [gamma] for gamma in range(serving.gamma + 1)}
    plans[MIXED] = [*[0] * (apart - 1), 1]
    blank, turns = drafter.state(), list(plans)
    runs: dict[int, list[Request]] = {gamma: [] for gamma in range(serving.gamma + 1)}
    for i, prompt in enumerate([prompts[0], *prompts]):
        first, steps = i % len(turns), {}
        for turn in turns[first:] + turns[:first]:
            drafter.restore(blank)
            steps[turn] = served(target, drafter if turn else None, serving, cycle(plans[turn]), prompt, i)
        lone = {0: _groups(steps[0], 0, apart), 1: _groups(steps[MIXED], 1, apart)}
        for gamma, requests in runs.items() if i else ():
            requests.append(_request(steps[gamma], lone.get(gamma, ())))
        progress(i, len(prompts))
    return runs


def profile(runs: dict[int, list[Request]]) -> Profile:
    """Medians over the full steps of all requests.

    Raises:
        ValueError: if a length never drafted in full, or one token never alone: the requests are too short, or the
            drafter does not reach so far.
    """
    parts = []
    for gamma, requests in runs.items():
        steps = [step for request in requests for step in request.full]
        if not steps:
            raise ValueError(f"gamma={gamma}: no step drafted so many tokens; take longer requests or a smaller gamma")
        parts.append([median(column) for column in zip(*steps, strict=True)])
    draft, verify, step = zip(*parts, strict=True)
    plain, *drafting = (_resampled([[step[-1] for step in r.full] for r in requests]) for requests in runs.values())
    costs = [seconds / plain for seconds in drafting]
    if not all(any(request.lone for request in runs[gamma]) for gamma in (0, 1)):
        raise ValueError(
            f"requests of {max(request.tokens for request in runs[0])} tokens at most are too short to be profiled: "
            "none had a draft alone among plain steps; let them have "
            f"{2 * SEEN} new tokens or more"
        )
    apart, alone = (_resampled([request.lone for request in runs[gamma]]) for gamma in (0, 1))
    switch_cost = 1 + SEEN * (alone / apart - 1) - costs[0]
    return Profile(draft, verify, step, (1.0, *map(_upper, costs)), max(0.0, _upper(switch_cost)))


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


def _upper(values: np.ndarray) -> float:
    """The one-sided limit by the resamples ``values[1:]`` that have one, ``values[0]`` if none has."""
    there = values[1:][~np.isnan(values[1:])]
    return float(np.quantile(there, 1 - ONE_SIDED)) if len(there) else float(values[0])


def foretold(known: Profile, runs: dict[int, list[Request]]) -> list[dict[str, Any]]:
    """For each length: the speed-up over plain of these requests, predicted and measured.

    Predicted are their tokens over the costs of their steps by what each drafted.
    """
    plain, rows = runs[0], []
    for gamma, requests in runs.items():
        if not gamma:
            continue
        columns = [
            [r.tokens, sum(known.costs[drafted] for drafted in r.drafted), r.seconds, p.tokens, p.seconds]
            for r, p in zip(requests, plain, strict=True)
        ]
        tokens, cost, seconds, plain_tokens, plain_seconds = (draws(len(columns)) @ np.array(columns)).T
        measured = tokens / seconds / (plain_tokens / plain_seconds)
        ratio = tokens / cost / measured
        width = float(np.nan_to_num(np.diff(np.quantile(ratio[1:], CENTRAL))[0] / 2))
        error, steps = float(ratio[0] - 1), sum(len(r.drafted) for r in requests)
        row = {"gamma": gamma, "cost": known.costs[gamma], "tokens_per_step": float(tokens[0]) / steps}
        row |= {"predicted": float(ratio[0] * measured[0]), "measured": interval(measured), "error": error}
        rows.append(row | {"holds": abs(error) <= max(LARGEST_ERROR, width)})
    return rows


def settings_of(models: Models, method: Method, serving: Serving) -> dict[str, Any]:
    """What a profile is of: made again with the same settings on the same device, it is taken from its file."""
    compiled = models.pair.target.compiled is not None
    found = {"device": device_name(models.device), "dtype": models.dtype, "compiled": compiled, "gamma": serving.gamma}
    at_rest = replace(method, learner=Frozen(), prompt_hint=None, learn_prompt=False)
    found |= {"models": models.names, "method": departures(at_rest), "temperature": serving.sampling.temperature}
    cuts = {"top_k": serving.sampling.top_k, "top_p": serving.sampling.top_p}
    found |= cuts if cuts != {"top_k": Sampling.top_k, "top_p": Sampling.top_p} else {}
    if models.pair.target.compiled is not None and models.pair.target.compiled.tuned:
        found["tuned"] = True
    return found | {"max_new_tokens": serving.max_new_tokens}


def place(models: Models, method: Method, serving: Serving, folder: Path = FOLDER) -> Path:
    """Where the profile of these settings is kept."""
    settings = settings_of(models, method, serving)
    places = [str(Path(place).resolve()) for place in (models.target, *models.drafts.values())]
    key = sha256(json.dumps([settings, places], sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{method.drafter}-{key}.json"


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
    return Profile(**{name: tuple(value) if isinstance(value, list) else value for name, value in measured.items()})


def keep(path: Path, settings: dict[str, Any], found: Profile, rows: Sequence[dict[str, Any]] = ()) -> None:
    """Write a profile, and how well it foretold."""
    content = {"settings": settings, "measured": asdict(found), "costs": found.costs, "cost_ratio": found.cost_ratio}
    content |= {"cautious_costs": found.cautious, "verify_curve": found.verify_curve, "foretold": list(rows)}
    save_result(path, "profile", content, settings["device"])
