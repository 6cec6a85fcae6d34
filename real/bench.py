"""`python -m real bench`: our frozen decoder against transformers' own assisted generation, same pair, same gamma.

Interleaved prompt by prompt, their settings made fair: constant schedule, confidence threshold 0, top_k 0 when
sampling. Time inside model forwards is measured by timers around them; for theirs the whole ``model.forward`` counts as
inside, for ours body and head, so the comparison of what is left favours theirs.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from real.compare import device_name
from real.decode import Session, generate
from real.drafters import Drafter, make_drafter
from real.intervals import draws, interval
from real.models import Pair, load_pair
from real.sampling import Sampling
from theory.trace import provenance, save_json

MODES = {"greedy": Sampling(0.0), "sampled": Sampling(1.0)}
FASTER, LEANER = 1.1, 0.5
"""What is asked of us: at least so many times their tokens per second, at most such a part of their overhead."""


@dataclass
class Forwards:
    """Calls and seconds of every wrapped forward, by name."""

    calls: dict[str, int]
    seconds: dict[str, float]

    @property
    def inside(self) -> float:
        return sum(self.seconds.values())


@contextmanager
def timed_forwards(modules: dict[str, list[Any]]):
    """Time the ``forward`` of each module while the block runs; names map to modules summed together."""
    record = Forwards(dict.fromkeys(modules, 0), dict.fromkeys(modules, 0.0))

    def wrap(name: str, forward: Callable) -> Callable:
        def timed(*args, **kwargs):
            start = time.perf_counter()
            output = forward(*args, **kwargs)
            record.seconds[name] += time.perf_counter() - start
            record.calls[name] += 1
            return output

        return timed

    for name, members in modules.items():
        for module in members:
            module.forward = wrap(name, module.forward)
    try:
        yield record
    finally:
        for members in modules.values():
            for module in members:
                del module.forward  # the class's own again


@dataclass(frozen=True)
class Run:
    """One request: tokens committed, steps (target forwards that commit), seconds: in all, outside forwards, of CPU."""

    tokens: int
    steps: int
    seconds: float
    outside: float
    cpu: float


def ours(pair: Pair, drafter: Drafter, prompt: list[int], new: int, gamma: int, sampling: Sampling, seed: int) -> Run:
    """One request through our decoder, prefill included."""
    assert pair.draft is not None
    modules = {"target": [pair.target.body, pair.target.readout], "draft": [pair.draft.body, pair.draft.readout]}
    rng = torch.Generator().manual_seed(seed)
    with timed_forwards(modules) as record:
        start, cpu = time.perf_counter(), time.process_time()
        session = Session(pair.target, drafter, prompt, new)
        steps = sum(1 for _ in generate(session, gamma, sampling, rng))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Run(len(session.tokens) - len(prompt), steps, seconds, seconds - record.inside, cpu)


def theirs(pair: Pair, prompt: list[int], new: int, gamma: int, sampling: Sampling, seed: int) -> Run:
    """The same request through ``generate(assistant_model=…)``."""
    assert pair.draft is not None
    target, draft = pair.target.model, pair.draft.model
    draft.generation_config.num_assistant_tokens = gamma
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0
    chosen: dict[str, Any] = {"do_sample": False}
    if not sampling.greedy:
        chosen = {"do_sample": True, **asdict(sampling)}
    ids = torch.tensor([prompt], device=pair.device)
    torch.manual_seed(seed)  # generate() takes no generator
    with timed_forwards({"target": [target], "draft": [draft]}) as record:
        start, cpu = time.perf_counter(), time.process_time()
        output = target.generate(
            ids, attention_mask=torch.ones_like(ids), assistant_model=draft, max_new_tokens=new, pad_token_id=0,
            repetition_penalty=1.0, **chosen,
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Run(output.shape[1] - len(prompt), record.calls["target"], seconds, seconds - record.inside, cpu)


def rate(runs: Sequence[Run]) -> float:
    """Tokens per second: Σ tokens / Σ seconds."""
    return sum(run.tokens for run in runs) / sum(run.seconds for run in runs)


def ratio(one: Sequence[Run], other: Sequence[Run], per: str = "seconds") -> dict[str, float | None]:
    """Tokens a second (or ``per`` step) of one over the other's with its 95 % interval, paired over requests."""
    counts = np.array([[a.tokens, getattr(a, per), b.tokens, getattr(b, per)] for a, b in zip(one, other, strict=True)])
    tokens, spent, tokens_other, spent_other = (draws(len(counts)) @ counts).T
    return interval(tokens / spent / (tokens_other / spent_other))


def measure(pair: Pair, prompts: Sequence[list[int]], new: int, gamma: int, sampling: Sampling) -> dict[str, Any]:
    """Interleaved runs of every prompt, order alternating, the first also as warm-up, and what they add up to."""
    drafter = make_drafter("adapter", pair)
    runs: dict[str, list[Run]] = {"ours": [], "theirs": []}
    plans = {
        "ours": lambda prompt, seed: ours(pair, drafter, prompt, new, gamma, sampling, seed),
        "theirs": lambda prompt, seed: theirs(pair, prompt, new, gamma, sampling, seed),
    }
    for i, prompt in enumerate([prompts[0], *prompts]):
        for name in sorted(plans, reverse=bool(i % 2)):
            run = plans[name](prompt, i)
            if i:
                runs[name].append(run)
    row: dict[str, Any] = {"ratio": ratio(runs["ours"], runs["theirs"])}
    row["tokens_per_step_ratio"] = ratio(runs["ours"], runs["theirs"], "steps")
    per_cpu = {name: sum(run.tokens for run in done) / sum(run.cpu for run in done) for name, done in runs.items()}
    row["cpu_ratio"] = per_cpu["ours"] / per_cpu["theirs"]  # what a busy machine disturbs least
    for name, done in runs.items():
        steps = sum(run.steps for run in done)
        row[f"{name}_tokens_per_second"] = rate(done)
        row[f"{name}_tokens_per_step"] = sum(run.tokens for run in done) / steps
        row[f"{name}_outside_ms_per_step"] = 1e3 * sum(run.outside for run in done) / steps
    return row


def verdict(row: dict[str, Any]) -> dict[str, bool]:
    """Whether we are ``FASTER``, by the lower limit of the ratio, and ``LEANER`` outside the forwards."""
    lean = row["ours_outside_ms_per_step"] <= LEANER * row["theirs_outside_ms_per_step"]
    return {"faster": bool((row["ratio"]["low"] or 0) >= FASTER), "leaner": bool(lean)}


def _limits(found: dict[str, float | None]) -> str:
    """Value and limits; the value alone where there were too few requests for limits."""
    limits = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{limits}"


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print the table, and under it for each mode whether it holds what is asked."""
    titles = f"{'ours/theirs':>26} {'per CPU-s':>10} {'tokens/s':>17} {'tokens_per_step':>17}"
    print(f"{'':8} {titles} {'ms outside forwards/step':>26}")
    for mode, row in rows.items():
        found = row["ratio"]
        print(
            f"{mode:8} {_limits(found):>26} {row['cpu_ratio']:10.3f}"
            f" {row['ours_tokens_per_second']:8.1f} {row['theirs_tokens_per_second']:8.1f}"
            f" {row['ours_tokens_per_step']:8.3f} {row['theirs_tokens_per_step']:8.3f}"
            f" {row['ours_outside_ms_per_step']:12.3f} {row['theirs_outside_ms_per_step']:13.3f}"
        )
    for mode, row in rows.items():
        holds = {name: "yes" if held else "no" for name, held in verdict(row).items()}
        print(
            f"{mode:8} tokens_per_step ours/theirs {_limits(row['tokens_per_step_ratio'])};"
            f" lower limit of ours/theirs {row['ratio']['low'] or 0:.3f} >= {FASTER:g}: {holds['faster']};"
            f" ms outside forwards {row['ours_outside_ms_per_step']:.3f} <="
            f" {LEANER:g} x {row['theirs_outside_ms_per_step']:.3f}: {holds['leaner']}"
        )


def bench(
    target: str,
    draft: str,
    prompts: Sequence[Sequence[str]],
    new: int = 64,
    gamma: int = 4,
    dtype: str = "float32",
    device: str = "cpu",
    chat: bool | None = None,
    out: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Compare on ``prompts`` (each a list of turns), greedy and sampled; print a table and return its rows by mode.

    chat: use the chat template; None uses it where the tokenizer has one. out: a JSON file to keep the rows in.
    """
    if gamma < 1 or new < 1 or not prompts:
        raise ValueError(f"gamma={gamma!r}, new={new!r}, {len(prompts)} prompts: each must be at least 1")
    torch.set_num_threads(1)
    pair = load_pair(target, draft, dtype, device)
    ids = [pair.encode(list(turns), chat) for turns in prompts]
    rows = {mode: measure(pair, ids, new, gamma, sampling) for mode, sampling in MODES.items()}
    print(f"{len(ids)} prompts × {new} tokens, gamma {gamma}, {dtype}, {device}; theirs: transformers assisted")
    show(rows)
    if out is not None:
        given = {"target": target, "draft": draft}
        names = {key: Path(path).name if Path(path).is_dir() else path for key, path in given.items()}
        settings = {**names, "prompts": len(ids), "new": new, "gamma": gamma, "dtype": dtype}
        holds = {mode: verdict(row) for mode, row in rows.items()}
        save_json(out, {**settings, "rows": rows, "holds": holds, "provenance": provenance(device_name(device))})
    return rows
