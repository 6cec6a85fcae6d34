"""A recording that is small enough to be carried elsewhere, and how much of the run it leaves out.

Features are float16, the readout is a file of its own (``theory/runs/readout.py``), and the mass of all tokens beyond
the ``law_top_k`` likeliest is noted. Made again on one machine, the bytes are the same: nothing is compressed, and what
tells when and where it was made lies in a JSON file beside.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from real.drafters import Drafter, Piece
from real.drafters.objective import Objective
from real.serving.rounds import cut
from real.serving.settings import Serving
from theory.runs.result import save_result
from theory.speculation.adapter import whitening

KIND = "portable-recording"


class Losses:
    """The mean loss of a draft at rest: as it was served, on laws cut to ``law_top_k``, and on rounded features too."""

    def __init__(self, drafter: Drafter, serving: Serving):
        self.drafter, self.top_k = drafter, serving.law_top_k
        self.objective = Objective(temperature=serving.sampling.temperature or 1.0)
        self._sums, self._count = [0.0, 0.0, 0.0], 0

    def add(self, piece: Piece) -> None:
        """A piece with its whole laws."""
        short = replace(piece, target_probs=cut(piece.target_probs, self.top_k))
        for i, one in enumerate((piece, short, rounded(short))):
            for loss in self.drafter.losses([one], self.objective):
                self._sums[i] += (piece.stop - piece.start) * float(loss.value(self.drafter.x))
        self._count += piece.stop - piece.start

    @property
    def means(self) -> dict[str, float]:
        """All three."""
        names = ("loss", "loss_top_k", "loss_portable")
        return {name: total / self._count for name, total in zip(names, self._sums, strict=True)}


def rounded(piece: Piece) -> Piece:
    """The piece with its features and states as float16 holds them."""
    rows = {name: getattr(piece, name) for name in ("features", "hidden")}
    return replace(piece, **{name: None if part is None else part.half().to(part.dtype) for name, part in rows.items()})


def rest(laws: Tensor, top: Tensor) -> np.ndarray:
    """The share of laws ``[n, V]`` beyond their tokens ``top`` ``[n, K]``: float64 ``[n]``, summed by itself."""
    wide = laws.double()
    beyond, kept = wide.scatter(-1, top, 0.0).sum(-1), wide.gather(-1, top).sum(-1)
    return (beyond / (beyond + kept)).cpu().numpy()


def halved(arrays: dict[str, np.ndarray], burn_in: int, ridge: float) -> tuple[dict[str, np.ndarray], float]:
    """The arrays with float16 features and the whitener of these, and the largest error of a feature vector.

    The error is relative, ‖rounded − h‖/‖h‖: at most 2⁻¹¹ unless entries are tiny.

    Raises:
        ValueError: for features that float16 cannot hold.
    """
    features, largest = arrays["features"], float(np.abs(arrays["features"]).max())
    if not largest <= float(np.finfo(np.float16).max):
        raise ValueError(
            f"features: the largest is {largest:g}, and float16 holds {np.finfo(np.float16).max:g} at most; record the "
            "run whole, not portable"
        )
    short = features.astype(np.float16)
    wide = short.astype(np.float64)
    size = np.maximum(np.linalg.norm(features.astype(np.float64), axis=-1), np.finfo(np.float64).tiny)
    error = float((np.linalg.norm(wide - features, axis=-1) / size).max())
    whitener = {"whitener": whitening(wide[:burn_in], ridge)} if burn_in else {}
    return arrays | {"features": short} | whitener, error


def stated(beyond: Sequence[float] | np.ndarray, error: float, losses: Losses) -> dict[str, float]:
    """What the recording leaves out, for its header."""
    return {
        "feature_error": error,
        "rest_mean": float(np.mean(beyond)),
        "rest_max": float(np.max(beyond)),
    } | losses.means


def save_beside(path: Path, header: dict[str, Any], device: str) -> None:
    """The JSON file that tells a recording's SHA-256, its size in bytes and where it was made."""
    with path.open("rb") as file:
        content = {"sha256": file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
    told = {name: header[name] for name in ("digest", "readout", "stated")}
    save_result(path.with_suffix(".json"), KIND, content | told, device)
