"""Numbers of what must hold: the audit, the two worlds' agreement, regret in the simulator, tightness of bounds."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import NONE, counted, limits, number, percent, table, yes

MATRIX = "agreement_matrix.json"
LOSSLESS, MUTANTS, FAULTS, WIDE = "lossless.json", "theory/mutants.json", "theory/faults.json", "wide.json"
"""Files that may still be made: runs of an hour."""
DRAFTS = "theory/drafts.json"
"""A sweep of ``sim run``: mixtures of several drafts."""


def audit(results: Results) -> Iterator[str]:
    """Bets against the served text being the target's own."""
    found = results.json("audit.json")
    yield (
        f"A gambler bets against the served text being the target's own, in {counted(found['tokens'])} tokens of three "
        f"target families. An alarm needs a log wealth of {log_threshold(found):.1f} (false alarms: "
        f"{found['false_alarm']:g}). Token rule and block rule are summed; the peak is the highest of all runs."
    )
    systems: dict[str, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        systems.setdefault(row["system"], []).append(row)
    rows = []
    for system, runs in systems.items():
        tokens = sum(run["tokens"] for run in runs)
        steps = sum(run["tokens"] / run["tokens_per_step"] for run in runs)
        peak, alarms = max(run["log_peak"] for run in runs), sum(run["alarm"] for run in runs)
        rows.append([system, counted(tokens), number(tokens / steps), number(peak), str(alarms)])
    yield table(["", "tokens", "tokens/step", "highest log wealth", "alarms"], rows)


def log_threshold(found: dict[str, Any]) -> float:
    """Log wealth at which the audit raises an alarm."""
    from math import log

    return -log(found["false_alarm"])


def lossless(results: Results) -> Iterator[str]:
    """Whether every drafter gave the target's own text."""
    found = results.json(LOSSLESS)
    told = "identical, or refused by name" if found["holds"] else "NOT identical"
    yield (
        f"{found['prompts']} prompts for each of three target families, every drafter by the token, the block and the "
        "Gumbel rule, learning on, rows of a batch, lengths and ways by cost; 21 random models of other families and "
        f"13 generation configs. All texts are {told}."
    )


def mutants(results: Results) -> Iterator[str]:
    """How many changed operators and constants a test noticed."""
    found = results.json(MUTANTS)
    yield (
        f"{counted(found['mutants'])} changes of one operator or constant in learners, bounds, losses, step sizes, "
        f"verification rules and the speed law: tests notice {percent(found['killed'] / found['mutants'])}. Those left "
        "alive have their reasons in `tests/data/survivors.csv`."
    )
    rows = [[f"`{row['module']}`", counted(row["mutants"]), percent(row["killed"] / row["mutants"])]
            for row in found["modules"]]  # fmt: skip
    yield table(["", "mutants", "killed"], rows)


def faults(results: Results) -> Iterator[str]:
    """Which planted faults the checker catches."""
    found = results.json(FAULTS)
    correct = found["correct"]
    yield (
        f"{found['planted']} learners with one planted fault each, {found['held out']} of them in a file that was not "
        f"looked at while the search was written, {counted(found['games'])} games at most: {found['caught']} are "
        f"caught ({found['held out, caught']} of those held out). Counterexamples have {found['median rounds']:g} "
        f"rounds in the median, and {found['replayed']} play again in a process of their own. "
        f"{len(correct['learners'])} correct learners raise {len(correct['false alarms'])} false alarms in "
        f"{correct['seeds']} seeds each."
    )
    rows = [[row["fault"], row["caught by"] or NONE, counted(row["rounds"]), number(row["seconds"], 1)]
            for row in found["faults"]]  # fmt: skip
    yield table(["fault", "caught by", "rounds", "seconds"], rows)


def wide(results: Results) -> Iterator[str]:
    """What a large vocabulary costs."""
    found = results.json(WIDE)
    yield (
        f"Inflated models of the width of {found['like']} ({counted(found['width'])}, {counted(found['vocab'])} "
        f"tokens, {found['dtype']}, few layers), one request each: orders of magnitude. *Cut*: how much more the "
        f"loss is where laws are cut to {found['top_k']} tokens and a remainder."
    )
    heads = ["drafter", "learner", "decision", "ms a step", "ms an update", "drafter, MB", "learner, MB", "cut"]
    rows = []
    for row in found["rows"]:
        sizes = [number(row[name] / 1e6, 1) for name in ("drafter_bytes", "learner_bytes")]
        times = [number(row[name], 1) for name in ("milliseconds_step", "milliseconds_update")]
        cut = NONE if row["top_k_error"] is None else f"{row['top_k_error']:+.1e}"
        rows.append([row["drafter"], row["learner"], counted(row["dimension"]), *times, *sizes, cut])
    yield table(heads, rows)


def agreement(results: Results) -> Iterator[str]:
    """Runs that the simulator foretold from one recording, then made."""
    found = results.json("agreement.json")
    yield (
        "From one recorded frozen run the simulator foretells tokens per step of learners and draft lengths that "
        "were never run. Then the decoder runs them. Greedy runs must have the same accepted counts in every "
        "prompt; sampled ones must lie within the 95 % interval."
    )
    heads = ["", "drafter", "γ", "mode", "foretold", "measured", "same prompts", "holds"]
    rows = []
    for row in found["rows"]:
        measured = {"value": row["measured"], "low": row["low"], "high": row["high"]}
        same = f"{row['identical']} of {row['prompts']}" if row.get("identical") is not None else NONE
        run = [row["learner"], row.get("drafter", "adapter"), str(row["gamma"]), row["sampling"]]
        rows.append([*run, number(row["predicted"], 3), limits(measured, 3), same, yes(row["holds"])])
    yield table(heads, rows)
    worst = max(abs(row["predicted"] / row["measured"] - 1) for row in found["rows"])
    law = [abs(row["error"]) for row in found["speed_law"]]
    yield (
        f"Largest difference: {percent(worst)}. The speed law, its costs read from every other prompt, foretells the "
        f"net speedup of the rest: {len(law)} cases, largest error {percent(max(law))}. All checks, held of made:"
    )
    yield table(["", "held", "of"], ([name, str(held), str(made)] for name, (held, made) in found["holds"].items()))


def matrix(results: Results) -> Iterator[str]:
    """The same for every drafter, learner, draft length, sampling and way of serving."""
    found = results.json(MATRIX)
    inside, third = found["inside"], found["confirmed"]
    yield (
        f"{len(found['rows'])} decoder runs beside their predictions, one line a drafter, sampling and way of serving. "
        "Greedy runs and those by the Gumbel rule hold if every prompt has the accepted counts foretold or differs at "
        f"a near-tie; sampled ones if the prediction lies in the 95 % interval: {inside['value']:.3f} of "
        f"{inside['cells']} do, 99 % interval {inside['low']:.3f} to {inside['high']:.3f}. The difference is the "
        "largest of all columns (losses, regret, energies, hint errors, certificate, alpha), float32 of the live run "
        "against float64 of the replay, relative to the column's largest entry. It leaves out runs that are sensitive: "
        "those move as far in float64 when every hidden state is moved by 1e-6 of itself. The bias is the smallest "
        "that a cell could have detected, half its interval over the prediction; the median of the cells."
    )
    heads = ["drafter", "sampling", "served", "cells", "hold", "near-ties", "sensitive", "difference", "bias"]
    rows = []
    for line in found["groups"]:
        size, bias = line["largest_difference"], line["smallest_bias"]
        counts = [str(line[name]) for name in ("cells", "hold", "near_ties", "sensitive")]
        shown = [NONE if size is None else f"{size:.1e}", NONE if bias is None else percent(bias)]
        rows.append([line["drafter"], line["sampling"], line["mode"], *counts, *shown])
    yield table(heads, rows)
    yield (
        f"Of the {third['runs']} replays that foretold them {third['held']} are what the papers' pseudocode gives: "
        f"counts differ at {third['counted']} positions, columns by {third['largest']:.1e} at most."
    )


def simulator(results: Results) -> Iterator[str]:
    """Regret over bound of every row of the simulator."""
    found = results.headers("sim")
    summary = results.json("summary.json")["sim"]
    yield (
        f"{summary['rows']} rows, {summary['checked']} of them with a limit ({summary['with_a_regret_bound']} on "
        f"regret), {broken(found)} broken in any round and copy. Cells are tightness: the largest measured over "
        "bound of all copies at the horizon; above 1 a bound would be broken. Median over rows "
        f"{number(summary['median_tightness'], 3)}; of the tightest row of each learner's bounds on regret "
        f"{number(median(tightest_streams(found).values()), 3)}. A dash is a learner without a theorem there."
    )
    learners = list(dict.fromkeys(name.rpartition("/")[2] for name in found))
    places: dict[str, dict[str, str]] = {}
    for name, header in found.items():
        environment, _, learner = name.rpartition("/")
        places.setdefault(environment, {})[learner] = number(header["tightness"])
    shown = [learner for learner in learners if any(row.get(learner, NONE) != NONE for row in places.values())]
    seeds = {name.rpartition("/")[0]: (header["seeds"], header["rounds"]) for name, header in found.items()}
    rows = []
    for place, row in places.items():
        copies, rounds = seeds[place]
        rows.append([place, str(copies), counted(rounds), *(row.get(name, NONE) for name in shown)])
    yield table(["", "copies", "rounds", *shown], rows)


def broken(headers: dict[str, dict[str, Any]]) -> int:
    """Bounds that were broken, over all rows, rounds and copies."""
    return sum(header["violations"] for header in headers.values())


def tightest_streams(headers: dict[str, dict[str, Any]]) -> dict[tuple[str, str], float]:
    """(learner, bound on regret) → the largest tightness of all streams."""
    best: dict[tuple[str, str], float] = {}
    for name, header in headers.items():
        for bound in {"bound", "certificate", "guarantee"} & {*header["tightness_of"]}:
            key = name.rpartition("/")[2], bound
            best[key] = max(header["tightness_of"][bound], best.get(key, 0.0))
    return best


def drafts(results: Results) -> Iterator[str]:
    """The largest tightness of every learner over all streams of several drafts."""
    found = results.json(DRAFTS)
    best = dict[str, tuple[float, str]]()
    for name, ratio in found["tightness"].items():
        if ratio is not None:
            stream, _, learner = name.partition(",")[0].rpartition("/")
            best[learner] = max(best.get(learner, (ratio, stream)), (ratio, stream))
    yield (
        f"{found['rows']} rows, {found['copies']} copies each, {found['with_bounds']} of them with a bound, "
        f"{found['violations']} broken in any round and copy. Beside every learner the stream on which its regret "
        "comes nearest to its bound."
    )
    yield table(["", "tightness", "stream"], ([name, number(ratio, 3), f"`{stream}`"]
                                              for name, (ratio, stream) in sorted(best.items())))  # fmt: skip


def tightness(results: Results) -> Iterator[str]:
    """The largest regret over bound that a search found, or a game by hand reaches."""
    rows = results.rows("theory/tightness.csv")
    found, best = sum(row["broken"] != "False" for row in rows), tightest_rows(rows)
    yield (
        "For every bound a search looks for the game with the largest regret over bound, and a game by hand comes as "
        f"near as is known. {len(rows)} rows about {len(best)} bounds, {found} broken. The tightest row of each bound: "
        f"median {number(median(best.values()), 3)}, least {number(min(best.values()), 3)}, "
        f"{sum(ratio >= 0.95 for ratio in best.values())} of them 0.95 or more. `theory/README.md` names the theorem "
        "and the test of each, `python -m theory bounds NAME` why one is loose."
    )
    yield table(["", "bound", "ratio", "rounds", "game"],
                ([f"`{row['bound']}`", f"`{row['function']}`", number(float(row["ratio"]), 3), row["rounds"],
                  row["game"]] for row in rows))  # fmt: skip


def tightest_rows(rows: list[dict[str, str]]) -> dict[str, float]:
    """Bound → the largest ratio of its rows."""
    best: dict[str, float] = {}
    for row in rows:
        best[row["function"]] = max(float(row["ratio"]), best.get(row["function"], 0.0))
    return best


def embedded(record: dict[str, Any]) -> Iterator[str]:
    """How good the embedded drafts are, as the record of their making says."""
    yield (
        "Alpha of both embedded drafts at temperature 1 on held-out prompts, per target family, and how many of the "
        "160 prompts of a domain also occur in the training text. From `real/assets/PROVENANCE.json`."
    )
    families = {"qwen3": record["served"], **record["served_by"]}
    kinds = [f"{family}: {draft}" for family in families for draft in ("specialist", "generalist")]
    rows = []
    for domain, repeated in record["prompts_also_in_train_text"].items():
        alphas = [number(alpha, 3) for served in families.values() for alpha in served[domain]["alpha"].values()]
        rows.append([domain, *alphas, str(repeated)])
    yield table(["", *kinds, "also in training text"], rows)
