"""Numbers of replay: what learning has saved after so many tokens, mixtures against their parts, returning shifts."""

from collections.abc import Iterator, Mapping
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import NONE, counted, limits, number, table, yes

SOURCE = "curves/curves.json"
INTRODUCTION = """\
One text a request is sampled from the target and read by every system, learning on the way. From the rates of
acceptance follow expected steps, and with the seconds of a step the time saved against the draft at rest after n
tokens. Drafts have a fixed length here, parts never rest, and copies never draft alone. *First 1,000* are the first
tokens of a stream. *Predicted*: at the cost of a step on the GPU of the last benchmark. A curve may cross zero several
times; *pays from* is the last crossing, if it ends above zero."""


def replay(results: Results) -> Iterator[str]:
    """Systems, mixtures, stretches of streams that shift, and whether requests that were served agree."""
    rows = results.json(SOURCE)["rows"]
    yield INTRODUCTION
    yield _systems(rows)
    yield "### Mixtures against the best of their parts, and the best fixed mixture in hindsight"
    yield _mixtures(rows)
    shifting = [row for row in rows if shifts(row)]
    if shifting:
        yield "### Leaving a domain and returning: tokens per step ÷ the draft's"
        yield _stretches(shifting)
    yield "### Requests that were served ÷ the replay of the same, tokens per step"
    yield _agreement([row for row in rows if not shifts(row)])


def shifts(row: Mapping[str, Any]) -> bool:
    """Whether a stream has several stretches. Its timed requests are its first domain's, as those of its home cell."""
    return len(row["stretches"]) > 1


def _systems(rows: list[dict[str, Any]]) -> str:
    heads = ["", "system", "tokens", "tokens/step ÷ draft's", "first 1,000", "net", "pays from", "net, predicted"]
    found = []
    for row in rows:
        for name, one in row["systems"].items():
            if "measured" in one:
                ratios = [limits(one[key]) for key in ("relative", "relative_first")]
                foretold = limits(one["predicted"]["net"]) if "predicted" in one else NONE
                curve = one["measured"]
                found.append([_place(row), name, counted(row["tokens"]), *ratios, limits(curve["net"]),
                              _pays_from(curve), foretold])  # fmt: skip
    return table(heads, found)


def _pays_from(curve: Mapping[str, Any]) -> str:
    """Tokens after which a curve stays above zero; none if it ends below."""
    if curve["value"][-1] <= 0:
        return NONE
    return counted(curve["crossings"][-1] if curve["crossings"] else curve["tokens"][0])


def _mixtures(rows: list[dict[str, Any]]) -> str:
    heads = ["", "mixture", "best part", "÷ best part", "÷ hindsight", "at least 0.99"]
    return table(heads, [
        [_place(row), name, one["best_part"], limits(one["of_best_part"], 3), limits(one["of_hindsight"], 3),
         yes(one["holds"])]
        for row in rows for name, one in row["mixtures"].items()
    ])  # fmt: skip


def _stretches(rows: list[dict[str, Any]]) -> str:
    heads = ["", "stretch", "system", "whole", "first 1,000", "÷ the last visit's end"]
    found = []
    for row in rows:
        for number_, part in enumerate(row["stretches"], 1):
            for name, one in part["systems"].items():
                kept = limits(one["kept"]) if "kept" in one else NONE
                found.append([_place(row), f"{number_} {part['name']}", name, limits(one["whole"]),
                              limits(one["first"]), kept])  # fmt: skip
            if "sharing" in part:
                shared = [limits(part["sharing"][side]) for side in ("whole", "first")]
                found.append([_place(row), f"{number_} {part['name']}", "sharing ÷ static weights", *shared, NONE])
    return table(heads, found)


def _agreement(rows: list[dict[str, Any]]) -> str:
    heads = ["", "system", "served", "replayed", "ratio", "within max(3 %, interval)"]
    return table(heads, [
        [_place(row), name, number(one["served"]), number(one["replayed"]), limits(one["ratio"], 3), yes(one["holds"])]
        for row in rows for name, one in row["agreement"].items()
    ])  # fmt: skip


def _place(row: Mapping[str, Any]) -> str:
    domains = [part.split(":")[0].removesuffix("-large") for part in row["schedule"].split(",")]
    return f"{row['start']}, {row['family']}: {' → '.join(domains)}"
