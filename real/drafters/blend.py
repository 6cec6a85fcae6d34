r"""The laws of several parts at one position of n texts, mixed without being laid out: what is copied stays apart.

A part that copies says share·(its base's law) + Σ_j weight_j·token_j. Followed down to a part that copies nothing, the
*ground*, every mixture of parts is one of grounds and tokens:

    Σ_k x_k·law_k  =  Σ_g c_g·ground_g + Σ_j (x'_{k(j)}·weight_j)·token_j,      x'_b = x_b + Σ_{k on b} x'_k·share_k,

c_g being x'_g. So it takes a sum of vectors a ground, of which there are one or two, and a number a copied token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.copies import Copies, add_copies, with_copies
from real.models.device import sent


class Blend:
    """Laws of N parts at one position of n texts.

    Args:
        laws: of every part that copies nothing ``[n, V]``; of one that copies, the n copies found. A part that says
            what its base says has the very tensor of its base. bases: the place of the base of each that copies.
    """

    def __init__(self, laws: Sequence[Tensor | Sequence[Copies]], bases: Sequence[int | None]):
        self.laws, self.bases = laws, bases
        self.copiers = [k for k, law in enumerate(laws) if not isinstance(law, Tensor)]

    @classmethod
    def of(cls, laws: Tensor) -> "Blend":
        """Laws that are laid out ``[n, N, V]``."""
        return cls(laws.unbind(1), [None] * laws.shape[1])

    def mixed(self, weights: Sequence[Sequence[float]]) -> Tensor:
        """The mixture ``[n, V]`` by the weights of each text, which sum to 1; not to be written to."""
        spread = [self.spread(row, own) for row, own in enumerate(weights)]
        shares = dict[int, tuple[Tensor, list[float]]]()  # by the tensor, for parts may have the same
        for k, law in enumerate(self.laws):
            if isinstance(law, Tensor):
                _, before = shares.get(id(law), (law, [0.0] * len(spread)))
                shares[id(law)] = law, [sofar + own[k] for sofar, own in zip(before, spread, strict=True)]
        copied = self._copied(spread)
        if len(shares) == 1 and not any(copied):
            return next(law for law, _ in shares.values())
        return add_copies(_summed(list(shares.values())), copied)

    def copied(self, weights: Sequence[Sequence[float]], zeros: Tensor) -> Tensor:
        """What of the mixture is copied, added to ``zeros`` ``[n, V]``."""
        return add_copies(zeros, self._copied([self.spread(row, own) for row, own in enumerate(weights)]))

    def _copied(self, spread: Sequence[Sequence[float]]) -> list[list[tuple[Copies, float]]]:
        """Each text's copies, with what they weigh."""
        return [
            [(one, own[k]) for k in self.copiers if own[k] and len((one := self.copies(k, row)).ids)]
            for row, own in enumerate(spread)
        ]

    def spread(self, row: int, weights: Sequence[float]) -> list[float]:
        """Of one text's weights, what each part's own law or own copies get: x'."""
        own = list(weights)
        for k in reversed(self.copiers):
            base = self.bases[k]
            assert base is not None
            own[base] += own[k] * self.copies(k, row).share
        return own

    def law(self, k: int) -> Tensor:
        """The laws ``[n, V]`` of a part that copies nothing."""
        law = self.laws[k]
        assert isinstance(law, Tensor)
        return law

    def copies(self, k: int, row: int) -> Copies:
        """What a part that copies found for one text."""
        found = self.laws[k]
        assert not isinstance(found, Tensor)
        return found[row]


def laid_out(said: Sequence[tuple[Blend, int]]) -> Tensor:
    """The laws of all parts ``[m, N, V]``, of one text of each of m blends of the same parts."""
    laws = list[Tensor]()
    for k, base in enumerate(said[0][0].bases):
        if k in said[0][0].copiers:
            assert base is not None
            laws.append(with_copies(laws[base], [blend.copies(k, row) for blend, row in said]))
        else:
            laws.append(torch.cat([rows_of(blend.law(k), row) for blend, row in said]))
    return torch.stack(laws, 1)


def rows_of(laws: Tensor, row: int) -> Tensor:
    """One text's law ``[1, V]`` of ``[n, V]``; the tensor itself where there is but one."""
    return laws if len(laws) == 1 else laws[row : row + 1]


def _summed(shares: Sequence[tuple[Tensor, list[float]]]) -> Tensor:
    """Σ share·law ``[n, V]``, the laws ``[n, V]``, a share for each of n texts; a new tensor."""
    total = None
    for law, own in shares:
        if len(own) == 1:
            total = law * own[0] if total is None else total.add_(law, alpha=own[0])
        else:
            each = sent(law.new_tensor(own, device="cpu"), law.device)[:, None]
            total = law * each if total is None else total.addcmul_(law, each)
    assert total is not None
    return total
