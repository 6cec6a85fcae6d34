"""Lossless speculative decoding, batch 1: one draft–verify step and the loop around it. Returns counts, prints nothing.

A request is prefilled up to, not including, its last token; that *pending* token is the first input of the next step,
so every committed token comes from a step. A step drafts gamma tokens, runs the target once on pending + drafted, and
commits the accepted ones plus one recovered or bonus token (``theory.speculation.acceptance.token_rule``; at
temperature 0 ``greedy_rule``). Both caches are then rolled back to the committed text.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.models.cache import rollback
from real.models.device import sent
from real.models.hf import CausalLM
from real.models.sampling import Sampling
from real.serving.settings import RULES
from theory.speculation.acceptance import greedy_rule

__all__ = ["RULES", "Clock", "Session", "Step", "generate", "plain_step", "speculative_step", "step"]

Clock = Callable[[str], AbstractContextManager]  # with clock("prefill" | "draft" | "verify"): …
_NOTHING = nullcontext()
AHEAD, BEYOND = 4096, 32
"""A cache begins with room for so many new tokens at most, and for drafts beyond the end of a text."""


def untimed(line: str) -> AbstractContextManager:
    """The clock that measures nothing."""
    return _NOTHING


@dataclass(slots=True, eq=False)
class Step:
    """What one step did. c tokens were committed; g were drafted (0 for a plain step).

    Attributes:
        tokens: the c committed tokens, 1 ≤ c ≤ g + 1; fewer than accepted + 1 only where the request ended inside.
        accepted: how many of them were drafted. drafted: g. drafted_tokens: the g proposals.
        logits: the target's raw logits at the committed positions ``[c, V]``.
        target_probs: the target's processed law there ``[c, V]`` (one-hot argmax when greedy).
        draft_probs: the laws the proposals were sampled from ``[g, V]``; None when greedy or nothing was drafted.
        verified_laws: the target's processed laws along the whole draft ``[g + 1, V]``, also where it was rejected
            before; None when greedy or nothing was drafted.
    """

    tokens: list[int]
    accepted: int
    drafted: int
    drafted_tokens: list[int]
    logits: Tensor
    sampling: Sampling
    draft_probs: Tensor | None = None
    laws: Tensor | None = None
    verified_laws: Tensor | None = None

    @property
    def rejected(self) -> bool:
        """Whether the committed token after the accepted ones is a recovered one: the draft was wrong there."""
        return len(self.tokens) > self.accepted and self.accepted < self.drafted

    @property
    def target_probs(self) -> Tensor:
        return self.sampling.law(self.logits) if self.laws is None else self.laws


class Session:
    """One request in flight: its text, the target's cache, and the drafter that follows it (None: plain decoding).

    Attributes:
        tokens: prompt and committed tokens, one live list. prompt_length: where the committed ones start.
        hidden: the target's hidden states ``[longest text, D]`` if the drafter reads them, len(tokens) − 1 rows filled.
        prompt_logits: the target's logits at prompt positions 1 … n − 1 ``[n − 1, V]`` if ``keep_prompt``, else None.
        done: the request has ended (an end token, max_new_tokens, or the target's context is full).
    """

    @torch.inference_mode()
    def __init__(
        self,
        target: CausalLM,
        drafter: Drafter | None,
        prompt: list[int],
        max_new_tokens: int,
        *,
        eos: frozenset[int] | None = None,
        keep_prompt: bool = False,
        clock: Clock = untimed,
    ):
        """Prefill target and drafter, charged to the clock's line "prefill".

        eos: ids that end the text; None takes the target's own, an empty set never stops early.
        """
        if not prompt or max_new_tokens < 1 or len(prompt) > target.context:
            raise ValueError(
                f"prompt of {len(prompt)} tokens, max_new_tokens={max_new_tokens!r}: needs 1 to {target.context} "
                "prompt tokens (the target's context) and at least one new token; shorten the prompt"
            )
        self.target, self.drafter, self.tokens = target, drafter, list(prompt)
        self.prompt_length = len(prompt)
        self.end = min(len(prompt) + max_new_tokens, target.context + 1)  # longest text
        self.cache = target.new_cache(min(self.end, len(prompt) + AHEAD) + BEYOND)
        self.eos = target.eos if eos is None else eos
        self.done, self.prompt_logits, self.hidden = False, None, None
        with clock("prefill"):
            if drafter is not None and drafter.reads_target:
                self.hidden = torch.empty(self.end, target.width, dtype=target.dtype, device=target.device)
            if len(prompt) > 1:
                hidden = target.hidden(sent(prompt[:-1], target.device), self.cache)
                if self.hidden is not None:
                    self.hidden[: len(prompt) - 1] = hidden
                if keep_prompt:
                    self.prompt_logits = target.head(hidden)
            if drafter is not None:
                drafter.begin(self.tokens, self.hidden, keep_prompt)

    def room(self, gamma: int) -> int:
        """How many tokens the next step drafts: ``gamma``, or fewer where the request or a context ends before."""
        assert self.drafter is not None
        length = len(self.tokens)
        room = min(self.end - length, self.target.context - length, self.drafter.context + 1 - length)
        return max(0, min(gamma, self.drafter.reach, room))

    def commit(self, tokens: list[int], drafted: int, hidden: Tensor) -> list[int]:
        """Append what a step that drafted ``drafted`` tokens committed, cut at the end; roll the caches back.

        hidden: the target's hidden states of the step's inputs, the pending token first ``[drafted + 1, D]``.
        """
        tokens = tokens[: self.end - len(self.tokens)]
        for i, token in enumerate(tokens):
            if token in self.eos:
                tokens = tokens[: i + 1]
                self.done = True
                break
        rollback(self.cache, drafted + 1 - len(tokens))
        if self.hidden is not None:
            read = len(self.tokens) - 1
            self.hidden[read : read + len(tokens)] = hidden[: len(tokens)]
        self.tokens += tokens
        self.done = self.done or len(self.tokens) >= self.end
        if self.drafter is not None:
            self.drafter.commit()
        return tokens


@torch.inference_mode()
def step(
    session: Session,
    gamma: int,
    sampling: Sampling,
    uniforms: Tensor,
    clock: Clock = untimed,
    rule: str = "token",
    confidence: float = 0.0,
) -> Step:
    """One draft–verify step as a function of its randomness: one target forward, 1 to gamma + 1 committed tokens.

    uniforms: float64 ``[2·gamma + 1]`` in [0, 1): gamma to draft, gamma to accept, one for the recovered or bonus
    token; unused when greedy. gamma ≥ 1 must fit (``session.room``). rule: of ``RULES``. confidence: see
    ``Drafter.propose``; a draft that ends early leaves the uniforms after it unused.
    """
    target, drafter = session.target, session.drafter
    assert drafter is not None
    with clock("draft"):
        draft_tokens, draft_probs = drafter.propose(gamma, sampling, uniforms[:gamma], confidence)  # [g], [g, V]
    count = len(draft_tokens)
    with clock("verify"):
        pending = sent(session.tokens[-1:], target.device)
        hidden = target.hidden(torch.cat([pending, draft_tokens]), session.cache)
        logits = target.head(hidden)  # [g + 1, V]
        if sampling.greedy:
            laws = None
            accepted, token = greedy_rule(logits.argmax(-1), draft_tokens)
        else:
            laws = sampling.law(logits)
            to_verify = torch.cat([uniforms[gamma : gamma + count], uniforms[-1:]])
            accepted, token = RULES[rule](laws, draft_probs, draft_tokens, to_verify)
        *drafted, kept, last = torch.cat([draft_tokens, accepted[None], token[None]]).tolist()  # the only sync
        tokens = session.commit([*drafted[:kept], last], count, hidden)
    committed = len(tokens)
    kept_laws = laws if laws is None else laws[:committed]
    return Step(
        tokens, min(kept, committed), count, drafted, logits[:committed], sampling, draft_probs, kept_laws, laws
    )  # fmt: skip


@torch.inference_mode()
def plain_step(
    session: Session, sampling: Sampling, rng: torch.Generator | None = None, clock: Clock = untimed
) -> Step:
    """One token by the target alone, with the same kernels."""
    target = session.target
    with clock("verify"):
        hidden = target.hidden(sent(session.tokens[-1:], target.device), session.cache)
        logits = target.head(hidden)  # [1, V]
        token, laws = sampling.choose(logits, sampling.uniforms(1, rng, target.device))
        tokens = session.commit(token.tolist(), 0, hidden)
    return Step(tokens, 0, 0, [], logits, sampling, None, laws)


def speculative_step(
    session: Session,
    gamma: int,
    sampling: Sampling,
    rng: torch.Generator | None = None,
    clock: Clock = untimed,
    rule: str = "token",
    confidence: float = 0.0,
) -> Step:
    """One step drafting ``gamma`` ≥ 1 tokens, or fewer where the request ends; plain where nothing can be drafted.

    rng: a CPU generator; unused when greedy. ValueError if gamma < 1.
    """
    if gamma < 1:
        raise ValueError(f"gamma={gamma!r}: a step drafts at least one token; for plain decoding use plain_step")
    drafted = session.room(gamma)
    if drafted == 0:
        return plain_step(session, sampling, rng, clock)
    uniforms = sampling.uniforms(2 * drafted + 1, rng, session.target.device)
    return step(session, drafted, sampling, uniforms, clock, rule, confidence)


def generate(
    session: Session, gamma: int, sampling: Sampling, rng: torch.Generator | None = None, clock: Clock = untimed
) -> Iterator[Step]:
    """Steps until the request is done; plain ones if the session has no drafter. Weights may be swapped between."""
    while not session.done:
        if session.drafter is None:
            yield plain_step(session, sampling, rng, clock)
        else:
            yield speculative_step(session, gamma, sampling, rng, clock)
