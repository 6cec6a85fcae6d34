"""`python -m real floor`: does choosing the draft's length by cost ever make decoding slower than plain?

Every drafter, random tokens among them, on every domain: the drafter at rest with its lengths chosen by cost
(``theory/speculation/draft_length.py``) beside plain decoding, request by request. Costs come from the drafter's
profile, measured first on requests of another seed, at their upper limits. The promise is in units of those costs; here
it is held against the clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from real.measure.contest import Comparison
from real.measure.intervals import draws, interval
from real.measure.profile import ONE_SIDED, measure, profile
from real.serving.decoder import Serving
from real.systems.loaded import Models
from real.systems.rows import SYSTEMS, Method
from real.traffic.streams import scheduled

LEAST = 0.98
"""Net speed over plain decoding that is asked for, by the one-sided 95 % limit."""
PROFILED = 2
"""Requests of each domain that a profile is measured on."""
DRAFTERS: dict[str, Method] = {
    "uniform": Method("uniform"),
    **{name: SYSTEMS[name] for name in ("sd", "ngram", "heads", "hydra", "eagle")},
    "mixture": Method("mixture", draft="generalist"),
}
"""Every kind of drafter, at rest, as it is shipped."""


def floor(
    models: Models,
    serving: Serving,
    domains: Sequence[str],
    prompts: int,
    names: Sequence[str] = tuple(DRAFTERS),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[dict[str, Any]]:
    """One row a drafter and domain, and one over all domains: net speed over plain and its one-sided limit.

    Raises:
        ValueError: for a drafter that is not in ``DRAFTERS``, or fewer than one prompt.
    """
    if prompts < 1:
        raise ValueError(f"prompts={prompts!r}: at least one request of every domain, and four for a limit")
    if not names or not set(names) <= set(DRAFTERS):
        raise ValueError(f"drafters {tuple(names)}: at least one, each one of {', '.join(DRAFTERS)}")
    rows = []
    for name in names:
        method = DRAFTERS[name]
        sample = scheduled(",".join(f"{domain}:{PROFILED}" for domain in domains), 1)
        ids = [models.pair.encode(list(prompt.turns), models.chat) for prompt in sample.prompts]
        found = profile(measure(models, method, serving, ids))
        stream = scheduled(",".join(f"{domain}:{prompts}" for domain in domains), 0)
        chosen = replace(serving, costs=found.cautious, switch_cost=found.switch_cost)
        comparison = Comparison(models, {"plain": Method(None), name: method}, stream, chosen)
        comparison.warm_up()
        comparison.run(lambda done, total, name=name: progress(name, done, total))
        paid = {"costs": chosen.costs, "switch_cost": chosen.switch_cost}
        made = _rows(name, comparison.rows["plain"], comparison.rows[name], stream.segment, domains)
        rows += [row | paid for row in made]
    return rows


def _rows(
    name: str,
    plain: Sequence[dict[str, float]],
    ours: Sequence[dict[str, float]],
    segment: Sequence[int],
    domains: Sequence[str],
) -> list[dict[str, Any]]:
    keys = ("tokens", "seconds_total", "steps", "drafted")
    columns, beside = (np.array([[row[key] for key in keys] for row in rows]) for rows in (ours, plain))
    places = {domain: np.array(segment) == i for i, domain in enumerate(domains)}
    found = []
    for domain, chosen in {**places, "all": np.ones(len(columns), bool)}.items():
        drawn = draws(int(chosen.sum()))
        (tokens, seconds, steps, drafted), (plain_tokens, plain_seconds, *_) = (
            (drawn @ of[chosen]).T for of in (columns, beside)
        )
        ratio = tokens / seconds / (plain_tokens / plain_seconds)
        low = None if np.isnan(ratio[1:]).all() else float(np.nanquantile(ratio[1:], ONE_SIDED))
        row = {"drafter": name, "domain": domain, "speedup": interval(ratio), "one_sided": low}
        row |= {"tokens_per_step": float(tokens[0] / steps[0]), "drafted_per_step": float(drafted[0] / steps[0])}
        found.append(row | {"holds": low is not None and low >= LEAST})
    return found
