"""The loop: decode, collect what verification revealed, update once a round, swap weights at a step boundary.

The learner is any of ``theory.learners``, the very objects the simulator runs; here its arrays are float32 tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from real.decode import Sampling, Session, Step, plain_step, speculative_step
from real.drafters import Drafter, Piece
from real.ledger import Ledger
from real.models import Pair
from real.rounds import Rounds
from theory.acceptance import alpha
from theory.learner import Learner
from theory.learners.frozen import Frozen
from theory.loss import Loss

Hint = Callable[[Drafter, Sequence[Piece]], Tensor]
"""An outside hint for the next round ``[d]``, from the drafter and the round just served."""


class NonFiniteGradient(ValueError):
    """A loss gradient held nan or infinity; nothing was updated."""


@dataclass(frozen=True)
class Serving:
    """How requests are decoded and when the draft learns.

    Attributes:
        gamma: draft length. nu: committed tokens a round. sampling: of target and draft alike.
        max_new_tokens: of a request. law_top_k: the learner sees so many tokens of the target's law, renormalised;
            0 shows all.
    """

    gamma: int = 4
    nu: int = 32
    sampling: Sampling = Sampling()
    max_new_tokens: int = 128
    law_top_k: int = 0

    def __post_init__(self):
        if self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r}: a step drafts at least one token; plain decoding is run beside it")
        if self.nu < self.gamma + 1:
            raise ValueError(f"nu={self.nu!r}: a round must hold a whole step, at least gamma + 1 = {self.gamma + 1}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens!r}: must be at least 1")
        if self.law_top_k < 0:
            raise ValueError(f"law_top_k={self.law_top_k!r}: must be at least 0; 0 keeps the whole law")


@dataclass
class Counts:
    """What serving one request did; sums add up over requests.

    ``verified`` positions are those verification examined, ``alpha_sum`` the sum of Σ_y min(target, draft) over them.
    """

    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    verified: int = 0
    rejections: int = 0
    alpha_sum: float = 0.0

    def add(self, step: Step) -> None:
        """Count one step."""
        committed = len(step.tokens)
        rejected = committed > step.accepted and step.accepted < step.drafted
        examined = step.accepted + rejected
        self.tokens += committed
        self.steps += 1
        self.drafted += step.drafted
        self.accepted += step.accepted
        self.verified += examined
        self.rejections += rejected
        if step.draft_probs is None:
            self.alpha_sum += step.accepted
        elif examined:
            self.alpha_sum += float(alpha(step.target_probs[:examined], step.draft_probs[:examined]).sum())


@dataclass(frozen=True)
class RoundLog:
    """One round as the learner saw it: KL at x_t, ‖grad_t‖² and ‖grad_t − hint_t‖²."""

    round: int
    loss: float
    gradient: float
    hint_error: float


class Watched(Loss):
    """A loss that remembers the gradient it gave at x_t and refuses to give one that is not finite."""

    def __init__(self, loss: Loss, name: str):
        self.loss, self.name = loss, name
        self.last: Tensor | None = None

    def value(self, x: Tensor) -> Tensor:
        return self.loss.value(x)

    def grad(self, x: Tensor) -> Tensor:
        self.last = self.loss.grad(x)
        if not bool(torch.isfinite(self.last).all()):
            bad = int((~torch.isfinite(self.last)).sum())
            raise NonFiniteGradient(
                f"{self.name}: {bad} of {self.last.numel()} gradient entries are not finite (|x| up to "
                f"{float(x.abs().max()):.3g}); nothing was updated. Take a smaller step_size or float32 models"
            )
        return self.last

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(x), self.grad(x)


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
        self.learner_state = learner.init(drafter.x) if self.learns and drafter is not None else None

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
            drafter.load(learner.predict(self.learner_state, self.hint_t))

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
        named = {"rng": self.rng.get_state()}
        named |= {f"rounds.{key}": value for key, value in self.rounds.state().items()}
        if self.drafter is not None:
            named |= {f"drafter.{key}": value for key, value in self.drafter.state().items()}
        if self.learns:
            named |= dict(_flatten("learner", self.learner_state))
            columns = [[float(getattr(entry, f.name)) for f in fields(RoundLog)] for entry in self.log]
            named["log"] = torch.tensor(columns, dtype=torch.float64).reshape(-1, len(fields(RoundLog)))
            if self.hint_t is not None:
                named["hint"] = self.hint_t
        return {key: value.contiguous().clone() for key, value in named.items()}

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave.

        Raises:
            ValueError: if it was saved by another learner or drafter (the entry and both shapes).
        """
        self.rng.set_state(named["rng"])
        self.rounds.restore(_under("rounds.", named))
        if self.drafter is not None:
            self.drafter.restore(_under("drafter.", named))
        if self.learns and self.drafter is not None:
            self.learner_state = _rebuild("learner", self.learner_state, named)
            self.log = [RoundLog(int(row[0]), *row[1:]) for row in named["log"].tolist()]
            self.hint_t = named.get("hint")
            self.drafter.load(self.learner.predict(self.learner_state, self.hint_t))


def _under(prefix: str, named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}


def _flatten(name: str, state: Any):
    """(dotted name, tensor) of a learner's state, nested NamedTuples included."""
    if isinstance(state, Tensor):
        yield name, state
        return
    for key, value in state._asdict().items():
        yield from _flatten(f"{name}.{key}", value)


def _rebuild(name: str, template: Any, named: dict[str, Tensor]) -> Any:
    if isinstance(template, Tensor):
        found = named.get(name)
        if found is None or found.shape != template.shape:
            theirs = None if found is None else tuple(found.shape)
            raise ValueError(
                f"state entry {name!r}: shape {theirs} in the file, {tuple(template.shape)} here; "
                "it was saved with another learner, drafter or setting; use the same ones or another --state file"
            )
        return found.to(template)
    return type(template)(**{key: _rebuild(f"{name}.{key}", value, named) for key, value in template._asdict().items()})
