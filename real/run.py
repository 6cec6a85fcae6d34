"""``python -m real run``: any pair, learner and prompts; plain, frozen and learning decoders side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from real.compare import Comparison
from real.experiments import WEIGHTS_LEARNERS, Method, Models
from real.feedback import NonFiniteGradient
from real.ledger import LINES
from real.online import Serving
from real.state import load, save
from real.streams import Stream, as_given, read_prompts, scheduled
from real.summary import Sample, break_even, measures
from real.tables import comparison
from theory.adapter import adapter_problem
from theory.choose import altered
from theory.practice import on_adapter
from theory.trace import Trace


@dataclass(frozen=True)
class Report:
    """What a run measured: the methods' numbers, the learner's trace and the tokens after which it has paid."""

    methods: dict[str, dict[str, Any]]
    traces: dict[str, Trace]
    hint_gain: float
    break_even_tokens: float | None


def method(spec: str, settings: dict[str, Any], drafter: str, serving: Serving) -> Method:
    """The learner ``spec`` with the decoder's hyper-parameters, ``settings`` on top, on the drafter.

    Raises:
        ValueError: for an unknown learner, setting or drafter, or a learner that does not fit.
    """
    if drafter == "adapter":
        problem = adapter_problem(1, 1, temperature=serving.sampling.temperature or 1.0)
        return Method(drafter, on_adapter(spec, settings, problem))
    if drafter != "weights":
        raise ValueError(f"--drafter {drafter}: nothing to train there; choose adapter or weights")
    if spec not in WEIGHTS_LEARNERS:
        raise ValueError(f"--learner {spec} on the drafter {drafter}: choose one of {', '.join(WEIGHTS_LEARNERS)}")
    learner = WEIGHTS_LEARNERS[spec]
    for key, value in settings.items():
        learner = altered(learner, key, value)
    return Method(drafter, learner)


def stream_of(prompts: str, seed: int) -> Stream:
    """A JSONL file's prompts in order, or a schedule over the shipped domains."""
    if Path(prompts).suffix == ".jsonl" or Path(prompts).is_file():
        return as_given(read_prompts(prompts))
    return scheduled(prompts, seed)


def run(
    models: Models,
    name: str,
    learning: Method,
    stream: Stream,
    serving: Serving,
    seed: int,
    state: Path | None,
    progress: Callable[[int, int], None],
) -> Report:
    """Serve the stream; with ``state`` the learner goes on from that file and is saved there after every prompt.

    Raises:
        ValueError: if the state was saved by another learner or other models, or a gradient is not finite; the state
            from before that request stays in the file.
    """
    name = name if name not in ("plain", "frozen") else f"{name} learner"
    methods = {"plain": Method(None), "frozen": Method(learning.drafter), name: learning}
    comparison = Comparison(models, methods, stream, serving, seed)
    decoder = comparison.decoders[name]
    about = {"learner": repr(learning.learner), "drafter": str(learning.drafter), "serving": repr(serving)}
    about |= models.names
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
    table = measures(Sample({0: traces}, lambda trace: trace.columns["tokens"] > 0))
    return Report(table, traces, decoder.hint_gain, break_even({0: traces}, name))


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
    console.print(f"break-even against frozen: {paid}; hint_gain {report.hint_gain:.3f}")
