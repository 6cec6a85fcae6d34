"""The game, its players and its theorems: what the simulator and the decoder share.

Nothing here imports torch, jax, transformers or matplotlib; every function takes numpy or torch arrays alike.

    >>> import numpy as np
    >>> import theory
    >>> learner = theory.OGD(step_size=0.5, domain=theory.Ball(1.0))
    >>> state = learner.init(np.array([1.0, 0.0]))
    >>> for slope in ([1.0, 0.0], [1.0, 0.0]):
    ...     x_t = learner.predict(state)                                      # before the loss exists
    ...     state = learner.update(state, theory.Linear(np.array(slope)))     # the loss is revealed as a function
    >>> learner.predict(state)
    array([0., 0.])
    >>> float(learner.bound(state, theory.bounds.comparator_energy(diameter=2.0, path_length=0.0)))
    4.5

A learner of your own is a frozen dataclass with three methods (``Learner``); ``theory.check`` tries its laws, and
looks for a game that breaks its bound. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from theory.lazy import lazily

if TYPE_CHECKING:
    from theory import bounds as bounds
    from theory import regret as regret
    from theory import step_size as step_size
    from theory.arrays import Array as Array
    from theory.checker.certificate import Certificate as Certificate
    from theory.checker.certificate import Recorder as Recorder
    from theory.checker.claims import Played as Played
    from theory.checker.report import Report as Report
    from theory.checker.trial import assert_learner as assert_learner
    from theory.checker.trial import check as check
    from theory.domain import Ball as Ball
    from theory.domain import Box as Box
    from theory.domain import Domain as Domain
    from theory.domain import Free as Free
    from theory.domain import Simplex as Simplex
    from theory.hints import LastGradient as LastGradient
    from theory.hints import MovingAverage as MovingAverage
    from theory.hints import Zero as Zero
    from theory.learner import Learner as Learner
    from theory.learner import Terms as Terms
    from theory.learners import LEARNERS as LEARNERS
    from theory.learners import OGD as OGD
    from theory.learners import AdaHedge as AdaHedge
    from theory.learners import Adam as Adam
    from theory.learners import CoinBetting as CoinBetting
    from theory.learners import Ensemble as Ensemble
    from theory.learners import FixedShare as FixedShare
    from theory.learners import Frozen as Frozen
    from theory.learners import Hedge as Hedge
    from theory.learners import LastLoss as LastLoss
    from theory.learners import Mixture as Mixture
    from theory.learners import Momentum as Momentum
    from theory.learners import OptimisticHedge as OptimisticHedge
    from theory.learners import OptimisticOGD as OptimisticOGD
    from theory.learners import Sword as Sword
    from theory.learners import Tracking as Tracking
    from theory.learners.chunked import Chunked as Chunked
    from theory.learners.delayed import Delayed as Delayed
    from theory.learners.repeated import Repeated as Repeated
    from theory.loss import Blocks as Blocks
    from theory.loss import Linear as Linear
    from theory.loss import Loss as Loss
    from theory.loss import MixtureKL as MixtureKL
    from theory.loss import MixtureTV as MixtureTV
    from theory.loss import Preference as Preference
    from theory.loss import Quadratic as Quadratic
    from theory.loss import SoftmaxKL as SoftmaxKL
    from theory.problem import Problem as Problem
    from theory.runs.choose import make_learner as make_learner
    from theory.runs.trace import Trace as Trace
    from theory.step_size import AdaGradNorm as AdaGradNorm
    from theory.step_size import InverseSqrt as InverseSqrt
    from theory.step_size import SelfConfident as SelfConfident

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
