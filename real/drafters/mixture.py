r"""Several drafters as one, with learned weights: their laws mixed, or one of them chosen before it drafts.

    tv      law = Σ_i x_i·law_i is sampled from and reported; a round's loss is Σ TV(target, Σ_i x_i·law_i), rejections
    kl      the same law; each position's loss is KL(target ‖ Σ_i x_i·law_i)
    route   part i ~ x drafts alone; each position's loss is ⟨x, TV(target, law_i)⟩: one verified path scores all

x lies on the simplex. ``tv`` learns from all committed positions, from a bonus one when the draft has read on; so its
regret is in rejections of committed tokens, against the best fixed mixture, unless a generation config shapes laws: it
learns from unshaped ones. Left out are steps that its first part or copies alone have drafted
(``real/serving/control.py``), and bonus tokens and plain steps before these or at a text's end. ``kl`` and ``route``
learn from examined positions, one update each, as mixability wants (``theory/learners/mixture.py``). In ``route`` the
choice is made before anything is sampled; made after, decoding is no longer lossless. Reference: theory/README.md.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import MODEL, Drafter
from real.drafters.blend import Blend, laid_out, rows_of
from real.drafters.copies import Copies
from real.drafters.gains import Said, gains, without_parts
from real.drafters.independent import Independent
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, features_of
from real.drafters.proposal import Proposal, agreeing, before_empty, chain, ended
from real.drafters.refining import NOTHING, Refining
from real.drafters.several import Several, law_of
from real.models.hf import Pair
from real.models.sampling import Sampling, drawn, one_hot
from real.models.state import generator
from real.models.text import Text, close_up
from theory.learners.hedge import route
from theory.loss import Linear, Loss, MixtureKL, MixtureTV
from theory.runs.practice import EXPERT_LEARNERS
from theory.speculation.acceptance import alpha

MODES = ("tv", "kl", "route")


class Mixture(Several):
    """Drafts with all ``parts``; what trains in them stands still, only their weights move.

    Args:
        parts: two drafters or more; one that refines another comes after it. mode: ``tv``, ``kl`` or ``route``.
        seed: of the choices of ``route``, until ``reseed``.
    """

    made_of = ("independent", "memory@independent", "backoff@memory", ("backoff@backoff", {"scope": "global"}))
    trains = True
    simplex = True
    uses_draft = True
    learners = EXPERT_LEARNERS
    trial = EXPERT_LEARNERS["hedge"]
    learns_prompts = False  # its losses are of positions that a draft was verified at
    takes_losses = False

    def __init__(self, parts: Sequence[Drafter], mode: str = "tv", seed: int = 0):
        if len(parts) < 2 or mode not in MODES:
            raise ValueError(f"Mixture({len(parts)} parts, mode={mode!r}): two parts or more, {', '.join(MODES)}")
        super().__init__(parts)
        self.mode, self.convex = mode, mode != "route"
        self._dear = [k for k, part in enumerate(parts) if self.bases[k] is not None and getattr(part, "dear", False)]
        copying = all(getattr(parts[k], "of_laws", False) for k, base in enumerate(self.bases) if base in self._dear)
        self.levels = 1 if mode != "tv" else 3 if self._dear and copying else 2
        self.copying = mode == "tv" and bool(self.copiers)
        self.rng = torch.Generator().manual_seed(seed)
        self._x = torch.full((len(parts),), 1 / len(parts))
        self._weights = self._x.double() / self._x.double().sum()
        self.prefix_only = mode != "route" and all(part.prefix_only for part in parts)
        self._laws: list[dict[int, Said]] = []  # of each text: position → the parts' laws there
        self._told: list[int] = []  # tokens of each text up to the last commit
        self._open: list[int] = []  # committed positions at the end of each text whose laws are to come
        self._asked, self._looks_back, self._served = False, False, Sampling(1.0)
        self._level, self._last = max(self.levels - 1, 1), list[tuple[int, int]]()  # each text's last drafted positions
        self._raw: list[Tensor] = []  # the mixed laws [n, V] of the tokens drafted last, not yet shaped
        self._drafted: tuple[Proposal, list[Blend], list[int]] | None = None  # of the step in flight: laws, starts

    @classmethod
    def of(cls, pair: Pair, parts: Sequence[Drafter], **settings) -> "Mixture":
        """Make it of drafters for the same pair."""
        made = cls(parts, **settings)
        made.device = pair.device
        return made

    def keep_features(self) -> None:
        self._asked = True
        self._looks_back = self.mode == "tv"
        for part in self.parts:
            if self._looks_back and isinstance(part, Independent):
                part.keeps_states = True

    def reseed(self, seed: int) -> None:
        self.rng.manual_seed(seed)

    @property
    def dimension(self) -> int:
        return len(self.parts)

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    @property
    def reads_texts(self) -> bool:
        return self.mode != "route" and all(part.reads_texts for part in self.parts)

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self._laws, self._told, self._open, self._drafted = [], [], [], None

    def enter(self, keep_prompt: bool = False) -> None:
        self._laws.append({})
        self._told.append(len(self.texts[-1].tokens))
        self._open.append(0)
        super().enter()

    def leave(self, row: int) -> None:
        for kept in (self._laws, self._told, self._open):
            close_up(kept, row)
        super().leave(row)

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        """Log of the mixed laws of the parts at temperature 1."""
        return self._said(drafted, Sampling(1.0)).mixed([self._weights.tolist()] * len(self.texts)).log()

    def _said(self, drafted: list[Tensor], sampling: Sampling) -> Blend:
        """The parts' laws after the tokens drafted."""
        logits = {k: part.logits_after(drafted) for k, part in enumerate(self.parts) if self.bases[k] is None}
        if not drafted:
            for row, count in enumerate(self._open):
                if count and min(part.known(row) for part in self.parts) >= len(self.texts[row].tokens):
                    self._look_back(row, count)

        def refined(part: Refining, said: Tensor) -> Tensor:
            part.follow(said, drafted)
            return part.refined(said)

        def copied(part: Refining) -> list[Copies]:
            part.follow(NOTHING, drafted)
            return part.copies()

        return self._blend(logits, sampling, refined, copied)

    def _look_back(self, row: int, count: int) -> None:
        """The parts' laws at a text's last ``count`` positions, by the memory of then and copies of all text before."""
        stop = len(self.texts[row].tokens)
        span, self._open[row] = (stop - count, stop, row), 0
        said = {k: self.parts[k].logits_at(*span) for k, base in enumerate(self.bases) if base is None}
        logits = {k: one for k, one in said.items() if one is not None}
        if len(logits) == len(said):
            said_at = self._blend(
                logits,
                self._served,
                lambda part, base: part.refined_at(base, *span),
                lambda part: part.copies_at(*span),
            )
            self._laws[row].update((stop - count + i, (said_at, i)) for i in range(count))

    @torch.inference_mode()
    def propose(
        self, lengths: Sequence[int], sampling: Sampling, uniforms: Tensor | None, confidence: float = 0.0
    ) -> Proposal:
        if self.first_alone:
            proposal = self.parts[0].propose(lengths, sampling, uniforms, confidence)
            self.witnesses = self.parts[0].witnesses
            return proposal
        starts, counts, self._served = [len(text.tokens) for text in self.texts], list(lengths), sampling
        chosen = self._chosen(weights := self._choose(len(starts)))
        mixing = (weights[:, chosen] if chosen else weights).tolist()
        tokens, mixed, seen, witnesses = list[Tensor](), list[Tensor](), list[Blend](), list[Tensor]()
        self._raw = []
        self.goes(counts)
        for i in range(max(lengths)):
            said = self._said_alone(chosen, tokens, sampling) if chosen else self._said(tokens, sampling)
            raw = said.mixed(mixing)
            law = self._as_served(raw, tokens)
            counts = self._going(counts, before_empty(raw, law, counts, i))
            if max(counts) <= i:
                break
            tokens.append(law.argmax(-1) if uniforms is None else drawn(law, uniforms[:, i]))
            witnesses.append(law[:, 0])
            seen.append(said)
            self._raw.append(raw)
            mixed.append(law)
            if confidence > 0 and i + 1 < max(counts):
                counts = self._going(counts, ended(law, tokens[-1], counts, i + 1, confidence))
                if max(counts) == i + 1:
                    break
        self.witnesses = witnesses
        drafted = chain(tokens, law)
        if tokens and chosen:
            seen = self._others_along(chosen, seen, drafted, sampling)
        self.goes(None)
        proposal = Proposal(drafted, torch.stack(mixed, 1) if mixed and not sampling.greedy else None, counts)
        self._drafted = (proposal, seen, starts) if tokens else None
        return proposal

    def _chosen(self, weights: Tensor) -> list[int]:
        """The parts that texts are routed to, where the others need not be asked; else none."""
        if self.mode != "route" or any(base is not None for base in self.bases):
            return []
        return [k for k in range(len(self.parts)) if bool(weights[:, k].any())]

    def _said_alone(self, chosen: Sequence[int], drafted: list[Tensor], sampling: Sampling) -> Blend:
        """The laws of these parts, which refine none."""
        return Blend.of(law_of(torch.stack([self.parts[k].logits_after(drafted) for k in chosen], 1), sampling))

    def _others_along(
        self, chosen: Sequence[int], seen: list[Blend], drafted: Tensor, sampling: Sampling
    ) -> list[Blend]:
        """The laws of all parts at every drafted token; those not chosen are asked along the path."""
        others = [k for k in range(len(self.parts)) if k not in chosen]
        along = {k: law_of(self.parts[k].logits_along(drafted), sampling) for k in others}  # [n, g, V]
        own = [{k: said.laws[j] for j, k in enumerate(chosen)} for said in seen]
        alone = [None] * len(self.parts)
        return [
            Blend([mine[k] if k in mine else along[k][:, i] for k in range(len(alone))], alone)
            for i, mine in enumerate(own)
        ]

    def _choose(self, texts: int) -> Tensor:
        """The weights that each text drafts with ``[n, N]``: of all parts, or of the one that it is routed to."""
        if self.mode != "route":
            return self._weights.expand(texts, -1)
        uniforms = torch.rand(texts, generator=self.rng, dtype=torch.float64)
        return one_hot(torch.stack([route(self._x.double(), uniform) for uniform in uniforms]), self._x)

    @property
    def first_alone(self) -> bool:
        rest = len(self._dear) if self._level < self.levels - 1 else 0
        return not self._level or (self.way == MODEL and len(self.parts) - len(self.copiers) - rest == 1)

    def copied_after(self, drafted: list[Tensor]) -> Tensor:
        """What of the mixture's law is copied: how likely a token is, and is copied."""
        return self._copied(drafted, [self._weights.tolist()] * len(self.texts))

    def work(self, level: int) -> None:
        self._level = level if self.levels > 1 else 1
        for k, part in enumerate(self.parts):
            if isinstance(part, Refining) and self.bases[k] is not None:
                idle = self._level < (self.levels - 1 if k in self._dear else 1)
                if idle or part.idle:
                    part.pause(idle)
        self._open = [0] * len(self._open)

    def gained(self, row: int, target_probs: Tensor) -> list[float]:
        start, known = self._last[row]
        if not known or not self._level:
            return [0.0] * self._level
        said = [self._laws[row][start + i] for i in range(known)]
        mixed, without = torch.cat([rows_of(raw, row) for raw in self._raw[:known]]), None
        if self._level == 2:
            without = without_parts(said, mixed, self._weights.tolist(), self._dear, self.bases)
        return gains(said, mixed, without, target_probs[:known], self.texts[row], start, self._served.greedy)

    def known(self, row: int) -> int:
        return len(self.texts[row].tokens) - self._open[row]

    def laws_along(self, tokens: Tensor, sampling: Sampling) -> Tensor:
        if not self._level:
            return self.parts[0].laws_along(tokens, sampling)
        starts, drafted, self._served = [len(text.tokens) for text in self.texts], list(tokens.unbind(1)), sampling
        if any(base is not None for base in self.bases):
            every = [self._said(drafted[:i], sampling) for i in range(len(drafted))]
        else:
            laws = torch.stack([law_of(part.logits_along(tokens), sampling) for part in self.parts], 2)  # [n, g, N, V]
            every = [Blend.of(one) for one in laws.unbind(1)]
        counts = [tokens.shape[1]] * len(starts)
        self._drafted = Proposal(tokens, None, counts), every, starts
        self._raw = [said.mixed([self._weights.tolist()] * len(starts)) for said in every]
        laws = torch.stack(self._raw, 1)
        return one_hot(laws.argmax(-1), laws) if sampling.greedy else laws

    def commit(self) -> None:
        """Keep the parts' laws where the committed text agrees with the drafted one up to the position."""
        new = [len(text.tokens) - told for text, told in zip(self.texts, self._told, strict=True)]
        self._told, self._last = [len(text.tokens) for text in self.texts], [(0, 0)] * len(self.texts)
        if self._drafted is not None:
            (proposal, said, starts), self._drafted = self._drafted, None
            for row, tokens in enumerate(proposal.tokens.tolist()):
                known = agreeing(tokens[: proposal.counts[row]], self.texts[row].tokens[starts[row] :])
                if not self._asked:  # but for ``gained``
                    self.forget(starts[row], row)
                self._laws[row].update((starts[row] + i, (said[i], row)) for i in range(known))
                new[row] -= known
                self._last[row] = starts[row], known
        if not self.asks_all:
            self._open = [0] * len(new)  # the parts' laws there are not asked for
            self.take_in()
        elif self._looks_back:
            self._open = [count + more for count, more in zip(self._open, new, strict=True)]
        super().commit()

    def features(self, start: int, stop: int, row: int = 0) -> Tensor:
        """The parts' laws at each position ``[stop − start, N, V]``; zeros where verification examined nothing."""
        kept = self._laws[row]
        there = [at for at in range(start, stop) if at in kept]
        nothing = torch.zeros(0, len(self.parts), self.vocab, device=self.device)
        laws = laid_out([kept[at] for at in there]) if there else nothing
        found = laws.new_zeros(stop - start, *laws.shape[1:])
        found[[at - start for at in there]] = laws
        return laws if len(there) == len(found) else found

    def forget(self, before: int, row: int = 0) -> None:
        self._laws[row] = {position: laws for position, laws in self._laws[row].items() if position >= before}

    def load(self, x: Tensor) -> None:
        if x.shape != self._x.shape or not (float(x.min()) >= 0 and abs(float(x.sum()) - 1) <= 1e-3):
            raise ValueError(f"x={x.tolist()}: the weights of {len(self.parts)} parts, none negative, their sum 1")
        self._x = x.detach().to("cpu", torch.float32).clone()
        self._weights = self._x.double() / self._x.double().sum()

    def first_in_step(self, loss: Loss) -> tuple[Loss, Tensor] | None:
        return (loss, self.x) if self.mode == "kl" else None  # routed, it scores every part, whichever drafted

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        """One loss for each position whose laws are known, in order; in ``tv`` one for all of them, their sum."""
        laws, target = features_of(pieces), torch.cat([piece.target_probs for piece in pieces])
        laws, target = laws.cpu().float(), target.cpu().float()
        known = laws[:, 0].sum(-1) > 0  # laws sum to 1
        if not bool(known.all()):
            laws, target = laws[known], target[known]
        if self.mode == "kl":
            return [MixtureKL(*position) for position in zip(laws, target, strict=True)]
        if self.mode == "route":
            return [Linear(1 - alpha(*position)) for position in zip(target, laws, strict=True)]
        return [MixtureTV(laws.transpose(0, 1).flatten(1), target.flatten())] if len(laws) else []  # laid end to end

    def state(self) -> dict[str, Tensor]:
        """The generator's state and the parts'."""
        return {"rng": self.rng.get_state(), **super().state()}

    def check_state(self, state: dict[str, Tensor], at: str = "") -> None:
        generator(f"{at}rng", state["rng"])
        super().check_state(state, at)

    def restore(self, state: dict[str, Tensor]) -> None:
        self.rng.set_state(state["rng"])
        super().restore(state)

    def put_aside(self) -> Any:
        return self.rng.get_state(), super().put_aside()

    def take_up(self, memory: Any) -> None:
        rng, parts = memory
        self.rng.set_state(rng)
        super().take_up(parts)
