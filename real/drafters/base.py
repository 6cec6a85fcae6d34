"""What proposes tokens. A drafter follows one request at a time and reports exactly the law it sampled from.

    drafter.begin(tokens, hidden)                          the live text; all but its last token is processed
    proposal = drafter.propose(gamma, sampling, uniforms)
    ...verification appends the committed tokens to the same list...
    drafter.commit()                                       forget what was rejected
    drafter.end()                                          the request is done

The trainable part is one flat float32 vector: ``drafter.x`` reads it, ``drafter.load(x)`` swaps it at a step boundary,
``drafter.losses(pieces, objective)`` turns served positions into the losses a learner sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from real.drafters.objective import DISTIL, Objective
from real.models.sampling import Sampling
from theory.loss import Loss


class Proposal(NamedTuple):
    """``tokens`` int64 ``[g]``, 1 ≤ g ≤ gamma; ``probs`` ``[g, V]``, the law of each, None when greedy (one-hot)."""

    tokens: Tensor
    probs: Tensor | None


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive positions ``start … stop − 1`` of one request, with what verification revealed about them.

    Attributes:
        tokens: the request's text, at least up to ``stop``; position i is the token ``tokens[i]``, 1 ≤ start < stop.
        target_probs: the target's law at these positions ``[stop − start, V]``.
        features: the drafter's features there ``[stop − start, d]``, or None where the loss needs none.
        hidden: the target's hidden states after each input token ``[stop − 1, D]``, for drafters that read them.
        wrong: bool ``[stop − start]``, where verification rejected a drafted token; None if it was not noted.
    """

    tokens: Sequence[int]
    start: int
    stop: int
    target_probs: Tensor
    features: Tensor | None = None
    hidden: Tensor | None = None
    wrong: Tensor | None = None

    def since(self, position: int) -> "Piece":
        """The piece without the positions before ``position``; it may be left with none."""
        early = min(max(position - self.start, 0), self.stop - self.start)
        rows = {name: getattr(self, name) for name in ("target_probs", "features", "wrong")}
        late = {name: None if tensor is None else tensor[early:] for name, tensor in rows.items()}
        return replace(self, start=self.start + early, **late)

    def states(self) -> Tensor:
        """``hidden``; ValueError if the piece came without it."""
        if self.hidden is None:
            raise ValueError("hidden=None: this loss needs the target's hidden states; serve with reads_target")
        return self.hidden


def since(position: int, pieces: Sequence[Piece]) -> list[Piece]:
    """What is left of the pieces from ``position`` of their requests on; empty ones are dropped."""
    return [late for late in (piece.since(position) for piece in pieces) if late.stop > late.start]


class Drafter(ABC):
    """One way to draft. ``vocab`` is the target's V: every reported law has that width."""

    vocab: int
    trains: bool = True  # has a decision x that a learner may move
    convex: bool = False  # logits affine in x, so that the theorems apply
    reads_target: bool = False  # drafts from the target's hidden states
    made_of: tuple[str, ...] = ()  # names of the drafters that it is made of, unless the setting ``parts`` says others
    context: int = 2**31  # longest text it can follow
    tokens: Sequence[int] = ()

    @property
    def dimension(self) -> int:
        """Length of x; 0 where nothing trains."""
        return 0

    @property
    def x(self) -> Tensor:
        """A copy of the decision being served, float32 ``[dimension]``."""
        return torch.zeros(self.dimension)

    @property
    def reach(self) -> int:
        """Most tokens it can draft in the coming step; where it is 0 the target takes the step alone."""
        return 2**31

    @property
    def ready(self) -> bool:
        """Whether learning may begin (the adapter's burn-in is over)."""
        return True

    @abstractmethod
    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        """Follow a new request; ``tokens`` is the live list that the session appends to.

        hidden: if ``reads_target``, the live buffer ``[longest text, D]`` of the target's hidden states, of which the
            first len(tokens) − 1 rows are those of the text; row i is the state after input token i.
        keep_prompt: keep the features of the prompt's own positions too (for hints drawn from the prompt).
        """

    @abstractmethod
    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        """Logits of the token after the text and the tokens ``drafted`` in this step, each int64 ``[1]``: ``[1, V]``.

        Asked for no drafted token, then one more each time, without a gap.
        """

    @torch.inference_mode()
    def propose(self, gamma: int, sampling: Sampling, uniforms: Tensor, confidence: float = 0.0) -> Proposal:
        """Draft up to ``gamma`` ≥ 1 tokens after the text; ``uniforms`` float64 ``[gamma]``, unused when greedy.

        confidence: end the draft with the first token that was given less probability than this. The decision reads
        the drafted path alone and that token is verified as well, so the output stays lossless.
        """
        tokens, laws = [], []
        for i in range(gamma):
            logits = self.logits_after(tokens)
            token, law = sampling.choose(logits, None if sampling.greedy else uniforms[i : i + 1])
            tokens.append(token)
            laws.append(law)
            if confidence > 0 and i + 1 < gamma:
                probs = logits.float().softmax(-1) if law is None else law
                if float(probs[0, token]) < confidence:
                    break
        return Proposal(torch.cat(tokens), None if sampling.greedy else torch.cat(laws))

    def logits_along(self, tokens: Tensor) -> Tensor:
        """Logits at every position of a path ``tokens`` ``[g]`` that another has drafted: ``[g, V]``."""
        drafted = list(tokens.split(1))
        return torch.cat([self.logits_after(drafted[:i]) for i in range(len(drafted))])

    @abstractmethod
    def commit(self) -> None:
        """The session has appended what verification committed; drop all state beyond it."""

    def end(self) -> None:
        """The request is done; take up what is to be remembered of it."""
        return None

    def reseed(self, seed: int) -> None:
        """Take up the run's seed, where a drafter has choices of its own to make; their randomness is its ``state``."""
        return None

    def catch_up(self) -> None:
        """Process the text up to the pending token, so that the features of every committed position exist."""
        return None

    def features(self, start: int, stop: int) -> Tensor | None:
        """Features ``[stop − start, d]`` of committed positions; they read only the prefix. Call ``catch_up`` first."""
        return None

    def forget(self, before: int) -> None:
        """Positions before this one will not be asked for again."""
        return None

    def absorb(self, pieces: Sequence[Piece]) -> None:
        """Statistics that burn-in collects; ignored once ``ready``."""
        return None

    def load(self, x: Tensor) -> None:
        """Serve decision x ``[dimension]`` from the next step on. Never between ``propose`` and ``commit``."""
        return None

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> Loss:
        """The objective's mean over the positions of ``pieces`` that it chooses, of which there must be one."""
        raise ValueError(f"drafter={type(self).__name__}: has nothing to train; use the learner 'frozen' with it")

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        """What the learner sees of a round, in order: one loss, none where the objective chooses no position."""
        chosen = objective.chosen(pieces)
        if chosen is not None and not bool(chosen.any()):
            return []
        return [self.loss(pieces, objective)]

    def state(self) -> dict[str, Tensor]:
        """What besides x must be saved to resume: named tensors."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a saved ``state``, between requests."""
        return None
