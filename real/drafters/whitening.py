"""The whitening matrix of a convex drafter's features: frozen after a burn-in, or brought by a warm-up."""

import torch
from torch import Tensor

from theory.speculation.adapter import readout, whitening


def factors(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Q ``[V, d]`` and R⁻¹ ``[d, d]`` of output embeddings W = Q·R ``[V, d]``, float32.

    Raises:
        ValueError: if columns of W depend on each other, so that no change of the hidden state has a unique image.
    """
    q, r = readout(weight.double())
    try:
        inverse = torch.linalg.inv(r)
    except RuntimeError:  # torch.linalg.LinAlgError is one
        raise ValueError(
            f"output embeddings {tuple(weight.shape)}: their columns depend on each other, so they have no adapter; "
            "train another drafter, such as weights"
        ) from None
    return q.float(), inverse.float()


class Whitening:
    """Collects features until there are ``burn_in`` of them, then holds M of ``theory.speculation.adapter.whitening``.

    Args:
        width: d of the features. burn_in: positions to collect; later ones are ignored.
        ridge: relative to the mean eigenvalue, so that directions hardly seen stay quiet.

    Attributes:
        matrix: M float32 ``[d, d]``, 1/√d until the burn-in ends. ready: whether it has ended.
    """

    def __init__(self, width: int, burn_in: int, ridge: float, device: torch.device):
        if burn_in < 1 or not ridge > 0:
            raise ValueError(f"burn_in={burn_in!r}, ridge={ridge!r}: burn_in must be at least 1 and ridge positive")
        self.burn_in, self.ridge, self.ready = burn_in, ridge, False
        self.matrix = torch.eye(width, device=device) / width**0.5
        self._collected = torch.zeros(0, width, dtype=torch.float64, device=device)

    @property
    def collected(self) -> Tensor:
        """Features of the burn-in so far, float64 ``[n, d]``; none once it has ended."""
        return self._collected

    def absorb(self, rows: Tensor) -> None:
        """Collect features ``[n, d]``; the call that brings the count to ``burn_in`` freezes the matrix."""
        if self.ready:
            return
        self._collected = torch.cat([self._collected, rows.double()])[: self.burn_in]
        if len(self._collected) == self.burn_in:
            self.matrix, self.ready = whitening(self._collected, self.ridge).float(), True
            self._collected = self._collected[:0].clone()

    def state(self) -> dict[str, Tensor]:
        """The matrix, or the burn-in so far, as named tensors."""
        tensors = {"ready": torch.tensor(self.ready), "whitening": self.matrix, "burned": self._collected}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    @staticmethod
    def textless(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A ``state`` whose burn-in begins again, if it has not ended.

        Any statistic of fewer features than the width gives away their span, from which the text can be read.
        """
        return state | {"burned": state["burned"][:0].clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        self.ready = bool(state["ready"])
        self.matrix = state["whitening"].to(self.matrix)
        self._collected = state["burned"].to(self._collected)
