"""What a model has served, as the Python API reports it."""

from dataclasses import dataclass

from real.measure.intervals import Interval
from real.serving.feedback import Counts
from theory.checker.certificate import Certificate
from theory.runs.table import limits


@dataclass(frozen=True)
class Report:
    """What a model has served since it was loaded, and what it knows by now.

    Attributes:
        counts: tokens, steps, acceptance, over all requests. requests: how many.
        rounds: of learning, of the tenants that are still remembered, those before a ``state`` that was taken up
            included; fewer after a tenant was forgotten.
        by_position: share kept of the j-th drafted tokens that were examined.
        net: speed over plain decoding of the latest requests that were served one at a time, timed after them
            (``real/measure/beside_plain.py``); None before the first of those.
        seconds: by line of the ledger; ``total`` is all of serving.
        certificates: by comparator, of the rounds that were kept, those of one tenant; empty where no theorem holds.
        certified_tenant: whose those are, the one whose round was learned first; None if there are no others.
    """

    requests: int
    counts: Counts
    rounds: int
    by_position: tuple[float, ...]
    net: Interval | None
    seconds: dict[str, float]
    certificates: dict[str, Certificate]
    certified_tenant: str | None = None

    @property
    def tokens_per_step(self) -> float:
        """Committed tokens a target forward, the bonus included; nan before the first."""
        return self.counts.tokens / self.counts.steps if self.counts.steps else float("nan")

    @property
    def learning_share(self) -> float:
        """Of the seconds of serving."""
        return self.seconds["learn"] / self.seconds["total"] if self.seconds["total"] else float("nan")

    def __str__(self) -> str:
        total = self.seconds["total"]
        if not self.requests:
            return "nothing was served yet"
        net = "not known: no text was served alone"
        if self.net is not None:
            net = f"{limits(self.net)} of plain decoding, learning charged"
        lines = [
            f"{self.requests} requests, {self.counts.tokens} tokens in {total:.1f} s; {self.rounds} rounds learned",
            f"tokens per step    {self.tokens_per_step:.2f}",
            f"accepted by place  {' '.join(f'{share:.2f}' for share in self.by_position) or 'nothing was drafted'}",
            f"net speed          {net}",
            f"learning           {100 * self.learning_share:.1f} % of the time",
        ]
        if self.certificates and self.certified_tenant is not None:
            lines.append(f"certificate        of tenant {self.certified_tenant!r}; other tenants are not certified")
        for name, found in self.certificates.items():
            lines.append(f"certificate        regret to {name} {found.dynamic_regret:.2f} ≤ bound {found.bound:.2f}")
        return "\n".join(lines)
