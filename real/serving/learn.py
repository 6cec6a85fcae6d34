"""Learning beside serving: collect what verification revealed, update once a round, swap at a step boundary.

The learner is any of ``theory.learners``, the very objects the simulator runs; here its arrays are float32 tensors.
What serves (``decoder.py``) tells this of every step and of every text that comes and goes, and knows nothing else of
it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.drafters.objective import DISTIL, Objective
from real.models.sampling import Sampling
from real.models.state import REMEDY, check, flatten, rebuild, under
from real.models.text import Text
from real.serving.beside import Beside
from real.serving.feedback import Log, NonFiniteGradient, RoundLog, Updated, Watched
from real.serving.guard import Guarded
from real.serving.ledger import Ledger
from real.serving.rounds import Rounds
from real.serving.settings import Serving
from real.serving.step import Session, Step
from theory.learner import Learner
from theory.runs.users_file import users_own

Hint = Callable[[Drafter, Sequence[Piece]], Tensor]
"""An outside hint for the next round ``[d]``, from the drafter and the round just served."""
OnRound = Callable[[Sequence[Updated]], Any]
"""Shown the updates of every round."""
LINES = 1024
"""Rounds that a log keeps line by line, unless told otherwise: a decoder may serve for ever."""
PLAYED, TINY = 1e-2, 1e-6
"""How far a saved decision may be from what its learner plays, which another device rounds otherwise."""


class Learned(NamedTuple):
    """What was learned of one tenant: the learner's state, the decision served, and what is under way."""

    state: Any
    x: Tensor | None
    rounds: Rounds
    sampling: Sampling
    log: Log
    hint_t: Tensor | None


class Learning:
    """One learner of one drafter's decision, whatever number of texts is served.

    Args:
        drafter: what learns. learner: one that does not learn never updates.
        serving: round length, burn-in, sampling, overlap.
        objective: divergence and positions of the loss; temperature and gamma are those of ``serving``.
        hint: outside hint for the coming round; None leaves the learner its own rule.
        prompt_hint: this many times the gradient on the prompt is the outside hint for the rounds of a request:
            prefill has computed the target's laws there before the first token is drafted. Charged to learning.
        learn_prompt: the prompt's positions are feedback like any committed ones.
        record: shown the pieces of every round. on_round: shown the updates of every round.
        lines: of the log that are kept, one a round; None keeps all, for whoever reads a run whole.

    Attributes:
        log: the rounds learned. hint_t: the outside hint of the coming round. learner_state: None before learning.
    """

    def __init__(
        self,
        drafter: Drafter,
        learner: Learner,
        serving: Serving,
        objective: Objective = DISTIL,
        hint: Hint | None = None,
        prompt_hint: float | None = None,
        learn_prompt: bool = False,
        record: Callable[[Sequence[Piece]], Any] | None = None,
        on_round: OnRound | None = None,
        lines: int | None = LINES,
    ):
        self.drafter, self.learner, self.serving, self.hint = drafter, learner, serving, hint
        self.sampling = serving.sampling
        self.record, self.on_round, self.lines = record, on_round, lines
        self.objective = objective
        self.settle(serving)
        self.learns = drafter.trains and learner.learns
        if prompt_hint is not None and not learner.takes_hints:
            raise ValueError(f"prompt_hint={prompt_hint!r}: {learner!r} takes no hints; choose an optimistic learner")
        if learn_prompt and not drafter.learns_prompts:
            raise ValueError(
                f"learn_prompt={learn_prompt!r}: {type(drafter).__name__} learns from drafted positions, and a prompt "
                "has none; leave it out"
            )
        self.prompt_hint = prompt_hint if self.learns else None
        self.learn_prompt = learn_prompt and self.learns
        self.device = drafter.x.device
        self.beside = Beside(self.device) if serving.overlap and self.learns else None
        self._x_1 = drafter.x.cpu() if self.learns else None  # of a tenant of whom nothing is remembered
        self.guarded = Guarded(learner, drafter.dimension)
        if self.collects:
            drafter.keep_features()
        self._new()
        if self.learns:
            self._play()

    def _new(self) -> None:
        """Nothing was learned yet."""
        self.log = Log(self.lines)
        self.hint_t: Tensor | None = None
        self.learner_state = self.guarded.init(self.drafter.x) if self.learns else None
        self._new_round()

    def _new_round(self) -> None:
        """Drop the round under way, if any; the next one's texts are sampled as they are now."""
        self.rounds, self.sampling = Rounds(self.serving.nu, self.serving.law_top_k), self.serving.sampling

    def begin(self) -> None:
        """Learn from day 0; the drafter was restored before."""
        if self._x_1 is not None:
            self.drafter.load(self._x_1.to(self.device))
        self._new()

    def put_aside(self) -> Learned:
        """What was learned until now, for ``take_up``; between requests, when no update is beside."""
        x = self.drafter.x if self.learns else None
        return Learned(self.learner_state, x, self.rounds, self.sampling, self.log, self.hint_t)

    def take_up(self, learned: Learned) -> None:
        """Go on from what was put aside; the drafter has its own memory of the same tenant."""
        self.learner_state, x, self.rounds, self.sampling, self.log, self.hint_t = learned
        if x is not None:
            self.drafter.load(x)

    def settle(self, serving: Serving) -> None:
        """Learn from texts that are sampled otherwise from now on; a round under way at the old sampling is dropped."""
        temperature = serving.sampling.temperature or 1.0
        self.serving, self.objective = serving, replace(self.objective, temperature=temperature, gamma=serving.gamma)
        self._of_one_sampling()

    def _of_one_sampling(self) -> None:
        if self.sampling != self.serving.sampling:
            self._new_round()

    @property
    def collects(self) -> bool:
        """Whether anybody looks at what verification revealed."""
        return self.learns or self.record is not None

    @property
    def reads_prompts(self) -> bool:
        """Whether prefill keeps what it revealed of the prompt."""
        return self.learn_prompt or self.prompt_hint is not None

    def enter(self, text: Text, row: int, ledger: Ledger) -> None:
        """A text came: learn from its prompt, or take the gradient there as the hint of this request."""
        self._of_one_sampling()
        if not self.reads_prompts:
            return
        if self.prompt_hint is not None and self.hint_t is not None:
            with ledger("learn"):  # the hint of the request before is no hint for this one
                self.hint_t = None
                self.drafter.load(self._play())
        if text.prompt_length < 2:
            return
        with ledger("learn"):
            piece = self.rounds.prompt(text, row, self.drafter, self.serving.sampling)
            self.drafter.forget(text.prompt_length, row)
            if self.learn_prompt:
                self.rounds.add(piece)
        self._learn_complete(ledger)
        if self.prompt_hint is None or not self.drafter.ready:
            return
        with ledger("learn"), torch.no_grad():
            anchor = self.guarded.predict(self.learner_state, torch.zeros_like(self.drafter.x), self.log.rounds)
            loss = Watched(self.drafter.loss([piece], replace(self.objective, positions="all")), "prompt hint")
            self.hint_t = self.prompt_hint * loss.grad(anchor)
            self.drafter.load(self._play())

    def note(self, session: Session, steps: Sequence[Step], ledger: Ledger) -> None:
        """Every text took a step; whatever round is complete is learned.

        A text alone has the one state that its draft has not read yet read now, so that a round is learned at the first
        step boundary after its last token. Beside others that state comes with the next draft, and the position waits.
        """
        with ledger("other"):
            for step in steps:
                self.rounds.collect(step)
        if self.rounds.waiting < self.rounds.nu:
            return
        with ledger("learn"):
            if session.rows == 1:
                self.drafter.catch_up()
            self.rounds.join(self.drafter)
        self._learn_complete(ledger)

    def rest(self, session: Session, ledger: Ledger) -> None:
        """The next step does not tell of all that drafts: what is not known of the positions so far never will be."""
        if not self.rounds.joining:
            return
        with ledger("learn"):
            self.rounds.join(self.drafter)
            for text in session.texts:
                self.rounds.end(text)

    def leave(self, session: Session, row: int, ledger: Ledger) -> None:
        """A text has ended and is about to leave; what is known of it is kept for the round under way."""
        with ledger("learn"):
            if session.rows == 1:
                self.drafter.catch_up()
            self.rounds.join(self.drafter)
            self.rounds.end(session.texts[row])

    def _learn_complete(self, ledger: Ledger) -> None:
        while self.rounds.complete:
            with ledger("learn"):
                pieces = self.rounds.take()
                if self.record:
                    self.record(pieces)
            if self.learns:
                self._learn(pieces, ledger)

    def _learn(self, pieces: Sequence[Piece], ledger: Ledger) -> None:
        """One round: burn-in while the drafter asks for it, then its updates and one swap, now or beside the next."""
        self.finish(ledger)
        with ledger("learn"):
            if not self.drafter.ready:
                self.drafter.absorb(pieces)
                return
            hint_t, objective = self.hint_t, self.objective
            if self.beside is not None:
                self.beside.start(lambda: (pieces, self._updates(pieces, objective, hint_t)))
                return
            updates = self._updates(pieces, objective, hint_t)
        self._swap(pieces, updates, ledger)

    def _updates(self, pieces: Sequence[Piece], objective: Objective, hint_t: Tensor | None) -> list[Updated]:
        """Every update that a round asks for, with the outside hint it was played with."""
        name, state, found = f"{self.guarded.name}, round {self.log.rounds + 1}", self.learner_state, []
        with torch.no_grad():
            for loss in self.drafter.losses(pieces, objective):
                before, loss_t = state, Watched(loss, name)
                state = self.guarded.update(before, loss_t, hint_t, self.log.rounds)
                found.append(Updated(before, loss_t, state, hint_t))
        return found

    def finish(self, ledger: Ledger) -> None:
        """Wait for the update that runs beside the decoding, if any, and swap it in."""
        if self.beside is None:
            return
        with ledger("learn"):
            found = self.beside.take()
        if found is not None:
            pieces, updates = found
            self._swap(pieces, updates, ledger)

    def _swap(self, pieces: Sequence[Piece], updates: list[Updated], ledger: Ledger) -> None:
        """Take up the last of the updates and serve its decision from the next step on."""
        if not updates:
            return
        with ledger("learn"), torch.no_grad():
            hint_t = self.hint_t if self.hint is None else self.hint(self.drafter, pieces)
            x_t = self.guarded.predict(updates[-1].after, hint_t, self.log.rounds + 1)
            self.guarded.check_finite(updates[-1].after, self.log.rounds + 1)
        with ledger("measure"), users_own(self.learner):
            self._log(updates)
        with ledger("learn"):
            self.learner_state, self.hint_t = updates[-1].after, hint_t
            self.drafter.load(x_t)

    def _play(self) -> Tensor:
        """What the learner plays now, with the outside hint if there is one."""
        return self.guarded.predict(self.learner_state, self.hint_t, self.log.rounds)

    def _log(self, updates: Sequence[Updated]) -> None:
        """Log the round at what was played: the mean loss, the summed energies. Nothing of it is charged."""
        losses, gradient, hint_error = [], 0.0, 0.0
        for before, loss_t, _, outside in updates:
            x_t, last = self.learner.predict(before, outside), loss_t.last
            # some learners need values alone, or gradients at their experts' own decisions
            grad_t = last if last is not None and last.shape == x_t.shape else loss_t.loss.grad(x_t)
            hint_t = self.learner.own_hint(before) if outside is None else outside
            error = grad_t if hint_t is None else grad_t - hint_t
            losses.append(float(loss_t.value(x_t)))
            gradient += float((grad_t.double() ** 2).sum())
            hint_error += float((error.double() ** 2).sum())
        entry = RoundLog(self.log.rounds + 1, sum(losses) / len(losses), gradient, hint_error)
        if not isfinite(entry.loss):
            raise NonFiniteGradient(
                f"{self.guarded.name}, round {entry.round}: the loss is {entry.loss}; nothing was updated"
            )
        self.log.add(entry)
        if self.on_round:
            self.on_round(updates)

    def state(self, text: bool = True) -> dict[str, Tensor]:
        """Everything needed to go on learning as if never stopped, as named tensors; between requests only.

        Without ``text`` neither the round under way, nor the gradient on the last prompt.
        """
        rounds = self.rounds.state() if text else {}
        named: dict[str, Tensor] = {f"rounds.{key}": value for key, value in rounds.items()}
        if self.learns:
            named |= dict(flatten("learner", self.learner_state))
            hint_t = self.hint_t if text or self.prompt_hint is None else None
            # what is served, for whoever reads the file without the learner
            named["x"] = self.drafter.x if hint_t is self.hint_t else self.learner.predict(self.learner_state)
            named |= self.log.state()
            if hint_t is not None:
                named["hint"] = hint_t
        return named

    def restored(self, named: dict[str, Tensor]) -> Learned:
        """What ``state`` gave, for ``take_up``; nothing is taken up yet.

        Raises:
            ValueError: if it was saved by another learner, or is damaged (the entry).
        """
        rounds = Rounds(self.serving.nu, self.serving.law_top_k)
        rounds.restore(under("rounds.", named), self.device, self.drafter.vocab)
        log = Log(self.lines)
        if not self.learns:
            return Learned(None, None, rounds, self.serving.sampling, log, None)
        x = self.drafter.x
        if rounds.pieces:
            try:
                with torch.no_grad():
                    _ = [loss.value(x) for loss in self.drafter.losses(rounds.pieces, self.objective)]
            except Exception as error:
                words = f"state entries 'rounds.…': no loss can be made of them ({error}); {REMEDY}"
                raise ValueError(words) from error
        log.restore(named)
        check({"x": x} | ({"hint": x} if "hint" in named else {}), named)
        state = rebuild("learner", self.learner_state, named)
        hint_t = named["hint"].to(x) if "hint" in named else None
        played, x = self.guarded.predict(state, hint_t, log.rounds), named["x"].to(x)
        if float((played - x).abs().max()) > PLAYED * float(x.abs().max()) + TINY:
            raise ValueError(f"state entry 'x': is not what the learner plays from the entries 'learner.…'; {REMEDY}")
        return Learned(state, played, rounds, self.serving.sampling, log, hint_t)
