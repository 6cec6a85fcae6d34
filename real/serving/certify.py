"""The regret certificate of live decoding: what a convex drafter's run is guaranteed, from its own log.

While serving, only the losses and outside hints are kept. Whenever a certificate is asked for, comparators are found in
hindsight and the learner is played again over the kept losses, which writes the log that ``python -m theory certify``
reads (``theory/checker/certificate.py``); an ensemble is certified through the expert that leads at the end. None of
this is charged to serving: a run that is not certified is the same run.

What is certified are the learner's plays x_t; of a mixture and of routing, which learn once a position, the first play
of a round, which bears all its positions. A swap waits for a step boundary, so up to gamma positions of a round were
drafted with the decision before; and with a prompt hint x_t is what the learner plays once a request's hint is known,
while positions of the round from the request before were drafted without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.models.state import Named, flatten, rebuild, under
from real.serving.feedback import Updated, Watched
from real.serving.learn import Learning
from real.serving.rounds import named_pieces, pieces_of
from theory.checker.certificate import Certificate, Recorder, certificate, number, sequences
from theory.hindsight import Total, cutting_planes
from theory.learner import Learner, Terms
from theory.loss import Loss
from theory.runs.trace import Trace

SEGMENTS = 4
"""Equal parts of a run that get a comparator of their own."""
CLOSE, PLANES = 1e-4, 60
"""How near the best fixed mixture is looked for, in loss a round, and in how many planes; any is a comparator."""


def certifiable(learning: Learning) -> bool:
    """Whether a theorem holds: a learner that has a certificate, on losses that are convex in its decision.

    Not where learning is overlapped: what is served there is one round older than what the learner plays.
    """
    learner = learning.learner
    if learning.serving.overlap or not learner.certified:
        return False
    convex = learning.drafter.convex and learning.objective.convex
    return convex or learner.weighs_experts()  # whose losses are convex in the weights, mixed or routed


class Certifier:
    """Keeps what one decoder's learner saw; give ``note`` as ``Learning.on_round``.

    Of several tenants it keeps the one whose round was learned first: the others' rounds do not go on from its own.
    ``tenant`` says whose that is, once ``begins`` has told it.

    Args:
        every: rounds between certificates; 0 only at the end. show: told each certificate, by comparator.
        most: keep so many rounds, the first ones, and certify those; None keeps all.
    """

    def __init__(
        self,
        learner: Learner,
        every: int = 0,
        show: Callable[[int, dict[str, Certificate]], None] | None = None,
        most: int | None = None,
    ):
        self.most = most
        self.learner, self.every, self.show = learner, every, show
        self.first: Any = None  # the learner's state before the first round
        self.last: Updated | None = None
        self.x_1: Tensor | None = None
        self.tenant = ""
        self.rounds: list[list[tuple[Loss, Tensor | None]]] = []  # losses and outside hints
        self._drafter: Named = {}  # what the losses are made again with, until it was saved
        self._seen: Sequence[Piece] | None = None
        self._unsaved: list[tuple[Sequence[Piece], Tensor | None]] = []

    def see(self, pieces: Sequence[Piece]) -> None:
        """A round is about to be learned from these; ``state`` is asked for then, give this as ``Learning.record``."""
        self._seen = pieces

    def begins(self, tenant: str, drafter: Drafter) -> None:
        """The first round, about to be noted, is this tenant's, drafted by this drafter."""
        self.tenant = tenant
        if not self.learner.weighs_experts():  # whose losses hold all that they are of
            self._drafter = drafter.textless(drafter.state())

    def note(self, updates: Sequence[Updated]) -> None:
        """One round was learned."""
        if self.most is not None and len(self.rounds) >= self.most:
            return
        if self.last is not None and not _same(updates[0].before, self.last.after):
            return
        if self.x_1 is None:
            self._begin(updates[0].before)
        if self._seen is not None:
            self._unsaved.append((self._seen, updates[0].hint_t))
        self.last = updates[-1]
        self.rounds.append([(update.loss_t.loss, update.hint_t) for update in updates])
        if self.show and self.every and len(self.rounds) % self.every == 0:
            self.show(len(self.rounds), certificates(self.log()))

    def _begin(self, first: Any) -> None:
        self.first = first
        self.x_1 = self.learner.predict(first, torch.zeros_like(self.learner.predict(first))).clone()

    def state(self) -> Named:
        """What was noted since this was last asked for, as named tensors; of rounds that were ``see``n."""
        rounds, self._unsaved = self._unsaved, []
        if not rounds or self.last is None:
            return {}
        named: Named = {}
        for name, state in (("first", self.first), ("before", self.last.before), ("after", self.last.after)):
            named |= dict(flatten(name, state))
        named |= {f"drafter.{key}": part for key, part in self._drafter.items()}
        self._drafter = {}
        for i, (pieces, hint) in enumerate(rounds):
            named |= {f"{i}.{key}": tensor for key, tensor in named_pieces(pieces).items()}
            named |= {} if hint is None else {f"{i}.hint": hint}
        return {key: tensor.contiguous().clone() for key, tensor in named.items()}

    @torch.no_grad()
    def restore(self, named: Named, learning: Learning) -> None:
        """Add what ``state`` gave; the losses are made again from what they are of.

        That takes the drafter of ``learning``: what it remembers of its tenant must be restored afterwards.
        """
        if not named:
            return
        if drafter := under("drafter.", named):
            learning.drafter.restore(drafter)
        first, before, after = (rebuild(name, learning.learner_state, named) for name in ("first", "before", "after"))
        self._begin(first)
        number = 0
        while part := under(f"{number}.", named):
            hint = part.pop("hint", None)
            hint = None if hint is None else hint.to(learning.drafter.x)
            pieces = pieces_of(part, learning.drafter.x.device, learning.drafter.vocab)
            self.rounds.append([(loss, hint) for loss in learning.drafter.losses(pieces, learning.objective)])
            number += 1
        loss, hint = self.rounds[-1][-1]
        self.last = Updated(before, Watched(loss, "taken up"), after, hint)

    def log(self, header: dict[str, Any] | None = None) -> Trace:
        """The run so far as ``python -m theory certify`` reads it.

        Raises:
            ValueError: before the first round.
        """
        if self.x_1 is None or self.last is None:
            raise ValueError("no round was learned yet: serve until the burn-in is over, then certify")
        if self.learner.weighs_experts():  # a few weights, whose theorem is an identity: in float64
            rounds = [[(_double(loss), hint) for loss, hint in updates] for updates in self.rounds]
            candidates = list(torch.eye(len(self.x_1), dtype=torch.float64))
            if not self.learner.experts_only:
                candidates.append(best_mixture([loss for updates in rounds for loss, _ in updates], len(candidates)))
            recorder = Recorder(self.learner, candidates)
            return self._played(recorder, type(self.first)(*(part.double() for part in self.first)), rounds, 0, header)
        expert = self.learner.leader(self.last.after)
        eta = number(self._terms(self.last, expert).step_size)
        losses = [loss for updates in self.rounds for loss, _ in updates]
        size = -(-len(losses) // SEGMENTS)
        parts = [losses, *(losses[i : i + size] for i in range(0, len(losses), size))]
        candidates = [self.x_1, *(proximal_best(part, self.x_1, eta) for part in parts)]
        return self._played(Recorder(self.learner, candidates, expert), self.first, self.rounds, size, header)

    def _terms(self, update: Updated, expert: int | None) -> Terms:
        """What one round adds to the certificate."""
        x_t = self.learner.predict(update.before, update.hint_t)
        grad_t = update.loss_t.loss.grad(x_t)
        return self.learner.terms(update.before, update.after, x_t, grad_t, update.hint_t, expert)

    def _played(self, recorder: Recorder, state: Any, rounds: Sequence, size: int, header: dict | None) -> Trace:
        """The learner played again over ``rounds``; candidates from the third on are of ``size`` rounds each.

        A mixture learns once a position and is swapped in once a round: its first play of a round bears all its losses.
        """
        t, several = 0, self.learner.weighs_experts()
        with torch.no_grad():
            for updates in rounds:
                served = self.learner.predict(state) if several else None
                for loss, hint in updates:
                    after = self.learner.update(state, loss, hint)
                    recorder.add(state, loss, after, hint, 2 + t // size if size else None, served)
                    state, t = after, t + 1
        return recorder.trace(header)


def _same(one: Any, other: Any) -> bool:
    """Whether two states of a learner are one; a state that was taken up from a file is another object."""
    if one is other:
        return True
    pairs = zip(flatten("", one), flatten("", other), strict=True)
    return all(torch.equal(mine, theirs) for (_, mine), (_, theirs) in pairs)


def _double(loss: Any) -> Loss:
    """A loss of a few experts in float64."""
    return replace(loss, **{field.name: getattr(loss, field.name).double() for field in fields(loss)})


def certificates(log: Trace) -> dict[str, Certificate]:
    """Against the frozen start, the best fixed decision found, and one for each part of the run.

    Of a mixture or of routing against the best part, or the best fixed mixture of them where the theorem covers it.
    """
    found = sequences(log)
    if log.header["static"]:
        return {"fixed": certificate(log, found["best fixed"])}
    rounds = len(log.columns["loss"])
    fixed = torch.ones(rounds, dtype=torch.int64).numpy()
    return {
        "frozen": certificate(log, 0 * fixed),
        "fixed": certificate(log, fixed),
        "parts": certificate(log, found["checkpoints"]),
    }


class _Read(Loss):
    """A loss of torch weights, asked with numpy's."""

    def __init__(self, loss: Any):
        self.loss = loss

    def value(self, x: np.ndarray) -> float:
        return float(self.loss.value(torch.from_numpy(x)))

    def grad(self, x: np.ndarray) -> np.ndarray:
        return self.loss.grad(torch.from_numpy(x)).numpy(force=True)

    def value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        return self.value(x), self.grad(x)


def best_mixture(losses: list[Loss], parts: int) -> Tensor:
    """Weights ``[N]`` whose total loss is within ``CLOSE`` a round of the least, as far as ``PLANES`` planes tell."""
    best, _ = cutting_planes(_Read(Total(losses)), parts, CLOSE * len(losses), PLANES)
    best = np.maximum(best, 0.0)  # a linear program's weights may be a rounding below
    return torch.from_numpy(best / best.sum())


def proximal_best(losses: list[Loss], x_1: Tensor, eta: float, steps: int = 15) -> Tensor:
    r"""u that makes the certificate strong: about argmin of $\sum_t f_t(u) + \|u - x_1\|^2/(2\eta)$, by L-BFGS.

    That sum, plus what the gradients cost, is the bound on the learner's own loss; any u gives a true certificate.
    """
    total, u = Total(losses), x_1.detach().clone()
    optimiser = torch.optim.LBFGS([u], max_iter=steps, history_size=8, line_search_fn="strong_wolfe")

    def objective() -> float:
        with torch.no_grad():
            value, grad = total.value_and_grad(u)
            pull = u - x_1
            u.grad = grad + pull / eta
            return float(value + pull @ pull / (2 * eta))

    optimiser.step(objective)
    return u.detach()
