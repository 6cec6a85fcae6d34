"""The loop: decode, collect what verification revealed, update once a round, swap weights at a step boundary.

The learner is any of ``theory.learners``, the very objects the simulator runs; here its arrays are float32 tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.drafters.objective import DISTIL, Objective
from real.models.hf import Pair
from real.models.sampling import Sampling
from real.models.state import check, flatten, rebuild, under
from real.serving.beside import Beside
from real.serving.feedback import Counts, NonFiniteGradient, RoundLog, Updated, Watched
from real.serving.ledger import Ledger
from real.serving.rounds import Rounds
from real.serving.step import RULES, Session, Step, plain_step, speculative_step
from theory.learner import Learner
from theory.speculation.draft_length import DraftLength
from theory.speculation.draft_length import State as Lengths

Hint = Callable[[Drafter, Sequence[Piece]], Tensor]
"""An outside hint for the next round ``[d]``, from the drafter and the round just served."""


@dataclass(frozen=True)
class Serving:
    """How requests are decoded and when the draft learns.

    Attributes:
        gamma: draft length. nu: committed tokens a round. sampling: of target and draft alike.
        burn_in: committed tokens, rounded up to whole rounds, that only set the adapter's whitening.
        max_new_tokens: of a request. law_top_k: the learner sees so many tokens of the target's law, renormalised;
            0 shows all. rule: of ``real.serving.step.RULES``. confidence: end a draft at the first token less probable.
        overlap: learn beside the next round instead of before it, see ``real/serving/beside.py``.
        costs: of steps that draft 0, 1, … gamma tokens, in plain steps (``real/measure/profile.py``): with them every
        step's
            length is chosen by cost (``theory/speculation/draft_length.py``), gamma being the longest; empty drafts
            gamma always.
            switch: what the first one that drafts after a plain one costs besides, where lengths are chosen.
    """

    gamma: int = 4
    nu: int = 16
    sampling: Sampling = Sampling()
    max_new_tokens: int = 128
    law_top_k: int = 0
    burn_in: int = 960
    rule: str = "token"
    confidence: float = 0.0
    overlap: bool = False
    costs: tuple[float, ...] = ()
    switch: float = 0.0

    def __post_init__(self):
        if self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r}: a step drafts at least one token; plain decoding is run beside it")
        if self.nu < self.gamma + 1:
            raise ValueError(f"nu={self.nu!r}: a round must hold a whole step, at least gamma + 1 = {self.gamma + 1}")
        if not self.switch >= 0:
            raise ValueError(f"switch={self.switch!r}: must be at least 0, in plain steps")
        if self.costs and len(self.costs) != self.gamma + 1:
            raise ValueError(
                f"costs={self.costs!r}: needs one entry for each of 0 … gamma = {self.gamma} drafted tokens; profile it"
            )
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens!r}: must be at least 1")
        if self.law_top_k < 0:
            raise ValueError(f"law_top_k={self.law_top_k!r}: must be at least 0; 0 keeps the whole law")
        if self.burn_in < 1:
            raise ValueError(f"burn_in={self.burn_in!r}: must be at least 1, or there is nothing to whiten by")
        if self.rule not in RULES:
            raise ValueError(f"rule={self.rule!r}: must be one of {', '.join(RULES)}")
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence={self.confidence!r}: must be in [0, 1); 0 drafts gamma tokens every step")

    @property
    def burn_in_rounds(self) -> int:
        """Whole rounds of burn-in."""
        return -(-self.burn_in // self.nu)


Learned = Callable[[Sequence[Updated]], Any]
"""Shown the updates of every round."""


class OnlineDecoder:
    """Serves requests one after the other while its draft learns.

    Args:
        pair: target, draft and tokenizer. drafter: None decodes plainly. learner: Frozen never updates.
        serving: lengths and sampling. seed: of the request's own randomness.
        objective: divergence and positions of the loss; temperature and gamma are those of ``serving``.
        hint: outside hint for the coming round; None leaves the learner its own rule.
        prompt_hint: this many times the gradient on the prompt is the outside hint for the rounds of a request:
            prefill has computed the target's laws there before the first token is drafted. Charged to learning.
        learn_prompt: the prompt's positions are feedback like any committed ones.
        record: shown the pieces of every round. watch: shown every step. on_round: shown the updates of every round.
    """

    def __init__(
        self,
        pair: Pair,
        drafter: Drafter | None,
        learner: Learner,
        serving: Serving,
        seed: int = 0,
        objective: Objective = DISTIL,
        hint: Hint | None = None,
        prompt_hint: float | None = None,
        learn_prompt: bool = False,
        record: Callable[[Sequence[Piece]], Any] | None = None,
        watch: Callable[[Step], Any] | None = None,
        on_round: Learned | None = None,
    ):
        self.pair, self.drafter, self.learner, self.serving, self.hint = pair, drafter, learner, serving, hint
        self.record, self.watch, self.on_round = record, watch, on_round
        temperature = serving.sampling.temperature or 1.0
        self.objective = replace(objective, temperature=temperature, gamma=serving.gamma)
        self.rng = torch.Generator().manual_seed(seed)
        if drafter is not None:
            drafter.reseed(seed)
        self.rounds = Rounds(serving.nu, serving.law_top_k)
        self.learns = drafter is not None and drafter.trains and learner.learns
        if prompt_hint is not None and not learner.takes_hints:
            raise ValueError(f"prompt_hint={prompt_hint!r}: {learner!r} takes no hints; choose an optimistic learner")
        self.prompt_hint = prompt_hint if self.learns else None
        self.learn_prompt = learn_prompt and self.learns
        self.lengths = DraftLength(serving.costs, serving.switch) if serving.costs and drafter is not None else None
        self.length_state = None if self.lengths is None else self.lengths.init()
        self.gamma = 0 if drafter is None else serving.gamma
        self._choose_length()
        self.log: list[RoundLog] = []
        self.hint_t: Tensor | None = None
        self.learner_state = None
        self.beside = Beside(pair.device) if serving.overlap and self.learns else None
        if self.learns and drafter is not None:
            self.learner_state = learner.init(drafter.x)
            self._check(learner.predict(self.learner_state))

    def serve(self, prompt: list[int], ledger: Ledger) -> tuple[list[int], Counts]:
        """Decode one request → committed tokens and counts; ``ledger`` is charged."""
        counts, serving = Counts(), self.serving
        reads_prompt = self.learn_prompt or self.prompt_hint is not None
        with ledger.serving():
            session = Session(
                self.pair.target, self.drafter, prompt, serving.max_new_tokens, keep_prompt=reads_prompt, clock=ledger
            )
            if reads_prompt:
                self._read_prompt(session, ledger)
            while not session.done:
                if self.gamma == 0:
                    step = plain_step(session, serving.sampling, self.rng, ledger)
                else:
                    step = speculative_step(
                        session, self.gamma, serving.sampling, self.rng, ledger, serving.rule, serving.confidence
                    )
                if self.lengths is not None:
                    with ledger("draft"):
                        self._choose_length(step)
                with ledger("measure"):
                    counts.add(step)
                    if self.watch:
                        self.watch(step)
                if self.learns or self.record:
                    with ledger("other"):
                        self.rounds.collect(step)
                    self._learn_complete(session, ledger)
            if self.drafter is not None:
                if self.learns or self.record:
                    with ledger("learn"):
                        self.rounds.join(session, self.drafter)
                with ledger("draft"):
                    self.drafter.end()
            self._finish(ledger)
        return session.tokens[len(prompt) :], counts

    def _choose_length(self, after: Step | None = None) -> None:
        """Set how many tokens the next step drafts, 0 decoding plainly; ``after`` is what came before it."""
        if self.lengths is None or self.length_state is None:
            return
        if after is not None:
            counts = len(after.tokens), after.accepted + after.rejected, int(after.rejected)
            self.length_state = self.lengths.observe(self.length_state, after.drafted, *counts)
        self.gamma = self.lengths.choose(self.length_state)

    def _read_prompt(self, session: Session, ledger: Ledger) -> None:
        """Learn from the prompt, or take its gradient as the hint of this request."""
        assert self.drafter is not None
        if self.prompt_hint is not None and self.hint_t is not None:
            with ledger("learn"):  # the hint of the request before is no hint for this one
                self.hint_t = None
                self.drafter.load(self._check(self.learner.predict(self.learner_state)))
        if session.prompt_length < 2:
            return
        with ledger("learn"):
            piece = self.rounds.prompt(session, self.drafter, self.serving.sampling)
            self.drafter.forget(session.prompt_length)
            if self.learn_prompt:
                self.rounds.add(piece)
        self._learn_complete(session, ledger)
        if self.prompt_hint is None or not self.drafter.ready:
            return
        with ledger("learn"), torch.no_grad():
            anchor = self.learner.predict(self.learner_state, torch.zeros_like(self.drafter.x))
            loss = Watched(self.drafter.loss([piece], replace(self.objective, positions="all")), "prompt hint")
            self.hint_t = self.prompt_hint * loss.grad(anchor)
            self.drafter.load(self._check(self.learner.predict(self.learner_state, self.hint_t)))

    def _learn_complete(self, session: Session | None, ledger: Ledger) -> None:
        """Learn from every round whose last token is known; ``session`` is the request whose features are to come."""
        assert self.drafter is not None
        while self.rounds.complete:
            with ledger("learn"):
                if session is not None:
                    self.rounds.join(session, self.drafter)
                pieces = self.rounds.take()
                if self.record:
                    self.record(pieces)
            if self.learns:
                self._learn(pieces, ledger)

    def _learn(self, pieces: Sequence[Piece], ledger: Ledger) -> None:
        """One round: burn-in while the drafter asks for it, then its updates and one swap, now or beside the next."""
        assert self.drafter is not None
        self._finish(ledger)
        with ledger("learn"):
            if not self.drafter.ready:
                self.drafter.absorb(pieces)
                return
            hint_t = self.hint_t
            if self.beside is not None:
                self.beside.start(lambda: (pieces, self._updates(pieces, hint_t)))
                return
            updates = self._updates(pieces, hint_t)
        self._swap(pieces, updates, ledger)

    def _updates(self, pieces: Sequence[Piece], hint_t: Tensor | None) -> list[Updated]:
        """Every update that a round asks for, with the outside hint it was played with."""
        assert self.drafter is not None
        name, state, found = f"{type(self.learner).__name__}, round {len(self.log) + 1}", self.learner_state, []
        with torch.no_grad():
            for loss in self.drafter.losses(pieces, self.objective):
                before, loss_t = state, Watched(loss, name)
                state = self.learner.update(before, loss_t, hint_t)
                found.append(Updated(before, loss_t, state, hint_t))
        return found

    def _finish(self, ledger: Ledger) -> None:
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
        assert self.drafter is not None
        if not updates:
            return
        self.learner_state = updates[-1].after
        with ledger("measure"):
            self._note(updates)
        with ledger("learn"), torch.no_grad():
            self.hint_t = self.hint_t if self.hint is None else self.hint(self.drafter, pieces)
            self.drafter.load(self._check(self.learner.predict(self.learner_state, self.hint_t)))

    def _check(self, x_t: Tensor) -> Tensor:
        """x_t, which the drafter can serve: one finite decision."""
        assert self.drafter is not None
        if x_t.shape != (self.drafter.dimension,):
            raise ValueError(
                f"learner={self.learner!r}: plays {tuple(x_t.shape)}, the drafter serves one decision of "
                f"{self.drafter.dimension} entries; give scalar settings (a tuple makes one copy an entry)"
            )
        if not bool(torch.isfinite(x_t.abs().max())):
            raise NonFiniteGradient(
                f"{type(self.learner).__name__}, round {len(self.log)}: the next decision is not finite; it was not "
                "served. Take a smaller step_size"
            )
        return x_t

    def _note(self, updates: Sequence[Updated]) -> None:
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
        self.log.append(RoundLog(len(self.log) + 1, sum(losses) / len(losses), gradient, hint_error))
        if self.on_round:
            self.on_round(updates)

    @property
    def hint_gain(self) -> float:
        """Σ‖grad − hint‖² / Σ‖grad‖² so far; 1 for learners without hints, nan before the first round."""
        total = sum(entry.gradient for entry in self.log)
        return sum(entry.hint_error for entry in self.log) / total if total else float("nan")

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on later as if never stopped, as named tensors; between requests only."""
        named = self._always()
        named |= {f"rounds.{key}": value for key, value in self.rounds.state().items()}
        if self.learns and self.drafter is not None:
            named |= dict(flatten("learner", self.learner_state))
            named["x"] = self.drafter.x  # what is served, for whoever reads the file without the learner
            columns = [[float(getattr(entry, f.name)) for f in fields(RoundLog)] for entry in self.log]
            named["log"] = torch.tensor(columns, dtype=torch.float64).reshape(-1, len(fields(RoundLog)))
            if self.hint_t is not None:
                named["hint"] = self.hint_t
        return {key: value.contiguous().clone() for key, value in named.items()}

    def _always(self) -> dict[str, Tensor]:
        """The entries that every state of this decoder has: its randomness, and what its drafter needs besides x."""
        named = {} if self.drafter is None else {f"drafter.{key}": of for key, of in self.drafter.state().items()}
        if self.length_state is not None:
            named["lengths"] = torch.tensor(self.length_state, dtype=torch.float64)
        return {"rng": self.rng.get_state(), **named}

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave.

        Raises:
            ValueError: if it was saved by another learner or drafter (the entry and both shapes).
        """
        check(self._always(), named)
        self.rng.set_state(named["rng"])
        if self.length_state is not None:
            self.length_state = Lengths(*named["lengths"].tolist())
            self._choose_length()
        self.rounds.restore(under("rounds.", named), self.pair.device)
        if self.drafter is not None:
            self.drafter.restore(under("drafter.", named))
        if self.learns and self.drafter is not None:
            self.learner_state = rebuild("learner", self.learner_state, named)
            self.log = [RoundLog(int(row[0]), *row[1:]) for row in named["log"].tolist()]
            self.hint_t = named["hint"].to(self.drafter.x) if "hint" in named else None
            self.drafter.load(self.learner.predict(self.learner_state, self.hint_t))
