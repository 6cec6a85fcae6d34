"""`python -m real profile`: what a step costs that drafts 0, 1, … gamma tokens, on this machine with these models.

Plain decoding and every draft length serve the same requests in turn; a cost is the median time of the steps that
drafted so many tokens over that of a plain step. The other half of the requests then asks whether the speed law, fed
with these costs, turns their tokens per step into the speed-up measured. A profile is kept by all that it is of.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from real.compare import departures, device_name
from real.decode import Session, generate
from real.drafters import Drafter
from real.intervals import CENTRAL, draws, interval
from real.ledger import Ledger
from real.loaded import Models
from real.models import CausalLM
from real.online import Serving
from real.speed_check import LARGEST_ERROR
from real.systems import Method
from theory.learners.frozen import Frozen
from theory.trace import provenance, save_json

FOLDER = Path("out/profiles")
ONE_SIDED = 0.05


@dataclass(frozen=True)
class Profile:
    """Median seconds of a step's parts by the number of tokens drafted, 0 … gamma.

    ``limit``: the one-sided 95 % upper limit of a step's cost, in plain steps, by a bootstrap over requests.
    """

    draft: tuple[float, ...]
    verify: tuple[float, ...]
    step: tuple[float, ...]
    limit: tuple[float, ...]

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


@dataclass(frozen=True)
class Request:
    """One request served at one draft length: tokens and seconds of its steps, and each full step's parts."""

    tokens: int
    steps: int
    seconds: float
    full: tuple[tuple[float, float, float], ...]


def served(
    target: CausalLM, drafter: Drafter | None, serving: Serving, gamma: int, prompt: list[int], seed: int
) -> Request:
    """Serve a prompt at one draft length, its steps timed; prefill is not counted."""
    session = Session(target, drafter if gamma else None, prompt, serving.max_new_tokens)
    ledger, rng = Ledger(target.device), torch.Generator().manual_seed(seed)
    tokens, steps, seconds, full = 0, 0, 0.0, []
    stream = generate(session, max(gamma, 1), serving.sampling, rng, ledger)
    before, start = dict(ledger.seconds), ledger.now()
    for step in stream:
        end = ledger.now()
        draft, verify = (ledger.seconds[line] - before[line] for line in ("draft", "verify"))
        if step.drafted == gamma:
            full.append((draft, verify, end - start))
        tokens, steps, seconds = tokens + len(step.tokens), steps + 1, seconds + end - start
        before, start = dict(ledger.seconds), ledger.now()
    return Request(tokens, steps, seconds, tuple(full))


def measure(
    models: Models,
    method: Method,
    serving: Serving,
    prompts: Sequence[list[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, list[Request]]:
    """Every prompt at every length 0 … gamma, the drafter at rest, in rotating order, after a warm-up on the first.

    What a drafter remembers of requests is forgotten after each.

    Raises:
        ValueError: for a method that drafts nothing, or no prompts.
    """
    target, drafter = models.pair_of(method).target, models.drafter(method, serving)
    if drafter is None or not prompts:
        raise ValueError(f"{method}, {len(prompts)} prompts: needs a system that drafts, and at least one prompt")
    blank = drafter.state()
    lengths = list(range(serving.gamma + 1))
    runs: dict[int, list[Request]] = {gamma: [] for gamma in lengths}
    for i, prompt in enumerate([prompts[0], *prompts]):
        turn = i % len(lengths)
        for gamma in lengths[turn:] + lengths[:turn]:
            drafter.restore(blank)
            request = served(target, drafter, serving, gamma, prompt, i)
            if i:
                runs[gamma].append(request)
        progress(i, len(prompts))
    return runs


def profile(runs: dict[int, list[Request]]) -> Profile:
    """Medians over the full steps of all requests.

    Raises:
        ValueError: if a length never drafted in full: the requests are too short, or the drafter does not reach so far.
    """
    parts, by_request = [], []
    for gamma, requests in runs.items():
        steps = [step for request in requests for step in request.full]
        if not steps:
            raise ValueError(f"gamma={gamma}: no step drafted so many tokens; take longer requests or a smaller gamma")
        parts.append([median(column) for column in zip(*steps, strict=True)])
        whole = parts[-1][-1]  # stands for a request without a full step
        by_request.append(
            [median(step[-1] for step in request.full) if request.full else whole for request in requests]
        )
    draft, verify, step = zip(*parts, strict=True)
    seconds = np.array(by_request)
    drawn = draws(seconds.shape[1])[1:] @ seconds.T
    limit = np.nan_to_num(np.quantile(drawn / drawn[:, :1], 1 - ONE_SIDED, axis=0))  # too few requests have none
    limit[0] = 1.0
    return Profile(draft, verify, step, tuple(limit.tolist()))


def foretold(known: Profile, runs: dict[int, list[Request]]) -> list[dict[str, Any]]:
    """For each length: the speed-up over plain of these requests, predicted from their tokens per step and measured."""
    plain, rows = runs[0], []
    for gamma, requests in runs.items():
        if not gamma:
            continue
        columns = [[r.tokens, r.steps, r.seconds, p.tokens, p.seconds] for r, p in zip(requests, plain, strict=True)]
        tokens, steps, seconds, plain_tokens, plain_seconds = (draws(len(columns)) @ np.array(columns)).T
        measured = tokens / seconds / (plain_tokens / plain_seconds)
        ratio = tokens / steps / known.costs[gamma] / measured
        width = float(np.nan_to_num(np.diff(np.quantile(ratio[1:], CENTRAL))[0] / 2))
        error = float(ratio[0] - 1)
        row = {"gamma": gamma, "cost": known.costs[gamma], "tokens_per_step": float(tokens[0] / steps[0])}
        row |= {"predicted": float(ratio[0] * measured[0]), "measured": interval(measured), "error": error}
        rows.append(row | {"holds": abs(error) <= max(LARGEST_ERROR, width)})
    return rows


def settings_of(models: Models, method: Method, serving: Serving) -> dict[str, Any]:
    """What a profile is of: made again with the same settings on the same device, it is taken from its file."""
    compiled = models.pair.target.compiled is not None
    found = {"device": device_name(models.device), "dtype": models.dtype, "compiled": compiled, "gamma": serving.gamma}
    at_rest = replace(method, learner=Frozen(), prompt_hint=None, learn_prompt=False)
    found |= {"models": models.names, "method": departures(at_rest), "temperature": serving.sampling.temperature}
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
    """The profile under ``folder``, measured and written there if it is not."""
    path = place(models, method, serving, folder)
    kept = json.loads(path.read_text())["seconds"] if path.is_file() else {}
    if "limit" in kept:  # which profiles of old have not
        return Profile(**{name: tuple(kept[name]) for name in ("draft", "verify", "step", "limit")})
    found = profile(measure(models, method, serving, prompts))
    keep(path, settings_of(models, method, serving), found)
    return found


def keep(path: Path, settings: dict[str, Any], found: Profile, rows: Sequence[dict[str, Any]] = ()) -> None:
    """Write a profile, and how well it foretold."""
    content = {"settings": settings, "seconds": asdict(found), "costs": found.costs, "cost_ratio": found.cost_ratio}
    content |= {"cautious_costs": found.cautious, "verify_curve": found.verify_curve, "foretold": list(rows)}
    save_json(path, content | {"provenance": provenance(settings["device"])})
