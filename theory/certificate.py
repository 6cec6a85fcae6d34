"""The certificate: regret and bound of a proximal learner, recomputed from its log alone.

A log is a ``Trace`` with one row per round of one run and K candidate comparators (checkpoints, best fixed decisions of
segments, anything known when the log is written). It holds no decision, no gradient and no text, only

    loss                f_t(x_t)
    candidate_loss[k]   f_t(u^k)
    squared_error       ‖grad_t − hint_t‖², hint 0 for learners without one
    step_size           η_t, non-increasing
    distance[k]         ‖anchor_t − u^k‖, anchor x_t for OGD and x̂_t for OptimisticOGD
    frozen_loss         f_t(x_1); may be missing
    checkpoint          index of the candidate in force in round t; may be missing

and in its header ``between``, the K × K distances ‖u^i − u^j‖. That is enough for every sequence of candidates. The
traces of the simulator hold cumulative sums at a hundred rounds, and the decoder's round log f_t(x_t), ‖grad‖² and
‖grad − hint‖²: neither has the candidates, so neither can be certified again; ``Recorder`` writes what is needed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theory import bounds, hindsight, step_size
from theory.arrays import Array
from theory.learner import Learner, State
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.loss import Loss
from theory.trace import Trace

NEEDED = ("loss", "candidate_loss", "squared_error", "step_size", "distance")


class Certificate(NamedTuple):
    """What a log says about one comparator sequence: at the last round, and over all rounds its slack.

    ``bound`` is A/(2η_T) + ½Ση_t‖grad_t − hint_t‖² with the comparator energy A that the run itself leaves; ``slack``
    is the smallest bound − regret after any round, and below 0 the certificate is false; ``certificate_ratio`` is bound
    over the regret of the frozen x_1, nan where the log does not have it or it is not positive: below 1 the certificate
    says that learning helped.
    """

    dynamic_regret: float
    path_length: float
    hint_error: float
    bound: float
    slack: float
    certificate_ratio: float


class Recorder:
    """Writes the log of a run round by round.

    Args:
        learner: OGD or OptimisticOGD, one decision (no experts).
        candidates: u^1 … u^K, each ``[d]``.

    Raises:
        ValueError: for another learner, whose bound has another form, or for no candidate.
    """

    def __init__(self, learner: Learner, candidates: Sequence[Array]):
        steps = getattr(learner, "step_size", ())
        if not isinstance(learner, OGD | OptimisticOGD) or isinstance(steps, tuple) or not len(candidates):
            raise ValueError(
                f"Recorder({learner!r}, {len(candidates)} candidates): needs OGD or OptimisticOGD with one step size "
                "or a schedule, and at least one candidate"
            )
        self.learner, self.candidates = learner, list(candidates)
        self.x_1: Array | None = None
        self.rows: list[dict[str, Any]] = []

    def add(
        self, before: State, loss_t: Loss, after: State, hint: Array | None = None, checkpoint: int | None = None
    ) -> None:
        """One round: the states before and after its update, its loss, and the outside hint if there was one."""
        x_t = self.learner.predict(before, hint)
        self.x_1 = x_t if self.x_1 is None else self.x_1
        value, grad = loss_t.value_and_grad(x_t)
        hint_t = getattr(before, "hint", None) if hint is None else hint
        error = grad if hint_t is None or isinstance(self.learner, OGD) else grad - hint_t
        anchor = getattr(before, "anchor", x_t)
        eta = self._step_size(before, after)
        row = {
            "loss": float(value),
            "candidate_loss": [float(loss_t.value(u)) for u in self.candidates],
            "squared_error": float((error * error).sum()),
            "step_size": float(eta) if isinstance(eta, int | float) else float(eta.sum()),
            "distance": [_norm(anchor - u) for u in self.candidates],
            "frozen_loss": float(loss_t.value(self.x_1)),
        }
        self.rows.append(row if checkpoint is None else {**row, "checkpoint": checkpoint})

    def _step_size(self, before: State, after: State) -> Array | float:
        learner = self.learner
        if isinstance(learner, OGD):
            return step_size.correction(learner.step_size, before.energy, after.energy, after.rounds)
        assert isinstance(learner, OptimisticOGD)
        return step_size.resolve(learner.step_size, before.energy)

    def trace(self, header: dict[str, Any] | None = None) -> Trace:
        """The log; ``header`` may bring provenance and ``settings``."""
        between = [[_norm(u - v) for v in self.candidates] for u in self.candidates]
        columns = {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}
        return Trace({**(header or {}), "between": between}, {"round": np.arange(len(self.rows)) + 1, **columns})


def _norm(x: Array) -> float:
    return float((x * x).sum()) ** 0.5


def _read(log: Trace) -> dict[str, np.ndarray]:
    """The columns as floats, K candidates wide.

    Raises:
        ValueError: for missing columns, or a header without distances between the candidates.
    """
    missing = [name for name in NEEDED if name not in log.columns]
    if "between" not in log.header:
        missing.append("between")
    if missing:
        raise ValueError(
            f"the log has no {', '.join(missing)}: a certificate needs {', '.join(NEEDED)} of every round and the "
            "distances between the candidates in the header; write it with theory.certificate.Recorder"
        )
    columns = {name: np.asarray(column, dtype=float) for name, column in log.columns.items()}
    wide = {name: columns[name].reshape(len(columns["loss"]), -1) for name in ("candidate_loss", "distance")}
    return columns | wide | {"between": np.asarray(log.header["between"], dtype=float)}


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
    return np.cumsum(read["loss"] - compared), bounds.proximal(energy, eta, stability)


def certificate(log: Trace, sequence: np.ndarray) -> Certificate:
    """The certificate against the candidates ``sequence`` ``[T]``, one index a round; errors as in ``paths``."""
    regret, bound = paths(log, sequence)
    read, sequence = _read(log), np.asarray(sequence, dtype=int)
    t = np.arange(len(sequence))
    frozen = float(np.sum(read["frozen_loss"] - read["candidate_loss"][t, sequence])) if "frozen_loss" in read else 0.0
    return Certificate(
        dynamic_regret=float(regret[-1]),
        path_length=float(np.sum(read["between"][sequence[1:], sequence[:-1]])),
        hint_error=float(np.sum(read["squared_error"])),
        bound=float(bound[-1]),
        slack=float(np.min(bound - regret)),
        certificate_ratio=float(bound[-1]) / frozen if frozen > 0 else float("nan"),
    )


def sequences(log: Trace, segments: int = 4, switches: int = 2) -> dict[str, np.ndarray]:
    """Comparator sequences ``[T]`` by name: best fixed, best per equal segment, checkpoints, best with S switches."""
    read = _read(log)
    losses = read["candidate_loss"]
    parts = np.array_split(np.arange(len(losses)), min(segments, len(losses)))
    best = [np.full(len(part), np.argmin(losses[part].sum(axis=0))) for part in parts]
    found = {
        "best fixed": np.full(len(losses), np.argmin(losses.sum(axis=0))),
        f"per segment ({len(parts)})": np.concatenate(best),
        f"{switches} switches": hindsight.best_switching(losses, switches),
    }
    if "checkpoint" in read:
        found["checkpoints"] = read["checkpoint"].astype(int)
    return found
