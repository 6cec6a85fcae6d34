"""Numbers of the systems: every drafter with every learner, certificates, ensembles of step sizes and hints."""

from collections.abc import Iterator
from statistics import median

from figures.numbers.files import Results
from figures.numbers.markdown import NONE, limits, number, percent, table

BLOCKS = ("generalist", "greedy", "specialist")
"""Tables of systems by where drafters start and how they decode."""
TUNED = "session"
"""The domain on which step sizes were chosen, which medians leave out."""
INTRODUCTION = """\
A cell is one domain served to one embedded target (Qwen3, Llama or GPT-NeoX architecture), all systems side by side,
request by request, learning charged. *Net ÷ rest* is net speed over the same drafter at rest; mixture and routing are
held against the small model alone. Medians are over 18 cells: those of `session`, on which step sizes were chosen, are
left out. Beside each median stand the worst and the best of those cells."""
STARTS = {
    "generalist": "Drafters start from all domains, temperature 1.",
    "greedy": "The same drafters, decoding greedily.",
    "specialist": "Drafters start from one domain (prose), temperature 1.",
}


def blocks(results: Results) -> Iterator[str]:
    """One table a block."""
    yield INTRODUCTION
    for block in BLOCKS:
        yield f"### {block}"
        yield STARTS[block]
        yield _block(results, block)
        yield _fastest(results, block)


def _block(results: Results, block: str) -> str:
    medians = results.json(f"table1/{block}.json")["headline"][block]
    heads = ["", "net ÷ rest", "worst cell", "best cell", "net speedup", "learning left out", "tokens/step", "learning"]
    rows = []
    for system, entry in medians.items():
        cells = counted_cells(results, block, system)
        cells.sort(key=lambda row: float(row["relative_speedup"]))
        ends = [f"{number(float(row['relative_speedup']))} {row['family']}/{row['domain']}" for row in
                (cells[0], cells[-1])]  # fmt: skip
        share = median(float(row["learn_share"]) for row in cells)
        names = ("speedup", "generation_speedup", "tokens_per_step")
        first = number(entry["relative_speedup"], 3)
        others = (number(entry[name]) for name in names)
        rows.append([_short(system), first, *ends, *others, percent(share)])
    return table(heads, rows)


def counted_cells(results: Results, block: str, system: str) -> list[dict[str, str]]:
    """Cells of a system that medians count."""
    return [
        row
        for row in results.rows(f"table1/{block}.csv")
        if row["system"] == system and row["domain"] != TUNED and row["relative_speedup"]
    ]


def _fastest(results: Results, block: str) -> str:
    """In how many cells each system is the fastest."""
    best: dict[tuple[str, str], dict[str, str]] = {}
    for row in results.rows(f"table1/{block}.csv"):
        cell = row["family"], row["domain"]
        if cell not in best or float(row["speedup"]) > float(best[cell]["speedup"]):
            best[cell] = row
    wins: dict[str, int] = {}
    for row in best.values():
        wins[row["system"]] = wins.get(row["system"], 0) + 1
    said = ", ".join(f"`{name}` {count}" for name, count in sorted(wins.items(), key=lambda item: -item[1]))
    return f"The fastest system of a cell, by net speedup over plain decoding, of {len(best)} cells: {said}."


DEEP = "deep/specialist.json"
"""Deep drafters that descend TV beside the same that descend KL."""


def deep(results: Results) -> Iterator[str]:
    """Does a deep drafter gain more by TV than by KL?"""
    yield (
        "Deep drafters from one domain (prose), on the shifted domains' large streams: net speed when they descend "
        "total variation, over the same drafter descending KL, all domains of a family together; then each over the "
        "drafter at rest, in the median of its cells. *Twice* takes two steps a round; *anchored* adds a KL term to "
        "the draft that was served."
    )
    pairs = results.json(DEEP)["against_kl"]
    heads = ["", "TV", "KL", "cells", "net, TV ÷ KL"]
    yield table(heads, [
        [one["family"], *map(_short, (one["system"], one["against"])), str(one["cells"]), limits(one["net"], 3)]
        for one in pairs
    ])  # fmt: skip
    medians = results.json(DEEP)["headline"]["specialist"]
    yield table(["", "net ÷ rest", "tokens/step"], [
        [_short(name), *(number(one[key], 3) for key in ("relative_speedup", "tokens_per_step"))]
        for name, one in medians.items()
    ])  # fmt: skip


def _short(system: str) -> str:
    return system.removeprefix("specialist-")


def certificates(results: Results) -> Iterator[str]:
    """In how many cells a live certificate's bound is below the frozen draft's regret."""
    yield (
        "A certificate compares the regret of a served run with its bound, in every round. *Informative* cells are "
        "those in which the bound is below the regret of the draft at rest, of the cells where that regret is not "
        "zero. The smallest slack is bound minus regret over all rounds, cells and comparators."
    )
    systems = [row["system"] for row in results.rows("table1/generalist.csv") if row["slack"]]
    rows = []
    for system in dict.fromkeys(systems):
        cells: list[str] = []
        for block in BLOCKS:
            name = f"specialist-{system}" if block == "specialist" else system
            found = [row for row in results.rows(f"table1/{block}.csv") if row["system"] == name and row["slack"]]
            ratios = [float(row["certificate_ratio"]) for row in found if row["certificate_ratio"]]
            cells += [f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}", str(len(found))]
        rows.append([system, *cells])
    heads = [head for block in BLOCKS for head in (f"{block}: informative", "certified")]
    yield table(["", *heads], rows)
    slacks = (f"{block} {smallest_slack(results, block):.2g}" for block in BLOCKS)
    yield f"Smallest slack: {', '.join(slacks)}. Below zero a bound would be broken."


def smallest_slack(results: Results, block: str) -> float:
    """Bound minus regret, the least over the block's certified rows and all their rounds."""
    return min(float(row["slack"]) for row in results.rows(f"table1/{block}.csv") if row["slack"])


def ensembles(results: Results) -> Iterator[str]:
    """Does an ensemble of step sizes come near the best one?"""
    found = results.json("claims/claims.json")
    verdict = found["verdict"]
    yield (
        f"The specialist's adapter on the Llama target, {verdict['seeds']} seeds a stream. Net speeds are divided by "
        "that of the step size which was best on that stream in hindsight. *Tuned at home* is the step that was "
        "best on the first stream; *last loss* is the ensemble of the paper's public code. 0.98 was hoped for on "
        "every stream."
    )
    heads = ["", "best step", "ensemble", "tuned at home", "last loss"]
    rows = []
    for row in found["ensembles"]:
        rows.append([row["stream"], row["best"], *(limits(row[key]) for key in ("ensemble", "tuned", "last_loss"))])
    yield table(heads, rows)


def hints(results: Results) -> Iterator[str]:
    """Does a hint gain below 1 foretell acceptance?"""
    found = results.json("claims/claims.json")
    verdict = found["verdict"]
    yield (
        "Alpha and net speed of each hint over gradient descent with the same step, and over gradient descent that "
        "also learns the prompt. The theorem bounds regret, and suggests that alpha rises where `hint gain` is below "
        "1 and falls where it is above. A comparison is decided if neither interval holds 1. "
        f"Of {verdict['hints_in_all']} comparisons {verdict['decided']} are decided, and {verdict['agreeing']} go as "
        "the theorem suggests. Against the learner that reads the prompt "
        f"{verdict['decided_against_one_that_reads_the_prompt']} are decided, and "
        f"{verdict['agreeing_against_one_that_reads_the_prompt']} go so."
    )
    heads = ["", "ν", "hint", "hint gain", "alpha ÷ same step", "net ÷ same step", "alpha ÷ prompt", "net ÷ prompt"]
    rows = []
    for row in found["hints"]:
        ratios = [limits(row[key]) for key in ("alpha", "net", "prompted", "net_prompted")]
        gain = limits(row["hint_gain"]) if row["hint_gain"]["value"] is not None else NONE
        rows.append([row["stream"], str(row["nu"]), row["hint"], gain, *ratios])
    yield table(heads, rows)


def tuning(results: Results) -> Iterator[str]:
    """The best setting of every learner where step sizes were chosen."""
    found = results.json("tuning.json")
    yield (
        f"Step sizes were chosen on `{found['stream']}`, seed {found['seed']}, a stream to which no result shifts. The "
        "best of every learner by alpha; the file has every step that was tried."
    )
    best: dict[tuple[str, int], dict] = {}
    for row in found["rows"]:
        key = row["learner"]["class"], row["nu"]
        if key not in best or row["alpha"] > best[key]["alpha"]:
            best[key] = row
    rows = []
    for (learner, nu), row in sorted(best.items(), key=lambda item: (item[0][1], -item[1]["alpha"])):
        step = row["learner"].get("step_size")
        said = NONE if step is None else f"{step:g}"
        rows.append([learner, str(nu), said, number(row["alpha"], 3), number(row["tokens_per_step"])])
    yield table(["", "ν", "step size", "alpha", "tokens/step"], rows)
