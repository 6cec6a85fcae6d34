r"""Whether parts of a draft are worth what they cost: switched on by what the laws say they gain, probed on an account.

A step that drafts γ tokens costs c_t plain steps, of which the parts cost e_t (0 where they rest). Verification gives
the target's law at every position, and the drafter has its law with the parts and without; so what the parts gain is
known without noise. By Theorem 4 (theory/README.md) N tokens, R of them rejections, take at most (N+γR)/(γ+1) steps:
a rejection costs γ/(γ + 1) steps. So with Δ_t = Σ (TV without the parts − TV with them) over the step's positions

    gain_t = γ/(γ + 1)·c_t·Δ_t,        Δ_t ≥ −(γ + 1),

in plain steps. The parts may spend what they have gained, a share δ of all time, and B plain steps in advance:

    on in step t only if  e_t + γ·c_t ≤ b_t,      b_{t+1} = min{B, b_t + δ·c_t + gain_t − e_t},   b_1 = B.

A step loses at most e_t + γ·c_t, so b_t ≥ 0, and on every path, over every stretch of steps s … t, whatever the draft
and the text,

    Σ e_i  ≤  Σ (δ·c_i + gain_i) + B.

No estimate enters. Where the parts gain more than they cost they stay on; where they do not, they are tried as often as
δ pays for, and the first step that gains again keeps them on.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Worth:
    """Switches parts on and off, before every step from the steps before it, so that the text stays lossless.

    Attributes:
        share: δ ≥ 0, of the time. account: B ≥ 0, in plain steps; parts whose worst step costs more are never on, so
            that long drafts ask for more of it.

    Raises:
        ValueError: for settings out of range.
    """

    share: float = 0.005
    account: float = 16.0

    def __post_init__(self):
        for name in ("share", "account"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value!r}: must be finite and at least 0")

    def init(self) -> float:
        """b before the first step."""
        return self.account

    def on(self, balance: float, gamma: int, cost: float, extra: float) -> bool:
        """Whether the parts may draft in the next step, of γ tokens; it costs ``cost`` then, ``extra`` for them."""
        return extra + gamma * cost <= balance

    def observe(self, balance: float, gamma: int, cost: float, extra: float = 0.0, less: float = 0.0) -> float:
        """b after a step: ``less`` is Δ, by how much the parts' total variations were smaller; 0 where they rested."""
        left = balance + self.share * cost + gain(gamma, cost, less) - extra
        return min(self.account, max(0.0, left))  # not below 0 but for rounding


def gain(gamma: int, cost: float, less: float) -> float:
    """Plain steps saved by ``less`` fewer expected rejections, in steps of γ tokens at ``cost``."""
    return gamma / (gamma + 1) * cost * less
