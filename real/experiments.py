"""Methods and streams as immutable named rows: what is compared, on what, with which hyper-parameters.

Hyper-parameters of the adapter's learners are those of ``theory/practice.py``, fixed on the stream ``TUNING``, whose
shifted domain no reported result uses; those of ``WEIGHTS_LEARNERS`` are customary values, not tuned.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from real.drafters import Drafter, make_drafter
from real.models import Pair, load_model, load_pair
from real.online import Serving
from real.sampling import Sampling
from real.streams import ASSETS
from theory.learner import Learner
from theory.learners.adam import Adam
from theory.learners.frozen import Frozen
from theory.practice import ADAPTER_LEARNERS

WEIGHTS_LEARNERS: dict[str, Learner] = {"adam": Adam(1e-3), "frozen": Frozen()}
"""Learners of all weights of a draft: not convex, no bound."""

NAMED = "ensemble"
"""The learner whose gain is the claim; everything else is reported beside it."""


@dataclass(frozen=True)
class Method:
    """What decodes: a drafter (None: the target alone) on one of the shipped drafts, and a learner."""

    drafter: str | None
    learner: Learner = Frozen()
    draft: str = "specialist"


METHODS: dict[str, Method] = {
    "plain": Method(None),
    "frozen": Method("adapter"),
    "ngram": Method("ngram"),
    **{name: Method("adapter", learner) for name, learner in ADAPTER_LEARNERS.items() if name != "frozen"},
    "weights-adam": Method("weights", WEIGHTS_LEARNERS["adam"]),
    "generalist": Method("adapter", draft="generalist"),
    "generalist-ensemble": Method("adapter", ADAPTER_LEARNERS["ensemble"], draft="generalist"),
}


@dataclass(frozen=True)
class Experiment:
    """Methods served side by side on one stream, once per seed."""

    schedule: str
    methods: tuple[str, ...]
    serving: Serving = Serving()
    seeds: tuple[int, ...] = (0,)


FULL = ("plain", "frozen", "ngram", "ogd", "optimistic", "ensemble", "adam", "generalist")
GREEDY = Serving(sampling=Sampling(temperature=0.0))

SHIFT = "prose:40,c:68,prose:12"
EXPERIMENTS: dict[str, Experiment] = {
    "demo": Experiment("prose:22,c:46", FULL),
    "sql": Experiment("prose:40,sql:110,prose:12", FULL, seeds=(1, 2, 3)),
    "c": Experiment(SHIFT, FULL, seeds=(1, 2, 3)),
    "python": Experiment("prose:40,python:68,prose:12", FULL),
    "greedy": Experiment(SHIFT, FULL, GREEDY),
    "practice": Experiment(SHIFT, ("plain", "frozen", "momentum", "generalist", "generalist-ensemble")),
    "weights": Experiment(SHIFT, ("plain", "frozen", "weights-adam"), Serving(nu=32)),
}
"""``make results`` runs all but the demo; the first of them that is there is ``real`` in summary.json.

``real/assets/PROVENANCE.json`` says how much a draft could win on each shift, as the generalist's alpha minus the
specialist's: sql, the domain that is generated, has the widest gap of all; c has the widest and python the narrowest of
those that people wrote.
"""

TUNING = "prose:20,session:50"
"""The stream on which hyper-parameters were fixed."""


class Models:
    """The target and its drafts, each loaded once."""

    def __init__(self, target: str | Path = "", draft: str | Path = "", dtype: str = "float32", device: str = "cpu"):
        """By default the embedded target and specialist; ``draft`` stands for ``specialist`` if given."""
        self.target, self.dtype, self.device = str(target or ASSETS / "target"), dtype, device
        self.chat = None if target else False  # the embedded target continues text, it was not trained to chat
        self.drafts = {"specialist": str(draft or ASSETS / "specialist"), "generalist": str(ASSETS / "generalist")}
        self.pairs = {"specialist": load_pair(self.target, self.drafts["specialist"], dtype, device)}

    @property
    def pair(self) -> Pair:
        """The target with its first draft."""
        return self.pairs["specialist"]

    def pair_of(self, method: Method) -> Pair:
        """The target with the method's draft."""
        if method.draft not in self.pairs:
            draft = load_model(self.drafts[method.draft], self.dtype, self.device, "draft")
            self.pairs[method.draft] = replace(self.pair, draft=draft)
        return self.pairs[method.draft]

    def drafter(self, method: Method, serving: Serving) -> Drafter | None:
        """A fresh drafter for the method."""
        if method.drafter is None:
            return None
        settings = {"burn_in": serving.burn_in_rounds * serving.nu} if method.drafter == "adapter" else {}
        return make_drafter(method.drafter, self.pair_of(method), **settings)

    @property
    def names(self) -> dict[str, str]:
        """What the models are, without paths of this machine: folder or hub names."""
        return {"target": _name(self.target), **{key: _name(path) for key, path in self.drafts.items()}}


def _name(path: str) -> str:
    return Path(path).name if Path(path).is_dir() else path
