"""Several requests at once: one draft and one verification a step for all rows, each committing what it accepts.

Rows are ragged: after a step every row has a length of its own, so both caches are written at each row's own positions
and a query sees its own row's slots up to itself (``RowCache``). A request that ends leaves, the next takes its place,
and at the end the rows close up. What a row commits depends on its own text, its own random numbers and the draft, so a
batch is lossless row by row; while the draft is at rest, it is the text that the row would have had alone, rounding
apart. All rows are drafted by one decision x and feed one learner: a round is ν committed tokens, whoever asked for
them.

The draft is a small model, at rest or with an output adapter, whose hidden states do not depend on x.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from real.drafters import Drafter, Piece
from real.drafters.adapter import Adapter
from real.drafters.independent import Independent
from real.models.cache import RowCache
from real.models.device import sent
from real.models.hf import CausalLM, Pair
from real.serving.decoder import OnlineDecoder, Serving
from real.serving.feedback import Counts
from real.serving.ledger import Ledger
from real.serving.rounds import cut
from real.serving.step import RULES, Step
from theory.learner import Learner
from theory.speculation.acceptance import greedy_rule


class Finished(NamedTuple):
    """A request that has ended: its number, what was committed, and the counts of its steps."""

    request: int
    tokens: list[int]
    counts: Counts


@dataclass
class Row:
    """A request in flight; its place in the list of rows is its row of the caches.

    ``owed``: the target's law ``[1, V]`` of the last committed token, where the draft has yet to read what precedes it.
    """

    request: int
    tokens: list[int]
    prompt_length: int
    end: int
    rng: torch.Generator
    counts: Counts = field(default_factory=Counts)
    owed: Tensor | None = None
    done: bool = False

    def commit(self, tokens: list[int], eos: frozenset[int]) -> list[int]:
        """Append what a step committed, cut at an end token or the longest text."""
        tokens = tokens[: self.end - len(self.tokens)]
        stops = [i for i, token in enumerate(tokens) if token in eos]
        tokens = tokens[: stops[0] + 1] if stops else tokens
        self.tokens += tokens
        self.done = bool(stops) or len(self.tokens) >= self.end
        return tokens


class Drafts(NamedTuple):
    """Of n rows: tokens ``[n, g]``, their laws ``[n, g, V]`` or None, the draft's states before each ``[n, g, d]`` and
    before the last committed token ``[n, d]``."""

    tokens: Tensor
    laws: Tensor | None
    states: Tensor
    before: Tensor


class BatchDecoder(OnlineDecoder):
    """Serves up to ``rows`` requests at once while its draft learns; other arguments as ``OnlineDecoder`` has them.

    Raises:
        ValueError: for a drafter other than ``independent`` and ``adapter``, draft lengths chosen by cost, early ends,
            hints or feedback from prompts, or attention that takes no mask of its own for every row.
    """

    def __init__(
        self, pair: Pair, drafter: Drafter | None, learner: Learner, serving: Serving, seed: int = 0, rows: int = 8,
        **watching: Any,
    ):  # fmt: skip
        super().__init__(pair, drafter, learner, serving, seed, **watching)
        if rows < 1:
            raise ValueError(f"rows={rows!r}: at least one request is served at a time")
        if not (drafter is None or type(drafter) in (Independent, Adapter)):
            raise ValueError(
                f"drafter={type(drafter).__name__}: a batch is drafted by a small model; choose adapter or independent"
            )
        prompt_hint = self.prompt_hint
        if serving.costs or serving.confidence or self.learn_prompt or prompt_hint is not None:
            raise ValueError(
                f"costs={serving.costs!r}, confidence={serving.confidence!r}, prompt_hint={prompt_hint!r}, "
                f"learn_prompt={self.learn_prompt!r}: rows of a batch draft gamma tokens each and do not read prompts; "
                "leave those options out"
            )
        self.models: list[CausalLM] = [pair.target, *([drafter.model] if isinstance(drafter, Independent) else [])]
        for model in self.models:
            kind = model.model.config._attn_implementation
            if kind != "sdpa":
                raise ValueError(f"{model.name}: attention {kind!r} takes no mask of every row; load it with 'sdpa'")
        self.size, self.seed, self.entered = rows, seed, 0
        self.caches = [RowCache(model.layers, rows) for model in self.models]

    def serve_all(self, prompts: Iterable[list[int]], ledger: Ledger) -> Iterator[Finished]:
        """Decode all requests → each when it ends, not in their order; ``ledger`` is charged for all of them.

        A request draws from random numbers of its own, by the decoder's seed and its place among all it was ever given.
        """
        waiting, rows = iter(enumerate(prompts)), list[Row]()
        while True:
            with ledger.serving():
                while len(rows) < self.size and (request := next(waiting, None)) is not None:
                    with ledger("prefill"):
                        rows.append(self._enter(*request, len(rows)))
                if not rows:
                    break
                self._step(rows, ledger)
                if self.drafter is not None:
                    self._learn_complete(None, ledger)
            for place in reversed(range(len(rows))):
                if rows[place].done:
                    row = rows[place]
                    self._leave(rows, place)
                    yield Finished(row.request, row.tokens[row.prompt_length :], row.counts)
        with ledger.serving():
            self._finish(ledger)

    @torch.inference_mode()
    def _enter(self, request: int, prompt: list[int], place: int) -> Row:
        target = self.pair.target
        if not 1 <= len(prompt) <= target.context:
            raise ValueError(f"prompt {request} has {len(prompt)} tokens: needs 1 to {target.context} (the context)")
        for model, cache in zip(self.models, self.caches, strict=True):
            alone = model.new_cache()
            if len(prompt) > 1:
                ids = sent(prompt[:-1], model.device).clamp(max=model.vocab - 1)
                model.hidden(ids, alone)
            cache.put(place, alone)
        own = np.random.SeedSequence([self.seed, self.entered]).generate_state(1)  # a CPU generator takes 32 bits
        rng = torch.Generator().manual_seed(int(own[0]))
        self.entered += 1
        end = min(len(prompt) + self.serving.max_new_tokens, target.context + 1)
        return Row(request, list(prompt), len(prompt), end, rng)

    @torch.inference_mode()
    def _leave(self, rows: list[Row], place: int) -> None:
        """Close up: the last row takes the place of the one that left."""
        last = rows.pop()
        if place < len(rows):
            rows[place] = last
            for cache in self.caches:
                cache.move(len(rows), place)

    @torch.inference_mode()
    def _step(self, rows: list[Row], ledger: Ledger) -> None:
        """One step of every row."""
        sampling, device = self.serving.sampling, self.pair.device
        gamma = 0 if self.drafter is None else self.serving.gamma
        drafts, uniforms = None, None
        if not sampling.greedy:
            drawn = [torch.rand(2 * gamma + 1, generator=row.rng, dtype=torch.float64) for row in rows]
            uniforms = sent(torch.stack(drawn), device)
        if gamma:
            with ledger("draft"):
                drafts = self._draft(rows, gamma, uniforms)
        with ledger("verify"):
            lengths = sent([[len(row.tokens)] for row in rows], device)
            ids = sent([row.tokens[-1:] for row in rows], device)
            ids = ids if drafts is None else torch.cat([ids, drafts.tokens], 1)
            at = lengths - 1 + torch.arange(gamma + 1, device=device)
            reach = max(len(row.tokens) for row in rows) + gamma
            logits = self.pair.target.head(self.pair.target.hidden_rows(ids, at, reach, self.caches[0]))
            laws = None if sampling.greedy else sampling.law(logits)
            if drafts is None:
                token, _ = sampling.choose(logits[:, 0], None if uniforms is None else uniforms[:, 0])
                accepted = torch.zeros_like(token)
            elif laws is None:
                accepted, token = greedy_rule(logits.argmax(-1), drafts.tokens)
            else:
                assert uniforms is not None
                accepted, token = RULES[self.serving.rule](laws, drafts.laws, drafts.tokens, uniforms[:, gamma:])
            chain = ids[:, 1:]
            found = torch.cat([chain, accepted[:, None], token[:, None]], 1).tolist()  # the only wait of a step
        for i, (row, (*drafted, kept, last)) in enumerate(zip(rows, found, strict=True)):
            room = min(gamma, row.end - len(row.tokens))
            tokens = row.commit([*drafted[:kept], last], self.pair.target.eos)
            step = Step(
                tokens, min(kept, len(tokens)), room, drafted[:room], logits[i, : len(tokens)], sampling,
                None if drafts is None or drafts.laws is None else drafts.laws[i, :room],
                None if laws is None else laws[i, : len(tokens)],
                None if laws is None else laws[i, : room + 1],
            )  # fmt: skip
            with ledger("measure"):
                row.counts.add(step)
                if self.watch:
                    self.watch(step)
            if drafts is not None and (self.learns or self.record):
                with ledger("other"):
                    self._collect(row, step, drafts.states[i], drafts.before[i])

    def _draft(self, rows: list[Row], gamma: int, uniforms: Tensor | None) -> Drafts:
        """Draft ``gamma`` tokens a row. The first forward reads a row's last two tokens, the former perhaps again."""
        drafter, sampling = self.drafter, self.serving.sampling
        assert isinstance(drafter, Independent)
        model, cache = drafter.model, self.caches[1]
        lengths = sent([len(row.tokens) for row in rows], model.device)
        longest = max(len(row.tokens) for row in rows)
        ids = sent([(row.tokens * 2 if len(row.tokens) == 1 else row.tokens)[-2:] for row in rows], model.device)
        at = torch.stack([(lengths - 2).clamp(min=0), lengths - 1], 1)
        tokens, laws, states = list[Tensor](), list[Tensor](), list[Tensor]()
        before = None
        for i in range(gamma):
            hidden = model.hidden_rows(ids.clamp(max=model.vocab - 1), at, longest + i, cache)
            before = hidden[:, 0] if before is None else before
            states.append(hidden[:, -1])
            logits = drafter.fitted(drafter.logits(hidden[:, -1]))
            token, law = sampling.choose(logits, None if uniforms is None else uniforms[:, i])
            tokens.append(token)
            if law is not None:
                laws.append(law)
            ids, at = token[:, None], (lengths + i)[:, None]
        assert before is not None
        return Drafts(torch.stack(tokens, 1), torch.stack(laws, 1) if laws else None, torch.stack(states, 1), before)

    def _collect(self, row: Row, step: Step, states: Tensor, before: Tensor) -> None:
        """Hand over every position whose features are there.

        Those of a bonus token come with the next step's draft; a request that ends on one keeps it to itself.
        """
        laws, stop = cut(step.target_probs, self.rounds.law_top_k), len(row.tokens)
        start = stop - len(laws)
        if row.owed is not None:
            self._add(
                row.tokens, start - 1, row.owed, before[None], torch.zeros(1, dtype=torch.bool, device=laws.device)
            )
        count = min(len(laws), len(states))
        wrong = torch.arange(count, device=laws.device) == (step.accepted if step.rejected else -1)
        self._add(row.tokens, start, laws[:count], states[:count], wrong)
        row.owed = laws[count:] if len(laws) > count else None

    def _add(self, tokens: list[int], start: int, laws: Tensor, states: Tensor, wrong: Tensor) -> None:
        self.rounds.add(Piece(tokens, start, start + len(laws), laws, states, None, wrong))


def in_order(served: Iterable[Finished]) -> list[Finished]:
    """All of them, by request."""
    found = sorted(served, key=lambda of: of.request)
    assert all(b.request == a.request + 1 for a, b in pairwise(found))
    return found
