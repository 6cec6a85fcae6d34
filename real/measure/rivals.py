"""`python -m real bench`: our decoder against transformers' own, the same pair, prompts and gamma.

Contenders serve every prompt in turn, in rotating order, after a warm-up on two prompts read backwards, so that none
has seen an answer. Theirs are made fair: constant schedule, confidence threshold 0, top_k 0 when sampling. What is
compiled of ours is tuned too on a CPU (``Compiled``); the static cache of theirs is compiled as ``generate`` does it.
Model forwards are timed where they can be, on a GPU by events in its stream: in ours around ``CausalLM.hidden`` and
``head``, in theirs around the whole ``model.forward``, so the comparison of what is left outside favours theirs.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CompileConfig

from real.drafters import make_drafter
from real.measure.contest import device_name
from real.measure.intervals import draws, interval
from real.models.compiled import slots
from real.models.device import drain
from real.models.hf import CausalLM, Pair, load_pair
from real.models.sampling import Sampling
from real.serving.step import Session, generate
from theory.runs.experiment import select
from theory.runs.result import save_result

MODES = {"greedy": Sampling(0.0), "sampled": Sampling(1.0)}


@dataclass(frozen=True)
class Target:
    """What is asked of us: ``ours`` at least ``factor`` times as fast as ``theirs``, by the interval's lower limit."""

    ours: str
    theirs: str
    factor: float


TARGETS = (
    Target("draft, compiled", "assisted", 1.5),
    Target("ngram, compiled", "prompt lookup", 1.2),
    Target("draft", "assisted", 1.1),
    Target("plain, compiled", "generate, static", 1.0),
    Target("plain", "generate", 1.0),
)
"""The names are those of ``CONTENDERS``. The last two are no speed-up: they say what our plain baseline is worth."""
ON_GPU = (replace(TARGETS[0], factor=3.0), *TARGETS[1:])
"""There launches, not arithmetic, take an eager decoder's time."""


class Forwards:
    """Calls and seconds of every wrapped function, by name. A GPU's seconds are known when the block has ended."""

    def __init__(self, names: Iterable[str], device: torch.device):
        self.device = device
        self.calls = dict.fromkeys(names, 0)
        self.seconds = dict.fromkeys(names, 0.0)
        self._spans: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def time(self, name: str, forward: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """``forward(*args, **kwargs)``, counted and timed; on a GPU without waiting for it."""
        self.calls[name] += 1
        if self.device.type != "cuda":
            start = time.perf_counter()
            output = forward(*args, **kwargs)
            self.seconds[name] += time.perf_counter() - start
            return output
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(self.device)
        start.record(stream)
        output = forward(*args, **kwargs)
        end.record(stream)
        self._spans.append((name, start, end))
        return output

    def settle(self) -> None:
        """Add up what a GPU has timed."""
        drain(self.device)
        for name, start, end in self._spans:
            self.seconds[name] += start.elapsed_time(end) / 1e3
        self._spans = []

    @property
    def inside(self) -> float:
        return sum(self.seconds.values())


@contextmanager
def timed_forwards(functions: Mapping[str, Sequence[tuple[Any, str]]], device: torch.device | str = "cpu"):
    """Time methods, given as (object, name), while the block runs; those under one heading are summed."""
    record = Forwards(functions, torch.device(device))

    def wrap(heading: str, forward: Callable) -> Callable:
        return lambda *args, **kwargs: record.time(heading, forward, args, kwargs)

    for heading, methods in functions.items():
        for of, name in methods:
            setattr(of, name, wrap(heading, getattr(of, name)))
    try:
        yield record
    finally:
        for methods in functions.values():
            for of, name in methods:
                delattr(of, name)  # the class's own again
    record.settle()


@dataclass(frozen=True)
class Run:
    """One request: tokens committed, steps (target forwards that commit), seconds: in all, outside forwards, of CPU.

    ``steps`` and ``outside`` are nan where forwards cannot be counted and timed.
    """

    tokens: int
    steps: float
    seconds: float
    outside: float
    cpu: float


Contender = Callable[[list[int], int, Sampling, int], Run]
"""(prompt, new tokens, sampling, seed of the request) → the request served, prefill included."""


def ours(pair: Pair, drafter: str, gamma: int) -> Contender:
    """Our decoder with a drafter of ``real.drafters.DRAFTERS``; an empty name decodes plainly."""
    made = make_drafter(drafter, pair) if drafter else None
    models = [model for model in (pair.target, pair.draft) if model is not None]
    functions = {"forward": [(model, name) for model in models for name in ("hidden", "head")]}

    def serve(prompt: list[int], new: int, sampling: Sampling, seed: int) -> Run:
        rng = torch.Generator().manual_seed(seed)
        with timed_forwards(functions, pair.device) as record:
            start, cpu = time.perf_counter(), time.process_time()
            session = Session(pair.target, made, prompt, new)
            steps = sum(1 for _ in generate(session, gamma, sampling, rng))
            drain(pair.device)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Run(len(session.tokens) - len(prompt), steps, seconds, seconds - record.inside, cpu)

    return serve


def theirs(pair: Pair, timed: bool = True, **settings: Any) -> Contender:
    """``generate`` with these settings. timed: its forwards can be, which a compiled model's cannot."""
    target = pair.target.model
    assistant = settings.get("assistant_model")
    models = {"target": [(target, "forward")]} | ({"draft": [(assistant, "forward")]} if assistant is not None else {})

    def serve(prompt: list[int], new: int, sampling: Sampling, seed: int) -> Run:
        chosen = {"do_sample": False} if sampling.greedy else {"do_sample": True, **asdict(sampling)}
        ids = torch.tensor([prompt], device=pair.device)
        torch.manual_seed(seed)  # generate() takes no generator
        with timed_forwards(models if timed else {}, pair.device) as record:
            start, cpu = time.perf_counter(), time.process_time()
            output = target.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, pad_token_id=0, repetition_penalty=1.0,
                **chosen, **settings,
            )  # fmt: skip
            drain(pair.device)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        steps = record.calls["target"] if timed else float("nan")
        outside = seconds - record.inside if timed else float("nan")
        return Run(output.shape[1] - len(prompt), steps, seconds, outside, cpu)

    return serve


def compiled(pair: Pair, gamma: int, size: int) -> Pair:
    """The same models compiled and tuned, for texts of up to ``size`` tokens."""
    assert pair.draft is not None
    fast = Pair(CausalLM(pair.target.model, "target"), CausalLM(pair.draft.model, "draft"), pair.tokenizer)
    fast.compile((gamma,), size, tuned=True)
    return fast


def _assisted(pair: Pair, gamma: int) -> Contender:
    assert pair.draft is not None
    settings = pair.draft.model.generation_config
    settings.num_assistant_tokens, settings.num_assistant_tokens_schedule = gamma, "constant"
    settings.assistant_confidence_threshold = 0.0
    return theirs(pair, assistant_model=pair.draft.model)


def _static(pair: Pair) -> Contender:
    settings: dict[str, Any] = {"cache_implementation": "static"}
    if pair.device.type == "cpu":  # where generate() would not compile by itself
        settings["compile_config"] = CompileConfig(fullgraph=False, dynamic=False, mode="default")
        settings["compile_config"]._compile_all_devices = True  # pyright: ignore[reportAttributeAccessIssue]
    return theirs(pair, timed=False, **settings)


CONTENDERS: dict[str, Callable[[Pair, Pair, int], Contender]] = {
    "plain": lambda pair, fast, gamma: ours(pair, "", gamma),
    "plain, compiled": lambda pair, fast, gamma: ours(fast, "", gamma),
    "draft": lambda pair, fast, gamma: ours(pair, "adapter", gamma),
    "draft, compiled": lambda pair, fast, gamma: ours(fast, "adapter", gamma),
    "ngram, compiled": lambda pair, fast, gamma: ours(fast, "ngram", gamma),
    "generate": lambda pair, fast, gamma: theirs(pair),
    "generate, static": lambda pair, fast, gamma: _static(pair),
    "assisted": lambda pair, fast, gamma: _assisted(pair, gamma),
    "prompt lookup": lambda pair, fast, gamma: theirs(pair, prompt_lookup_num_tokens=gamma),
}
"""Who serves, made from a pair, the pair compiled, and gamma. The n-gram drafter starts empty and remembers every
request since; prompt lookup reads the request at hand alone."""


def _how(model: CausalLM) -> str:
    """What became of compiling it."""
    return "eager" if model.compiled is None else "tuned" if model.compiled.tuned else "compiled"


def ratio(one: Sequence[Run], other: Sequence[Run], per: str = "seconds") -> dict[str, float | None]:
    """Tokens a second (or ``per`` step) of one over the other's with its 95 % interval, paired over requests."""
    counts = np.array([[a.tokens, getattr(a, per), b.tokens, getattr(b, per)] for a, b in zip(one, other, strict=True)])
    tokens, spent, tokens_other, spent_other = (draws(len(counts)) @ counts).T
    return interval(tokens / spent / (tokens_other / spent_other))


def measure(
    serving: Mapping[str, Contender], prompts: Sequence[list[int]], new: int, sampling: Sampling
) -> dict[str, list[Run]]:
    """Every contender's runs of the prompts, after a warm-up on the longest and the first, read backwards."""
    names = list(serving)
    for prompt in (max(prompts, key=len), prompts[0]):
        for contender in serving.values():
            contender(prompt[::-1], new, sampling, 0)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for i, prompt in enumerate(prompts):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            runs[name].append(serving[name](prompt, new, sampling, i + 1))
    return runs


def row(runs: Mapping[str, Sequence[Run]], targets: Sequence[Target] = TARGETS) -> dict[str, Any]:
    """What the runs of one mode add up to: a line a contender, and a comparison for each of ``targets``."""
    lines, held = {}, []
    for name, done in runs.items():
        whole = {of: sum(getattr(run, of) for run in done) for of in ("tokens", "seconds", "steps", "outside", "cpu")}
        tokens, steps = whole["tokens"], whole["steps"]
        line = {"tokens_per_second": tokens / whole["seconds"], "tokens_per_cpu_second": tokens / whole["cpu"]}
        line |= {"tokens_per_step": tokens / steps, "outside_ms_per_step": 1e3 * whole["outside"] / steps}
        line |= {"outside_share": whole["outside"] / whole["seconds"]}
        lines[name] = {key: None if np.isnan(value) else value for key, value in line.items()}
    for target in targets:
        if target.ours in runs and target.theirs in runs:
            found = ratio(runs[target.ours], runs[target.theirs])
            low = found["low"]
            held.append(asdict(target) | {"ratio": found, "holds": low is not None and low >= target.factor})
    return {"contenders": lines, "targets": held}


def limits(found: Mapping[str, float | None]) -> str:
    """Value and limits; the value alone where there were too few requests for limits."""
    return f"{found['value']:.3f}" + ("" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]")


def show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print for each mode its contenders and, under them, whether it holds what is asked."""
    for mode, found in rows.items():
        print(f"\n{mode:18} {'tokens/s':>9} {'per CPU-s':>10} {'tokens/step':>12} {'ms outside':>11} {'share':>7}")
        for name, line in found["contenders"].items():
            steps, outside = line["tokens_per_step"], line["outside_ms_per_step"]
            told = "" if steps is None else f" {steps:12.3f} {outside:11.3f} {100 * line['outside_share']:5.1f} %"
            print(f"{name:18} {line['tokens_per_second']:9.1f} {line['tokens_per_cpu_second']:10.1f}{told}")
        for one in found["targets"]:
            asked = f"lower limit >= {one['factor']:g}: {'yes' if one['holds'] else 'no'}"
            print(f"  {one['ours']} ÷ {one['theirs']}: {limits(one['ratio'])}; {asked}")


def bench(
    target: str,
    draft: str,
    prompts: Sequence[Sequence[str]],
    new: int = 64,
    gamma: int = 4,
    dtype: str = "float32",
    device: str = "cpu",
    chat: bool | None = None,
    chosen: Sequence[str] | None = None,
    out: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Compare on ``prompts`` (each a list of turns), greedy and sampled; print a table and return its rows by mode.

    chat: use the chat template; None uses it where the tokenizer has one. chosen: who serves, names of ``CONTENDERS``
    or patterns of them; None takes all. out: a JSON file to keep the rows in.

    Raises:
        ValueError: for numbers below 1, nobody of that name, or what ``load_pair`` refuses.
    """
    if gamma < 1 or new < 1 or not prompts:
        raise ValueError(f"gamma={gamma!r}, new={new!r}, {len(prompts)} prompts: each must be at least 1")
    making = select(CONTENDERS, chosen or ["*"])
    torch.set_num_threads(1)
    pair = load_pair(target, draft, dtype, device)
    ids = [pair.encode(list(turns), chat) for turns in prompts]
    fast, longest = pair, max(map(len, ids)) + new + gamma + 1
    if any("compiled" in name for name in making):
        fast = compiled(pair, gamma, slots(longest, pair.device))
    asked, rows = ON_GPU if pair.device.type == "cuda" else TARGETS, {}
    for mode, sampling in MODES.items():
        serving = {name: make(pair, fast, gamma) for name, make in making.items()}
        rows[mode] = row(measure(serving, ids, new, sampling), asked)
    assert pair.draft is not None
    given = {"target": (target, pair.target), "draft": (draft, pair.draft)}
    names = {key: (Path(path).name if Path(path).is_dir() else path) + of.label for key, (path, of) in given.items()}
    print(
        f"{names['target']} with {names['draft']}: {len(ids)} prompts × {new} tokens, gamma {gamma}, {dtype}, {device}"
    )
    show(rows)
    if out is not None:
        settings = {**names, "prompts": len(ids), "new": new, "gamma": gamma, "dtype": dtype}
        settings["compiled"] = {of.name: _how(of) for of in (fast.target, fast.draft) if of is not None}
        save_result(out, "bench", {**settings, "rows": rows}, device_name(device))
    return rows
