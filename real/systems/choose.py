"""Who takes part in a run: a system by its row, or drafter × learner as they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from real.drafters import DRAFTERS, Drafter, drafter_class
from real.systems.rows import ROWS, Method
from theory.domain import Free, Simplex
from theory.learner import Learner
from theory.learners.frozen import Frozen
from theory.problem import Problem
from theory.runs.choose import Choice, altered
from theory.runs.experiment import select
from theory.runs.practice import in_practice
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


def method_of(
    drafter: str | type[Drafter],
    learner: Choice | None = None,
    settings: Mapping[str, Any] | None = None,
    temperature: float = 1.0,
) -> Method:
    """The learner with the decoder's hyper-parameters, ``settings`` on top, on the drafter on day 0.

    Args:
        drafter: a name, ``file.py:Class``, or a class.
        learner: a name, ``file.py:Class``, a class or an object; None takes the customary one of the drafter.
        settings: of the learner, by field.
        temperature: of serving, which sets the units of a convex decision.

    Raises:
        ValueError: for an unknown learner, setting or drafter, or a learner that does not fit.
    """
    kind = drafter_class(drafter)
    return Method(
        drafter, learner_on(kind, customary(kind) if learner is None else learner, settings or {}, temperature)
    )


def methods_of(
    specs: Sequence[str], settings: Mapping[str, Any], drafter: str, temperature: float = 1.0
) -> dict[str, Method]:
    """The same for several learners, by name; without any it is the customary one.

    Raises:
        ValueError: for what ``method_of`` refuses, or a learner that is given twice.
    """
    methods: dict[str, Method] = {}
    for spec in specs or [customary(drafter_class(drafter))]:
        name = spec.rpartition(":")[2]
        if name in methods:
            raise ValueError(f"learner={spec!r}: is called {name!r}, as another one is; give each once")
        methods[name] = method_of(drafter, spec, settings, temperature)
    return methods


def customary(kind: type[Drafter]) -> str:
    """The learner that is taken if none is given."""
    return next((name for name in ("ensemble", "adam") if kind.trains and name in kind.learners), "frozen")


def learner_on(kind: type[Drafter], choice: Choice, settings: Mapping[str, Any], temperature: float) -> Learner:
    """The learner for decisions of this kind of drafter."""
    if not kind.trains:
        if choice != "frozen" and not isinstance(choice, Frozen):
            able = ", ".join(name for name, one in DRAFTERS.items() if one.trains)
            raise ValueError(f"learner={choice!r}: {kind.__name__} has nothing to train; choose one of {able}")
        return Frozen()
    problem = Problem(Free(), 1, 1, 1.0)
    if kind.simplex:
        problem = Problem(Simplex(), 2, 1000, 1.0, loss_range=1.0, exp_concavity=1.0)
    elif kind.convex:
        problem = adapter_problem(1, 1, temperature=temperature if temperature**2 > 0 else 1.0)  # else it is greedy
    return in_practice(choice, settings, problem, kind.learners)


def changed(
    chosen: Method,
    loss: Any = "",
    learn_prompt: bool = False,
    prompt_hint: float | None = None,
    settings: Mapping[str, Any] | None = None,
    anchor: float | None = None,
) -> Method:
    """The method with another loss (empty: its own) or anchor (None: its own), the prompt as feedback or as hint, its
    drafter made otherwise.

    Raises:
        ValueError: for what its drafter does not take.
    """
    kind = None if chosen.drafter is None else drafter_class(chosen.drafter)
    if learn_prompt and kind is not None and not kind.learns_prompts:
        raise ValueError(
            f"learn_prompt={learn_prompt!r}: {kind.__name__} learns from drafted positions, and a prompt has none"
        )
    if loss and (kind is None or not kind.trains or not kind.takes_losses):
        raise ValueError(f"loss={loss!r}: not for the drafter {chosen.drafter!r}, which has a loss of its own, or none")
    if anchor and (kind is None or not kind.trains or not kind.takes_losses or kind.convex):
        raise ValueError(
            f"anchor={anchor!r}: not for the drafter {chosen.drafter!r}; it is a term of deep drafters' losses "
            "(weights, hydra, eagle)"
        )
    return replace(
        chosen,
        loss=loss or chosen.loss,
        anchor=chosen.anchor if anchor is None else anchor,
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
