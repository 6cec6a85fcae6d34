"""Systems as immutable named rows: drafter × learner × loss × update rule. A new one is one line.

``METHODS`` are those of the main results, on the embedded pair; ``SYSTEMS`` are those of arXiv 2603.12617 in the forms
their own papers give them, the public code's variants as controls, and what lies beyond. Hyper-parameters of convex
drafters are in units of whitened features (``theory/runs/practice.py``).
"""

from dataclasses import dataclass, field, replace
from typing import Any

from theory.hints import LastGradient, MovingAverage, Zero
from theory.learner import Learner
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.hedge import Hedge
from theory.learners.last_loss import LastLoss
from theory.learners.mixture import Mixture
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.learners.repeated import Repeated
from theory.runs.practice import ADAPTER_LEARNERS, DEEP_LEARNERS, HEADS_GRID, HEADS_LEARNERS, HEADS_STEP
from theory.runs.practice import GRID as ADAPTER_GRID
from theory.runs.trace import LATER


@dataclass(frozen=True)
class Method:
    """What decodes and how it learns.

    Attributes:
        drafter: a name of ``real.drafters.DRAFTERS``, ``file.py:Class`` or a class; None decodes with the target alone.
        settings: of its constructor.
        learner: of the drafter's decision. draft: which small model stands behind an independent draft.
        start: warm-up the drafter starts from, ``specialist`` or ``generalist``; empty for none, day 0.
        loss: what ``real.drafters.own_loss.divergence_of`` takes, most often a name.
        positions: ``all``, or those where the draft was ``wrong``. anchor: of a deep drafter's loss to what is served.
        prompt_hint: this many times the gradient on the prompt is a request's hint; None leaves the learner's own.
        learn_prompt: the prompt's positions are feedback too. nu: committed tokens a round; 0 takes the serving's.
    """

    drafter: str | type | None
    learner: Learner = Frozen()
    draft: str = "specialist"
    settings: tuple[tuple[str, Any], ...] = ()
    start: str = ""
    loss: Any = "kl"
    positions: str = "all"
    anchor: float = field(default=0.0, metadata={LATER: True})
    prompt_hint: float | None = None
    learn_prompt: bool = False
    nu: int = 0

    def __str__(self) -> str:
        rest = {"start": self.start, "loss": self.loss, "positions": self.positions, "anchor": self.anchor}
        rest |= {"prompt_hint": self.prompt_hint, "learn_prompt": self.learn_prompt, "nu": self.nu}
        plain = {"start": "", "loss": "kl", "positions": "all", "anchor": 0.0, "prompt_hint": None}
        rest, plain = rest | dict(self.settings), plain | {"learn_prompt": False, "nu": 0}
        told = "".join(f", {key}={value}" for key, value in rest.items() if plain.get(key, ...) != value)
        return "the target alone" if self.drafter is None else f"{self.drafter} × {self.learner}{told}"


NAMED = "ensemble"
"""The learner whose gain is the claim of the main results; everything else is reported beside it."""

METHODS: dict[str, Method] = {
    "plain": Method(None),
    "frozen": Method("adapter"),
    "ngram": Method("ngram"),
    **{name: Method("adapter", learner) for name, learner in ADAPTER_LEARNERS.items() if name != "frozen"},
    "weights-adam": Method("weights", DEEP_LEARNERS["adam"]),
    "generalist": Method("adapter", draft="generalist"),
    "generalist-ensemble": Method("adapter", ADAPTER_LEARNERS["ensemble"], draft="generalist"),
}

_READY = Method("adapter", start="specialist")
"""The specialist, whitened offline: every method learns from the first round on, also where prompts are feedback."""

STEPS = {f"ogd-{step:g}": replace(_READY, learner=OGD(step)) for step in ADAPTER_GRID}
"""Every step size of the ensemble's experts alone: one of them is the best in hindsight."""

HINTS = {
    "ogd-prompt": replace(_READY, learner=OGD(32.0), learn_prompt=True),
    "hint-last": replace(_READY, learner=OptimisticOGD(32.0, LastGradient())),
    "hint-average": replace(_READY, learner=OptimisticOGD(32.0, MovingAverage(0.9))),
    **{
        f"hint-prompt-{scale:g}": replace(_READY, learner=OptimisticOGD(32.0, Zero()), prompt_hint=scale)
        for scale in (0.1, 0.3, 1.0)
    },
}
"""Hints at the step size of ``ogd-32``, and a learner that reads the prompt as feedback instead."""

CONTROLS = {
    "last-loss": replace(_READY, learner=Ensemble(OGD(ADAPTER_GRID), LastLoss())),
    "momentum-matched": replace(_READY, learner=Momentum(3.2, 0.9)),
}
"""What the public code has in place of the ensemble's cumulative losses and of optimism. Its bases also restart from
the merged model every round, which makes them one learner at the mean step: ``STEPS`` has those. Momentum moves as far
as ``ogd-32``."""

DEEP_NU = 64
"""Committed tokens a round of a deep drafter, whose update costs a backward pass."""
WARM_STEP = 64.0
"""OGD's step on the adapter of a draft that was whitened offline."""
HYDRA_STEP, DEEP_STEP, DEEP_GRID = 0.1, 2e-4, (1e-4, 2e-4, 4e-4)
"""Deep drafters: OGD's step on dependent heads, Adam's on the others, and Ens-EAGLE's grid, factors of 2 as in the
paper. These orders of magnitude were read, for forward KL on all positions, from what ``python -m real tune --drafter
NAME`` prints; Adam's step lies between the two best printed, and other losses and positions take the same."""
ANCHOR = 0.3
"""λ of a loss that is anchored to the draft served: of the order of the loss it is added to."""
DEEP_ENSEMBLE = Ensemble(Adam(DEEP_GRID, beta_2=0.99), Hedge(10.0), surrogate=False)
"""Ens-EAGLE: every base descends its own gradient along its own trajectory, Hedge (the paper's ε = 10) weighs by the
sums of their own losses, each taken before the update. Where losses are not convex, no linear surrogate will do."""


COPYING = ("independent", "backoff@independent", ("backoff@backoff", {"scope": "global"}))
"""Parts of a mixture that costs little: the draft, copies within a request, and those of all requests."""
MIXTURE_NU = 128
"""Of a mixture: fewer rounds cost less, and on session lose next to nothing where each moves the weights less."""


def _systems(start: str) -> dict[str, Method]:
    """The table's rows, all from drafters warmed up as ``start``."""
    adapter, heads = (Method(name, draft=start, start=start) for name in ("adapter", "heads"))
    hydra, eagle = (Method(name, draft=start, start=start, nu=DEEP_NU) for name in ("hydra", "eagle"))
    weights, mixture = Method("weights", draft=start, nu=DEEP_NU), Method("mixture", draft=start)
    with_counts = ("parts", ("independent", "ngram"))
    adam = Adam(DEEP_STEP, beta_2=0.99)
    deep_optimistic = OptimisticOGD(HYDRA_STEP, MovingAverage(0.9))
    return {
        "plain": Method(None),
        "ngram": Method("ngram"),
        # small language model, chain
        "sd": adapter,
        "osd": replace(weights, learner=adam, positions="wrong"),
        "osd-reverse-kl": replace(weights, learner=adam, positions="wrong", loss="reverse_kl"),
        "osd-jsd": replace(weights, learner=adam, positions="wrong", loss="jsd"),
        "adapter-ogd": replace(adapter, learner=OGD(WARM_STEP)),
        "adapter-optimistic": replace(adapter, learner=OptimisticOGD(WARM_STEP, Zero()), prompt_hint=0.2),
        "adapter-ensemble": replace(adapter, learner=ADAPTER_LEARNERS["ensemble"]),
        "adapter-speed": replace(adapter, learner=OGD(WARM_STEP), loss="speed"),
        # linear heads: affine, so the theorems hold
        "heads": heads,
        **{f"heads-{name}": replace(heads, learner=one) for name, one in HEADS_LEARNERS.items() if name != "frozen"},
        "heads-ogd-prompt": replace(heads, learner=HEADS_LEARNERS["ogd"], learn_prompt=True),
        "heads-optimistic-prompt": replace(heads, learner=OptimisticOGD(HEADS_STEP, Zero()), prompt_hint=0.2),
        "heads-last-loss": replace(heads, learner=Ensemble(OGD(HEADS_GRID), LastLoss())),
        # sequentially dependent heads
        "hydra": hydra,
        "osd-hydra": replace(hydra, learner=OGD(HYDRA_STEP)),
        "opt-hydra": replace(hydra, learner=deep_optimistic),
        "momentum-hydra": replace(hydra, learner=Momentum(HYDRA_STEP / 10, 0.9)),
        # feature autoregression
        "eagle": eagle,
        "osd-eagle": replace(eagle, learner=adam),
        "tv-eagle": replace(eagle, learner=adam, loss="tv"),
        "twice-eagle": replace(eagle, learner=Repeated(adam, 2)),
        "tv-twice-eagle": replace(eagle, learner=Repeated(adam, 2), loss="tv"),
        "tv-anchored-eagle": replace(eagle, learner=Repeated(adam, 2), loss="tv", anchor=ANCHOR),
        "ens-eagle": replace(eagle, learner=DEEP_ENSEMBLE),
        "last-loss-eagle": replace(eagle, learner=replace(DEEP_ENSEMBLE, meta=LastLoss(10.0))),
        "day0-eagle": replace(eagle, learner=Adam(1e-3, beta_2=0.99), start=""),
        # several drafters
        "mixture": replace(mixture, learner=Mixture(), settings=(("mode", "kl"), with_counts)),
        "routing": replace(mixture, learner=Hedge(0.2), settings=(("mode", "route"), with_counts)),
        "memory": Method("memory", draft=start),
        "copies-mixture": replace(mixture, learner=Hedge(0.1), nu=MIXTURE_NU, settings=(("parts", COPYING),)),
        "tv-mixture": replace(mixture, learner=Hedge(0.1), nu=MIXTURE_NU),
    }


SYSTEMS = _systems("generalist")
"""The systems' table, R1 (``python -m real table1``): every drafter starts as a generalist."""
SPECIALISTS = {
    f"specialist-{name}" if name not in ("plain", "ngram") else name: method
    for name, method in _systems("specialist").items()
    if name != "day0-eagle"
}
"""The same rows from drafters that have seen one domain."""

NOT_LEARNING = {
    f"{start}-{name}": replace(method, draft=start)
    for start in ("specialist", "generalist")
    for name, method in {
        "draft": Method("independent"),
        "copies": Method("backoff"),
        "fixed-mixture": Method("mixture", settings=(("parts", ("independent", "backoff@independent")),)),
    }.items()
}
"""What learns nothing from traffic: the draft itself, copies within a request, and both mixed half and half."""

ROWS = {**SYSTEMS, **SPECIALISTS, **METHODS, **STEPS, **HINTS, **CONTROLS, **NOT_LEARNING}
"""Every named row; ``plain`` and ``ngram`` are the same in all."""
