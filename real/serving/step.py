"""One draft–verify step, for one text or for several side by side, and the loop around it. Prints nothing.

A request is prefilled up to, not including, its last token; that *pending* token is the first input of the next step,
so every committed token comes from a step. A step drafts up to gamma tokens a text, runs the target once on pending +
drafted, and commits the accepted ones plus one recovered or bonus token
(``theory.speculation.acceptance.token_rule``; at temperature 0 ``greedy_rule``). A text that drafts nothing takes a
plain step among the others. Memories are then cut back to the committed texts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from real.drafters.base import COPIES, MIXED, Drafter
from real.drafters.copying import propose_copies
from real.models.device import sent
from real.models.hf import CausalLM
from real.models.memory import memory_of
from real.models.sampling import Sampling
from real.models.text import Text, check_length, close_up, shaped_along
from real.serving.chains import Chains
from real.serving.lawful import as_bits, check_step
from real.serving.settings import RULES
from theory.speculation.gumbel_rule import noise

__all__ = ["RULES", "Clock", "Session", "Step", "alone", "generate", "step"]

Clock = Callable[[str], AbstractContextManager]  # with clock("prefill" | "draft" | "verify"): …
_NOTHING = nullcontext()
AHEAD, BEYOND = 4096, 32
"""A cache begins with room for so many new tokens at most, and for drafts beyond the end of a text."""


def untimed(line: str) -> AbstractContextManager:
    """The clock that measures nothing."""
    return _NOTHING


@dataclass(slots=True, eq=False)
class Step:
    """What one step did to one text. c tokens were committed; g were drafted (0 for a plain step).

    Attributes:
        text: whose step it was.
        tokens: the c committed tokens, 1 ≤ c ≤ g + 1; fewer than accepted + 1 only where the text ended inside.
        accepted: how many of them were drafted. drafted: g. drafted_tokens: the g proposals.
        logits: the target's raw logits at the committed positions ``[c, V]``.
        target_probs: the target's processed law there ``[c, V]`` (one-hot argmax when greedy), which a draft is to
            learn: before the generation config shapes it, as it shapes the draft's.
        draft_probs: the laws the proposals were sampled from ``[g, V]``; None when greedy or nothing was drafted.
        verified_laws: the target's processed laws along the whole draft ``[g + 1, V]``, also where it was rejected
            before; None when greedy or nothing was drafted.
        shaped: the logits at the committed positions ``[c, V]`` as the generation config shapes them; None if it does
            not.
    """

    text: Text
    tokens: list[int]
    accepted: int
    drafted: int
    drafted_tokens: list[int]
    logits: Tensor
    sampling: Sampling
    draft_probs: Tensor | None = None
    laws: Tensor | None = None
    verified_laws: Tensor | None = None
    shaped: Tensor | None = None

    @property
    def room(self) -> int:
        """How many tokens the text could have drafted before its end."""
        return self.text.end - len(self.text.tokens) + len(self.tokens)

    @property
    def rejected(self) -> bool:
        """Whether the committed token after the accepted ones is a recovered one: the draft was wrong there."""
        return len(self.tokens) > self.accepted and self.accepted < self.drafted

    @property
    def target_probs(self) -> Tensor:
        return self.sampling.law(self.logits) if self.laws is None else self.laws

    @property
    def verified_probs(self) -> Tensor:
        """The target's law ``[c, V]`` that decided what was committed: ``target_probs`` as the config shapes them."""
        return self.target_probs if self.shaped is None else self.sampling.law(self.shaped)


class Session:
    """The texts in flight, the target's memory of them, and the drafter that follows them (None: plain decoding).

    Attributes:
        texts: up to ``rows`` of them; text i lies in row i of every memory.
    """

    def __init__(self, target: CausalLM, drafter: Drafter | None, rows: int = 1):
        """Raises ValueError for fewer than one row, or several rows of a model or drafter that takes one text only."""
        if rows < 1:
            raise ValueError(f"rows={rows!r}: at least one text is served at a time")
        if rows > 1 and drafter is not None and drafter.alone:
            raise ValueError(
                f"drafter={type(drafter).__name__}, rows={rows!r}: {drafter.alone}; serve one text at a time"
            )
        self.target, self.drafter, self.rows = target, drafter, rows
        self.texts: list[Text] = []
        self.memory = memory_of(target, rows)
        if drafter is not None:
            drafter.draft_by(MIXED)
            drafter.open(self.texts, rows)

    @torch.inference_mode()
    def enter(
        self,
        prompt: Sequence[int],
        max_new_tokens: int,
        *,
        eos: frozenset[int] | None = None,
        keep_prompt: bool = False,
        rng: torch.Generator | None = None,
        key: int | None = None,
        clock: Clock = untimed,
    ) -> Text:
        """Prefill target and drafter with a new text, charged to the clock's line "prefill".

        The prompt has 1 to ``target.context`` tokens. ``eos`` are the ids that end the text: None takes the target's
        own, an empty set never stops early. ``keep_prompt`` keeps the target's logits at the prompt's positions, and
        the drafter's features there. ``rng`` is the text's own generator, on the CPU, and ``key`` that of its noise.

        Raises:
            ValueError: for a prompt that is empty or too long, or no new token.
        """
        target, drafter = self.target, self.drafter
        check_length(len(prompt), target.context)
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens!r}: must be at least 1")
        assert len(self.texts) < self.rows
        end = min(len(prompt) + max_new_tokens, target.context + 1)  # longest text
        generation = target.generation
        text = Text(list(prompt), len(prompt), end, target.eos if eos is None else eos, rng=rng, key=key)
        text.shape = generation.shape(prompt, end, target.device)
        text.stops = generation.stops() if eos is None else None
        with clock("prefill"):
            if drafter is not None and drafter.reads_target:
                text.hidden = torch.empty(end, target.width, dtype=target.dtype, device=target.device)
            ids = sent(torch.tensor(prompt[:-1], dtype=torch.long), target.device)
            hidden = self.memory.enter(ids, min(end, len(prompt) + AHEAD) + BEYOND)
            if hidden is not None:
                if text.hidden is not None:
                    text.hidden[: len(prompt) - 1] = hidden
                if keep_prompt:
                    text.prompt_logits = target.head(hidden)
            self.texts.append(text)
            if drafter is not None:
                drafter.enter(keep_prompt)
        return text

    @torch.inference_mode()
    def leave(self, row: int) -> None:
        """The text in ``row`` has ended; the last row takes its place."""
        if self.drafter is not None:
            self.drafter.leave(row)
        self.memory.leave(row)
        close_up(self.texts, row)

    def room(self, text: Text, gamma: int) -> int:
        """How many tokens a text's next step drafts: ``gamma``, or fewer where the request or a context ends before."""
        if self.drafter is None:
            return 0
        length = len(text.tokens)
        room = min(text.end - length, self.target.context - length, self.drafter.context + 1 - length)
        return max(0, min(gamma, self.drafter.reach(text), room))

    def uniforms(
        self, lengths: Sequence[int], sampling: Sampling, rng: torch.Generator | None = None, rule: str = "token"
    ) -> Tensor | None:
        """float64 ``[n, 2·g + 1]`` in [0, 1), g the longest of ``lengths``; greedy decoding consumes none.

        Text i draws 2·lengths[i] + 1 of them from its own generator, or else from ``rng``: the first to draft, as many
        to accept, the last for the recovered or bonus token. Under the Gumbel rule nothing is drawn: it is the noise
        ``[n, g + 1, V]`` of every text's next g + 1 places.

        Raises:
            ValueError: under that rule for a text that entered without a ``key``.
        """
        if sampling.greedy:
            return None
        if rule == "gumbel":
            return self._noise(max(lengths) + 1)
        longest, rows = max(lengths), []
        for text, length in zip(self.texts, lengths, strict=True):
            own = torch.rand(2 * length + 1, generator=text.rng or rng, dtype=torch.float64)
            if length < longest:
                none = own.new_zeros(longest - length)
                own = torch.cat([own[:length], none, own[length:-1], none, own[-1:]])
            rows.append(own)
        return sent(torch.stack(rows), self.target.device)

    def _noise(self, places: int) -> Tensor:
        keys = [text.key for text in self.texts if text.key is not None]
        if len(keys) < len(self.texts):
            raise ValueError("rule='gumbel': a text without a key has no noise; enter it with key=…, no other text's")
        found = [[*range(len(text.tokens), len(text.tokens) + places)] for text in self.texts]
        device = self.target.device
        return noise(sent(keys, device)[:, None], sent(found, device), self.target.vocab)


def alone(target: CausalLM, drafter: Drafter | None, prompt: Sequence[int], max_new_tokens: int, **entering) -> Session:
    """A session of one text, which is ``session.texts[0]``; ``entering``: see ``Session.enter``."""
    session = Session(target, drafter)
    session.enter(prompt, max_new_tokens, **entering)
    return session


@torch.inference_mode()
def step(
    session: Session,
    lengths: Sequence[int],
    sampling: Sampling,
    uniforms: Tensor | None,
    clock: Clock = untimed,
    rule: str = "token",
    confidence: float = 0.0,
) -> list[Step]:
    """One step of every text as a function of its randomness: one target forward, 1 to lengths[i] + 1 new tokens each.

    ``lengths`` says how many tokens each text drafts; they must fit (``Session.room``), 0 is a plain step. For
    ``uniforms`` see ``Session.uniforms``, for ``confidence`` ``Drafter.propose``: a draft that ends early leaves the
    uniforms after it unused. ``rule`` is one of ``RULES``, and the same as of the uniforms.

    Raises:
        NoLaw: if the target's logits at a position to be committed, or the drafter's at a drafted one, are NaN or +inf
            somewhere or -inf throughout; nothing is committed then, and the session cannot go on.
    """
    target, drafter, texts = session.target, session.drafter, session.texts
    longest, counts, draft_laws = max(lengths), list(lengths), None
    pending = sent([text.tokens[-1:] for text in texts], target.device)  # [n, 1]
    drafts, witnesses = pending[:, :0], list[Tensor]()
    if longest:
        assert drafter is not None
        with clock("draft"):
            drawing, drafter.witnesses = None if uniforms is None else uniforms[:, :longest], ()
            propose = partial(propose_copies, drafter) if drafter.way == COPIES else drafter.propose
            drafts, draft_laws, counts = propose(lengths, sampling, drawing, confidence)  # [n, g], [n, g, V]
            witnesses = [witness[:, None] for witness in drafter.witnesses]
    with clock("verify"):
        ids = torch.cat([pending, drafts], 1)
        hidden = session.memory.read(ids, [count + 1 for count in counts])  # [n, g + 1, d]
        logits = target.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])  # [n, g + 1, V]
        served = shaped_along(texts, drafts, logits)
        likeliest, laws, witness = sampling.judge(served)
        kept, token = Chains(likeliest, laws, drafts, draft_laws, uniforms).verified(counts, rule)
        bits = as_bits([witness, *witnesses])  # [n, g + 1] of the target, then those of the drafter
        found = torch.cat([drafts, kept[:, None], token[:, None], bits], 1).tolist()  # the only sync
        g = drafts.shape[1]
        for text, count, numbers in zip(texts, counts, found, strict=True):
            examined = numbers[g] if laws is None or rule != "block" else count  # the block rule looks at all of it
            check_step(text, numbers[g + 2 :], g + 1, examined + 1, count, drafter)
        steps = []
        for row, numbers in enumerate(found):
            text, count, drafted, (accepted, last) = texts[row], counts[row], numbers[:g], numbers[g : g + 2]
            tokens = text.commit([*drafted[:accepted], last], hidden[row])
            session.memory.keep(row, len(text.tokens) - 1)
            c = len(tokens)
            done = Step(text, tokens, min(accepted, c), count, drafted[:count], logits[row, :c], sampling)
            if text.shape is not None:
                done.shaped = served[row, :c]
            if laws is not None:
                own = laws[row]
                done.laws = own[:c] if text.shape is None else None
                if draft_laws is not None and count:
                    done.draft_probs, done.verified_laws = draft_laws[row, :count], own[: count + 1]
            steps.append(done)
        if drafter is not None:
            drafter.commit()
    if drafter is not None and drafter.watches:
        with clock("learn"):
            for row, done in enumerate(steps):
                asked = 0 if drafter.way == COPIES else done.drafted  # no model was, for copies alone
                drafter.reveal(row, done.logits, min(len(done.tokens), asked))
    return steps


def generate(
    session: Session,
    gamma: int,
    sampling: Sampling,
    rng: torch.Generator | None = None,
    clock: Clock = untimed,
    rule: str = "token",
    confidence: float = 0.0,
) -> Iterator[Step]:
    """Steps until every text of the session has ended, each drafting ``gamma`` tokens or what there is room for.

    gamma = 0 decodes plainly, as a session without a drafter does. A text that has ended leaves while others go on.
    Weights may be swapped between steps. rng: of the texts that have no generator of their own.
    """
    if gamma < 0:
        raise ValueError(f"gamma={gamma!r}: a step drafts no fewer than 0 tokens; 0 decodes plainly")
    if rule not in RULES:
        raise ValueError(f"rule={rule!r}: must be one of {', '.join(RULES)}")
    while not all(text.done for text in session.texts):
        lengths = [session.room(text, gamma) for text in session.texts]
        yield from step(
            session, lengths, sampling, session.uniforms(lengths, sampling, rng, rule), clock, rule, confidence
        )
        for row in reversed(range(len(session.texts))):
            if session.texts[row].done and len(session.texts) > 1:
                session.leave(row)
