"""Do the two worlds agree? The simulator's predictions from one frozen recording, held against decoder runs made after.

Written to ``OUT/agreement.json``: accepted counts (greedy, position by position), tokens per step (sampled), one step
and whole runs of every learner in float32 against float64, the speed law fitted on odd blocks against even ones, and
the pathwise theorems on every run.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from real.measure.intervals import CENTRAL, draws
from real.measure.speed_law import pathwise, speed_law
from real.models.sampling import Sampling
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.serving.step import Step
from real.systems.loaded import Models
from real.systems.rows import METHODS, SYSTEMS, Method
from real.traffic.streams import scheduled
from real.verify.lossless import TIE
from real.verify.record import load_header, losses
from theory.runs.agreement import free_run, one_step
from theory.runs.files import owned
from theory.runs.practice import ADAPTER_LEARNERS
from theory.runs.result import save_result
from theory.runs.trace import Trace, done, provenance
from theory.speculation.gumbel_rule import lead, noise

RUNS = (("ogd", 2), ("optimistic", 3), ("ensemble", 6))
"""Learners and draft lengths that are predicted; nothing was recorded with any of them."""
HEADS_RUNS = (("ogd", 1), ("optimistic", 2), ("ensemble", 3))
"""The same on linear heads, which draft no more than there are heads."""
TEMPERATURES = {"greedy": 0.0, "sampled": 1.0}
"""Recordings and their temperatures; those of linear heads, where they were made, are called ``heads-greedy``, …"""
HEADS, GUMBEL = "heads-", "gumbel"
EXACT, SEEDED = ("greedy", GUMBEL), "accepted counts, Gumbel rule"
"""Where a recording predicts every position; that of the Gumbel rule, sampled at temperature 1, may be made or not."""
STEP_TOLERANCE, RUN_TOLERANCE, NEARBY = 1e-5, 1e-4, 1e-7


@dataclass
class Made:
    """A decoder run position by position: prompt, token, whether a step began there, whether its draft was accepted,
    and the target's top-2 logit gap."""

    prompt: list[int]
    token: list[int]
    step_start: list[bool]
    accepted: list[bool]
    gap: list[float]


KINDS = {"prompt": int, "token": int, "step_start": bool, "accepted": bool, "gap": float}
"""Columns of a decoder run, as ``Made`` holds them."""


def make(
    models: Models,
    header: dict[str, Any],
    schedule: str,
    learner_name: str,
    gamma: int,
    rule: str = "",
    watch: Callable[[Step], Any] = lambda step: None,
    **more: Any,
) -> Made:
    """Run the decoder as the recording's header says, under a learner and a draft length that were not recorded.

    ``rule``: another than the recording's; ``watch`` is shown every step; ``more``: rows and hooks of the decoder.
    """
    sampling = Sampling(header["temperature"], header["top_k"], header["top_p"])
    burn_in = header["burn_in_rounds"] * header["nu"] or Serving.burn_in
    rule = rule or header.get("rule", Serving.rule)
    serving = Serving(gamma, header["nu"], sampling, header["max_new_tokens"], header["law_top_k"], burn_in, rule)
    made = Made([], [], [], [], [])

    def note(step: Step) -> None:
        made.gap.extend(_gap(step, rule).tolist())
        made.token.extend(step.tokens)
        made.prompt.extend([(step.text.number or 1) - 1] * len(step.tokens))
        made.step_start.extend(i == 0 for i in range(len(step.tokens)))
        made.accepted.extend(i < step.accepted for i in range(len(step.tokens)))
        watch(step)

    seed = header["seed"] + (rule != "gumbel")  # whose text the seed fixes
    decoder = models.decoder(method_of(header, learner_name), serving, seed, watch=note, **more)
    for _ in decoder.serve_all(models.encoded(scheduled(schedule, header["seed"]).prompts), Ledger()):
        pass
    return made


def method_of(header: dict[str, Any], learner_name: str) -> Method:
    """The row of the drafter that was recorded, with this learner."""
    system = header.get("system", "")
    if not system:
        return METHODS[learner_name]
    return SYSTEMS[system if learner_name == "frozen" else f"{system}-{learner_name}"]


def _gap(step: Step, rule: str) -> torch.Tensor:
    """How far the target is from choosing otherwise at the positions of a step ``[c]``."""
    if rule != "gumbel":
        top = step.logits.topk(2, dim=-1).values
        return top[:, 0] - top[:, 1]
    laws, end = step.verified_probs, len(step.text.tokens)
    places = torch.arange(end - len(laws), end, device=laws.device)
    return lead(laws, noise(torch.full_like(places, step.text.key or 0), places, laws.shape[-1]))


def compare_greedy(predicted: Trace, recorded_tokens: np.ndarray, made: Made) -> dict[str, Any]:
    """Accepted counts, position by position; a prompt that differs is explained by the first position where it does."""
    prompts, differing = predicted.columns["prompt"], []
    mine = {name: np.array(getattr(made, name)) for name in ("prompt", "token", "step_start", "accepted", "gap")}
    for number in np.unique(prompts):
        theirs, ours = prompts == number, mine["prompt"] == number
        length = min(theirs.sum(), ours.sum())
        pairs = [
            (recorded_tokens[theirs][:length], mine["token"][ours][:length], mine["gap"][ours][:length], "target"),
            *(
                (predicted.columns[name][theirs][:length], mine[name][ours][:length],
                 predicted.columns["margin"][theirs][:length], "draft")
                for name in ("accepted", "step_start")
            ),
        ]  # fmt: skip
        first = [(int(np.argmax(a != b)), gap, side) for a, b, gap, side in pairs if (a != b).any()]
        if not first and theirs.sum() == ours.sum():
            continue
        at, gap, side = min(first, key=lambda entry: entry[0]) if first else (length - 1, pairs[0][2], "target")
        tie = {"prompt": int(number), "position": at, "of": side, "gap": float(gap[at])}
        differing.append(tie | {"explained": bool(gap[at] < TIE)})
    total = len(np.unique(prompts))
    return {"prompts": total, "identical": total - len(differing), "tie": TIE, "differing": differing,
            "unexplained": sum(not entry["explained"] for entry in differing)}  # fmt: skip


def per_prompt(prompt: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` over each prompt's positions."""
    return np.bincount(prompt, weights=values)


def interval_of_measured(predicted: Trace, made: Made, seed: int = 0) -> dict[str, float]:
    """Predicted and measured tokens per step; the measured one's 95 % interval by a bootstrap over prompts, paired.

    Both runs served the same prompts, so each resample draws prompts for both; the interval is the measured value
    plus the spread of (measured − predicted), which holds the luck of either run's samples.
    """
    theirs, ours = predicted.columns["prompt"].astype(int), np.array(made.prompt)
    sums = np.stack([
        per_prompt(theirs, np.ones(len(theirs))), per_prompt(theirs, predicted.columns["step_start"]),
        per_prompt(ours, np.ones(len(ours))), per_prompt(ours, np.array(made.step_start, float)),
    ])  # fmt: skip
    tokens_p, steps_p, tokens_m, steps_m = sums @ draws(sums.shape[1], seed).T
    there, here = tokens_p / steps_p, tokens_m / steps_m
    low, high = here[0] + np.quantile(here - there, CENTRAL) - (here - there)[0]
    return {"predicted": float(there[0]), "measured": float(here[0]), "low": float(low), "high": float(high)}


def arithmetic(path: Path) -> list[dict[str, Any]]:
    """float32 against float64 for every learner on the recording's losses: one step, and a run left to itself."""
    exact, rounded = losses(path, torch.float64), losses(path, torch.float32)
    width = exact[0].features.shape[-1]
    x_1 = torch.zeros(width * width, dtype=torch.float64)
    noise = torch.randn(x_1.shape, generator=torch.Generator().manual_seed(0), dtype=x_1.dtype)
    nearby = x_1 + NEARBY * noise.sign()  # NEARBY apart in the norm of ``difference``
    rows = []
    for name, learner in ADAPTER_LEARNERS.items():
        step = one_step(learner, exact, rounded, x_1, x_1.float())
        run = free_run(learner, exact, rounded, x_1, x_1.float(), nearby, RUN_TOLERANCE)
        rows.append({"learner": name, "one_step": step, "one_step_holds": step <= STEP_TOLERANCE, **run._asdict(),
                     "free_run_holds": run.sensitive or run.difference <= RUN_TOLERANCE})  # fmt: skip
    return rows


def load_prediction(folder: Path, mode: str, learner: str, gamma: int) -> Trace:
    """The simulator's prediction.

    Raises:
        FileNotFoundError: if it or its recording was not made, with the command that makes it.
        ValueError: if it was made from another recording.
    """
    path = folder / "predicted" / mode / f"{learner}-gamma{gamma}"
    recording = folder / f"{mode}.npz"
    command = f"python -m sim replay {recording} --learner {learner} --gamma {gamma} --out {folder}/predicted"
    if not recording.exists():
        of_heads = "--system heads --family llama " if mode.startswith(HEADS) else ""
        by_rule = "--rule gumbel " if mode.endswith(GUMBEL) else ""
        temperature = TEMPERATURES.get(mode.removeprefix(HEADS), 1.0)
        again = f"python -m real record {of_heads}{by_rule}--temperature {temperature:g} --out {recording}"
        raise FileNotFoundError(f"no recording at {recording}: make one with `{again}` (make results does it all)")
    if not path.with_suffix(".json").exists():
        raise FileNotFoundError(f"no prediction at {path}: run `{command}` first")
    predicted, digest = Trace.load(path), load_header(recording)["digest"]
    if predicted.header["settings"]["recording"] != digest:
        theirs = predicted.header["settings"]["recording"]
        raise ValueError(f"{path} predicts from recording {theirs}, not {digest}; remove it and run `{command}`")
    return predicted


def agree(out: Path, console: Console, progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Make the runs that were predicted, compare, write ``out/agreement.json`` and print what holds."""
    folder = out / "agreement"
    runs = dict.fromkeys(TEMPERATURES, RUNS)
    runs |= {GUMBEL: RUNS} if (folder / f"{GUMBEL}.npz").exists() else {}
    runs |= {
        f"{HEADS}{mode}": HEADS_RUNS for mode in (*TEMPERATURES, GUMBEL) if (folder / f"{HEADS}{mode}.npz").exists()
    }
    predictions = {(mode, *run): load_prediction(folder, mode, *run) for mode in runs for run in runs[mode]}
    models, rows = {}, []
    for (mode, learner, gamma), predicted in predictions.items():
        with np.load(folder / f"{mode}.npz", allow_pickle=False) as file:
            header, tokens = json.loads(str(file["header"])), file["token"]
        settings = {"recording": predicted.header["settings"]["recording"], "learner": learner, "gamma": gamma}
        place = folder / "made" / mode / f"{learner}-gamma{gamma}"
        with owned(place):
            if not done(place, settings):
                family = header.get("family", "qwen3")
                models.setdefault(family, Models(family=family))
                fresh = make(models[family], header, header["schedule"], learner, gamma)
                columns = {name: np.array(values, float) for name, values in vars(fresh).items()}
                Trace({"settings": settings, "provenance": provenance()}, columns).save(place)
        columns = Trace.load(place).columns
        made = Made(*(columns[name].astype(kind).tolist() for name, kind in KINDS.items()))
        drafter, sampling = header.get("system", "adapter"), mode.removeprefix(HEADS)
        row = {"drafter": drafter, "learner": learner, "gamma": gamma, "sampling": sampling}
        row |= interval_of_measured(predicted, made)
        row["holds"] = bool(row["low"] <= row["predicted"] <= row["high"])
        if sampling in EXACT:
            row |= compare_greedy(predicted, tokens, made)
            row["holds"] = row["unexplained"] == 0
        rows.append(row)
        console.print(f"{drafter:8} {sampling:8} {learner:10} gamma {gamma}: predicted {row['predicted']:.4f}, "
                      f"measured {row['measured']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
                      + (f", {row['identical']} of {row['prompts']} prompts identical" if sampling in EXACT else ""),
                      highlight=False)  # fmt: skip
    result = {
        "rows": rows,
        "arithmetic": {mode: arithmetic(folder / f"{mode}.npz") for mode in TEMPERATURES},
        "speed_law": speed_law(out / "real"),
        "pathwise": pathwise(out / "real"),
    }
    result["holds"] = verdict(result)
    save_result(out / "agreement.json", "agreement", result)
    for name, (held, total) in result["holds"].items():
        console.print(f"{name}: {held} of {total} hold", highlight=False)
    return result


def disagreements(result: dict[str, Any]) -> list[str]:
    """The exact checks that fail; intervals may miss by chance, these may not."""
    exact = ("accepted counts, greedy", SEEDED, "one step, float32 against float64", "pathwise theorems")
    return [name for name in exact if name in result["holds"] and result["holds"][name][0] < result["holds"][name][1]]


def verdict(result: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """How many checks of each kind hold, of how many."""
    greedy = [row["holds"] for row in result["rows"] if row["sampling"] == "greedy"]
    sampled = [row["holds"] for row in result["rows"] if row["sampling"] == "sampled"]
    seeded = [row["holds"] for row in result["rows"] if row["sampling"] == GUMBEL]
    arithmetic_rows = [row for rows in result["arithmetic"].values() for row in rows]
    kinds = {
        "accepted counts, greedy": greedy,
        **({SEEDED: seeded} if seeded else {}),
        "tokens per step, sampled": sampled,
        "one step, float32 against float64": [row["one_step_holds"] for row in arithmetic_rows],
        "free run, float32 against float64": [row["free_run_holds"] for row in arithmetic_rows],
        "speed law, odd blocks to even": [row["holds"] for row in result["speed_law"]],
        "pathwise theorems": [row["holds"] for row in result["pathwise"]],
    }
    return {name: (sum(held), len(held)) for name, held in kinds.items()}
