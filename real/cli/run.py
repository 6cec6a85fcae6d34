"""``python -m real run``: any pair, learner and prompts; plain, frozen and learning decoders side by side."""

import json
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from real.cli.tables import comparison
from real.drafters import DRAFTERS
from real.drafters.independent import Independent
from real.drafters.mixture import Mixture
from real.measure.contest import Comparison, departures
from real.measure.profile import cached
from real.measure.summary import Sample, break_even, measures
from real.models.compiled import slots
from real.models.state import load, save
from real.serving.certify import certificates
from real.serving.decoder import Serving
from real.serving.feedback import NonFiniteGradient
from real.serving.ledger import LINES
from real.systems.loaded import Models
from real.systems.rows import DEEP_LEARNERS, ROWS, Method
from real.traffic.streams import Stream, as_given, read_prompts, scheduled
from theory.checker.certificate import Certificate
from theory.domain import Free, Simplex
from theory.learners.frozen import Frozen
from theory.problem import Problem
from theory.runs.choose import altered, make_learner
from theory.runs.experiment import select
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS, on_adapter
from theory.runs.trace import Trace
from theory.speculation.adapter import adapter_problem


@dataclass(frozen=True)
class Report:
    """What a run measured: the methods' numbers, the learner's trace, the tokens after which it has paid.

    ``hint_gain``: None for a learner without hints. ``beside``: seconds of learning on a thread of its own; None if it
    was not overlapped. ``idle``: tokens served where they were too few for a round to be learned; else 0.
    """

    methods: dict[str, dict[str, Any]]
    traces: dict[str, Trace]
    hint_gain: float | None
    break_even_tokens: float | None
    certificates: dict[str, Certificate]
    beside: float | None
    idle: int = 0


def method(spec: str, settings: dict[str, Any], drafter: str, temperature: float = 1.0) -> Method:
    """The learner ``spec`` with the decoder's hyper-parameters, ``settings`` on top, on the drafter on day 0.

    Raises:
        ValueError: for an unknown learner, setting or drafter, or a learner that does not fit.
    """
    able = ", ".join(name for name, kind in DRAFTERS.items() if kind.trains)
    if drafter not in DRAFTERS:
        raise ValueError(f"--drafter {drafter}: no such drafter; choose one of {able}")
    if not DRAFTERS[drafter].trains:
        raise ValueError(f"--drafter {drafter}: nothing to train there; choose one of {able}, or a row of `real list`")
    if drafter == "mixture":
        experts = Problem(Simplex(), 2, 1000, 1.0, loss_range=1.0, exp_concavity=1.0)
        return Method(drafter, make_learner("mixture" if spec == "ensemble" else spec, settings, experts))
    if DRAFTERS[drafter].convex:
        known = HEADS_LEARNERS if drafter == "heads" else ADAPTER_LEARNERS
        problem = adapter_problem(1, 1, temperature=temperature or 1.0)
        return Method(drafter, on_adapter(spec, settings, problem, known))
    if spec in DEEP_LEARNERS:
        learner = DEEP_LEARNERS[spec]
        for key, value in settings.items():
            learner = altered(learner, key, value)
        return Method(drafter, learner)
    if "step_size" not in settings:
        raise ValueError(
            f"--learner {spec} on the drafter {drafter}: has no default step size there; give --set step_size=…, or "
            f"choose one of {', '.join(DEEP_LEARNERS)}"
        )
    return Method(drafter, make_learner(spec, settings, Problem(Free(), 1, 1, 1.0)))


def row(name: str, settings: dict[str, Any]) -> Method:
    """The named system, ``settings`` of its learner on top.

    Raises:
        ValueError: for a name that is not in the table, or a setting the learner does not have.
    """
    (found,) = select(ROWS, [name]).values()
    learner = found.learner
    for key, value in settings.items():
        learner = altered(learner, key, value)
    return replace(found, learner=learner)


def drafter_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``["lora=8", "part=bias"]`` → ``{"lora": 8, "part": "bias"}``: Python literals, else text.

    Raises:
        ValueError: for a pair without ``=``.
    """
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise ValueError(f"--drafter-set {pair!r}: write key=value, for example --drafter-set lora=8")
        try:
            found[key] = literal_eval(text)
        except (ValueError, SyntaxError):
            found[key] = text
    return found


def changed(
    chosen: Method,
    loss: str = "",
    learn_prompt: bool = False,
    prompt_hint: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Method:
    """The method with another loss (empty: its own), the prompt as feedback or as hint, its drafter made otherwise.

    Raises:
        ValueError: for what its drafter does not take.
    """
    if learn_prompt and chosen.drafter == "mixture":
        raise ValueError("--learn-prompt: a mixture learns from drafted positions, and a prompt has none")
    if loss and (chosen.drafter is None or not DRAFTERS[chosen.drafter].trains or chosen.drafter == "mixture"):
        raise ValueError(f"--loss {loss}: not for the drafter {chosen.drafter!r}, which has a loss of its own, or none")
    of_drafter = {**dict(chosen.settings), **(settings or {})}
    return replace(
        chosen,
        loss=loss or chosen.loss,
        learn_prompt=learn_prompt or chosen.learn_prompt,
        prompt_hint=chosen.prompt_hint if prompt_hint is None else prompt_hint,
        settings=tuple(of_drafter.items()),
    )


def stream_of(prompts: str, seed: int) -> Stream:
    """A JSONL file's prompts in order, or a schedule over the shipped domains."""
    if Path(prompts).suffix == ".jsonl" or Path(prompts).is_file():
        return as_given(read_prompts(prompts))
    return scheduled(prompts, seed)


def check_tune(tune: bool, compiled: bool, device: str) -> None:
    """ValueError where tuning is asked for and there is nothing to tune."""
    if tune and not compiled:
        raise ValueError("--tune: tunes what is compiled; add --compile")
    if tune and not device.startswith("cpu"):
        raise ValueError(f"--tune with --device {device}: matrix kernels are searched for on a CPU alone; leave it out")


def compile_for(
    models: Models, chosen: Method, stream: Stream, serving: Serving, tuned: bool = False, varied: bool = False
) -> None:
    """Compile the models that the method runs, for the longest text of the stream.

    varied: many drafts are shorter than gamma, and worth compiling for: those of 1, 2, 4, 8, … tokens.
    """
    shorter = [2**k for k in range(serving.gamma) if varied and 2**k < serving.gamma]
    prompts = (models.pair.encode(list(prompt.turns), models.chat) for prompt in stream.prompts)
    longest = max(len(prompt) for prompt in prompts) + serving.max_new_tokens
    drafter = DRAFTERS.get(chosen.drafter or "")
    on_draft = drafter is not None and issubclass(drafter, Independent | Mixture)
    models.compile((*shorter, serving.gamma), slots(longest + serving.gamma + 1, models.pair.device), on_draft, tuned)


PROFILED = 8
"""Requests of the stream that a profile is measured on, if there is none yet."""


def by_cost(models: Models, chosen: Method, stream: Stream, serving: Serving) -> Serving:
    """The serving with costs of every draft length and of a switch, from the profile on disk or a fresh one.

    Raises:
        ValueError: for a system that drafts nothing, or requests too short to be profiled.
    """
    if chosen.drafter is None:
        raise ValueError(
            f"--by-cost: {chosen} drafts nothing, so there is no length to choose; take a row with a drafter"
        )
    prompts = [models.pair.encode(list(prompt.turns), models.chat) for prompt in stream.prompts[:PROFILED]]
    found = cached(models, chosen, serving, prompts)
    return replace(serving, costs=found.cautious, switch=found.switch)


def run(
    models: Models,
    name: str,
    learning: Method,
    stream: Stream,
    serving: Serving,
    seed: int,
    state: Path | None,
    progress: Callable[[int, int], None],
    certify: Path | None = None,
    certify_every: int = 0,
    tell: Callable[[str], None] = print,
) -> Report:
    """Serve the stream; with ``state`` the learner goes on from that file and is saved there after every prompt.

    ``certify`` names the file of the certificate's log; for a learner taken up from a state it is about this run alone.
    ``certify_every`` rounds the certificate so far is told as well; 0 waits for the end.

    Raises:
        ValueError: if the state was saved by another learner or other models, or a gradient is not finite; the state
            from before that request stays in the file.
    """
    methods = {"plain": Method(None)}
    if learning.drafter is not None:
        methods["frozen"] = replace(learning, learner=Frozen(), prompt_hint=None, learn_prompt=False)
    if learning not in methods.values():
        methods[name if name not in methods else f"{name} learner"] = learning
    name = list(methods)[-1]
    comparison = Comparison(models, methods, stream, serving, seed, certify=certify is not None)
    certifier = comparison.certifiers.get(name)
    if certify is not None and certifier is None:
        raise ValueError(
            f"--certify with {learning}{', overlapped' * serving.overlap}: on a convex drafter OGD and OptimisticOGD "
            "with one step size and ensembles of OGD have a certificate, by forward KL on all positions, and Mixture "
            "and Hedge on a mixture; none with --overlap"
        )
    if certifier is not None:

        def show_so_far(rounds: int, found: dict[str, Certificate]) -> None:
            for line in certified(found):
                tell(f"round {rounds}: {line}")

        certifier.every, certifier.show = certify_every, show_so_far
    decoder = comparison.decoders[name]
    about = {"target": models.names["target"], "draft_model": models.names[learning.draft]}
    about |= {name: _text(value) for name, value in departures(learning).items()}
    # costs are measured anew, and no part of what was learned
    served = departures(replace(serving, costs=(), switch=0.0))
    about |= {f"serving.{name}": _text(value) for name, value in served.items()}
    if state is not None and state.exists():
        tensors, theirs = load(state)
        if theirs != about:
            differ = {key: (theirs.get(key), value) for key, value in about.items() if theirs.get(key) != value}
            raise ValueError(f"--state {state}: saved with other settings (there, here): {differ}; use another file")
        decoder.restore(tensors)

    def keep() -> None:
        if state is not None:
            save(state, decoder.state(), about)

    keep()  # a state that cannot be saved is known before the work is done
    comparison.warm_up()
    try:
        comparison.run(progress, keep)
    except NonFiniteGradient as error:
        kept = "" if state is None else f". The state from before this request is in {state}"
        raise NonFiniteGradient(f"{error}{kept}") from None
    traces = {method: comparison.trace(method, {}) for method in methods}
    table = measures(Sample({0: traces}))
    proven = {}
    if certify is not None and certifier is not None and certifier.rounds:
        log = certifier.log({"settings": about})
        log.save(certify)
        proven = certificates(log)
    beside = None if decoder.beside is None else decoder.beside.seconds
    learned = name not in ("plain", "frozen")
    hint_gain = decoder.hint_gain if learning.learner.takes_hints else None
    idle = served_tokens(traces[name]) if decoder.learns and not decoder.log else 0
    return Report(table, traces, hint_gain, break_even({0: traces}, name) if learned else None, proven, beside, idle)


def served_tokens(trace: Trace) -> int:
    """Committed in all requests."""
    return int(trace.columns["tokens"].sum())


def _text(value: Any) -> str:
    """As a state's metadata has it."""
    return value if isinstance(value, str) else json.dumps(value)


def certified(found: Mapping[str, Certificate]) -> list[str]:
    """Certificates by comparator, a line each."""
    lines = []
    for comparator, of in found.items():
        ratio = "" if isnan(of.certificate_ratio) else f", certificate_ratio {of.certificate_ratio:.2f}"
        said = f"regret {of.dynamic_regret:.2f} ≤ bound {of.bound:.2f}; over all rounds slack ≥ {of.slack:.2g}{ratio}"
        lines.append(f"certificate against {comparator}: {said}")
    return lines


def show(report: Report, console: Console) -> None:
    """Print the comparison and the ledger."""
    console.print(comparison(report.methods, "totals over totals, 95 % intervals by a paired bootstrap over prompts"))
    ledger = Table(title="ledger: share of the time", box=None, title_justify="left")
    for heading in ("", *LINES, "unattributed", "total"):
        ledger.add_column(heading, justify="right")
    for name, trace in report.traces.items():
        seconds = {line: float(trace.columns[f"seconds_{line}"].sum()) for line in (*LINES, "unattributed", "total")}
        shares = [f"{100 * seconds[line] / seconds['total']:.1f} %" for line in (*LINES, "unattributed")]
        ledger.add_row(name, *shares, f"{seconds['total']:.1f} s")
    console.print(ledger)
    after = report.break_even_tokens
    paid = "not within this run" if after is None else f"after {after:.0f} committed tokens"
    if list(report.traces)[-1] not in ("plain", "frozen"):
        console.print(f"break-even against frozen: {paid}")
    if report.hint_gain is not None:
        console.print(f"hint_gain {report.hint_gain:.3f}")
    if report.beside is not None:
        console.print(f"learned for {report.beside:.1f} s beside decoding, on a thread that may hold another core")
    if report.idle:
        console.print(
            f"nothing was learned, and nothing certified: {report.idle} tokens are not more than the burn-in and one "
            "round; serve more requests, or set --burn-in and --nu lower"
        )
    for line in certified(report.certificates):
        console.print(line, highlight=False)
