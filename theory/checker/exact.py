"""Exact worst cases of regret at short horizons by performance estimation, to hold the search against.

Needs the optional extra ``pep`` (PEPit and a semidefinite solver); nothing else in ``theory`` does. The worst case is
over every convex set of diameter D in every dimension, every first decision in it, every sequence of G-Lipschitz convex
losses and every fixed comparator: a semidefinite program without relaxation (Drori & Teboulle 2014; Taylor, Hendrickx &
Glineur 2017). Convex losses are no worse than their linearisations at x_t, so the losses are linear here.
"""

from math import sqrt
from typing import Any

LEARNERS = ("ogd", "optimistic")
FACTORS = (0.5, 1.0, 2.0)
"""Step sizes, in units of D/(G√T)."""


def worst_regret(learner: str, horizon: int, step_size: float) -> float:
    """Largest static regret of OGD, or of OptimisticOGD with the last gradient as hint, at D = G = 1.

    Raises:
        ModuleNotFoundError: without the extra ``pep``.
        ValueError: for another learner, or no round.
    """
    if learner not in LEARNERS or horizon < 1:
        raise ValueError(f"worst_regret({learner!r}, horizon={horizon!r}): one of {', '.join(LEARNERS)}, horizon >= 1")
    try:
        from PEPit import PEP, Point  # pyright: ignore[reportMissingImports]
        from PEPit.functions import ConvexIndicatorFunction  # pyright: ignore[reportMissingImports]
        from PEPit.primitive_steps import proximal_step  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        how = "exact worst cases need pip install '.[pep]' in the checkout of onlinespec"
        raise ModuleNotFoundError(f"{error}: {how}") from None

    problem = PEP()
    domain = problem.declare_function(ConvexIndicatorFunction, D=1.0)

    def project(point: Any) -> Any:
        return proximal_step(point, domain, 1)[0]

    comparator, anchor = project(problem.set_initial_point()), project(problem.set_initial_point())
    hint, regret = None, 0.0
    for _ in range(horizon):
        slope = Point()
        problem.add_constraint(slope**2 <= 1)
        x_t = project(anchor - step_size * hint) if learner == "optimistic" and hint is not None else anchor
        regret = regret + slope * (x_t - comparator)
        anchor, hint = project(anchor - step_size * slope), slope
    problem.set_performance_metric(regret)
    return float(problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0))


def table(longest: int = 4) -> list[dict[str, Any]]:
    """One row per learner, horizon up to ``longest`` and step size: the exact worst regret at D = G = 1."""
    rows = []
    for learner in LEARNERS:
        for horizon in range(1, longest + 1):
            for factor in FACTORS:
                step_size = factor / sqrt(horizon)
                worst = worst_regret(learner, horizon, step_size)
                rows.append({"learner": learner, "horizon": horizon, "step_size": step_size, "regret": worst})
    return rows
