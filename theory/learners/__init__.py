"""Every learner by name: the one table that tests, simulator and decoder iterate over."""

from theory.learner import Learner
from theory.learners.adahedge import AdaHedge
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.frozen import Frozen
from theory.learners.hedge import Hedge
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD

LEARNERS: dict[str, type[Learner]] = {
    "frozen": Frozen,
    "ogd": OGD,
    "optimistic": OptimisticOGD,
    "hedge": Hedge,
    "adahedge": AdaHedge,
    "ensemble": Ensemble,
    "momentum": Momentum,
    "adam": Adam,
}
