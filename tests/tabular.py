# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""A language model whose law is a table, and an enumeration of everything a draft–verify step can do with it.

`TabularLM` has the interface of `real.models.hf.CausalLM`; its next-token law is a row of a table chosen by the last
two tokens *in its cache*, so a cache that is wrong by one token gives a wrong law.
"""

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from real.models.generation import Generation
from real.models.sampling import Sampling
from real.serving.step import Session, Step, step

TOP = float(np.nextafter(1.0, 0.0))


class TabularCache(list):
    """The tokens read so far; rolled back by a negative count, as transformers' caches are."""

    def crop(self, count: int) -> None:
        assert -len(self) <= count < 0
        del self[count:]


class TabularLM:
    """``logits[V², V]`` by context code; hidden states are the codes themselves ``[n, 1]``."""

    def __init__(self, logits: Tensor):
        self.table, self.vocab, self.width = logits, logits.shape[-1], 1
        self.readable = self.vocab
        self.generation = Generation(SimpleNamespace(config=SimpleNamespace(eos_token_id=None)), "table")
        self.context, self.eos, self.device, self.dtype = 2**31, frozenset(), torch.device("cpu"), logits.dtype

    @classmethod
    def random(cls, seed: int, vocab: int, spread: float = 1.5) -> "TabularLM":
        rng = torch.Generator().manual_seed(seed)
        return cls(spread * torch.randn(vocab**2, vocab, generator=rng, dtype=torch.float64))

    def new_cache(self, length: int = 0) -> TabularCache:
        return TabularCache()

    def hidden(self, ids: Tensor, cache: TabularCache) -> Tensor:
        if ids.dim() == 2:
            return self.hidden(ids[0], cache)[None]
        codes = []
        for token in ids.tolist():
            cache.append(token)
            before = cache[-2] if len(cache) > 1 else 0
            codes.append([float(before * self.vocab + token)])
        return torch.tensor(codes, dtype=torch.float64).reshape(-1, 1)

    def head(self, hidden: Tensor) -> Tensor:
        return self.table[hidden[:, 0].long()]

    def logits(self, ids: Tensor, cache: TabularCache) -> Tensor:
        return self.head(self.hidden(ids, cache))

    def text_law(self, prompt: list[int], length: int, sampling: Sampling) -> dict[tuple[int, ...], float]:
        """The exact law of the next ``length`` tokens after ``prompt``."""
        law = {}
        for text in product(range(self.vocab), repeat=length):
            tokens, mass = list(prompt), 1.0
            for token in text:
                before = tokens[-2] if len(tokens) > 1 else 0
                row = sampling.law(self.table[before * self.vocab + tokens[-1]])
                mass *= float(row[token])
                tokens.append(token)
            law[text] = mass
        return law


def intervals(outcome: Callable[[float], int], finest: float = 1e-15) -> list[tuple[float, float, int]]:
    """(measure, a point inside, value) of each piece of a monotone step function on [0, 1), by bisection alone."""

    def split(low: float, high: float, at_low: int, at_high: int) -> list[tuple[float, float, int]]:
        if at_low == at_high:
            return [(low, high, at_low)]
        if high - low < finest:
            return []
        middle = (low + high) / 2
        at_middle = outcome(middle)
        return split(low, middle, at_low, at_middle) + split(middle, high, at_middle, at_high)

    merged: list[list] = []
    for low, high, value in split(0.0, TOP, outcome(0.0), outcome(TOP)):
        if merged and merged[-1][2] == value:
            merged[-1][1] = high
        else:
            merged.append([low, high, value])
    return [(high - low, (low + high) / 2, value) for low, high, value in merged]


def enumerate_step(
    start: Callable[[], Session], gamma: int, sampling: Sampling, rule: str = "token", finest: float = 1e-15,
    confidence: float = 0.0,
) -> list[tuple[float, Step, list[float]]]:  # fmt: skip
    """Every outcome of one step with its exact probability and uniforms that lead to it.

    Nothing is assumed about the step's arithmetic except that its choices are monotone in each uniform: the measure of
    every branch is found by bisection, to ``finest``. ``start`` gives a fresh session each time.
    """

    def run(uniforms: list[float]) -> Step:
        later = [0.5] * gamma + [TOP] * gamma + [0.5]  # later prefixes are refused where a uniform can refuse them
        padded = torch.tensor(uniforms + later[len(uniforms) :], dtype=torch.float64)
        return step(start(), [gamma], sampling, padded[None], rule=rule, confidence=confidence)[0]

    def choice(level: int, uniforms: list[float]) -> int:
        result = run(uniforms)
        if level < gamma:
            return result.drafted_tokens[level]
        return int(result.accepted > level - gamma) if level < 2 * gamma else result.tokens[-1]

    leaves: list[tuple[float, Step, list[float]]] = []

    def descend(mass: float, uniforms: list[float]) -> None:
        level = len(uniforms)
        if level == 2 * gamma + 1:
            leaves.append((mass, run(uniforms), uniforms))
            return
        if level < 2 * gamma and run(uniforms).drafted <= level % gamma:
            descend(mass, [*uniforms, 0.5])  # the draft has ended: this uniform is not used
            return
        if rule == "token" and gamma < level < 2 * gamma and run(uniforms).accepted < level - gamma:
            descend(mass, [*uniforms, 0.5])  # rejected already: this uniform decides nothing
            return
        for measure, point, _ in intervals(lambda u: choice(level, [*uniforms, u]), finest):
            descend(mass * measure, [*uniforms, point])

    descend(1.0, [])
    return leaves


def output_law(target: TabularLM, prompt: list[int], leaves: list, length: int, sampling: Sampling) -> dict:
    """Law of the next ``length`` tokens when the step's outcome is continued by the target itself."""
    law: dict[tuple[int, ...], float] = {}
    for mass, result, _ in leaves:
        committed = tuple(result.tokens)
        rest = target.text_law([*prompt, *committed], length - len(committed), sampling)
        for text, probability in rest.items():
            law[committed + text] = law.get(committed + text, 0.0) + mass * probability
    return law


def total_variation(one: dict, other: dict) -> float:
    """Half the summed difference of two laws given as dictionaries."""
    return sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other}) / 2
