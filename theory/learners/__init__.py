"""Every learner by name: the one table that tests, simulator and decoder iterate over."""

from theory.learner import Learner
from theory.learners.adahedge import AdaHedge
from theory.learners.adam import Adam
from theory.learners.coin_betting import CoinBetting
from theory.learners.ensemble import Ensemble
from theory.learners.fixed_share import FixedShare
from theory.learners.frozen import Frozen
from theory.learners.hedge import Hedge
from theory.learners.last_loss import LastLoss
from theory.learners.mixture import Mixture
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.learners.optimistic_hedge import OptimisticHedge
from theory.learners.sword import Sword
from theory.learners.tracking import Tracking

LEARNERS: dict[str, type[Learner]] = {
    "frozen": Frozen,
    "ogd": OGD,
    "optimistic": OptimisticOGD,
    "hedge": Hedge,
    "adahedge": AdaHedge,
    "fixed_share": FixedShare,
    "optimistic_hedge": OptimisticHedge,
    "mixture": Mixture,
    "last_loss": LastLoss,
    "ensemble": Ensemble,
    "sword": Sword,
    "tracking": Tracking,
    "coin_betting": CoinBetting,
    "momentum": Momentum,
    "adam": Adam,
}
