"""A recording of a frozen run of the decoder: reading it and holding it against its contract.

The contract is stated in ``sim/environments/replay.py``.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from theory.problem import Problem
from theory.require import is_whole
from theory.runs.readout import load_readout
from theory.speculation.adapter import adapter_problem
from theory.speculation.gumbel_rule import key, noise

FORMAT = "onlinespec-recording-1"
SHAPES = {
    "features": "PHd",
    "head": "Vd",
    "whitener": "dd",
    "token": "P",
    "token_prob": "P",
    "law_index": "PK",
    "law_prob": "PK",
    "prompt": "P",
    "segment": "P",
}
SCALARS = ("digest", "gamma", "nu", "temperature", "top_k", "top_p", "burn_in_rounds", "radius")


@dataclass(frozen=True, eq=False)
class Recording:
    """The arrays and the header of one recorded run; see the module for their meaning. Floating arrays are float64.

    Features are ``[P, H, d]`` whatever the drafter: an adapter is one head.
    """

    features: np.ndarray
    head: np.ndarray
    whitener: np.ndarray
    token: np.ndarray
    token_prob: np.ndarray
    law_index: np.ndarray
    law_prob: np.ndarray
    prompt: np.ndarray
    segment: np.ndarray
    x_1: np.ndarray
    place: np.ndarray
    header: dict[str, Any]

    @classmethod
    def load(cls, path: Path | str) -> "Recording":
        """Read and check a recording.

        Raises:
            FileNotFoundError: if there is none, or a portable one lies without its readout.
            ValueError: if the file is damaged or breaks the contract, with the array, what it holds and the rule.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no recording at {path}: make one with `python -m real record --out {path}`")
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header", "{}")))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a readable recording ({error}); record the run again") from None
        if "readout" in header:
            arrays["head"] = load_readout(path.parent, header["readout"])
        if "features" in arrays and arrays["features"].ndim == 2:
            arrays["features"] = arrays["features"][:, None]
        check_recording(path, arrays, header)
        kept = {name: arrays[name] for name in SHAPES}
        heads, width = kept["features"].shape[1:]
        kept["x_1"] = arrays.get("x_1", np.zeros(heads * width**2))
        kept["place"] = arrays.get("place", np.zeros(0, dtype=int))
        kept = {name: a.astype(np.float64 if a.dtype.kind == "f" else np.int64) for name, a in kept.items()}
        return cls(**kept, header=header)

    @property
    def digest(self) -> str:
        """What tells it from other recordings: settings and committed text, nothing else."""
        return self.header["digest"]

    @property
    def greedy(self) -> bool:
        """Whether it was recorded at temperature 0."""
        return self.header["temperature"] == 0

    @property
    def seeded(self) -> bool:
        """Whether it was sampled by the Gumbel rule, so that its seed tells the noise."""
        return self.header.get("rule") == "gumbel"

    @property
    def decided(self) -> bool:
        """Whether the text decides what a draft has accepted, and nothing is left to draw."""
        return self.greedy or self.seeded

    @property
    def temperature(self) -> float:
        """The temperature in the learner's loss: that of sampling, or 1 where decoding is greedy, with hard labels."""
        return float(self.header["temperature"]) or 1.0

    @property
    def nu(self) -> int:
        """Committed tokens a round."""
        return int(self.header["nu"])

    @property
    def weights(self) -> tuple[float, ...]:
        """The heads' weights in the learner's loss; they sum to 1."""
        weights = self.header.get("weights", [1.0])
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def starts(self) -> np.ndarray:
        """Whether a prompt begins at each position, bool ``[P]``."""
        return np.diff(self.prompt, prepend=self.prompt[0] - 1) != 0

    @property
    def problem(self) -> Problem:
        """What the learner is tuned with, in the decoder too."""
        horizon = max(len(self.token) // self.nu - int(self.header["burn_in_rounds"]), 1)
        return adapter_problem(self.head.shape[1], horizon, self.header["radius"], self.temperature, self.weights)

    def law(self, part: slice) -> np.ndarray:
        """Recorded target laws of these positions, dense ``[n, V]``."""
        dense = np.zeros((len(self.token[part]), len(self.head)))
        np.put_along_axis(dense, self.law_index[part], self.law_prob[part], axis=-1)
        return dense

    def noise(self, part: slice) -> np.ndarray:
        """The noise of these positions, by which target and draft chose ``[n, V]``; of a seeded recording only."""
        numbers, which = np.unique(self.prompt[part], return_inverse=True)
        keys = np.array([key(self.header["seed"], int(number)) for number in numbers])
        return noise(keys[which], self.place[part], len(self.head))


def check_recording(path: Path, arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """Hold a file's arrays and header against the contract.

    Raises:
        ValueError: naming the first thing that breaks it.
    """
    remedy = "; record the run again with this version"
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: header format {header.get('format')!r}, expected {FORMAT!r}{remedy}")
    lacking = [f"array {name!r}" for name in SHAPES if name not in arrays]
    lacking += [f"header entry {name!r}" for name in SCALARS if name not in header]
    if lacking:
        raise ValueError(f"{path}: {', '.join(lacking)} missing{remedy}")
    sizes: dict[str, int] = {}
    for name, letters in SHAPES.items():
        shape = arrays[name].shape
        fits = len(shape) == len(letters) and all(
            sizes.setdefault(letter, n) == n for letter, n in zip(letters, shape, strict=True)
        )
        if not fits or 0 in shape:
            raise ValueError(f"{path}: {name} has shape {shape}, expected [{', '.join(letters)}] with {sizes}{remedy}")
    entries = sizes["H"] * sizes["d"] ** 2
    rest = arrays.get("law_rest", np.zeros(sizes["P"]))
    floats = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    finite = {name: (np.isfinite(array).all(), "must be finite") for name, array in floats.items()}
    rules = {
        "token": (in_range(arrays["token"], sizes["V"]), f"must lie in [0, V={sizes['V']})"),
        "law_index": (in_range(arrays["law_index"], sizes["V"]), f"must lie in [0, V={sizes['V']})"),
        "law_prob": (np.allclose(arrays["law_prob"].sum(axis=-1), 1.0, atol=1e-3), "must sum to 1 in each row"),
        "token_prob": (np.all(arrays["token_prob"] > 0), "must be positive: the token was committed"),
        "prompt": (np.all(np.diff(arrays["prompt"]) >= 0), "must not decrease"),
        "nu": (header["nu"] >= 1, "must be at least 1"),
        "weights": (len(header.get("weights", [1])) == sizes["H"], f"must be one of each of {sizes['H']} heads"),
        "rule": (header.get("rule", "gumbel") == "gumbel", "must be gumbel, or left out: the token rule"),
        "place": (
            "rule" not in header or ("place" in arrays and arrays["place"].shape == (sizes["P"],)),
            "must have one entry a position, under the Gumbel rule",
        ),
        "seed": ("rule" not in header or is_whole(header.get("seed")), "must be a whole number, under the Gumbel rule"),
        "law_rest": (
            rest.shape == (sizes["P"],) and bool(np.all((rest >= 0) & (rest < 1))),
            "must be one share in [0, 1) a position",
        ),
        "x_1": ("x_1" not in arrays or arrays["x_1"].shape == (entries,), f"must have {entries} entries"),
    }
    for name, (holds, rule) in (*finite.items(), *rules.items()):
        if not holds:
            raise ValueError(f"{path}: {name} {rule}{remedy}")


def in_range(array: np.ndarray, size: int) -> bool:
    """Whether all entries are indices of something of that size."""
    return bool(array.min() >= 0 and array.max() < size)
