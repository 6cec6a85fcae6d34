"""What serving reveals: counts of a request, one line a round, and losses whose gradients are looked at."""

from collections import deque
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from real.models.state import between, check
from real.serving.step import Step
from theory.divergence import KL
from theory.loss import Loss
from theory.speculation.acceptance import alpha


class NonFiniteGradient(ValueError):
    """A loss gradient held nan or infinity; nothing was updated."""


@dataclass
class Counts:
    """What serving one request did; sums add up over requests.

    ``verified`` positions are those verification examined, ``alpha_sum`` the sum of Σ_y min(target, draft) over them
    and ``kl_sum`` that of KL(target ‖ draft): infinite once a draft rules out what the target does not, 0 where
    decoding is greedy.
    """

    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    verified: int = 0
    rejections: int = 0
    alpha_sum: float = 0.0
    kl_sum: float = 0.0

    def add(self, step: Step) -> None:
        """Count one step."""
        committed = len(step.tokens)
        examined = step.accepted + step.rejected
        self.tokens += committed
        self.steps += 1
        self.drafted += step.drafted
        self.accepted += step.accepted
        self.verified += examined
        self.rejections += step.rejected
        if step.draft_probs is None or step.verified_laws is None:
            self.alpha_sum += step.accepted
        elif examined:
            laws, draft = step.verified_laws[:examined], step.draft_probs[:examined]
            self.alpha_sum += float(alpha(laws, draft).sum())
            self.kl_sum += examined * float(KL().value(laws, draft.where(laws > 0, draft.new_ones(())).log()))


@dataclass(frozen=True)
class RoundLog:
    """One round as the learner saw it: KL at x_t, ‖grad_t‖² and ‖grad_t − hint_t‖²."""

    round: int
    loss: float
    gradient: float
    hint_error: float


class Log:
    """The rounds learned: how many, sums over all of them, and the latest line by line.

    Args:
        most: lines kept; None keeps every one.

    Attributes:
        lines: the latest rounds, the newest last. rounds: all of them.
        gradient, hint_error: summed over all rounds (``RoundLog``).
    """

    def __init__(self, most: int | None = None):
        self.lines: deque[RoundLog] = deque(maxlen=most)
        self.rounds, self.gradient, self.hint_error = 0, 0.0, 0.0

    def add(self, line: RoundLog) -> None:
        """One round more."""
        self.lines.append(line)
        self.rounds = line.round
        self.gradient += line.gradient
        self.hint_error += line.hint_error

    def state(self) -> dict[str, Tensor]:
        """Named tensors."""
        columns = [[float(value) for value in astuple(line)] for line in self.lines]
        lines = torch.tensor(columns, dtype=torch.float64).reshape(-1, len(fields(RoundLog)))
        sums = [self.rounds, self.gradient, self.hint_error]
        return {"log": lines, "log_sums": torch.tensor(sums, dtype=torch.float64)}

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave; what no sums were saved with has every line.

        Raises:
            ValueError: for what is no log (the entry).
        """
        template = Log().state()
        check(template if "log_sums" in named else {"log": template["log"]}, named)
        for name in template.keys() & named.keys():
            between(name, named[name].reshape(-1)[:1] if name == "log_sums" else named[name][:, 0], 0)
        self.lines.clear()
        self.rounds, self.gradient, self.hint_error = 0, 0.0, 0.0
        for row in named["log"].tolist():
            self.add(RoundLog(int(row[0]), *row[1:]))
        if "log_sums" in named:
            rounds, self.gradient, self.hint_error = named["log_sums"].tolist()
            self.rounds = int(rounds)


def hint_gain(logs: Sequence[Log]) -> float:
    """Σ‖grad − hint‖² / Σ‖grad‖² over all rounds; 1 for learners without hints, nan before the first round."""
    total = sum(log.gradient for log in logs)
    return sum(log.hint_error for log in logs) / total if total else float("nan")


class Watched(Loss):
    """A loss that remembers the gradient it gave at x_t and refuses to give one that is not finite."""

    def __init__(self, loss: Loss, name: str):
        self.loss, self.name = loss, name
        self.last: Tensor | None = None

    def value(self, x: Tensor) -> Tensor:
        return self.loss.value(x)

    def grad(self, x: Tensor) -> Tensor:
        grad = self.last = self.loss.grad(x)
        if not bool(torch.isfinite(grad.abs().max())):
            bad = int((~torch.isfinite(grad)).sum())
            raise NonFiniteGradient(
                f"{self.name}: {bad} of {grad.numel()} gradient entries are not finite (|x| up to "
                f"{float(x.abs().max()):.3g}); nothing was updated. Take a smaller step_size or float32 models"
            )
        return grad

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(x), self.grad(x)


class Updated(NamedTuple):
    """One update: the learner's state before it, the loss, the state after it, the outside hint if any."""

    before: Any
    loss_t: Watched
    after: Any
    hint_t: Tensor | None
