"""How requests are decoded, as one frozen row of settings. Nothing here imports torch: the command lines read it.

A field with a help text is an option of every command that serves (``real/cli/options.py``); one without is measured,
not given.
"""

from dataclasses import dataclass, field

from real.models.sampling import Sampling
from theory.require import is_number, is_whole
from theory.speculation.draft_length import check_costs

RULES = ("token", "block", "gumbel")
"""How a sampled chain is verified (``theory/speculation/``); at temperature 0 all are the greedy rule. Under the last
the seed fixes the text, whatever is drafted."""


@dataclass(frozen=True)
class Serving:
    """How requests are decoded and when the draft learns.

    Attributes:
        sampling: of target and draft alike.
        costs: of steps that draft 0, 1, … gamma tokens, in plain steps (``real/measure/profile.py``). With them every
            step's length is chosen by cost (``theory/speculation/draft_length.py``), gamma being the longest; without
            them every step drafts gamma tokens.
        switch_cost: what the first step that drafts after a plain one costs besides, where lengths are chosen.
        lower_costs: the costs at each level below the last of a drafter that has levels, level 0 first; with them parts
            rest where they gain less than they cost (``real/serving/control.py``).
        way_costs: of a drafter that copies, two rows more: its steps where nothing is found to copy, and those that
            copies alone draft; with them a step runs no draft model where copies alone are faster.
    """

    gamma: int = field(default=4, metadata={"help": "Tokens drafted a step."})
    nu: int = field(default=16, metadata={"help": "Committed tokens a round."})
    sampling: Sampling = Sampling()
    max_new_tokens: int = field(default=128, metadata={"help": "New tokens of a request.", "also": ("--new",)})
    law_top_k: int = field(
        default=0, metadata={"help": "The learner sees so many tokens of the target's law, renormalised; 0 shows all."}
    )
    burn_in: int = field(
        default=960,
        metadata={"help": "Committed tokens, rounded up to whole rounds, that only set the adapter's whitening."},
    )
    rule: str = field(default="token", metadata={"help": "Verification of sampled chains: token, block or gumbel."})
    confidence: float = field(
        default=0.0, metadata={"help": "End a draft at the first token less probable than this; 0 never does."}
    )
    overlap: bool = field(default=False, metadata={"help": "Learn beside the next round, on a thread."})
    costs: tuple[float, ...] = ()
    switch_cost: float = 0.0
    lower_costs: tuple[tuple[float, ...], ...] = ()
    way_costs: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self):
        for name in ("gamma", "nu", "max_new_tokens", "law_top_k", "burn_in"):
            if not is_whole(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a whole number")
        for name in ("confidence", "switch_cost"):
            if not is_number(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a number")
        if self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r}: a step drafts at least one token; plain decoding is run beside it")
        if self.nu < self.gamma + 1:
            raise ValueError(f"nu={self.nu!r}: a round must hold a whole step, at least gamma + 1 = {self.gamma + 1}")
        if not self.switch_cost >= 0:
            raise ValueError(f"switch_cost={self.switch_cost!r}: must be at least 0, in plain steps")
        each = [("costs", self.costs)]
        for name, of_which in (("lower_costs", "level but the last"), ("way_costs", "of the two ways")):
            rows = getattr(self, name)
            if not isinstance(rows, tuple | list):
                raise ValueError(f"{name}={rows!r}: must be a tuple of costs, one for each {of_which}")
            each += [(f"{name}[{i}]", costs) for i, costs in enumerate(rows)]
        for name, costs in each:
            if not (isinstance(costs, tuple | list) and all(map(is_number, costs))):
                raise ValueError(f"{name}={costs!r}: must be a tuple of numbers, in plain steps")
            if (costs or name != "costs") and len(costs) != self.gamma + 1:
                raise ValueError(
                    f"{name}={costs!r}: needs one entry for each of 0 … gamma = {self.gamma} drafted tokens; profile it"
                )
            if costs:
                check_costs(costs, name)
        for name in ("lower_costs", "way_costs"):
            if getattr(self, name) and not self.costs:
                raise ValueError(f"{name}={getattr(self, name)!r}: go with costs; give both, measured together")
        if len(self.way_costs) not in (0, 2):
            raise ValueError(f"way_costs={self.way_costs!r}: must be two, where nothing is found and of copies alone")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens!r}: must be at least 1")
        if self.law_top_k < 0:
            raise ValueError(f"law_top_k={self.law_top_k!r}: must be at least 0; 0 keeps the whole law")
        if self.burn_in < 1:
            raise ValueError(f"burn_in={self.burn_in!r}: must be at least 1, or there is nothing to whiten by")
        if not isinstance(self.overlap, bool):
            raise ValueError(f"overlap={self.overlap!r}: must be True or False")
        if self.rule not in RULES:
            raise ValueError(f"rule={self.rule!r}: must be one of {', '.join(RULES)}")
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence={self.confidence!r}: must be in [0, 1); 0 drafts gamma tokens every step")

    @property
    def burn_in_rounds(self) -> int:
        """Whole rounds of burn-in."""
        return -(-self.burn_in // self.nu)
