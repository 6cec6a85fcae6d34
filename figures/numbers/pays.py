"""Numbers of the mixture: what learning on acceptance gains on the clock, each system by its own costs."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import NONE, limits, number, percent, table

BLOCKS = (
    "specialist", "generalist", "specialist-compiled", "generalist-compiled", "specialist-greedy", "generalist-greedy"
)  # fmt: skip
"""Those that were measured; each has a table and a headline in ``results/pays/``."""
FILES = (*BLOCKS, "earlier/specialist")
"""Under ``results/pays/``. The last one is of earlier code; what a file before it has is taken from there."""
AT_HOME = ("home/specialist", "home/specialist-compiled")
"""The same of cells at home alone, which were run again with nothing beside them; they come before ``FILES``."""
FAMILIES = ("qwen3", "llama", "gpt_neox")
LOOKED_AT = "sql"
"""What decided one of the mixture's parts (``results/LOG.md``)."""
LEARNS, HELD_OUT, TUNED, HOME = "copies-mixture", ("javascript", "cmake"), "session", "prose"
APART = (TUNED, *HELD_OUT, "returns")
"""Cells that are in no median."""
INTRODUCTION = """\
A cell is one domain served to one embedded target: 72 prompts a system (`returns` 168), each of at most 128 new tokens
(texts may end before), prompt by prompt in turn, learning charged. Draft lengths (up to 4 tokens, greedily up to 8),
which parts of a mixture work, and whether copies draft alone, are chosen by costs that were measured before, alike for
every system. *Draft* learns nothing; `copies` adds what is copied within a request, `fixed-mixture` the same half and
half; `copies-mixture` learns on acceptance the weights of the draft, of copies within a request and of those of all
requests; `tv-mixture` has a residual memory besides. Hyper-parameters were set on `session`, which is left out. That
copies of all requests are a part was decided by a look at `sql`, so medians without it stand beside. Blocks are of
different days and code: the commits stand above, and the log has every run. Qwen3 was measured several times while
control was being built. `javascript` and `cmake` are of kinds that no embedded model was trained on, and are in no
median; nor is `returns`, which leaves prose for sql and python and returns. *Unlike prompts* leaves out prompts more
than half of whose pieces of 40 characters stood in earlier ones. Where a draft costs little and gains little it rests
more often, which lowers its own tokens a step; both stand beside. The low-noise net replaces accepted tokens by their
chances. The measured net decides, but for the first 1,000 tokens and at home, where the low-noise one does."""


def pays(results: Results) -> Iterator[str]:
    """What holds over a block's cells, then every cell of the mixture, then the others."""
    yield INTRODUCTION
    yield _blocks(results)
    if missing := _missing(results):
        yield f"Not measured: {missing}."
    yield "### At home, all families together"
    yield _at_home(results)
    yield "### Every system over all domains but those apart"
    yield _systems(results)
    yield "### The mixture, cell by cell"
    yield _cells(results, lambda row: row["system"] == LEARNS)
    yield "### What it is held against"
    yield _cells(results, lambda row: row["system"] not in (LEARNS, "draft"))


def headlines(results: Results) -> list[dict[str, Any]]:
    """What holds over the cells of every block, by family; ``file`` says which has it."""
    found = dict[tuple[str, str], dict[str, Any]]()
    for name in FILES:
        for one in results.json(source(name))["headline"]:
            found.setdefault((one["block"], one["family"]), one | {"file": name})
    return list(found.values())


def tables(results: Results) -> list[dict[str, str]]:
    """Every system of every cell."""
    chosen = {(one["block"], one["family"]): one["file"] for one in headlines(results)}
    return [row for name in FILES for row in results.rows(f"pays/{name}.csv")
            if chosen.get((row["block"], row["family"])) == name]  # fmt: skip


def at_home(results: Results) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What a mixture costs at home, and there after shifts: the file, ``home`` or ``returns``, and what is known.

    Cells that a file before has are left out with all that were pooled with them.
    """
    told = set[str]()
    for name in (*AT_HOME, *FILES):
        if not results.has(source(name)):
            continue
        for where in ("home", "returns"):
            there = results.json(source(name)).get(where)
            if there and not name.endswith("greedy") and told.isdisjoint(there["cells"]):
                told.update(there["cells"])
                yield source(name), where, there


def _at_home(results: Results) -> str:
    heads = ["", "families", "net ÷ draft's", "one-sided", "low-noise", "one-sided"]
    rows = []
    for _, where, found in at_home(results):
        block, families = found["cells"][0].split("/")[0], ", ".join(cell.split("/")[1] for cell in found["cells"])
        nets = [limits(found["net"], 3), number(found["limit"], 3)]
        calm = [limits(found["calm"], 3), number(found["calm_limit"], 3)] if "calm" in found else [NONE, NONE]
        rows.append([f"{block}, {'home' if where == 'home' else 'home after shifts'}", families, *nets, *calm])
    return table(heads, rows)


def source(name: str) -> str:
    """The file of what holds over a block's cells."""
    return f"pays/{name}.json"


def _blocks(results: Results) -> str:
    heads = ["", "cells", "median net", "asked", "without sql", "unlike prompts", "low-noise", "pooled net"]
    heads += ["one-sided", "÷ best rival", "first 1,000", "its low-noise"]
    rows = []
    for one in headlines(results):
        found = [number(one[name], 3) for name in ("median_net", "least")]
        found += [number(_without_looked_at(results, one), 3)]
        found += [number(one.get(name), 3) for name in ("median_apart", "median_calm")]
        rest = [number(one[name], 3) for name in
                ("pooled_limit", "median_against_best_rival", "median_first", "median_calm_first")]  # fmt: skip
        rows.append([_name(one), str(one["cells"]), *found, limits(one["pooled"], 3), *rest])
    return table(heads, rows)


def _without_looked_at(results: Results, block: Mapping[str, Any]) -> float:
    rows = cells_of(results, block["block"], block["family"])
    return median(float(row["net"]) for domain, row in rows.items() if domain not in (LOOKED_AT, *APART))


def _missing(results: Results) -> str:
    known = {(one["block"], one["family"]) for one in headlines(results)}
    left = {family: [block for block in BLOCKS if (block, family) not in known] for family in FAMILIES}
    return "; ".join(f"{family}: {', '.join(blocks)}" for family, blocks in left.items() if blocks)


def _systems(results: Results) -> str:
    heads = ["", "system", "median net ÷ draft's", "worst cell", "best cell"]
    found = dict[tuple[str, str], list[tuple[float, str]]]()
    for row in tables(results):
        if row["system"] != "draft" and row["domain"] not in APART:
            found.setdefault((_name(row), row["system"]), []).append((float(row["net"]), row["domain"]))
    rows = []
    for (block, system), cells in found.items():
        ends = [f"{number(net)} {domain}" for net, domain in (min(cells), max(cells))]
        rows.append([block, system, number(median(net for net, _ in cells), 3), *ends])
    return table(heads, rows)


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['block']}, {row['family']}"


def _cells(results: Results, chosen) -> str:
    heads = [
        "",
        "domain",
        "system",
        "tokens/step",
        "the draft's",
        "ratio",
        "net ÷ draft's",
        "low-noise",
        "first 1,000",
        "learning",
    ]
    rows = []
    for row in filter(chosen, tables(results)):
        found = [limits(interval_of(row, name)) for name in ("steps_ratio", "net", "net_calm", "net_first")]
        pace, ratio = float(row["tokens_per_step"]), float(row["steps_ratio"])
        paces = [number(pace), number(pace / ratio)]
        rows.append([_name(row), row["domain"], row["system"], *paces, *found, percent(float(row["learn_share"]))])
    return table(heads, rows)


def interval_of(row: Mapping[str, str], name: str) -> dict[str, float | None]:
    """A number of a row of the table, with its limits."""
    keys = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
    return {key: float(row[column]) if row[column] else None for key, column in keys.items()}


def cells_of(results: Results, block: str, family: str = "qwen3") -> dict[str, dict[str, str]]:
    """The mixture's rows of a block, by domain, without the one it was tuned on."""
    return {
        row["domain"]: row
        for row in tables(results)
        if (row["block"], row["family"], row["system"]) == (block, family, LEARNS) and row["domain"] != TUNED
    }
