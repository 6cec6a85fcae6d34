"""`python -m real throughput`: several requests at once, ours against transformers' batched ``generate``.

Contenders serve the same groups of as many requests as they have rows. Theirs pads a group on the left and runs until
its last request has ended, as ours does, whose rows close up. Ours would fill a free row from a queue; within one group
there is none, so that both start and end with the same requests. Turns that follow on others wait for them alone in
ours, and for the group in theirs; both read their own answers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from real.measure.clock import Stopwatch
from real.measure.contenders import Group, InRows
from real.measure.contest import Totals, contest, warm_up
from real.measure.intervals import interval
from real.measure.rivals import generation
from real.models.hf import Pair
from real.models.sampling import Sampling
from real.traffic.turns import Next, nothing
from theory.runs.table import Column, console, limits, table

AT_ONCE = (1, 4, 16)
"""Requests that are served at once."""
PEERS = (("draft", "generate"), ("plain", "generate"), ("draft", "plain"))
"""What is held against what."""


class GenerateInRows:
    """Transformers' ``generate`` with all requests of a group at once, padded on the left."""

    def __init__(self, pair: Pair, sampling: Sampling, new: int):
        self.target, self.device = pair.target, pair.device
        self.settings = generation(sampling) | {"max_new_tokens": new}

    def serve(self, group: Group) -> dict[str, float]:
        """Serve one group, prefill included → its tokens and seconds."""
        torch.manual_seed(group.number)  # generate() takes no generator
        asked, texts = dict(enumerate(group.prompts)), [list[list[int]]() for _ in group.prompts]
        with Stopwatch(self.device) as watch:
            while asked:
                for row, text in zip(asked, self._texts(list(asked.values())), strict=True):
                    texts[row].append(text)
                following = {row: group.following(row, texts[row]) for row in asked}
                asked = {row: ids for row, ids in following.items() if ids is not None}
        return {"tokens": sum(len(text) for row in texts for text in row), **watch.columns}

    def _texts(self, prompts: Sequence[list[int]]) -> list[list[int]]:
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        real = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        ids, mask = (torch.tensor(rows, device=self.device) for rows in (padded, real))
        output = self.target.model.generate(ids, attention_mask=mask, **self.settings)
        return [_ended(text, self.target.eos) for text in output[:, longest:].tolist()]


def _ended(text: list[int], eos: Collection[int]) -> list[int]:
    """A text up to its first end token, that one included."""
    ends = [i + 1 for i, token in enumerate(text) if token in eos]
    return text[: ends[0]] if ends else text


def throughput(
    pair: Pair,
    prompts: Sequence[list[int]],
    new: int,
    sampling: Sampling,
    gamma: int,
    at_once: Sequence[int] = AT_ONCE,
    following: Callable[[slice], Next] = lambda rows: nothing,
) -> list[dict[str, Any]]:
    """Tokens a second by the number of rows, and the ratios of ``PEERS`` with intervals over groups, where it can be.

    following: of a group, given as a slice of the prompts, what its rows are asked after these.

    Raises:
        ValueError: for a number of rows below 1 or above that of the prompts.
    """
    for count in at_once:
        if not 1 <= count <= len(prompts):
            raise ValueError(f"rows={count!r}: must be from 1 to the number of prompts, {len(prompts)}")
    contenders = {
        "plain": InRows(pair, "", gamma, sampling, new),
        "draft": InRows(pair, "independent", gamma, sampling, new),
        "generate": GenerateInRows(pair, sampling, new),
    }
    found = []
    for count in at_once:
        starts = range(0, len(prompts) - count + 1, count)
        rows = [slice(start, start + count) for start in starts]
        groups = [Group(prompts[part], i + 1, following(part)) for i, part in enumerate(rows)]
        warm_up(contenders, groups[:1])
        totals = Totals.of(contest(contenders, groups))
        speeds = {name: float(totals.rate(name)[0]) for name in totals.names}
        peers = {f"{one} ÷ {other}": interval(totals.ratio(one, other)) for one, other in PEERS}
        pace = float(totals.rate("draft", "steps")[0])
        found.append({"rows": count, "tokens_per_second": speeds, "tokens_per_step": pace, "ratios": peers})
    return found


def show(by_mode: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print a line for every number of rows."""
    speeds, peers = ("plain", "draft", "generate"), [f"{one} ÷ {other}" for one, other in PEERS]
    columns = [
        Column("rows", "rows", "d"),
        *(Column(name, f"{name}, tokens/s", ".1f") for name in speeds),
        Column("tokens_per_step", "tokens/step", ".3f"),
        *(Column(name, name, lambda ratio: limits(ratio, 3)) for name in peers),
    ]
    for drawn, rows in by_mode.items():
        console.print(table([{**row, **row["tokens_per_second"], **row["ratios"]} for row in rows], columns, drawn))
