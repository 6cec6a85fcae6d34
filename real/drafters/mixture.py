r"""Several drafters as one, with learned weights: their laws mixed, or one of them chosen before it drafts.

    mix     law = Σ_i x_i·law_i is sampled from and reported; each position's loss is KL(target ‖ Σ_i x_i·law_i)
    route   part i ~ x drafts alone; each position's loss is ⟨x, TV(target, law_i)⟩: one verified path scores all

x lies on the simplex. A loss is one position that verification examined, given in order: one update a position, as
mixability wants (``theory/learners/mixture.py``, ``hedge.py``). In ``route`` the choice is made before anything is
sampled; chosen after seeing a sample, decoding is no longer lossless. Reference: theory/README.md.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from real.drafters.base import Drafter, Piece, Proposal, before_empty, chain, ended
from real.drafters.objective import DISTIL, Objective
from real.models.hf import Pair
from real.models.memory import Memory
from real.models.sampling import Sampling, has_law, one_hot
from real.models.state import under
from real.models.text import Text, close_up, shaped
from theory.learners.hedge import route
from theory.loss import Linear, Loss, MixtureKL
from theory.runs.practice import EXPERT_LEARNERS
from theory.speculation.acceptance import alpha, categorical

MODES = ("mix", "route")


class Mixture(Drafter):
    """Drafts with all ``parts``; what trains in them stands still, only their weights move.

    Args:
        parts: two drafters or more. mode: ``mix`` or ``route``. seed: of the choices of ``route``, until ``reseed``.
    """

    made_of = ("independent", "ngram")
    trains = True
    simplex = True
    uses_draft = True
    learners = EXPERT_LEARNERS
    trial = EXPERT_LEARNERS["mixture"]
    learns_prompts = False  # its losses are of positions that a draft was verified at
    takes_losses = False

    def __init__(self, parts: Sequence[Drafter], mode: str = "mix", seed: int = 0):
        if len(parts) < 2 or mode not in MODES:
            raise ValueError(f"Mixture({len(parts)} parts, mode={mode!r}): two parts or more, {' or '.join(MODES)}")
        self.parts, self.mode, self.vocab = list(parts), mode, parts[0].vocab
        self.convex = mode == "mix"
        self.reads_target = any(part.reads_target for part in parts)
        self.context = min(part.context for part in parts)
        self.rng = torch.Generator().manual_seed(seed)
        self._x = torch.full((len(parts),), 1 / len(parts))
        self.uses_draft = any(part.uses_draft for part in parts)
        self.prefix_only = mode == "mix" and all(part.prefix_only for part in parts)
        self._laws: list[dict[int, Tensor]] = []  # of each text: position → the parts' laws there [N, V]
        self._drafted: tuple[Proposal, Tensor, list[int]] | None = None  # the step in flight, laws [n, g, N, V], starts

    @classmethod
    def of(cls, pair: Pair, parts: Sequence[Drafter], **settings) -> "Mixture":
        """Make it of drafters for the same pair."""
        return cls(parts, **settings)

    def reseed(self, seed: int) -> None:
        self.rng.manual_seed(seed)

    @property
    def dimension(self) -> int:
        return len(self.parts)

    @property
    def x(self) -> Tensor:
        return self._x.clone()

    def reach(self, text: Text) -> int:
        return min(part.reach(text) for part in self.parts)

    @property
    def memories(self) -> list[Memory]:
        return [memory for part in self.parts for memory in part.memories]

    def open(self, texts: Sequence[Text], rows: int = 1) -> None:
        super().open(texts, rows)
        self._laws, self._drafted = [], None
        for part in self.parts:
            part.open(texts, rows)

    def enter(self, keep_prompt: bool = False) -> None:
        self._laws.append({})
        for part in self.parts:
            part.enter()

    def leave(self, row: int) -> None:
        close_up(self._laws, row)
        for part in self.parts:
            part.leave(row)

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        """Log of the mixed laws of the parts at temperature 1."""
        laws = torch.stack([_law(part.logits_after(drafted), Sampling(1.0)) for part in self.parts], 1)
        return _mixed(self._x.expand(len(laws), -1), laws).log()

    @torch.inference_mode()
    def propose(
        self, lengths: Sequence[int], sampling: Sampling, uniforms: Tensor | None, confidence: float = 0.0
    ) -> Proposal:
        starts, counts = [len(text.tokens) for text in self.texts], list(lengths)
        weights = self._choose(len(starts))
        leaders = [i for i in range(len(self.parts)) if bool(weights[:, i].any())]
        tokens, mixed, seen, witnesses = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        for i in range(max(lengths)):
            self._lengthen(counts)
            after = [self.parts[k].logits_after(tokens) for k in leaders]
            laws = torch.stack([_law(logits, sampling) for logits in after], 1)  # [n, L, V], which losses are of
            law = _mixed(weights[:, leaders], laws)
            raw, law = law, self._as_served(law, weights[:, leaders], after, tokens, sampling)
            counts = before_empty(raw, law, counts, i)
            if max(counts) <= i:
                break
            tokens.append(law.argmax(-1) if uniforms is None else categorical(law, uniforms[:, i]))
            witnesses.append(law[:, 0])
            seen.append(laws)
            mixed.append(law)
            if confidence > 0 and i + 1 < max(counts):
                counts = ended(law, tokens[-1], counts, i + 1, confidence)
                if max(counts) == i + 1:
                    break
        self.witnesses = witnesses
        if not tokens:
            self._lengthen(None)
            return Proposal(chain(tokens, law), None, counts)
        drafted, along = chain(tokens, law), dict(zip(leaders, torch.stack(seen, 1).unbind(2), strict=True))
        self._lengthen(counts)
        every = [
            along[k] if k in along else _law(part.logits_along(drafted), sampling) for k, part in enumerate(self.parts)
        ]
        self._lengthen(None)
        proposal = Proposal(drafted, None if sampling.greedy else torch.stack(mixed, 1), counts)
        self._drafted = proposal, torch.stack(every, 2), starts
        return proposal

    def _as_served(
        self, law: Tensor, weights: Tensor, after: Sequence[Tensor], drafted: Sequence[Tensor], sampling: Sampling
    ) -> Tensor:
        """The mixed law ``[n, V]`` as the texts shape the parts' logits ``after`` these drafted tokens.

        A part that shaping leaves no law has no say; it is NaN where that are all.
        """
        if all(text.shape is None for text in self.texts):
            return law
        served = torch.stack([shaped(self.texts, drafted, logits) for logits in after], 1)  # [n, N, V]
        silent = has_law(torch.stack(list(after), 1)) & ~has_law(served)
        return _mixed(weights, _law(served, sampling).masked_fill(silent[..., None], 0))

    def _choose(self, texts: int) -> Tensor:
        """The weights that each text drafts with ``[n, N]``: of all parts, or of the one that it is routed to."""
        if self.mode == "mix":
            return self._x.expand(texts, -1)
        uniforms = torch.rand(texts, generator=self.rng, dtype=torch.float64)
        chosen = torch.stack([route(self._x.double(), uniform) for uniform in uniforms])
        return one_hot(chosen, self._x)

    def _lengthen(self, counts: list[int] | None) -> None:
        for part in self.parts:
            part.lengths = counts

    def laws_along(self, tokens: Tensor, sampling: Sampling) -> Tensor:
        starts = [len(text.tokens) for text in self.texts]
        every = torch.stack([_law(part.logits_along(tokens), sampling) for part in self.parts], 2)  # [n, g, N, V]
        counts = [tokens.shape[1]] * len(starts)
        self._drafted = Proposal(tokens, None, counts), every, starts
        mixed = _mixed(self._x.expand(every.shape[0] * every.shape[1], -1), every.flatten(0, 1))
        laws = mixed.unflatten(0, tokens.shape)
        return one_hot(laws.argmax(-1), laws) if sampling.greedy else laws

    def commit(self) -> None:
        """Keep the parts' laws where the committed text agrees with the drafted one up to the position."""
        for part in self.parts:
            part.commit()
            for row, text in enumerate(self.texts):
                part.forget(len(text.tokens), row)
        if self._drafted is None:
            return
        (proposal, laws, starts), self._drafted = self._drafted, None
        for row, (tokens, count, start) in enumerate(
            zip(proposal.tokens.tolist(), proposal.counts, starts, strict=True)
        ):
            text = self.texts[row].tokens
            for i, token in enumerate(tokens[:count]):
                if start + i >= len(text):
                    break
                self._laws[row][start + i] = laws[row, i]
                if text[start + i] != token:
                    break

    def features(self, start: int, stop: int, row: int = 0) -> Tensor:
        """The parts' laws at each position ``[stop − start, N, V]``; zeros where verification examined nothing."""
        kept = self._laws[row]
        some = next(iter(kept.values()), torch.zeros(len(self.parts), self.vocab))
        return torch.stack([kept.get(i, torch.zeros_like(some)) for i in range(start, stop)])

    def forget(self, before: int, row: int = 0) -> None:
        self._laws[row] = {position: laws for position, laws in self._laws[row].items() if position >= before}

    def load(self, x: Tensor) -> None:
        if x.shape != self._x.shape or not (float(x.min()) >= 0 and abs(float(x.sum()) - 1) <= 1e-3):
            raise ValueError(f"x={x.tolist()}: the weights of {len(self.parts)} parts, none negative, their sum 1")
        self._x = x.detach().to("cpu", torch.float32).clone()

    def first_in_step(self, loss: Loss) -> tuple[Loss, Tensor] | None:
        return (loss, self.x) if self.mode == "mix" else None  # routed, it scores every part, whichever drafted

    def losses(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> list[Loss]:
        """One loss for each position that verification examined, in order."""
        found: list[Loss] = []
        for piece in pieces:
            assert piece.features is not None
            laws, target = piece.features.cpu().float(), piece.target_probs.cpu().float()
            for i in torch.nonzero(laws.sum((-1, -2)))[:, 0].tolist():
                if self.mode == "mix":
                    found.append(MixtureKL(laws[i], target[i]))
                else:
                    found.append(Linear(1 - alpha(target[i], laws[i])))
        return found

    def state(self) -> dict[str, Tensor]:
        """The generator's state and every part's own, under its number."""
        return {"rng": self.rng.get_state(), **_joined([part.state() for part in self.parts])}

    def textless(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state | _joined([part.textless(under(f"{i}.", state)) for i, part in enumerate(self.parts)])

    def restore(self, state: dict[str, Tensor]) -> None:
        self.rng.set_state(state["rng"])
        for i, part in enumerate(self.parts):
            part.restore(under(f"{i}.", state))

    def put_aside(self) -> Any:
        return self.rng.get_state(), [part.put_aside() for part in self.parts]

    def take_up(self, memory: Any) -> None:
        rng, parts = memory
        self.rng.set_state(rng)
        for part, own in zip(self.parts, parts, strict=True):
            part.take_up(own)


def _joined(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The parts' states as one, each under its number."""
    return {f"{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}


def _mixed(weights: Tensor, laws: Tensor) -> Tensor:
    """Weights ``[n, N]``, laws ``[n, N, V]`` → ``[n, V]``."""
    law = (weights.to(laws)[:, None] @ laws)[:, 0]
    return law / law.sum(-1, keepdim=True)  # the weights and a part's law sum to 1 only up to float32


def _law(logits: Tensor, sampling: Sampling) -> Tensor:
    """``[n, V]`` → the law served from it; at temperature 0 the law at temperature 1."""
    return (Sampling(1.0) if sampling.greedy else sampling).law(logits)
