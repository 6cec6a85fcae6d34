"""Who takes part in a run: a system by its row, or drafter × learner as they are asked for."""

from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from real.drafters import DRAFTERS, Drafter, drafter_class
from real.drafters.adapter import Adapter
from real.drafters.heads import Heads
from real.drafters.mixture import Mixture
from real.systems.rows import DEEP_LEARNERS, ROWS, Method
from theory.domain import Free, Simplex
from theory.learner import Learner
from theory.learners.frozen import Frozen
from theory.problem import Problem
from theory.runs.choose import altered, make_learner
from theory.runs.experiment import select
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS, on_adapter
from theory.speculation.adapter import adapter_problem

WHITENED: dict[type[Drafter], Mapping[str, Learner]] = {Adapter: ADAPTER_LEARNERS, Heads: HEADS_LEARNERS}
"""Learners of drafters whose decisions are in units of whitened features."""


def row_of(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The named system, ``settings`` of its learner on top.

    Raises:
        ValueError: for a name that is not in the table, or a setting the learner does not have.
    """
    (found,) = select(ROWS, [name]).values()
    return replace(found, learner=tuned(found.learner, settings or {}))


def tuned(learner: Learner, settings: Mapping[str, Any]) -> Learner:
    """The learner with other settings."""
    for key, value in settings.items():
        learner = altered(learner, key, value)
    return learner


def methods_of(
    specs: Sequence[str], settings: Mapping[str, Any], drafter: str, temperature: float = 1.0
) -> dict[str, Method]:
    """The learners by name, each with the decoder's hyper-parameters and ``settings`` on top, on the drafter on day 0.

    Without learners it is the customary one: ensemble on a convex drafter or a mixture, adam on a deep one.

    Raises:
        ValueError: for an unknown learner, setting or drafter, a learner that does not fit, or one that is given twice.
    """
    kind = drafter_class(drafter)
    methods: dict[str, Method] = {}
    for spec in specs or [customary(kind)]:
        name = spec.rpartition(":")[2]
        if name in methods:
            raise ValueError(f"--learner {spec}: is called {name!r}, as another one is; give each once")
        methods[name] = Method(drafter, learner_on(drafter, kind, spec, settings, temperature))
    return methods


def customary(kind: type[Drafter]) -> str:
    """The learner that is taken if none is given."""
    if not kind.trains:
        return "frozen"
    return "ensemble" if kind.convex or issubclass(kind, Mixture) else "adam"


def learner_on(
    drafter: str, kind: type[Drafter], spec: str, settings: Mapping[str, Any], temperature: float
) -> Learner:
    """The learner ``spec`` for decisions of this drafter."""
    if not kind.trains:
        if spec != "frozen":
            able = ", ".join(name for name, one in DRAFTERS.items() if one.trains)
            raise ValueError(f"--learner {spec} on the drafter {drafter}: nothing to train there; choose one of {able}")
        return Frozen()
    if issubclass(kind, Mixture):
        experts = Problem(Simplex(), 2, 1000, 1.0, loss_range=1.0, exp_concavity=1.0)
        return make_learner("mixture" if spec == "ensemble" else spec, settings, experts)
    known = next((WHITENED[one] for one in kind.__mro__ if one in WHITENED), None)
    if known is not None:
        return on_adapter(spec, settings, adapter_problem(1, 1, temperature=temperature or 1.0), known)
    if spec in DEEP_LEARNERS:
        return tuned(DEEP_LEARNERS[spec], settings)
    if "step_size" not in settings:
        raise ValueError(
            f"--learner {spec} on the drafter {drafter}: has no default step size there; give --set step_size=…, or "
            f"choose one of {', '.join(DEEP_LEARNERS)}"
        )
    return make_learner(spec, settings, Problem(Free(), 1, 1, 1.0))


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
    kind = None if chosen.drafter is None else drafter_class(chosen.drafter)
    mixed = kind is not None and issubclass(kind, Mixture)
    if learn_prompt and mixed:
        raise ValueError("--learn-prompt: a mixture learns from drafted positions, and a prompt has none")
    if loss and (kind is None or not kind.trains or mixed):
        raise ValueError(f"--loss {loss}: not for the drafter {chosen.drafter!r}, which has a loss of its own, or none")
    return replace(
        chosen,
        loss=loss or chosen.loss,
        learn_prompt=learn_prompt or chosen.learn_prompt,
        prompt_hint=chosen.prompt_hint if prompt_hint is None else prompt_hint,
        settings=tuple({**dict(chosen.settings), **(settings or {})}.items()),
    )


def beside_plain(learning: Mapping[str, Method]) -> dict[str, Method]:
    """All that a run compares, by name: plain decoding, the drafter at rest if there is one, and the methods last.

    The methods share a drafter, so they share what stands still beside them.
    """
    methods = {"plain": Method(None)}
    for name, method in learning.items():
        if method.drafter is not None:
            methods.setdefault("frozen", replace(method, learner=Frozen(), prompt_hint=None, learn_prompt=False))
        if method not in methods.values():
            methods[name if name not in methods else f"{name} learner"] = method
    return methods
