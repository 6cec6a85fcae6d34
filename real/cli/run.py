"""One run: a stream served by several methods side by side, the learner's state taken up and kept on the way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from real.measure.served import Comparison
from real.measure.summary import Sample, break_even, measures
from real.models.state import load, save
from real.serving.certify import Certifier, certificates
from real.serving.feedback import NonFiniteGradient
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.streams import Stream
from theory.checker.certificate import Certificate
from theory.runs.trace import Trace, plain

Progress = Callable[[int, int], None]
"""(prompts done, prompts in all)."""
Told = Callable[[int, dict[str, Certificate]], None]
"""Shown (rounds learned, certificates so far by comparator)."""


@dataclass(frozen=True)
class Report:
    """What a run measured: the methods' numbers, the learner's trace, the tokens after which it has paid.

    ``hint_gain``: None for a learner without hints. ``beside``: seconds of learning on a thread of its own; None if it
    was not overlapped. ``idle``: tokens served where they were too few for a round to be learned; else 0.
    ``unfollowed``: methods without a low-noise net, and why.
    """

    methods: dict[str, dict[str, Any]]
    traces: dict[str, Trace]
    hint_gain: float | None
    break_even_tokens: float | None
    certificates: dict[str, Certificate]
    beside: float | None
    idle: int = 0
    unfollowed: Mapping[str, str] = field(default_factory=dict)


class State:
    """The file in which one decoder's state is kept, if there is to be one.

    Args:
        path: None keeps nothing. comparison, name: whose state. about: what must be the same for it to be taken up.
    """

    def __init__(self, path: Path | None, comparison: Comparison, name: str, about: dict[str, str]):
        self.path, self.comparison, self.name, self.about = path, comparison, name, about

    def restore(self) -> None:
        """Go on from the file, if it is there.

        Raises:
            ValueError: if it was saved by another learner or other models.
        """
        if self.path is None or not self.path.exists():
            return
        tensors, theirs = load(self.path)
        if theirs != self.about:
            both = {key: (theirs.get(key), value) for key, value in self.about.items() if theirs.get(key) != value}
            raise ValueError(f"--state {self.path}: saved with other settings (there, here): {both}; use another file")
        self.comparison.restore(self.name, tensors)

    def keep(self) -> None:
        """Write the file; the decoder is between requests."""
        if self.path is not None:
            save(self.path, self.comparison.decoders[self.name].state(), self.about)


def about(models: Models, method: Method, serving: Serving) -> dict[str, str]:
    """What a learner's state belongs to; costs are measured anew, and no part of what was learned."""
    served = plain(replace(serving, costs=(), switch_cost=0.0))
    named = {"target": models.names["target"], "draft_model": models.names[method.draft], **plain(method)}
    named |= {f"serving.{name}": value for name, value in served.items()}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}


def certifier_of(comparison: Comparison, name: str) -> Certifier:
    """What keeps the method's certificate.

    Raises:
        ValueError: if no theorem covers it.
    """
    if name not in comparison.certifiers:
        overlapped = ", overlapped" * comparison.serving.overlap
        raise ValueError(
            f"--certify with {comparison.methods[name]}{overlapped}: on a convex drafter OGD and OptimisticOGD with "
            "one step size and ensembles of OGD have a certificate, by forward KL on all positions, and Mixture and "
            "Hedge on a mixture; none with --overlap"
        )
    return comparison.certifiers[name]


def run(
    models: Models,
    methods: dict[str, Method],
    stream: Stream,
    serving: Serving,
    seed: int,
    progress: Progress,
    state: Path | None = None,
    certify: Path | None = None,
    certify_every: int = 0,
    tell: Told = lambda rounds, found: None,
    low_noise: bool = False,
) -> Report:
    """Serve the stream; with ``state`` the last method goes on from that file and is saved there after every prompt.

    ``certify`` names the file of the certificate's log; for a learner taken up from a state it is about this run alone.
    ``certify_every`` rounds the certificate so far is told as well; 0 waits for the end. With ``low_noise`` a shared
    text is followed besides (``real/measure/low_noise.py``).

    Raises:
        ValueError: if the state was saved by another learner or other models, or a gradient is not finite; the state
            from before that request stays in the file.
    """
    name = list(methods)[-1]
    comparison = Comparison(models, methods, stream, serving, seed, certify is not None, low_noise)
    if certify is not None:
        certifier = certifier_of(comparison, name)
        certifier.every, certifier.show = certify_every, tell
    kept = State(state, comparison, name, about(models, methods[name], serving))
    kept.restore()
    kept.keep()  # a state that cannot be saved is known before the work is done
    comparison.warm_up()
    try:
        comparison.run(progress, kept.keep)
    except NonFiniteGradient as error:
        where = "" if state is None else f". The state from before this request is in {state}"
        raise NonFiniteGradient(f"{error}{where}") from None
    return report(comparison, name, certify)


def report(comparison: Comparison, name: str, certify: Path | None) -> Report:
    """What was measured; the certificate's log is written to ``certify``."""
    learning, method = comparison.decoders[name].learning, comparison.methods[name]
    traces = {method: comparison.trace(method, {}) for method in comparison.methods}
    idle = learning is not None and learning.learns and not learning.log
    served_in_vain = int(traces[name].columns["tokens"].sum()) if idle else 0
    proven = {}
    if certify is not None and comparison.certifiers[name].rounds:
        log = comparison.certifiers[name].log({"settings": about(comparison.models, method, comparison.serving)})
        log.save(certify)
        proven = certificates(log)
    return Report(
        measures(Sample({0: traces})),
        traces,
        learning.hint_gain if learning is not None and method.learner.takes_hints else None,
        break_even({0: traces}, name) if name not in ("plain", "frozen") else None,
        proven,
        None if learning is None or learning.beside is None else learning.beside.seconds,
        served_in_vain,
        comparison.unfollowed,
    )
