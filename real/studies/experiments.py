"""Experiments as immutable named rows: which systems are compared, on what stream, how it is served.

Hyper-parameters of the adapter's learners are those of ``theory/runs/practice.py``, fixed on the stream ``TUNING``,
whose shifted domain no reported result uses.
"""

from dataclasses import dataclass

from real.models.sampling import Sampling
from real.serving.settings import Serving


@dataclass(frozen=True)
class Experiment:
    """Methods served side by side on one stream, once per seed.

    ``family`` is the embedded target's; with ``certify`` every run that a theorem covers ends with its certificate.
    ``by_cost``: every system's draft lengths are chosen by its own costs, measured first. ``compiled``: the models are.
    """

    schedule: str
    methods: tuple[str, ...]
    serving: Serving = Serving()
    seeds: tuple[int, ...] = (0,)
    family: str = "qwen3"
    certify: bool = False
    by_cost: bool = False
    compiled: bool = False


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
