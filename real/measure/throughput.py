"""`python -m real throughput`: several requests at once, ours against transformers' batched ``generate``.

Every contender serves the same groups of as many requests as it has rows, in rotating order; theirs pads a group on the
left and runs until its last request has ended, as ours does, whose rows close up. Ours would fill a free row from a
queue; within one group there is none, so that both start and end with the same requests.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from real.drafters import make_drafter
from real.measure.rivals import Contender, Run, limits, measure, ratio
from real.models.device import drain
from real.models.hf import Pair
from real.models.sampling import Sampling
from real.serving.decoder import online_decoder
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from theory.learners.frozen import Frozen

ROWS = (1, 4, 16)
PEERS = (("draft", "generate"), ("plain", "generate"), ("draft", "plain"))
"""What is held against what."""
NAN = float("nan")


def ours(pair: Pair, drafter: str, gamma: int) -> Contender:
    """A group of requests at once by our decoder; an empty ``drafter`` decodes plainly."""

    def serve(prompts: Any, new: int, sampling: Sampling, seed: int) -> Run:
        made = make_drafter(drafter, pair) if drafter else None
        serving = Serving(gamma, max(Serving.nu, gamma + 1), sampling, new)
        decoder = online_decoder(pair, made, Frozen(), serving, seed, len(prompts))
        start, cpu = time.perf_counter(), time.process_time()
        done = list(decoder.serve_all(prompts, Ledger()))  # which does not wait for a device
        drain(pair.device)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Run(sum(of.counts.tokens for of in done), sum(of.counts.steps for of in done), seconds, NAN, cpu)

    return serve


def theirs(pair: Pair) -> Contender:
    """A group of requests at once by ``generate``, padded on the left."""
    target = pair.target

    def serve(prompts: Any, new: int, sampling: Sampling, seed: int) -> Run:
        chosen = {"do_sample": False} if sampling.greedy else {"do_sample": True, **asdict(sampling)}
        longest = max(map(len, prompts))
        torch.manual_seed(seed)  # generate() takes no generator
        start, cpu = time.perf_counter(), time.process_time()
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=pair.device)
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        output = target.model.generate(
            ids, attention_mask=mask.to(pair.device), max_new_tokens=new, pad_token_id=0, repetition_penalty=1.0,
            **chosen,
        )  # fmt: skip
        texts = output[:, longest:].tolist()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Run(sum(_until(text, target.eos) for text in texts), NAN, seconds, NAN, cpu)

    return serve


def _until(text: Sequence[int], eos: Iterable[int]) -> int:
    """Tokens of a text up to its first end token, that one included."""
    ends = [i + 1 for i, token in enumerate(text) if token in eos]
    return ends[0] if ends else len(text)


def throughput(
    pair: Pair, prompts: Sequence[list[int]], new: int, sampling: Sampling, gamma: int, rows: Sequence[int] = ROWS
) -> list[dict[str, Any]]:
    """Tokens a second by the number of rows, and the ratios of ``PEERS`` with intervals over groups, where it can be.

    Raises:
        ValueError: for a number of rows below 1 or above that of the prompts.
    """
    found = []
    contenders = {"plain": ours(pair, "", gamma), "draft": ours(pair, "independent", gamma), "generate": theirs(pair)}
    for count in rows:
        if not 1 <= count <= len(prompts):
            raise ValueError(f"rows={count!r}: must be from 1 to the number of prompts, {len(prompts)}")
    for count in rows:
        groups: list[Any] = [prompts[i : i + count] for i in range(0, len(prompts) - count + 1, count)]
        runs = measure(contenders, groups, new, sampling)
        tokens = {name: sum(run.tokens for run in done) for name, done in runs.items()}
        speeds = {name: tokens[name] / sum(run.seconds for run in done) for name, done in runs.items()}
        peers = {f"{one} ÷ {other}": ratio(runs[one], runs[other]) for one, other in PEERS}
        pace = tokens["draft"] / sum(run.steps for run in runs["draft"])
        found.append({"rows": count, "tokens_per_second": speeds, "tokens_per_step": pace, "ratios": peers})
    return found


def show(by_mode: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print a line for every number of rows."""
    for mode, rows in by_mode.items():
        print(f"\n{mode:10} rows    plain    draft generate (tokens/s)   tokens/step")
        for row in rows:
            speed = row["tokens_per_second"]
            print(f"{row['rows']:15} {speed['plain']:8.1f} {speed['draft']:8.1f} {speed['generate']:8.1f}", end="")
            told = "; ".join(f"{name} {limits(of)}" for name, of in row["ratios"].items())
            print(f"              {row['tokens_per_step']:8.3f}   {told}")
