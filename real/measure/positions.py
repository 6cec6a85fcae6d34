"""Acceptance by position of a draft: how often the j-th token was examined, and how often it was kept."""

from dataclasses import dataclass, field


@dataclass
class Positions:
    """How often the j-th drafted token of a step was examined by verification, and how often it was accepted."""

    examined: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    def add(self, examined: int, accepted: int) -> None:
        """Count one step, which examined and accepted so many of its first tokens."""
        for counts, reached in ((self.examined, examined), (self.accepted, accepted)):
            counts.extend([0] * (reached - len(counts)))
            counts[:reached] = [count + 1 for count in counts[:reached]]

    def rows(self) -> list[dict[str, float]]:
        """Per position from 1: counts and the share accepted."""
        accepted = self.accepted + [0] * (len(self.examined) - len(self.accepted))
        pairs = zip(self.examined, accepted, strict=True)
        return [
            {"position": j, "examined": seen, "accepted": kept, "share": kept / seen}
            for j, (seen, kept) in enumerate(pairs, start=1)
        ]
