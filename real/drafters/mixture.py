r"""Several drafters as one, with learned weights: their laws mixed, or one of them chosen before it drafts.

    mix     law = Σ_i x_i·law_i is sampled from and reported; each position's loss is KL(target ‖ Σ_i x_i·law_i)
    route   part i ~ x drafts alone; each position's loss is ⟨x, TV(target, law_i)⟩: one verified path scores all

x lies on the simplex. A loss is one position that verification examined, given in order: one update a position, as
mixability wants (``theory/learners/mixture.py``, ``hedge.py``). In ``route`` the choice is made before anything is
sampled; chosen after seeing a sample, decoding is no longer lossless. Reference: theory/README.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.base import Drafter, Piece, Proposal
from real.drafters.objective import DISTIL, Objective
from real.models.hf import Pair
from real.models.sampling import Sampling
from theory.learners.hedge import route
from theory.loss import Linear, Loss, MixtureKL
from theory.speculation.acceptance import alpha, categorical

MODES = ("mix", "route")


class Mixture(Drafter):
    """Drafts with all ``parts``; what trains in them stands still, only their weights move.

    Args:
        parts: two drafters or more. mode: ``mix`` or ``route``. seed: of the choices of ``route``, until ``reseed``.
    """

    made_of = ("independent", "ngram")

    def __init__(self, parts: Sequence[Drafter], mode: str = "mix", seed: int = 0):
        if len(parts) < 2 or mode not in MODES:
            raise ValueError(f"Mixture({len(parts)} parts, mode={mode!r}): two parts or more, {' or '.join(MODES)}")
        self.parts, self.mode, self.vocab = list(parts), mode, parts[0].vocab
        self.convex = mode == "mix"
        self.reads_target = any(part.reads_target for part in parts)
        self.context = min(part.context for part in parts)
        self.rng = torch.Generator().manual_seed(seed)
        self._x = torch.full((len(parts),), 1 / len(parts))
        self._laws: dict[int, Tensor] = {}  # position → the parts' laws there [N, V], given the committed prefix
        self._drafted: tuple[Tensor, Tensor] | None = None  # tokens [g] and laws [g, N, V] of the step in flight

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

    @property
    def reach(self) -> int:
        return min(part.reach for part in self.parts)

    def begin(self, tokens: list[int], hidden: Tensor | None = None, keep_prompt: bool = False) -> None:
        self.tokens, self._laws, self._drafted = tokens, {}, None
        for part in self.parts:
            part.begin(tokens, hidden)

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        """Log of the mixed laws of the parts at temperature 1."""
        return self._mixed(self._parts_laws(drafted, Sampling(1.0))).log()[None]

    def _parts_laws(self, drafted: list[Tensor], sampling: Sampling) -> Tensor:
        """``[N, V]``; a greedy part has its law at temperature 1."""
        return torch.cat([_law(part.logits_after(drafted), sampling) for part in self.parts])

    def _mixed(self, laws: Tensor) -> Tensor:
        """``[N, V]`` → ``[V]``."""
        law = self._x.to(laws) @ laws
        return law / law.sum()  # the weights and a part's law sum to 1 only up to float32

    @torch.inference_mode()
    def propose(self, gamma: int, sampling: Sampling, uniforms: Tensor, confidence: float = 0.0) -> Proposal:
        tokens, reported, seen = [], [], []
        chosen, self._begun = None, len(self.tokens)
        if self.mode == "route":
            chosen = int(route(self._x.double(), torch.rand((), generator=self.rng, dtype=torch.float64)))
        for i in range(gamma):
            if chosen is None:
                seen.append(self._parts_laws(tokens, sampling))
                law = self._mixed(seen[-1])[None]
            else:
                law = _law(self.parts[chosen].logits_after(tokens), sampling)
            token = law.argmax(-1) if sampling.greedy else categorical(law, uniforms[i : i + 1])
            tokens.append(token)
            reported.append(law)
            if confidence > 0 and float(law[0, token]) < confidence:
                break
        drafted, probs = torch.cat(tokens), torch.cat(reported)
        if chosen is None:
            laws = torch.stack(seen)
        else:
            others = [
                probs if i == chosen else _law(part.logits_along(drafted), sampling)
                for i, part in enumerate(self.parts)
            ]
            laws = torch.stack(others, 1)
        self._drafted = drafted, laws
        return Proposal(drafted, None if sampling.greedy else probs)

    def commit(self) -> None:
        """Keep the parts' laws where the committed text agrees with the drafted one up to the position."""
        for part in self.parts:
            part.commit()
            part.forget(len(self.tokens))
        if self._drafted is None:
            return
        (drafted, laws), self._drafted = self._drafted, None
        start = self._begun
        for i, token in enumerate(drafted.tolist()):
            if start + i >= len(self.tokens):
                break
            self._laws[start + i] = laws[i]
            if self.tokens[start + i] != token:
                break

    def end(self) -> None:
        for part in self.parts:
            part.end()

    def features(self, start: int, stop: int) -> Tensor:
        """The parts' laws at each position ``[stop − start, N, V]``; zeros where verification examined nothing."""
        some = next(iter(self._laws.values()), torch.zeros(len(self.parts), self.vocab))
        return torch.stack([self._laws.get(i, torch.zeros_like(some)) for i in range(start, stop)])

    def forget(self, before: int) -> None:
        self._laws = {position: laws for position, laws in self._laws.items() if position >= before}

    def load(self, x: Tensor) -> None:
        if x.shape != self._x.shape or float(x.min()) < 0 or abs(float(x.sum()) - 1) > 1e-3:
            raise ValueError(f"x={x.tolist()}: the weights of {len(self.parts)} parts, none negative, their sum 1")
        self._x = x.detach().to("cpu", torch.float32).clone()

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
        states = enumerate(part.state() for part in self.parts)
        named = {f"{i}.{name}": tensor for i, state in states for name, tensor in state.items()}
        return {"rng": self.rng.get_state(), **named}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.rng.set_state(state["rng"])
        for i, part in enumerate(self.parts):
            prefix = f"{i}."
            part.restore({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})


def _law(logits: Tensor, sampling: Sampling) -> Tensor:
    """``[n, V]`` → the law served from it; at temperature 0 the law at temperature 1."""
    return (Sampling(1.0) if sampling.greedy else sampling).law(logits)
