"""`python -m real bench`: our decoder against transformers' own, the same pair, prompts and gamma.

Contenders are warmed up on two prompts read backwards, so that none has seen an answer. Theirs are made fair: constant
schedule, confidence threshold 0, top_k 0 when sampling. What is compiled of ours is tuned too on a CPU (``Compiled``);
the static cache of theirs is compiled as ``generate`` does it. Model forwards are timed where they can be, on a GPU by
events in its stream: in ours around ``CausalLM.hidden`` and ``head``, in theirs around the whole ``model.forward``, so
the comparison of what is left outside favours theirs.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CompileConfig

from real.measure.clock import Stopwatch, timed_forwards
from real.measure.contenders import Asked, AtRest
from real.measure.contest import Totals, contest, verdict, warm_up
from real.measure.in_turn import Answering, converse
from real.measure.served import device_name
from real.models.compiled import slots
from real.models.hf import CausalLM, Pair
from real.models.load import load_pair
from real.models.sampling import Sampling
from real.traffic.prompts import Prompt
from real.traffic.turns import encoded, longest, turns_of
from theory.runs.experiment import select
from theory.runs.result import save_result
from theory.runs.table import Column, console, limits, percent, table, yes

SAMPLINGS = {"greedy": Sampling(0.0), "sampled": Sampling(1.0)}
"""How texts are drawn in a comparison with others, by name."""


@dataclass(frozen=True)
class Goal:
    """What is asked of us: ``ours`` at least ``factor`` times as fast as ``theirs``, by the interval's lower limit."""

    ours: str
    theirs: str
    factor: float


GOALS = (
    Goal("draft, compiled", "assisted", 1.5),
    Goal("ngram, compiled", "prompt lookup", 1.2),
    Goal("draft", "assisted", 1.1),
    Goal("plain, compiled", "generate, static", 1.0),
    Goal("plain", "generate", 1.0),
)
"""The names are those of ``CONTENDERS``. The last two are no speed-up: they say what our plain baseline is worth."""
ON_GPU = (replace(GOALS[0], factor=3.0), *GOALS[1:])
"""There launches, not arithmetic, take an eager decoder's time."""


class Generate:
    """Transformers' ``generate`` with these settings, one request at a time.

    A measurement is that of ``AtRest``. ``timed``: its forwards can be counted and timed, which a compiled model's
    cannot; then ``steps`` and ``seconds_outside`` are nan.
    """

    def __init__(self, pair: Pair, sampling: Sampling, new: int, timed: bool = True, **settings: Any):
        self.model, self.device, self.timed = pair.target.model, pair.device, timed
        self.settings = generation(sampling) | {"max_new_tokens": new} | settings
        assistant = settings.get("assistant_model")
        models = {"target": self.model} | ({"draft": assistant} if assistant is not None else {})
        self.functions = {name: [(model, "forward")] for name, model in models.items()} if timed else {}
        self.text: list[int] = []

    def serve(self, request: Asked) -> dict[str, float]:
        """Serve one request, prefill included."""
        ids = torch.tensor([request.prompt], device=self.device)
        torch.manual_seed(request.number)  # generate() takes no generator
        with timed_forwards(self.functions, self.device) as record, Stopwatch(self.device) as watch:
            output = self.model.generate(ids, attention_mask=torch.ones_like(ids), **self.settings)
        steps = record.calls["target"] if self.timed else float("nan")
        outside = watch.columns["seconds_total"] - record.inside if self.timed else float("nan")
        self.text = output[0, len(request.prompt) :].tolist()
        return {"tokens": len(self.text), "steps": steps, **watch.columns, "seconds_outside": outside}


def generation(sampling: Sampling) -> dict[str, Any]:
    """What ``generate`` is asked for, so that it draws from the law that we draw from."""
    law = {"do_sample": False} if sampling.greedy else {"do_sample": True, **asdict(sampling)}
    return {"pad_token_id": 0, "return_dict_in_generate": False, **law}


def compiled(pair: Pair, gamma: int, size: int) -> Pair:
    """The same models compiled and tuned, for texts of up to ``size`` tokens."""
    assert pair.draft is not None
    fast = Pair(CausalLM(pair.target.model, "target"), CausalLM(pair.draft.model, "draft"), pair.tokenizer)
    fast.compile((gamma,), size, tuned=True)
    return fast


def _assisted(pair: Pair, gamma: int, *how: Any) -> Generate:
    assert pair.draft is not None
    settings = pair.draft.model.generation_config
    settings.num_assistant_tokens, settings.num_assistant_tokens_schedule = gamma, "constant"
    settings.assistant_confidence_threshold = 0.0
    return Generate(pair, *how, assistant_model=pair.draft.model)


def _static(pair: Pair, *how: Any) -> Generate:
    settings: dict[str, Any] = {"cache_implementation": "static"}
    if pair.device.type == "cpu":  # where generate() would not compile by itself
        settings["compile_config"] = CompileConfig(fullgraph=False, dynamic=False, mode="default")
        settings["compile_config"]._compile_all_devices = True  # pyright: ignore[reportAttributeAccessIssue]
    return Generate(pair, *how, timed=False, **settings)


CONTENDERS: dict[str, Callable[[Pair, Pair, int, Sampling, int], Answering]] = {
    "plain": lambda pair, fast, gamma, *how: AtRest(pair, "", gamma, *how),
    "plain, compiled": lambda pair, fast, gamma, *how: AtRest(fast, "", gamma, *how),
    "draft": lambda pair, fast, gamma, *how: AtRest(pair, "adapter", gamma, *how),
    "draft, compiled": lambda pair, fast, gamma, *how: AtRest(fast, "adapter", gamma, *how),
    "ngram, compiled": lambda pair, fast, gamma, *how: AtRest(fast, "ngram", gamma, *how),
    "generate": lambda pair, fast, gamma, *how: Generate(pair, *how),
    "generate, static": lambda pair, fast, gamma, *how: _static(pair, *how),
    "assisted": lambda pair, fast, gamma, *how: _assisted(pair, gamma, *how),
    "prompt lookup": lambda pair, fast, gamma, *how: Generate(pair, *how, prompt_lookup_num_tokens=gamma),
}
"""Who serves, made from a pair, the pair compiled, gamma, how tokens are drawn, and the new tokens of a request. The
n-gram drafter starts empty and remembers every request since; prompt lookup reads the request at hand alone."""


def compared(
    serving: Mapping[str, Answering],
    prompts: Sequence[list[int]],
    runs: Callable[[Mapping[str, Answering]], dict[str, list[dict[str, float]]]] | None = None,
) -> Totals:
    """A contest on the prompts, after a warm-up on the longest and the first, read backwards.

    runs: the contest, where the prompts are first turns (``in_turn.converse``).
    """
    warm_up(serving, [Asked(prompt[::-1], 0) for prompt in (max(prompts, key=len), prompts[0])])
    if runs is not None:
        return Totals.of(runs(serving), together="prompt")
    return Totals.of(contest(serving, [Asked(prompt, i + 1) for i, prompt in enumerate(prompts)]))


def row(totals: Totals, goals: Sequence[Goal] = GOALS) -> dict[str, Any]:
    """What a contest adds up to: a line a contender, and a comparison for each of ``goals``."""
    lines, held = {}, []
    for name in totals.names:
        whole = {column: float(totals.sum(name, column)[0]) for column in totals.columns[name]}
        tokens, steps, seconds = whole["tokens"], whole["steps"], whole["seconds_total"]
        line = {"tokens_per_second": tokens / seconds, "tokens_per_cpu_second": tokens / whole["seconds_cpu"]}
        line |= {"tokens_per_step": tokens / steps, "outside_ms_per_step": 1e3 * whole["seconds_outside"] / steps}
        line |= {"outside_share": whole["seconds_outside"] / seconds}
        lines[name] = {key: None if np.isnan(value) else value for key, value in line.items()}
    for goal in goals:
        if {goal.ours, goal.theirs} <= set(totals.names):
            found = verdict(totals.ratio(goal.ours, goal.theirs), goal.factor)
            held.append(asdict(goal) | {"ratio": found.interval, "holds": found.holds})
    return {"contenders": lines, "targets": held}


def show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print for each way of drawing its contenders and, under them, whether it holds what is asked."""
    columns = (
        Column("tokens_per_second", "tokens/s", ".1f"),
        Column("tokens_per_cpu_second", "per CPU-s", ".1f"),
        Column("tokens_per_step", "tokens/step", ".3f"),
        Column("outside_ms_per_step", "ms outside", ".3f"),
        Column("outside_share", "share", percent),
    )
    for drawn, found in rows.items():
        lines = [{"name": name, **line} for name, line in found["contenders"].items()]
        console.print(table(lines, [Column("name", drawn), *columns]))
        for one in found["targets"]:
            told = f"{one['ours']} ÷ {one['theirs']}: {limits(one['ratio'], 3)}"
            console.print(f"  {told}; lower limit >= {one['factor']:g}: {yes(one['holds'])}", highlight=False)


def _called(path: str, model: CausalLM | None) -> str:
    """A model's name without paths of this machine, and that it is inflated."""
    return (Path(path).name if Path(path).is_dir() else path) + ("" if model is None else model.label)


def _how(model: CausalLM) -> str:
    """What became of compiling it."""
    return "eager" if model.compiled is None else "tuned" if model.compiled.tuned else "compiled"


def bench(
    target: str,
    draft: str,
    prompts: Sequence[Prompt],
    new: int = 64,
    gamma: int = 4,
    dtype: str = "float32",
    device: str = "cpu",
    chat: bool | None = None,
    chosen: Sequence[str] | None = None,
    out: Path | None = None,
    trust: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Compare on every turn of the prompts, greedy and sampled; print a table and return its rows by mode.

    chat: use the chat template; None uses it where the tokenizer has one. chosen: who serves, names of ``CONTENDERS``
    or patterns of them; None takes all. out: a JSON file to keep the rows in. trust: models whose own code may run.

    Raises:
        ValueError: for numbers below 1, nobody of that name, or what ``load_pair`` refuses.
    """
    if gamma < 1 or new < 1 or not prompts:
        raise ValueError(f"gamma={gamma!r}, new={new!r}, {len(prompts)} prompts: each must be at least 1")
    making = select(CONTENDERS, chosen or ["*"])
    turns, left_out = list(turns_of(prompts)), list[str]()
    torch.set_num_threads(1)
    pair = load_pair(target, draft, dtype, device, trust)
    ids = encoded(pair, prompts, chat)
    most, wanted = longest(pair, prompts, chat, new) + gamma + 1, any("compiled" in name for name in making)
    fast = compiled(pair, gamma, slots(most, pair.device)) if wanted else pair
    goals, rows = ON_GPU if pair.device.type == "cuda" else GOALS, {}
    for drawn, sampling in SAMPLINGS.items():
        serving = {name: make(pair, fast, gamma, sampling, new) for name, make in making.items()}
        talk = partial(converse, turns=turns, pair=pair, chat=chat, left_out=left_out)
        rows[drawn] = row(compared(serving, ids, talk), goals)
    names = {"target": _called(target, pair.target), "draft": _called(draft, pair.draft)}
    asked = f"{len(ids)} prompts" + (f" of {len(turns)} turns" if len(turns) > len(ids) else "")
    told = f"{' with '.join(names.values())}: {asked} × {new} tokens, gamma {gamma}, {dtype}, {device}"
    console.print(told, highlight=False)
    for line in dict.fromkeys(left_out):
        console.print(line, highlight=False, soft_wrap=True)
    show(rows)
    if out is not None:
        how = {one.name: _how(one) for one in (fast.target, fast.draft) if one is not None}
        settings = {**names, "prompts": len(ids), "turns": len(turns), "left_out": list(dict.fromkeys(left_out))}
        settings |= {"new": new, "gamma": gamma, "dtype": dtype, "compiled": how}
        save_result(out, "bench", {**settings, "rows": rows}, device_name(device))
    return rows
