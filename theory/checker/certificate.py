r"""The certificate: regret and bound of a learner, recomputed from its log alone.

A log is a ``Trace`` with one row per round of one run and K candidate comparators (checkpoints, best fixed decisions of
segments, anything known when the log is written). It holds no decision, no gradient and no text, only

    loss                f_t(x_t)
    candidate_loss[k]   f_t(u^k)
    squared_error       ‖grad_t − hint_t‖², hint 0 for learners without one
    step_size           η_t, non-increasing
    distance[k]         ‖anchor_t − u^k‖, anchor x_t for OGD and x̂_t for OptimisticOGD
    surplus             what the bound grows by in this round besides; 0 for one proximal learner
    frozen_loss         f_t(x_1); may be missing
    checkpoint          index of the candidate in force in round t; may be missing

and in its header ``between``, the K × K distances ‖u^i − u^j‖, and ``start``, K numbers. That is enough for every
sequence of candidates. The bound after round t, against a sequence that begins with candidate k, is

    start[k] + A/(2η_t) + ½Σ_s η_s squared_error_s + Σ_s surplus_s,       A the comparator energy of the run itself

    OGD, OptimisticOGD   their own theorem; start = surplus = 0
    Ensemble, Sword      Σ f(x_t) − f(u_t) ≤ Σ ⟨grad_t, x_t − u_t⟩ = Σ ⟨grad_t, x_t − x_t^i⟩ + Σ ⟨grad_t, x_t^i − u_t⟩
                         for any expert i: the first sum is ``surplus``, the second has the expert's theorem on the
                         linear surrogate (of OGD: anchor x_t^i, step η^i, squared_error ‖grad_t‖²)
    Mixture              ln(1/w_1^k)/ε is ``start``, w_1 the weights that the log begins with, and the mixability gaps
                         paid are ``surplus``; against fixed experts only, so the header says ``static``
    Hedge, AdaHedge,     the same against fixed mixtures u of convex losses, with KL(u ‖ w_1)/ε for ``start``; adaptive
    OptimisticHedge,     ones pay the fall of their ε besides, FixedShare (with ``surrogate``) ln(1/(1 − α))/ε a round
    FixedShare

A learner says these parts itself: ``certified``, ``terms`` and ``prior_cost`` of theory/learner.py. A user's own
learner that says them has a certificate, too.

If x_s was served instead of the play x_t, f_t(x_s) − f_t(x_t) is part of ``surplus``, exactly.

The traces of the simulator hold cumulative sums at a hundred rounds, and the decoder's round log f_t(x_t), ‖grad‖² and
‖grad − hint‖²: neither has the candidates, so neither can be certified again; ``Recorder`` writes what is needed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theory import bounds, hindsight
from theory.arrays import Array
from theory.learner import Learner, State
from theory.loss import Loss
from theory.runs.trace import Trace

NEEDED = ("loss", "candidate_loss", "squared_error", "step_size", "distance", "surplus")


ROUNDING = 1e-12
"""Of 1 + bound: a mixture that has settled on one expert meets its bound exactly, up to this."""


class Certificate(NamedTuple):
    """What a log says about one comparator sequence: at the last round, and over all rounds its slack.

    ``slack`` is the smallest bound − regret after any round, and below 0 the certificate is false;
    ``certificate_ratio`` is bound over the regret of the frozen x_1, nan where the log does not have it or it is not
    positive: below 1 the certificate says that learning helped.
    """

    dynamic_regret: float
    path_length: float
    hint_error: float
    bound: float
    slack: float
    certificate_ratio: float


class Recorder:
    """Writes the log of a run round by round.

        >>> import numpy as np
        >>> from theory import OGD, Ball, Linear
        >>> learner = OGD(0.5, Ball(1.0))
        >>> recorder, state = Recorder(learner, [np.array([-1.0, 0.0])]), learner.init(np.array([1.0, 0.0]))
        >>> for loss_t in [Linear(np.array([1.0, 0.0]))] * 9:
        ...     after = learner.update(state, loss_t)
        ...     recorder.add(state, loss_t, after)
        ...     state = after
        >>> found = certificate(recorder.trace(), np.zeros(9, dtype=int))
        >>> found.dynamic_regret, found.bound, found.slack >= 0
        (5.0, 6.25, True)

    Args:
        learner: one that is ``certified``, for example OGD or OptimisticOGD with one step size or a schedule, an
            ``Ensemble`` of them on its linear surrogate, or one that weighs experts, such as ``Hedge``.
        candidates: u^1 … u^K, each ``[d]``; of ``Mixture``, and of ``FixedShare`` without ``surrogate``, experts, that
            is, vertices of the simplex.
        expert: of a learner with ``bases``, the one whose theorem is used. Each gives a true certificate, the
            ``leader`` at the end of the run a strong one.

    Raises:
        ValueError: for a learner that is not certified, for no candidate, or an expert out of range.
    """

    def __init__(self, learner: Learner, candidates: Sequence[Array], expert: int | None = None):
        if not learner.certified or not len(candidates):
            raise ValueError(
                f"Recorder({learner!r}, {len(candidates)} candidates): needs at least one candidate, and a "
                "learner that is certified as it is set: not several step sizes side by side, not an ensemble "
                "without surrogate; a class of your own says certified = True and defines terms"
            )
        if expert not in ([None] if learner.bases is None else range(learner.bases)):
            rule = "None, as it has no bases" if learner.bases is None else f"one of 0 … {learner.bases - 1}, its bases"
            raise ValueError(f"Recorder({learner!r}, expert={expert!r}): must be {rule}")
        self.learner, self.candidates, self.expert = learner, list(candidates), expert
        self.x_1: Array | None = None
        self.static = learner.static
        self.start = [0.0] * len(self.candidates)
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        before: State,
        loss_t: Loss,
        after: State,
        hint: Array | None = None,
        checkpoint: int | None = None,
        served: Array | None = None,
    ) -> None:
        """One round: the states before and after its update, its loss, and the outside hint if there was one.

        ``served``: the decision that bore the loss, where it was not the play.
        """
        x_t = self.learner.predict(before, hint)
        if self.x_1 is None:
            self.x_1, self.start = x_t, [self.learner.prior_cost(before, u) for u in self.candidates]
        value, grad_t = loss_t.value_and_grad(x_t)
        terms = self.learner.terms(before, after, x_t, grad_t, hint, self.expert)
        self.static = self.static or terms.anchor is None  # without distances no move is charged
        suffered = float(value) if served is None else float(loss_t.value(served))
        row = {
            "loss": suffered,
            "candidate_loss": [float(loss_t.value(u)) for u in self.candidates],
            "squared_error": 0.0 if terms.error is None else float((terms.error * terms.error).sum()),
            "step_size": number(terms.step_size),
            "distance": [0.0 if terms.anchor is None else _norm(terms.anchor - u) for u in self.candidates],
            "surplus": number(terms.surplus) + suffered - float(value),
            "frozen_loss": float(loss_t.value(self.x_1)),
        }
        self.rows.append(row if checkpoint is None else {**row, "checkpoint": checkpoint})

    def trace(self, header: dict[str, Any] | None = None) -> Trace:
        """The log; ``header`` may bring provenance and ``settings``."""
        between = [[_norm(u - v) for v in self.candidates] for u in self.candidates]
        columns = {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}
        return Trace(
            {**(header or {}), "between": between, "start": self.start, "static": self.static},
            {"round": np.arange(len(self.rows)) + 1, **columns},
        )


def number(value: Array | float) -> float:
    """A number, or the one number in an array."""
    return float(value) if isinstance(value, int | float) else float(value.sum())


def _norm(x: Array) -> float:
    return float((x * x).sum()) ** 0.5


def _read(log: Trace) -> dict[str, np.ndarray]:
    """The columns as floats, K candidates wide.

    Raises:
        ValueError: for missing columns, or a header without distances between the candidates.
    """
    missing = [name for name in NEEDED if name not in log.columns]
    missing += [name for name in ("between", "start") if name not in log.header]
    if missing:
        raise ValueError(
            f"the log has no {', '.join(missing)}: a certificate needs {', '.join(NEEDED)} of every round and the "
            "distances and start of the candidates in the header; write it with theory.checker.certificate.Recorder"
        )
    columns = {name: np.asarray(column, dtype=float) for name, column in log.columns.items()}
    wide = {name: columns[name].reshape(len(columns["loss"]), -1) for name in ("candidate_loss", "distance")}
    return columns | wide | {name: np.asarray(log.header[name], dtype=float) for name in ("between", "start")}


def paths(log: Trace, sequence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dynamic regret, bound) after every round, ``[T]`` both, against the candidates ``sequence`` ``[T]``.

    For changing steps the comparator energy is weighed by them; in the plain sharp form the bound would be false
    (``bounds.comparator_energy_sharp``).

    Raises:
        ValueError: if the log lacks a column, or the sequence does not fit it.
    """
    read, sequence = _read(log), np.asarray(sequence, dtype=int)
    rounds, candidates = read["candidate_loss"].shape
    if sequence.shape != (rounds,) or sequence.min() < 0 or sequence.max() >= candidates:
        raise ValueError(
            f"sequence of shape {sequence.shape}: one index from 0 to {candidates - 1} for {rounds} rounds"
        )
    t = np.arange(rounds)
    compared, eta = read["candidate_loss"][t, sequence], read["step_size"]
    to_own, to_last = read["distance"][t, sequence] ** 2, read["distance"][t[1:], sequence[:-1]] ** 2
    energy, stability = bounds.telescoped(to_own, to_last, eta), 0.5 * np.cumsum(eta * read["squared_error"])
    besides = read["start"][sequence[0]] + np.cumsum(read["surplus"])
    return np.cumsum(read["loss"] - compared), bounds.proximal(energy, eta, stability) + besides


def certificate(log: Trace, sequence: np.ndarray) -> Certificate:
    """The certificate against the candidates ``sequence`` ``[T]``, one index a round; errors as in ``paths``."""
    regret, bound = paths(log, sequence)
    read, sequence = _read(log), np.asarray(sequence, dtype=int)
    t, slack = np.arange(len(sequence)), float(np.min(bound - regret))
    frozen = float(np.sum(read["frozen_loss"] - read["candidate_loss"][t, sequence])) if "frozen_loss" in read else 0.0
    return Certificate(
        dynamic_regret=float(regret[-1]),
        path_length=float(np.sum(read["between"][sequence[1:], sequence[:-1]])),
        hint_error=float(np.sum(read["squared_error"])),
        bound=float(bound[-1]),
        slack=0.0 if abs(slack) <= ROUNDING * (1 + abs(bound[-1])) else slack,
        certificate_ratio=float(bound[-1]) / frozen if frozen > 0 else float("nan"),
    )


def sequences(log: Trace, segments: int = 4, switches: int = 2) -> dict[str, np.ndarray]:
    """Comparator sequences ``[T]`` by name: best fixed, best per equal segment, checkpoints, best with S switches.

    A ``static`` log has a theorem about fixed experts, and so the best fixed one alone.
    """
    read = _read(log)
    losses = read["candidate_loss"]
    fixed = {"best fixed": np.full(len(losses), np.argmin(losses.sum(axis=0)))}
    if log.header.get("static"):
        return fixed
    parts = np.array_split(np.arange(len(losses)), min(segments, len(losses)))
    best = [np.full(len(part), np.argmin(losses[part].sum(axis=0))) for part in parts]
    found = fixed | {
        f"per segment ({len(parts)})": np.concatenate(best),
        f"{switches} switches": hindsight.best_switching(losses, switches),
    }
    if "checkpoint" in read:
        found["checkpoints"] = read["checkpoint"].astype(int)
    return found
