"""Our decoders as contenders: the one place where contests meet the serving room.

``Online`` serves as users do, learning included, with a ledger. The others measure the decoder itself, with the draft
at rest: ``AtRest`` one request at a time, ``InRows`` several at once, ``AtLength`` step by step at given draft lengths.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import cycle
from typing import NamedTuple

import torch

from real.drafters import Drafter, make_drafter
from real.drafters.base import COPIES, MIXED, MODEL
from real.measure.clock import Stopwatch, timed_forwards
from real.measure.contest import warm_up
from real.models.hf import CausalLM, Pair
from real.models.sampling import Sampling
from real.serving.decoder import Decoder, Request, online_decoder
from real.serving.follow import follow
from real.serving.lawful import serving_request
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.serving.step import alone, generate, step
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.turns import Next, Waiting, nothing
from theory.learners.frozen import Frozen


class Asked(NamedTuple):
    """A prompt's tokens, its number from 1, which seeds what is drawn for it, and whose it is."""

    prompt: list[int]
    number: int
    tenant: str = ""


class Group(NamedTuple):
    """Prompts that are served at once, and the group's number, which seeds what is drawn for it.

    ``following``: what each is asked after its texts so far; nothing if left out.
    """

    prompts: Sequence[list[int]]
    number: int
    following: Next = nothing


class Online:
    """A system that serves and learns, everything charged.

    A measurement holds the counts of the request and the ledger's seconds; ``text`` what was committed last.
    """

    def __init__(self, models: Models, method: Method, serving: Serving, seed: int = 0):
        self.decoder = models.decoder(method, serving, seed, lines=None)  # a run's trace has every round
        self.device = models.device
        self.text: list[int] = []

    def serve(self, request: Asked) -> dict[str, float]:
        """Serve one request, and learn from it."""
        ledger = Ledger(self.device)
        with serving_request(request.number):
            self.text, counts = self.decoder.serve(request.prompt, ledger, request.tenant)
        return {**asdict(counts), **ledger.row()}


def why_unfollowed(decoder: Decoder) -> str:
    """Why this decoder has no low-noise net (``low_noise.py``); empty if it has one."""
    drafter, learning, serving = decoder.drafter, decoder.learning, decoder.serving
    if drafter is None:
        return ""
    if not drafter.reads_texts:
        return "its law at a position depends on where the step began"
    if learning is not None and learning.learns and learning.objective.positions != "all":
        return "it learns where its drafts are rejected, and a text that is read has no drafts"
    if serving.costs or serving.confidence:
        return "its drafts have no fixed length"
    if decoder.pair.target.generation.shapes:
        return "the generation config shapes its laws by the text so far"
    return "" if serving.rule == "token" else "the steps expected are those of the token rule"


class Twin:
    """The twin of a ``Online`` contender: it reads texts that another has committed, and learns as it does."""

    def __init__(self, models: Models, method: Method, serving: Serving, seed: int = 0):
        self.decoder = models.decoder(method, serving, seed)
        self.gamma = 0 if self.decoder.drafter is None else serving.gamma

    def follow(self, prompt: list[int], text: list[int]) -> list[float]:
        """The overlap of draft and target at every position of the text; the learner is updated after each round."""
        if self.decoder.drafter is None:
            return [0.0] * len(text)
        return follow(self.decoder, prompt, text, Ledger())


def warm_up_online(models: Models, methods: Mapping[str, Method], serving: Serving, prompt: list[int]) -> None:
    """Serve a round of the prompt with throw-away decoders: those of the contest must not have learned from it."""
    for method in methods.values():
        brief = replace(serving, max_new_tokens=(method.nu or serving.nu) + serving.gamma + 1)
        throwaway = {"": Online(models, method, brief)}
        warm_up(throwaway, [Asked(prompt[:32], 0)])


class AtRest:
    """Our decoder with a drafter of ``real.drafters.DRAFTERS`` at rest; an empty name decodes plainly.

    A measurement has ``tokens``, ``steps`` (target forwards that commit) and seconds: in all, of the processor, and
    outside the forwards of models. The drafter keeps what it remembers of requests. ``text``: what was committed last.
    """

    def __init__(self, pair: Pair, drafter: str, gamma: int, sampling: Sampling, new: int):
        self.pair, self.gamma, self.sampling, self.new = pair, gamma, sampling, new
        self.drafter = make_drafter(drafter, pair) if drafter else None
        models = [model for model in (pair.target, pair.draft) if model is not None]
        self.functions = {"forward": [(model, name) for model in models for name in ("hidden", "head")]}
        self.text: list[int] = []

    def serve(self, request: Asked) -> dict[str, float]:
        """Serve one request, prefill included."""
        rng = torch.Generator().manual_seed(request.number)
        with timed_forwards(self.functions, self.pair.device) as record, Stopwatch(self.pair.device) as watch:
            session = alone(self.pair.target, self.drafter, request.prompt, self.new)
            steps = sum(1 for _ in generate(session, self.gamma, self.sampling, rng))
        self.text, outside = session.texts[0].committed, watch.columns["seconds_total"] - record.inside
        return {"tokens": len(self.text), "steps": steps, **watch.columns, "seconds_outside": outside}


class InRows:
    """Our decoder with all requests of a group at once; an empty ``drafter`` decodes plainly.

    A turn that follows on another enters when that has ended, the other texts going on.
    """

    def __init__(self, pair: Pair, drafter: str, gamma: int, sampling: Sampling, new: int):
        self.pair = pair
        self.drafter = make_drafter(drafter, pair) if drafter else None
        self.serving = Serving(gamma, max(Serving.nu, gamma + 1), sampling, new)

    def serve(self, group: Group) -> dict[str, float]:
        """Serve one group, prefill included → its tokens, steps and seconds."""
        rows, waiting, done = len(group.prompts), Waiting(group.prompts, group.following), list[Request]()
        decoder = online_decoder(self.pair, self.drafter, Frozen(), self.serving, group.number, rows)
        with Stopwatch(self.pair.device) as watch:
            for one in decoder.serve_all(waiting, Ledger()):  # a ledger that does not wait for the device
                done.append(one)
                waiting.ended(one.number, one.tokens)
        tokens, steps = (sum(getattr(one.counts, name) for one in done) for name in ("tokens", "steps"))
        return {"tokens": tokens, "steps": steps, **watch.columns}


class Timed(NamedTuple):
    """One step: tokens it was asked to draft, drafted and committed, its seconds, and by which way it drafted."""

    asked: int
    drafted: int
    tokens: int
    draft: float
    verify: float
    whole: float
    way: str = MIXED


class AtLength:
    """A drafter that does not learn, whose steps are asked to draft the next of ``lengths``, over and over; 0 decodes
    plainly.

    What the drafter remembers of requests is forgotten before each, unless it has levels: there it is asked what it
    costs to remember. A measurement is the steps, prefill left out. ``level``: that it works at, the last if left out.
    ``apart``: copies alone draft wherever something is found to copy, models where nothing is.
    """

    def __init__(
        self,
        target: CausalLM,
        drafter: Drafter,
        serving: Serving,
        lengths: Iterable[int],
        level: int | None = None,
        apart: bool = False,
    ):
        self.target, self.serving, self.lengths = target, serving, tuple(lengths)
        self.level, self.apart = drafter.levels - 1 if level is None else level, apart
        self.drafter = drafter if any(self.lengths) else None
        self.blank = drafter.state()

    def serve(self, request: Asked) -> list[Timed]:
        """Serve one request and time its steps."""
        sampling, rng, way = self.serving.sampling, torch.Generator().manual_seed(request.number), MIXED
        if self.drafter is not None:
            if self.drafter.levels == 1:
                self.drafter.restore(self.blank)
            self.drafter.work(self.level)
            self.drafter.draft_by(MIXED)
        session = alone(self.target, self.drafter, request.prompt, self.serving.max_new_tokens)
        (text,) = session.texts
        ledger, steps = Ledger(self.target.device), list[Timed]()
        for asked in cycle(self.lengths):
            if text.done:
                break
            before, start = dict(ledger.seconds), ledger.now()
            if self.apart and self.drafter is not None:
                self.drafter.draft_by(way := COPIES if self.drafter.finds() else MODEL)
            room = [session.room(text, asked)]
            (taken,) = step(session, room, sampling, session.uniforms(room, sampling, rng), ledger)
            whole = ledger.now() - start
            draft, verify = (ledger.seconds[line] - before[line] for line in ("draft", "verify"))
            steps.append(Timed(asked, taken.drafted, len(taken.tokens), draft, verify, whole, way))
        return steps


class Learns:
    """A decoder as it serves. A measurement is the seconds a step that learning takes."""

    def __init__(self, decoder: Decoder, device: str | torch.device):
        self.decoder, self.device = decoder, device

    def serve(self, request: Asked) -> float:
        """Serve one request."""
        ledger = Ledger(self.device)
        counts = self.decoder.serve(request.prompt, ledger)[1]
        return ledger.seconds["learn"] / max(counts.steps, 1)
