r"""How many tokens to draft: the best length by the speed law, and a promise that speculation never costs much.

Costs are in plain target steps: ``costs[γ]`` of a step that drafts γ tokens, ``costs[0]`` = 1, and κ more for the
first one that drafts after a plain one,

    c_t = costs[γ_t] + κ·1{γ_t > 0 = γ_{t−1}},   γ_0 = 0.

With the rejection probability ε estimated from the past, the speed law asks for the γ that maximises E(ε, γ)/costs[γ],
as if all steps were alike, γ = 0 being plain decoding. An estimate may be wrong, and plain steps show nothing of ε. So
the length is conservative (Wu et al. 2016): speculation draws on an account of at most B plain steps,

    step t may draft γ_t only if  c_t − 1 ≤ b_t,       b_{t+1} = min{B, b_t + (1 + δ)·tokens_t − c_t},   b_1 = B,

and where the law asks for 0 but the account has room, one token is drafted to look again. A step commits at least one
token, so b_t ≥ 0, and on every path, over every stretch of steps s … t, whatever the draft and the text,

    Σ c_t  ≤  (1 + δ)·Σ tokens_t + B :

time in units of plain decoding is at most 1 + δ times the tokens, but for B steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple


class State(NamedTuple):
    """Discounted counts of the past, the account in plain steps, and whether the last step drafted (1) or not (0)."""

    verified: float
    rejected: float
    account: float
    drafting: float


@dataclass(frozen=True)
class DraftLength:
    """Chooses γ before every step from the steps before it, so that the text stays lossless.

    Attributes:
        costs: of a step that drafts 0, 1, … tokens, in plain steps; ``costs[0]`` is 1, and they do not fall: a step may
            draft fewer tokens than it was allowed.
        switch_cost: κ ≥ 0. share: δ ≥ 0. account: B; lengths that cost more than B + 1 are never chosen,
            nor, after a plain step, those above B + 1 − κ.
        memory: verified positions after which an observation counts 1/e; at least 1.
        rejected, verified: the counts that the estimate of ε starts from.

    Raises:
        ValueError: for costs that are not positive, fall or do not start with 1, and settings out of range.
    """

    costs: tuple[float, ...]
    switch_cost: float = 0.0
    share: float = 0.005
    account: float = 8.0
    memory: float = 64.0
    rejected: float = 1.0
    verified: float = 3.0

    def __post_init__(self):
        check_costs(self.costs)
        for name, least in (("switch_cost", 0), ("share", 0), ("account", 0), ("memory", 1)):
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"{name}={value!r}: must be at least {least}")
        if not 0 < self.rejected < self.verified:
            raise ValueError(
                f"rejected={self.rejected!r}, verified={self.verified!r}: some, but not all, must be rejected"
            )

    def init(self) -> State:
        """Before the first step."""
        return State(self.verified, self.rejected, self.account, 0.0)

    def cost(self, state: State, gamma: int) -> float:
        """c_t of the next step if it drafts ``gamma``, in plain steps."""
        return self.costs[gamma] + (self.switch_cost if gamma and not state.drafting else 0.0)

    def speed(self, state: State) -> float:
        """Tokens in a plain step's time, by the speed law at the best length, 0 among them; so at least 1."""
        return _fastest(self.costs, state.rejected / state.verified)[1]

    def choose(self, state: State) -> int:
        """γ of the next step."""
        gamma = max(1, _fastest(self.costs, state.rejected / state.verified)[0])
        while self.cost(state, gamma) - 1 > state.account:
            gamma -= 1
        return gamma

    def observe(self, state: State, gamma: int, tokens: float, verified: int, rejected: int) -> State:
        """After a step that drafted ``gamma``, no more than was chosen, and committed ``tokens`` ≥ 1; of ``verified``
        positions examined ``rejected`` were. Of several texts in one step: the longest draft, the mean of the tokens
        (plainly decoded, each has one), and all positions."""
        keep = (1 - 1 / self.memory) ** verified
        account = state.account + (1 + self.share) * tokens - self.cost(state, gamma)
        account = min(self.account, max(0.0, account))  # not below 0 but for rounding
        return State(keep * state.verified + verified, keep * state.rejected + rejected, account, float(gamma > 0))


def check_costs(costs: Sequence[float], name: str = "costs") -> None:
    """ValueError for what cannot be ``costs`` of ``DraftLength``, called by this name."""
    if len(costs) < 2 or costs[0] != 1 or not all(a <= b for a, b in pairwise(costs)):
        raise ValueError(f"{name}={costs!r}: of 0, 1, … drafted tokens; the first is 1, and they must not fall")


@lru_cache(16)
def _fastest(costs: tuple[float, ...], epsilon: float) -> tuple[int, float]:
    """γ of the most tokens a cost by the speed law, the least of equals, and these.

    Asked before every step, so it is plain Python: ``tokens_per_step``, one power of 1 − ε after the other.
    """
    best, fastest, tokens, power = 0, 0.0, 0.0, 1.0
    for gamma, cost in enumerate(costs):
        tokens, power = tokens + power, power * (1 - epsilon)
        if tokens / cost > fastest:
            best, fastest = gamma, tokens / cost
    return best, fastest
