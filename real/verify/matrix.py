"""The matrix of agreement: every drafter that can be foretold × learner × draft length × way of serving × sampling.

A cell is one decoder run beside its prediction. Greedy runs, and those by the Gumbel rule, must accept the same tokens
at every position, and have the same round columns up to float32; runs by the token rule agree in law, so each has a
recording of its own, for cells that shared one would share its luck. By the block rule what is accepted depends on laws
after tokens that were drafted and never committed, which no recording holds: only at gamma = 1, where it is the token
rule, is there a cell. Several rows interleave their texts, and so the rounds that are learned from: there the draft is
at rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest

from real.models.load import quiet
from real.models.sampling import Sampling
from real.serving.feedback import Counts, Updated
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.verify.agree import KINDS, RUN_TOLERANCE, Made, compare_greedy, interval_of_measured, make, method_of
from real.verify.record import load_header, record
from theory.checker.columns import apart, bound, columns
from theory.runs.files import owned
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS
from theory.runs.result import load_result, save_result
from theory.runs.trace import Trace, done, plain, provenance
from theory.runs.workers import at_once

DRAFTERS = {"adapter": (ADAPTER_LEARNERS, 8, ""), "heads": (HEADS_LEARNERS, 4, "heads")}
"""Drafter → its learners, the longest draft, and the row to record."""
FAMILIES = {"adapter": "qwen3", "heads": "llama"}
EXACT, LAW = ("greedy", "gumbel"), ("token", "block")
"""Samplings where every position is foretold, and those where only the law is."""
COMPILED, ROWS = (1, 3, 8), 4
"""Draft lengths of compiled runs, 4 for 8 with heads."""
WIDTHS, SLOTS = (1, 4, 8), 512
"""Draft lengths that are compiled, so that a draft of 3 is padded, and the longest text that is served compiled."""
SCHEDULE, NEW, BURN_IN, RECORDED_GAMMA = "prose:8,c:16", 32, 128, 4
SHARE, CONFIDENCE = 0.95, 0.99
"""Of the sampled cells so many are to lie inside their intervals; the share's own interval says whether they do."""


class Cell(NamedTuple):
    """One run."""

    drafter: str
    learner: str
    gamma: int
    sampling: str
    mode: str

    @property
    def name(self) -> str:
        """Of its files, and for patterns."""
        return f"{self.mode}/{self.drafter}-{self.sampling}/{self.learner}-gamma{self.gamma}"

    @property
    def recording(self) -> str:
        """The recording that foretells it."""
        if self.sampling in EXACT:
            return f"{self.drafter}-{self.sampling}"
        return f"{self.drafter}-{self.sampling}-{self.mode}-{self.learner}-{self.gamma}"


def every_cell() -> dict[str, Cell]:
    """All cells by name."""
    found = []
    for drafter, (learners, longest, _) in DRAFTERS.items():
        lengths, some = range(1, longest + 1), [min(gamma, longest) for gamma in COMPILED]
        found += [Cell(drafter, *rest, "eager") for rest in product(learners, lengths, (*EXACT, "token"))]
        found += [Cell(drafter, learner, 1, "block", "eager") for learner in learners]
        found += [Cell(drafter, *rest, "compiled") for rest in product(learners, some, (*EXACT, "token"))]
        found += [Cell(drafter, "frozen", *rest, "rows") for rest in product(lengths, (*EXACT, "token"))]
    return {cell.name: cell for cell in found}


def plan(cells: Sequence[Cell], folder: Path, jobs: int, tell: Callable[[int, int], None]) -> None:
    """Record what foretells the cells, ``jobs`` at a time, and write ``folder/plan.json`` for the simulator.

    Raises:
        SettingsDiffer: if a recording made otherwise is in the way; nothing is overwritten.
    """
    seeds = {name: 2 * i for i, name in enumerate(dict.fromkeys(cell.recording for cell in every_cell().values()))}
    first = {cell.recording: cell for cell in cells}
    tasks = [(cell, seeds[name], folder) for name, cell in first.items()]
    for number, _ in enumerate(at_once(_record, tasks, jobs), 1):
        tell(number, len(tasks))
    runs = [{"recording": cell.recording, "learner": cell.learner, "gamma": cell.gamma} for cell in cells]
    unique = list({tuple(run.values()): run for run in runs}.values())
    save_result(folder / "plan.json", "plan", {"runs": unique})


def _record(cell: Cell, seed: int, folder: Path, tell: Callable[..., Any] = print) -> None:
    """A frozen run, its laws whole: a flat draft has much of its alpha on tokens that a cut law lacks."""
    rule = "gumbel" if cell.sampling == "gumbel" else "token"
    sampling = Sampling(0.0 if cell.sampling == "greedy" else 1.0)
    serving = Serving(RECORDED_GAMMA, 16, sampling, NEW, 0, BURN_IN, rule)
    path = folder / f"{cell.recording}.npz"
    record(_models(FAMILIES[cell.drafter]), SCHEDULE, serving, seed, path, system=DRAFTERS[cell.drafter][2])


@cache
def _models(family: str, drafter: str = "") -> Models:
    """The embedded models of a family, once a process; compiled for a drafter if one is named."""
    torch.set_num_threads(1)
    quiet()
    models = Models(family=family)
    if drafter:
        lengths = [gamma for gamma in WIDTHS if gamma <= DRAFTERS[drafter][1]]
        models.compile(lengths, SLOTS, draft=drafter == "adapter")
    return models


def matrix(
    cells: Sequence[Cell], folder: Path, jobs: int, tell: Callable[[int, int], None] = lambda made, total: None
) -> dict[str, Any]:
    """Make the runs that are not there, ``jobs`` groups at a time, compare all with their predictions → the result.

    Raises:
        FileNotFoundError: for a cell that was not recorded, foretold or confirmed, with the commands that do it.
        ValueError: for a cell that was foretold or confirmed by another recording, likewise.
    """
    foretold = {cell: _prediction(cell, folder) for cell in cells}
    third = confirmed(foretold, folder)
    together: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.mode, cell.drafter, cell.sampling), []).append(cell)
    made = 0
    for count in at_once(_make_all, [(group, folder) for group in together.values()], jobs):
        tell(made := made + count, len(cells))
    rows = [compared(cell, foretold[cell], folder) for cell in cells]
    told = {"rows": rows, "tolerance": RUN_TOLERANCE, "groups": groups(rows), "confirmed": third}
    return told | verdict(rows)


def confirmed(foretold: Mapping[Cell, Trace], folder: Path) -> dict[str, Any]:
    """How the replays that foretold the cells fared against the pseudocode: runs, those that hold, the largest
    difference of a column, and positions whose counts differ.

    Raises:
        FileNotFoundError: if none was confirmed, with the command that does it.
        ValueError: if one was not, or of another recording, learner or draft length; with the same command.
    """
    path = folder / "confirmed.json"
    again = f"run `python -m sim confirm {folder}/plan.json --out {path}` first"
    if not path.exists():
        raise FileNotFoundError(f"no {path}: {again}")
    found = load_result(path, "confirmed")
    known = {(row["recording"], row["learner"], row["gamma"]): row for row in found["rows"]}
    runs = {(one.header["settings"]["recording"], cell.learner, cell.gamma): cell for cell, one in foretold.items()}
    lacking = [cell.name for run, cell in runs.items() if run not in known]
    if lacking:
        raise ValueError(f"{path}: lacks the replays of {len(lacking)} cells, first {lacking[0]}; {again}")
    rows = [known[run] for run in runs]
    sizes = [size for row in rows for size in row["differences"].values()]
    told = {"runs": len(rows), "held": sum(row["holds"] for row in rows), "limit": found["limit"]}
    largest = float(np.max(np.array(sizes, float)))  # what is not finite lies in the file as null or text
    return told | {"largest": largest, "counted": sum(row["counted"] for row in rows)}


def _prediction(cell: Cell, folder: Path) -> Trace:
    path = folder / "predicted" / cell.recording / f"{cell.learner}-gamma{cell.gamma}"
    if not path.with_suffix(".json").exists():
        again = f"python -m real matrix --plan --out {folder.parent}` and `python -m sim foretell {folder}/plan.json"
        raise FileNotFoundError(f"no prediction at {path}: run `{again}` first")
    found, digest = Trace.load(path), load_header(folder / f"{cell.recording}.npz")["digest"]
    if found.header["settings"]["recording"] != digest:
        raise ValueError(f"{path}: predicts from another recording than {digest}; remove it and foretell it again")
    return found


def _make_all(cells: Sequence[Cell], folder: Path, tell: Callable[..., Any] = print) -> int:
    """Make a group's runs, unless they are there → how many they are."""
    for cell in cells:
        header, place = load_header(folder / f"{cell.recording}.npz"), folder / "made" / cell.name
        settings = {"recording": header["digest"], **cell._asdict()}
        with owned(place):
            if not done(place, settings):
                run(cell, header, settings).save(place)
    return len(cells)


def run(cell: Cell, header: dict[str, Any], settings: dict[str, Any]) -> Trace:
    """Serve a cell: a row a committed position as ``Made`` has them; in the header alpha, rounds and bound."""
    models = _models(FAMILIES[cell.drafter], cell.drafter if cell.mode == "compiled" else "")
    counts, updates = Counts(), list[Updated]()
    more = {"rows": ROWS} if cell.mode == "rows" else {"on_round": updates.extend}
    rule = cell.sampling if cell.sampling in LAW else ""
    made = make(models, header, header["schedule"], cell.learner, cell.gamma, rule, counts.add, **more)
    told: dict[str, Any] = {"settings": settings, "alpha": counts.alpha_sum / counts.verified}
    if updates:
        told |= rounds(method_of(header, cell.learner).learner, updates)
    table = {name: np.array(values, float) for name, values in vars(made).items()}
    return Trace(plain(told) | {"provenance": provenance()}, table)


@torch.no_grad()
def rounds(learner: Any, updates: Sequence[Updated]) -> dict[str, Any]:
    """``rounds`` and ``bound`` of a live run, as ``sim/foretell.py`` has them."""
    states = [*(update.before for update in updates), updates[-1].after]
    losses = [update.loss_t.loss for update in updates]
    told = {"rounds": columns(learner, learner.predict(states[0]), states, losses)}
    return told | ({"bound": bound(learner, states, losses)} if learner.certified else {})


def compared(cell: Cell, foretold: Trace, folder: Path) -> dict[str, Any]:
    """A cell's row: both numbers with the interval, and what must be equal where that is foretold."""
    trace = Trace.load(folder / "made" / cell.name)
    made = Made(*(trace.columns[name].astype(kind).tolist() for name, kind in KINDS.items()))
    row = cell._asdict() | interval_of_measured(foretold, made)
    both = {"predicted": foretold.header["alpha"], "measured": trace.header["alpha"]}
    row |= {"alpha": both}
    if cell.sampling not in EXACT:
        row["smallest_bias"] = (row["high"] - row["low"]) / 2 / row["predicted"]
        return row | {"holds": bool(row["low"] <= row["predicted"] <= row["high"])}
    with np.load(folder / f"{cell.recording}.npz", allow_pickle=False) as file:
        row |= compare_greedy(foretold, file["token"], made)
    row["differences"] = {} if row["differing"] else differences(foretold.header, trace.header, both)
    spread = foretold.header["spread"]
    row["sensitive"] = sorted(name for name in row["differences"] if spread.get(name, 0.0) > RUN_TOLERANCE)
    wrong = [name for name, size in row["differences"].items() if not size <= RUN_TOLERANCE]
    return row | {"columns_hold": set(wrong) <= {*row["sensitive"]}, "holds": row["unexplained"] == 0}


def differences(foretold: dict[str, Any], made: dict[str, Any], alpha: dict[str, float]) -> dict[str, float]:
    """How far every column of a live float32 run is from the float64 replay; a draft at rest has alpha only."""
    pairs = {"alpha": (alpha["measured"], alpha["predicted"])}
    if "rounds" in made:
        pairs |= {name: (made["rounds"][name], column) for name, column in foretold["rounds"].items()}
    if "bound" in made:
        pairs |= {"bound": (made["bound"], foretold["bound"])}
    return {name: apart(np.atleast_1d(ours), np.atleast_1d(theirs)) for name, (ours, theirs) in pairs.items()}


def verdict(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``holds``: how many cells of each kind hold, of how many; ``inside``: the share of sampled cells inside their
    interval, and its own interval.
    """
    exact = [row for row in rows if row["sampling"] in EXACT]
    inside = [row["holds"] for row in rows if row["sampling"] not in EXACT]
    kinds = {
        "accepted tokens": [row["holds"] for row in exact],
        "columns, float32 against float64": [row["columns_hold"] for row in exact if row["differences"]],
    }
    told: dict[str, Any] = {"holds": {name: (sum(held), len(held)) for name, held in kinds.items()}}
    if inside:
        low, high = binomtest(sum(inside), len(inside)).proportion_ci(CONFIDENCE)
        told["inside"] = {"share": SHARE, "value": sum(inside) / len(inside), "low": low, "high": high}
        told["inside"] |= {"cells": len(inside), "holds": bool(low <= SHARE <= high)}
    return told


def groups(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a drafter, sampling and mode: cells, those that hold, near-ties, runs that are sensitive, the largest
    difference of a column that is not, and the median of the smallest bias that a sampled cell could have detected.
    """
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["drafter"], row["sampling"], row["mode"]), []).append(row)
    lines = []
    for key, mine in found.items():
        sizes = [size for row in mine for name, size in row.get("differences", {}).items()
                 if name not in row["sensitive"]]  # fmt: skip
        biases = [row["smallest_bias"] for row in mine if "smallest_bias" in row]
        line = dict(zip(("drafter", "sampling", "mode"), key, strict=True)) | {"cells": len(mine)}
        line |= {"hold": sum(row["holds"] for row in mine)}
        line |= {"near_ties": sum(len(row.get("differing", ())) - row.get("unexplained", 0) for row in mine)}
        line |= {"sensitive": sum(bool(row.get("sensitive")) for row in mine)}
        lines.append(line | {"largest_difference": max(sizes, default=None)}
                     | {"smallest_bias": float(np.median(biases)) if biases else None})  # fmt: skip
    return lines


def wrong(result: dict[str, Any]) -> Iterator[str]:
    """What does not hold."""
    yield from (name for name, (held, total) in result["holds"].items() if held < total)
    if not result.get("inside", {"holds": True})["holds"]:
        yield "share of sampled cells inside their intervals"
