"""Numbers of the streams that shift: learning decoders beside the frozen draft, in every part of a stream."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import counted, limits, number, percent, table

FIRST = ("plain", "frozen")
"""What every other method is compared to."""
NAMES = {"2:prose": "home again", "0:prose": "home", "shifted_last_half": "its last half"}
SHOWN = ("frozen", "ngram", "ogd", "optimistic", "ensemble", "generalist")
"""Rows of the short table, which the README has."""
BEST, WORST = "sql", "python"
"""The streams of the short table: the one where learning gains most, and the one where it gains least."""
LATE = "shifted_last_half"
INTRODUCTION = """\
One decoder serves a stream of requests from one domain (home, prose), then from another, then from home again. Every
method serves every request in turn, and learning is charged. The first tokens only set the adapter's whitening
(`burn_in`). Net speed is tokens per second, learning included. "÷ frozen" compares with the same draft at rest.
`generalist` is a draft at rest that was trained on all domains. It has a higher alpha than the frozen draft, and *gap
closed* is the share of that difference which a learner made up. A request that several seeds serve is drawn together
with its twins in the bootstrap."""


def experiments(results: Results) -> dict[str, dict[str, Any]]:
    """Every stream by name, the main one first."""
    summary = results.json("summary.json")
    return {summary["main"]: summary["real"], **summary["others"]}


def shifted(results: Results) -> Iterator[str]:
    """The section: two tables a stream."""
    yield INTRODUCTION
    for name, found in experiments(results).items():
        settings, seeds = found["settings"], found["seeds"]
        served = "greedily" if settings["sampling"]["temperature"] == 0 else "at temperature 1"
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        yield f"### {name}"
        yield (
            f"`{settings['schedule']}`, {count}, {served}, γ = {settings['gamma']}, rounds of ν = {settings['nu']} "
            f"tokens, burn-in {settings['burn_in']}. The last half of the shifted part:"
        )
        yield late(found["parts"][LATE])
        yield f"Alpha of the frozen draft: {_alphas(found)}."
        yield "Net speed ÷ frozen, then tokens per step ÷ frozen, in every part of the stream:"
        yield parts(found, "relative_speedup")
        yield parts(found, "relative_tokens_per_step")


def _alphas(found: Mapping[str, Any]) -> str:
    """The frozen draft's alpha in every part."""
    alphas = ((_title(part), methods["frozen"]["alpha"]) for part, methods in found["parts"].items())
    return ", ".join(f"{title} {limits(alpha, 3)}" for title, alpha in alphas)


def _title(part: str) -> str:
    return NAMES.get(part, part.partition(":")[2])


def late(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Every method over one part of a stream."""
    heads = ["", "tokens/step", "alpha", "net speedup", "learning left out", "net ÷ frozen", "gap closed", "learning"]
    rows = []
    for method in ordered(methods):
        entry = methods[method]
        cells = [limits(entry[key]) for key in ("tokens_per_step", "alpha", "speedup", "generation_speedup")]
        cells += [limits(entry["relative_speedup"]), limits(entry["gap_closed"]), percent(entry["learn_share"])]
        rows.append([method, *cells])
    return table(heads, rows)


def parts(found: Mapping[str, Any], key: str) -> str:
    """One ratio of every method in every part, and what is known of a whole run alone."""
    whole = found["methods"]
    heads = ["", "whole stream", *map(_title, found["parts"])]
    net = key == "relative_speedup"
    heads += ["hint gain", "pays after (tokens)"] * net
    rows = []
    for method in ordered(whole)[len(FIRST) :]:
        cells = [limits(part[method][key]) for part in (whole, *found["parts"].values())]
        if net:
            cells += [number(whole[method]["hint_gain"]["value"]), counted(whole[method]["break_even_tokens"])]
        rows.append([method, *cells])
    return table(heads, rows)


def ordered(methods: Mapping[str, Any]) -> Sequence[str]:
    """Plain decoding and the frozen draft first."""
    return [*FIRST, *(method for method in methods if method not in FIRST)]


def short(results: Results) -> str:
    """The README's table: the best stream beside the worst."""
    streams = [experiments(results)[name]["parts"][LATE] for name in (BEST, WORST)]
    titles = [f"prose → {name}: {column}" for name in (BEST, WORST) for column in ("tokens/step", "net speedup")]
    keys = ("tokens_per_step", "speedup")
    rows = [[method, *(limits(part[method][key]) for part in streams for key in keys)] for method in SHOWN]
    return table(["", *titles], rows)
