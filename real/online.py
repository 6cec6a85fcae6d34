"""The loop: decode, collect what verification revealed, update once a round, swap weights at a step boundary.

The learner is any of ``theory.learners``, the very objects the simulator runs; here its arrays are float32 tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from real.decode import Session, Step, plain_step, speculative_step
from real.drafters import Drafter, Piece
from real.feedback import Counts, NonFiniteGradient, RoundLog, Watched
from real.ledger import Ledger
from real.models import Pair
from real.rounds import Rounds
from real.sampling import Sampling
from real.state import check, flatten, rebuild, under
from theory.learner import Learner
from theory.learners.frozen import Frozen

Hint = Callable[[Drafter, Sequence[Piece]], Tensor]
"""An outside hint for the next round ``[d]``, from the drafter and the round just served."""


@dataclass(frozen=True)
class Serving:
    """How requests are decoded and when the draft learns.

    Attributes:
        gamma: draft length. nu: committed tokens a round. sampling: of target and draft alike.
        burn_in: committed tokens, rounded up to whole rounds, that only set the adapter's whitening.
        max_new_tokens: of a request. law_top_k: the learner sees so many tokens of the target's law, renormalised;
            0 shows all.
    """

    gamma: int = 4
    nu: int = 16
    sampling: Sampling = Sampling()
    max_new_tokens: int = 128
    law_top_k: int = 0
    burn_in: int = 960

    def __post_init__(self):
        if self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r}: a step drafts at least one token; plain decoding is run beside it")
        if self.nu < self.gamma + 1:
            raise ValueError(f"nu={self.nu!r}: a round must hold a whole step, at least gamma + 1 = {self.gamma + 1}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens!r}: must be at least 1")
        if self.law_top_k < 0:
            raise ValueError(f"law_top_k={self.law_top_k!r}: must be at least 0; 0 keeps the whole law")
        if self.burn_in < 1:
            raise ValueError(f"burn_in={self.burn_in!r}: must be at least 1, or there is nothing to whiten by")

    @property
    def burn_in_rounds(self) -> int:
        """Whole rounds of burn-in."""
        return -(-self.burn_in // self.nu)


class OnlineDecoder:
    """Serves requests one after the other while its draft learns.

    Args:
        pair: target, draft and tokenizer. drafter: None decodes plainly. learner: Frozen never updates.
        serving: lengths and sampling. seed: of the request's own randomness.
        hint: outside hint for the coming round; None leaves the learner its own rule.
        record: shown the pieces of every round. watch: shown every step.
    """

    def __init__(
        self,
        pair: Pair,
        drafter: Drafter | None,
        learner: Learner,
        serving: Serving,
        seed: int = 0,
        hint: Hint | None = None,
        record: Callable[[Sequence[Piece]], Any] | None = None,
        watch: Callable[[Step], Any] | None = None,
    ):
        self.pair, self.drafter, self.learner, self.serving, self.hint = pair, drafter, learner, serving, hint
        self.record, self.watch = record, watch
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds = Rounds(serving.nu, serving.law_top_k)
        self.learns = drafter is not None and drafter.trains and not isinstance(learner, Frozen)
        self.log: list[RoundLog] = []
        self.hint_t: Tensor | None = None
        self.learner_state = None
        if self.learns and drafter is not None:
            self.learner_state = learner.init(drafter.x)
            self._check(learner.predict(self.learner_state))

    def serve(self, prompt: list[int], ledger: Ledger) -> tuple[list[int], Counts]:
        """Decode one request → committed tokens and counts; ``ledger`` is charged."""
        counts, serving = Counts(), self.serving
        with ledger.serving():
            session = Session(self.pair.target, self.drafter, prompt, serving.max_new_tokens, clock=ledger)
            while not session.done:
                if self.drafter is None:
                    step = plain_step(session, serving.sampling, self.rng, ledger)
                else:
                    step = speculative_step(session, serving.gamma, serving.sampling, self.rng, ledger)
                with ledger("measure"):
                    counts.add(step)
                    if self.watch:
                        self.watch(step)
                if self.learns or self.record:
                    self._observe(session, step, ledger)
            if self.drafter is not None and (self.learns or self.record):
                with ledger("learn"):
                    self.rounds.join(session, self.drafter)
        return session.tokens[len(prompt) :], counts

    def _observe(self, session: Session, step: Step, ledger: Ledger) -> None:
        """Collect the step's feedback; where a round is complete, learn from it."""
        assert self.drafter is not None
        with ledger("other"):
            self.rounds.collect(step)
        while self.rounds.complete:
            with ledger("learn"):
                self.rounds.join(session, self.drafter)
                pieces = self.rounds.take()
                if self.record:
                    self.record(pieces)
            if self.learns:
                self._learn(pieces, ledger)

    def _learn(self, pieces: Sequence[Piece], ledger: Ledger) -> None:
        """One round: burn-in while the drafter asks for it, then one update and one swap."""
        drafter, learner = self.drafter, self.learner
        assert drafter is not None
        with ledger("learn"):
            if not drafter.ready:
                drafter.absorb(pieces)
                return
            temperature = self.serving.sampling.temperature or 1.0
            loss_t = Watched(drafter.loss(pieces, temperature), f"{type(learner).__name__}, round {len(self.log) + 1}")
            with torch.no_grad():
                before = self.learner_state
                self.learner_state = learner.update(before, loss_t, self.hint_t)
        with ledger("measure"):
            self._note(loss_t, before)
        with ledger("learn"), torch.no_grad():
            self.hint_t = None if self.hint is None else self.hint(drafter, pieces)
            drafter.load(self._check(learner.predict(self.learner_state, self.hint_t)))

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

    def _note(self, loss_t: Watched, before: Any) -> None:
        """Log the round at the x_t that was played; nothing of it is charged."""
        assert loss_t.last is not None
        x_t = self.learner.predict(before, self.hint_t)
        hint_t = getattr(before, "hint", None) if self.hint_t is None else self.hint_t
        error = loss_t.last if hint_t is None else loss_t.last - hint_t
        energies = [float((part.double() ** 2).sum()) for part in (loss_t.last, error)]
        self.log.append(RoundLog(len(self.log) + 1, float(loss_t.value(x_t)), *energies))

    @property
    def hint_gain(self) -> float:
        """Σ‖grad − hint‖² / Σ‖grad‖² so far; 1 for learners without hints, nan before the first round."""
        total = sum(entry.gradient for entry in self.log)
        return sum(entry.hint_error for entry in self.log) / total if total else float("nan")

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on later as if never stopped, as named tensors; between requests only."""
        named = self._always()
        named |= {f"rounds.{key}": value for key, value in self.rounds.state().items()}
        if self.learns:
            named |= dict(flatten("learner", self.learner_state))
            columns = [[float(getattr(entry, f.name)) for f in fields(RoundLog)] for entry in self.log]
            named["log"] = torch.tensor(columns, dtype=torch.float64).reshape(-1, len(fields(RoundLog)))
            if self.hint_t is not None:
                named["hint"] = self.hint_t
        return {key: value.contiguous().clone() for key, value in named.items()}

    def _always(self) -> dict[str, Tensor]:
        """The entries that every state of this decoder has: its randomness, and what its drafter needs besides x."""
        drafted = {} if self.drafter is None else self.drafter.state()
        return {"rng": self.rng.get_state(), **{f"drafter.{key}": value for key, value in drafted.items()}}

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave.

        Raises:
            ValueError: if it was saved by another learner or drafter (the entry and both shapes).
        """
        check(self._always(), named)
        self.rng.set_state(named["rng"])
        self.rounds.restore(under("rounds.", named), self.pair.device)
        if self.drafter is not None:
            self.drafter.restore(under("drafter.", named))
        if self.learns and self.drafter is not None:
            self.learner_state = rebuild("learner", self.learner_state, named)
            self.log = [RoundLog(int(row[0]), *row[1:]) for row in named["log"].tolist()]
            self.hint_t = named["hint"].to(self.drafter.x) if "hint" in named else None
            self.drafter.load(self.learner.predict(self.learner_state, self.hint_t))
