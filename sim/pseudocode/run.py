"""Steps over a recorded text while a learner learns from it: what was accepted, every round's losses, and a bound."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sim.pseudocode.learners import Ensemble, Frozen, GradientDescent, OptimisticDescent
from sim.pseudocode.recorded import Recorded

ROUNDS = ("loss", "frozen_loss", "energy", "hint_error", "last_loss")
"""Columns of the rounds, of which there may be none: a text may end with the burn-in."""


class Told(NamedTuple):
    """What a run was like: a column an entry, of every position or of every round, and totals."""

    positions: dict[str, np.ndarray]
    """step_start, examined, accepted, overlap (Σ min of the two laws) and margin (the draft's top-2 logit gap, of
    perturbed logits under the Gumbel rule)."""
    rounds: dict[str, np.ndarray]
    """loss f_t(x_t), frozen_loss f_t(x_1), last_loss f_t(x_T), energy ‖g_t‖² and hint_error ‖g_t − hint_t‖²."""
    totals: dict[str, float]
    """steps, accepted, recovered and bonus tokens; bound of the regret against the last decision x_T, if proven."""
    x: np.ndarray
    """The last decision."""


def run(
    recorded: Recorded, made: Callable[[np.ndarray], Frozen], gamma: int, uniforms: Sequence[float] | None = None
) -> Told:
    """Decode the recorded text step by step while the learner learns from it.

    Args:
        recorded: what was recorded.
        made: a learner from its first decision.
        gamma: tokens drafted a step.
        uniforms: one number in [0, 1) a position, by which a drafted token is kept; none where decoding is greedy or by
            the Gumbel rule.

    Raises:
        ValueError: for a sampling law that is cut to fewer tokens.
    """
    if recorded.header["top_k"] or recorded.header["top_p"] < 1:
        raise ValueError("top_k, top_p: only whole laws are decoded here; record at top_k=0, top_p=1")
    learner, learned, position = made(recorded.x_1), 0, 0
    rows: list[dict[str, float]] = []
    rounds: list[dict[str, float]] = []
    totals = {"steps": 0.0, "accepted": 0.0, "recovered": 0.0, "bonus": 0.0}
    while position < recorded.count:
        while (learned + 1) * recorded.nu <= position:  # at a step boundary: every round that is whole
            _learn(recorded, learner, learned, rounds)
            learned += 1
        x, end, place, going = learner.play(), recorded.end_of_prompt(position), 0, True
        totals["steps"] += 1
        while going and position < end:
            row: dict[str, float] = _judged(recorded, x, position, min(place, recorded.heads - 1), uniforms)
            examined = place < gamma
            kept = bool(row.pop("kept")) and examined
            totals["accepted" if kept else "recovered" if examined else "bonus"] += 1
            rows.append(row | {"step_start": place == 0, "examined": examined, "accepted": kept})
            position, place, going = position + 1, place + 1, kept
    while (learned + 1) * recorded.nu <= position:
        _learn(recorded, learner, learned, rounds)
        learned += 1
    return _told(recorded, learner, rows, rounds, totals)


def _judged(
    recorded: Recorded, x: np.ndarray, position: int, k: int, uniforms: Sequence[float] | None
) -> dict[str, float]:
    """Whether the draft of head k under x keeps the committed token, and how near the two laws are."""
    logits, token = recorded.logits(x, position, k), recorded.token[position]
    second, first = np.sort(logits)[-2:]
    if recorded.greedy:
        kept = int(np.argmax(logits)) == token
        return {"kept": kept, "overlap": float(kept), "margin": first - second}
    draft = recorded.draft(x, position, k)
    if uniforms is None:
        perturbed = np.log(draft) - np.log(recorded.noise(position))
        second, first = np.sort(perturbed)[-2:]
        kept = int(np.argmax(perturbed)) == token
    else:
        kept = uniforms[position] < min(1.0, draft[token] / recorded.token_prob[position])
    return {"kept": kept, "overlap": float(np.minimum(draft, recorded.target(position)).sum()),
            "margin": first - second}  # fmt: skip


def _learn(recorded: Recorded, learner: Frozen, number: int, rounds: list[dict[str, float]]) -> None:
    """Round ``number`` is whole: one update, unless it is of the burn-in."""
    if number < recorded.burn_in:
        return
    positions = range(number * recorded.nu, (number + 1) * recorded.nu)
    x, hint = learner.play(), learner.hint()
    gradient = recorded.gradient(x, positions)
    row = {"loss": recorded.loss(x, positions), "frozen_loss": recorded.loss(recorded.x_1, positions)}
    rounds.append(row | {"energy": _squared(gradient), "hint_error": _squared(gradient - hint)})
    learner.learn(gradient)


def _squared(vector: np.ndarray) -> float:
    return float(vector @ vector)


def _told(
    recorded: Recorded,
    learner: Frozen,
    rows: list[dict[str, float]],
    rounds: list[dict[str, float]],
    totals: dict[str, float],
) -> Told:
    x = learner.play()
    for number, row in enumerate(rounds, recorded.burn_in):
        row["last_loss"] = recorded.loss(x, range(number * recorded.nu, (number + 1) * recorded.nu))
    if rounds and (bound := _bound(recorded, learner, x, rounds)) is not None:
        totals["bound"] = bound
    return Told(_columns(rows, rows[0]), _columns(rounds, ROUNDS), totals, x)


def _columns(table: list[dict[str, float]], names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in table], float) for name in names}


def _bound(recorded: Recorded, learner: Frozen, u: np.ndarray, rounds: list[dict[str, float]]) -> float | None:
    """Of the regret against u for ever: ‖x_1 − u‖²/(2 step) + step/2 · Σ ‖g − hint‖², and what an ensemble adds."""
    apart, energy = _squared(recorded.x_1 - u), sum(row["energy"] for row in rounds)
    if isinstance(learner, Ensemble):
        weights = learner.weights()
        leader = weights.index(max(weights))
        step, behind = learner.experts[leader].step, learner.suffered - learner.losses[leader]
        return apart / (2 * step) + step / 2 * energy + behind
    if isinstance(learner, GradientDescent) and type(learner) in (GradientDescent, OptimisticDescent):
        return apart / (2 * learner.step) + learner.step / 2 * sum(row["hint_error"] for row in rounds)
    return None
