"""What proposes tokens. A drafter follows the texts in flight and reports exactly the laws it sampled from.

    drafter.open(texts, rows)                              a live list of texts, row i being texts[i]
    drafter.enter()                                        the last text of the list is new
    proposal = drafter.propose(lengths, sampling, uniforms)
    ...verification appends the committed tokens to the texts...
    drafter.commit()                                       forget what was rejected
    drafter.leave(row)                                     a text has ended; the last row takes its place

The trainable part is one flat float32 vector: ``drafter.x`` reads it, ``drafter.load(x)`` swaps it at a step boundary,
``drafter.losses(pieces, objective)`` turns served positions into the losses a learner sees. All rows are drafted by it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece
from real.drafters.proposal import Proposal, before_empty, chain, ended
from real.models.memory import Memory
from real.models.sampling import Sampling
from real.models.text import Text, shaped
from theory.learner import Learner
from theory.loss import Loss
from theory.runs.practice import DEEP_LEARNERS

UNLIMITED = 2**31
"""More tokens than any text has."""
MIXED, MODEL, COPIES = "mixed", "model", "copies"
"""What drafts in a step: all of a drafter; its models, as nothing is found to copy; copies alone, so that none runs."""
LONGEST = 64
"""Most tokens that a setting may look back on or ahead to: time or memory grows with their number or its square."""


class Drafter(ABC):
    """One way to draft. ``vocab`` is the target's V: every reported law has that width.

    The class says what it can do:

    Attributes:
        trains: it has a decision x that a learner may move.
        convex: its losses are convex in x, so that the theorems apply.
        prefix_only: its law at a position reads the committed text before it alone, wherever the step began.
        reads_target: it drafts from the target's hidden states (``Text.hidden``).
        uses_draft: it runs the pair's draft model.
        learners: learners by name with the hyper-parameters that measurement fixed for its decision.
        trial: a learner that moves it visibly within a few rounds, for checks of every drafter.
        ridge: of its whitening, where it has one. head_weights: of its heads in the loss; none where it is one.
        records: a run of it at rest can be recorded, from which the simulator predicts runs never made.
        simplex: its decision lies on the simplex, not in free space.
        whitens: it has the setting ``burn_in``: served positions that set its whitening before learning begins.
        learns_prompts: a prompt's positions can be feedback.
        takes_losses: its loss may be any divergence; otherwise it has one of its own.
        alone: why it follows one text at a time only; empty if it follows several.
        made_of: the drafters that it is made of, by name, unless the setting ``parts`` says others.
        context: the longest text that it can follow.
        watches: it is told of the target's laws after every step (``reveal``).
        levels: of its parts more or fewer draft: 0 its first alone, the last all; one where it has no such choice.
        copying: it can draft from what it copies alone. way: by what it drafts in the next step (``draft_by``).
        first_alone: of one with levels: only its first part drafts in the next step, as at level 0.
    """

    vocab: int
    trains: bool = False
    convex: bool = False
    prefix_only: bool = False
    reads_target: bool = False
    uses_draft: bool = False
    learners: Mapping[str, Learner] = DEEP_LEARNERS
    trial: Learner = DEEP_LEARNERS["adam"]
    ridge: float = 0.0
    head_weights: tuple[float, ...] = ()
    records: bool = False
    simplex: bool = False
    whitens: bool = False
    learns_prompts: bool = True
    takes_losses: bool = True
    alone: str = ""
    made_of: tuple[Any, ...] = ()
    context: int = UNLIMITED
    texts: Sequence[Text] = ()
    watches: bool = False
    levels: int = 1
    copying: bool = False
    way: str = MIXED
    first_alone: bool = False
    lengths: list[int] | None = None  # how many tokens each text drafts in the step under way; None: all go on
    witnesses: Sequence[Tensor] = ()  # of the tokens just proposed, each [n] (Sampling.choose); none: they go unchecked

    @property
    def dimension(self) -> int:
        """Length of x; 0 where nothing trains."""
        return 0

    @property
    def x(self) -> Tensor:
        """A copy of the decision being served, float32 ``[dimension]``."""
        return torch.zeros(self.dimension)

    @property
    def memories(self) -> list[Memory]:
        """What its models hold of the texts."""
        return []

    @property
    def ready(self) -> bool:
        """Whether learning may begin (the burn-in is over)."""
        return True

    @property
    def reads_texts(self) -> bool:
        """Whether a given text can be read as if it had been served, gamma tokens at a time: its law at a position
        depends on the text before, on what it was told of steps before, and on no more of where the step began than
        what it had read by then."""
        return self.prefix_only

    def reach(self, text: Text) -> int:
        """Most tokens it can draft for this text in the coming step; where it is 0 the target takes the step alone."""
        return UNLIMITED

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        """Follow the texts of a live list, at most ``rows`` at once; it is empty now, and ``enter`` tells of each."""
        self.texts = texts

    def enter(self, keep_prompt: bool = False) -> None:
        """The last text of the list is new.

        keep_prompt: keep the features of the prompt's own positions too (for hints drawn from the prompt).
        """
        return None

    def leave(self, row: int) -> None:
        """The text in ``row`` has ended: take up what is to be remembered of it. The last row takes its place next."""
        return None

    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        """Follow one text alone, given as its live list of tokens; ``hidden``: see ``Text``."""
        texts: list[Text] = []
        self.open(texts)
        texts.append(Text(tokens, len(tokens), hidden=hidden))
        self.enter(keep_prompt)

    @abstractmethod
    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        """Logits of the token after every text and the tokens ``drafted`` in this step, each int64 ``[n]``: ``[n, V]``.

        Asked for no drafted token, then one more each time, without a gap.
        """

    def finds(self) -> bool:
        """Whether there is something to copy after every text in flight; asked before a step."""
        return False

    @property
    def asks_all(self) -> bool:
        """Whether the next step tells of every part: it is not drafted by the first, or by copies, alone."""
        return self.way != COPIES and not self.first_alone

    def draft_by(self, way: str) -> None:
        """Draft by this way, one of ``MIXED``, ``MODEL`` and ``COPIES``, from the next step on."""
        self.way = way

    def copied_after(self, drafted: list[Tensor]) -> Tensor:
        """The mass ``[n, V]`` of every token that it copies, asked like ``logits_after``; all 0 where nothing is found.

        What a draft of copies alone is made from (``copying.py``).
        """
        raise NotImplementedError(f"{type(self).__name__}: copies nothing")

    @torch.inference_mode()
    def propose(
        self, lengths: Sequence[int], sampling: Sampling, uniforms: Tensor | None, confidence: float = 0.0
    ) -> Proposal:
        """Draft ``lengths[i]`` tokens after text i; ``uniforms`` float64 ``[n, max(lengths)]``, None when greedy, are
        ``[n, max(lengths), V]`` under the Gumbel rule: ``real.models.sampling.drawn`` takes both.

        confidence: a draft ends with its first token given less probability than this, which is verified as well; the
        decision reads the drafted path alone. A draft also ends before a token that the config leaves it no law of.

        Raises:
            ValueError: for logits of another shape, as a user's own drafter may give.
        """
        tokens, laws, witnesses = list[Tensor](), list[Tensor](), list[Tensor]()
        counts = list(lengths)
        self.goes(counts)
        for i in range(max(lengths)):
            logits = self.logits_after(tokens)
            if logits.shape != (len(counts), self.vocab):
                raise ValueError(
                    f"drafter={type(self).__name__}: logits_after gave shape {tuple(logits.shape)}; it must give "
                    f"{(len(counts), self.vocab)}, one row a text in flight and the target's vocabulary wide"
                )
            raw, logits = logits, shaped(self.texts, tokens, logits)
            counts = before_empty(raw, logits, counts, i)
            self.goes(counts)
            if max(counts) <= i:
                break
            token, law, witness = sampling.choose(logits, None if uniforms is None else uniforms[:, i])
            tokens.append(token)
            witnesses.append(witness)
            if law is not None:
                laws.append(law)
            if confidence > 0 and i + 1 < max(counts):
                sampled = logits.float().softmax(-1) if law is None else law
                counts = ended(sampled, token, counts, i + 1, confidence)
                self.goes(counts)
                if max(counts) == i + 1:
                    break
        self.goes(None)
        self.witnesses = witnesses
        return Proposal(chain(tokens, logits), torch.stack(laws, 1) if laws else None, counts)

    def goes(self, lengths: list[int] | None) -> None:
        """How many tokens each text drafts in the step under way; None: all go on."""
        self.lengths = lengths

    def goes_on(self, drafted: int) -> list[bool]:
        """Whether each text drafts one more token in this step, after ``drafted`` of them."""
        return [True] * len(self.texts) if self.lengths is None else [drafted < length for length in self.lengths]

    def logits_along(self, tokens: Tensor) -> Tensor:
        """Logits at every position of paths ``tokens`` ``[n, g]`` that another has drafted: ``[n, g, V]``."""
        drafted = list(tokens.unbind(1))
        return torch.stack([self.logits_after(drafted[:i]) for i in range(len(drafted))], 1)

    def laws_along(self, tokens: Tensor, sampling: Sampling) -> Tensor:
        """The laws ``[n, g, V]`` that it would have drafted paths ``tokens`` ``[n, g]`` from."""
        return sampling.law(self.logits_along(tokens))

    def commit(self) -> None:
        """What verification committed was appended to the texts; drop all state beyond it."""
        return None

    def reveal(self, row: int, logits: Tensor, drafted: int) -> None:
        """What verification found at the c positions just committed to a text; after ``commit``, rows in order.

        logits: the target's raw ones ``[c, V]``. drafted: so many of the positions, the first, were drafted, 0 by
            copies alone.
        """
        return None

    def work(self, level: int) -> None:
        """Draft at this level from the next step on; parts that do not take part take nothing in."""
        return None

    def gained(self, row: int, target_probs: Tensor) -> list[float]:
        """By how much each level up to that of the step made total variations smaller than the one before it, summed
        over the drafted positions just committed to a text; the target's laws there ``[c, V]``, as they were verified
        (``Step.verified_probs``), after ``commit``."""
        return []

    def keep_features(self) -> None:
        """Told once, before any text: features of committed positions will be asked for."""
        return None

    def reseed(self, seed: int) -> None:
        """Take up the run's seed, where a drafter has choices of its own to make; their randomness is its ``state``."""
        return None

    def catch_up(self) -> None:
        """Read every text up to its pending token, so that the features of every committed position exist."""
        return None

    def known(self, row: int) -> int:
        """Positions of the text in ``row`` below this one have their features already."""
        return len(self.texts[row].tokens)

    def features(self, start: int, stop: int, row: int = 0) -> Tensor | None:
        """Features ``[stop − start, d]`` of committed positions that are ``known``; they read only the prefix."""
        return None

    def logits_at(self, start: int, stop: int, row: int = 0) -> Tensor | None:
        """Its logits ``[stop − start, V]`` at committed positions that are ``known``, by what it remembers now.

        None if it cannot say.
        """
        return None

    def forget(self, before: int, row: int = 0) -> None:
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

    def first_in_step(self, loss: Any) -> tuple[Loss, Tensor] | None:
        """Of a loss of its own: the part that is about tokens drafted first in a step, and the part of x it is of.

        Asked by the check that a loss is of the law drafted (``real/verify/drafter_laws.py``). None if no part is.
        """
        return loss, self.x

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        """What the learner sees of a round, in order: one loss, none where the objective chooses no position."""
        chosen = objective.chosen(pieces)
        return [self.loss(pieces, objective)] if chosen is None or bool(chosen.any()) else []

    def learnable(self, target_probs: Tensor) -> Tensor:
        """The target's laws ``[n, V]`` as a loss may ask for them."""
        return target_probs

    def recording(self, pieces: Sequence[Piece], burn_in: int) -> dict[str, Tensor]:
        """What the simulator needs of a run at rest, whose first ``burn_in`` positions only set the whitening.

        ``features`` ``[n, d]``, or ``[n, heads, d]`` where the loss has heads, ``head`` ``[V, d]``, ``whitener``
        ``[d, d]`` and, where it is not zero, ``x_1`` (``sim/environments/replay.py``).
        """
        raise ValueError(
            f"drafter={type(self).__name__}: cannot be recorded, as what it reads is not the committed prefix alone or "
            "its logits are not affine in x; record an adapter or linear heads"
        )

    def state(self) -> dict[str, Tensor]:
        """What besides x must be saved to resume: named tensors, all that it remembers of the texts before.

        Their shapes and dtypes stay, but for the first axis of those that are empty at first and in ``textless``.
        """
        return {}

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same ``state`` without what a text can be read from; what is left can be restored."""
        return state

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        """ValueError where a saved ``state`` of the right shapes holds what cannot be; ``at`` is before its names."""
        return None

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a saved ``state``, between requests."""
        return None

    def put_aside(self) -> Any:
        """What it remembers, for ``take_up``; between requests, and another tenant's is taken up next."""
        return {name: part.clone() for name, part in self.state().items()}

    def take_up(self, memory: Any) -> None:
        """Remember again what was put aside."""
        self.restore(memory)
