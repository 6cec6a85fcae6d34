"""Who takes part in a run: a system by its row, or drafter × learner as they are asked for."""

from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from real.drafters import DRAFTERS, Drafter
from real.systems.rows import DEEP_LEARNERS, ROWS, Method
from theory.domain import Free, Simplex
from theory.learner import Learner
from theory.learners.frozen import Frozen
from theory.problem import Problem
from theory.runs.choose import altered, make_learner
from theory.runs.experiment import select
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS, on_adapter
from theory.speculation.adapter import adapter_problem


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


def method_of(spec: str, settings: Mapping[str, Any], drafter: str, temperature: float = 1.0) -> Method:
    """The learner ``spec`` with the decoder's hyper-parameters, ``settings`` on top, on the drafter on day 0.

    Raises:
        ValueError: for an unknown learner, setting or drafter, or a learner that does not fit.
    """
    able = ", ".join(name for name, kind in DRAFTERS.items() if kind.trains)
    if drafter not in DRAFTERS:
        raise ValueError(f"--drafter {drafter}: no such drafter; choose one of {able}")
    if not DRAFTERS[drafter].trains:
        raise ValueError(f"--drafter {drafter}: nothing to train there; choose one of {able}, or a row of `real list`")
    return Method(drafter, learner_on(drafter, DRAFTERS[drafter], spec, settings, temperature))


def learner_on(
    drafter: str, kind: type[Drafter], spec: str, settings: Mapping[str, Any], temperature: float
) -> Learner:
    """The learner ``spec`` for decisions of this drafter."""
    if drafter == "mixture":
        experts = Problem(Simplex(), 2, 1000, 1.0, loss_range=1.0, exp_concavity=1.0)
        return make_learner("mixture" if spec == "ensemble" else spec, settings, experts)
    if kind.convex:
        known = HEADS_LEARNERS if drafter == "heads" else ADAPTER_LEARNERS
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
    if learn_prompt and chosen.drafter == "mixture":
        raise ValueError("--learn-prompt: a mixture learns from drafted positions, and a prompt has none")
    if loss and (chosen.drafter is None or not DRAFTERS[chosen.drafter].trains or chosen.drafter == "mixture"):
        raise ValueError(f"--loss {loss}: not for the drafter {chosen.drafter!r}, which has a loss of its own, or none")
    return replace(
        chosen,
        loss=loss or chosen.loss,
        learn_prompt=learn_prompt or chosen.learn_prompt,
        prompt_hint=chosen.prompt_hint if prompt_hint is None else prompt_hint,
        settings=tuple({**dict(chosen.settings), **(settings or {})}.items()),
    )


def beside_plain(name: str, learning: Method) -> dict[str, Method]:
    """All that a run compares, by name: plain decoding, the drafter at rest if there is one, and the method last."""
    methods = {"plain": Method(None)}
    if learning.drafter is not None:
        methods["frozen"] = replace(learning, learner=Frozen(), prompt_hint=None, learn_prompt=False)
    if learning not in methods.values():
        methods[name if name not in methods else f"{name} learner"] = learning
    return methods
