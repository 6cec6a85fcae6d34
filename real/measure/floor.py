"""`python -m real floor`: does choosing the draft's length by cost ever make decoding slower than plain?

Every drafter, random tokens among them, on every domain: the drafter at rest with its lengths chosen by cost
(``theory/speculation/draft_length.py``) beside plain decoding, request by request. Costs come from the drafter's
profile, measured first on requests of another seed, at their upper limits. The promise is in units of those costs; here
it is held against the clock.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from real.measure.contest import Totals, verdict
from real.measure.intervals import interval
from real.measure.profile import measure, profile
from real.measure.served import Comparison
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import SYSTEMS, Method
from real.traffic.streams import scheduled

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""What every contender measured, request by request."""
LEAST = 0.98
"""Net speed over plain decoding that is asked for, by the one-sided 95 % limit."""
PROFILED = 2
"""Requests of each domain that a profile is measured on."""
AT_REST: dict[str, Method] = {
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
    names: Sequence[str] = tuple(AT_REST),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[dict[str, Any]]:
    """One row a drafter and domain, and one over all domains: net speed over plain and its one-sided limit.

    Raises:
        ValueError: for a drafter that is not in ``AT_REST``, or fewer than one prompt.
    """
    if prompts < 1:
        raise ValueError(f"prompts={prompts!r}: at least one request of every domain, and four for a limit")
    if not names or not set(names) <= set(AT_REST):
        raise ValueError(f"drafters {tuple(names)}: at least one, each one of {', '.join(AT_REST)}")
    rows = []
    sample = scheduled(",".join(f"{domain}:{PROFILED}" for domain in domains), 1)
    stream = scheduled(",".join(f"{domain}:{prompts}" for domain in domains), 0)
    ids = models.encoded((*sample.prompts, *stream.prompts))[: len(sample.prompts)]
    for name in names:
        method = AT_REST[name]
        found = profile(measure(models, method, serving, ids))
        chosen = found.applied(serving)
        comparison = Comparison(models, {"plain": Method(None), name: method}, stream, chosen)
        comparison.warm_up()
        comparison.run(lambda done, total, name=name: progress(name, done, total))
        paid = {"costs": chosen.costs, "switch_cost": chosen.switch_cost}
        rows += [row | paid for row in rows_of(name, comparison.rows, domains)]
    return rows


def rows_of(name: str, runs: Runs, domains: Sequence[str]) -> list[dict[str, Any]]:
    """One row a domain, and one over all, from a contest of the drafter ``name`` with ``plain``."""
    whole, found = Totals.of(runs), []
    segment = whole.columns["plain"]["segment"]
    parts = {domain: whole.part(segment == i) for i, domain in enumerate(domains)}
    for domain, totals in {**parts, "all": whole}.items():
        ratio = totals.ratio(name, "plain")
        held = verdict(ratio, LEAST, one_sided=True)
        row = {"drafter": name, "domain": domain, "speedup": interval(ratio), "one_sided": held.low}
        row |= {"tokens_per_step": float(totals.rate(name, "steps")[0])}
        row |= {"drafted_per_step": float(totals.per(name, "drafted", "steps")[0])}
        found.append(row | {"holds": held.holds})
    return found
