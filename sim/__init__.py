"""The simulator: the game played against synthetic streams, where regret and acceptance are known exactly.

    >>> import sim
    >>> trace = sim.play("optimistic", sim.Adversarial(horizon=200), copies=2)
    >>> regret, bound = (trace.columns[name][-1].max() for name in ("dynamic_regret", "bound"))
    >>> bool(regret <= bound)
    True

``sim.play("ogd", "drift/P8")`` plays a named stream (``sim.ENVIRONMENTS``). An environment of your own is an
``Environment``, whose ``start`` draws an ``Episode``. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from theory.lazy import lazily

if TYPE_CHECKING:
    from sim.environments.adversarial import Adversarial as Adversarial
    from sim.environments.adversarial import Alternating as Alternating
    from sim.environments.base import Environment as Environment
    from sim.environments.base import Episode as Episode
    from sim.environments.drafts import Drafts as Drafts
    from sim.environments.drafts import SureTokens as SureTokens
    from sim.environments.drift import Drift as Drift
    from sim.environments.drift import Periodic as Periodic
    from sim.environments.drift import RandomWalk as RandomWalk
    from sim.environments.experts import Experts as Experts
    from sim.environments.stationary import Stationary as Stationary
    from sim.environments.switching import Bursts as Bursts
    from sim.environments.switching import Switching as Switching
    from sim.environments.tokens import Tokens as Tokens
    from sim.environments.tracking import Tracking as Tracking
    from sim.environments.turning import Turning as Turning
    from sim.experiments import ENVIRONMENTS as ENVIRONMENTS
    from sim.experiments import EXPERIMENTS as EXPERIMENTS
    from sim.experiments import play as play
    from sim.games import grid as grid
    from sim.statistics import paired as paired
    from sim.statistics import rates as rates
    from sim.statistics import summary as summary
    from sim.tidy import Tidy as Tidy

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
