"""A recording read from its file, and the laws, losses and gradients that its numbers make.

``sim/environments/replay.py`` says what is in a recording.
"""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import fractional_matrix_power

from sim.pseudocode.noise import exponentials


class Recorded:
    """A recording's numbers, and what is made of them."""

    def __init__(self, path: Path):
        with np.load(path, allow_pickle=False) as file:
            self.header: dict[str, Any] = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files if name != "header"}
        features = arrays["features"].astype(float)
        self.features = features if features.ndim == 3 else features[:, None, :]
        self.count, self.heads, self.width = self.features.shape
        beside = path.with_name(f"{self.header.get('readout')}.npy")  # a portable recording's
        self.head = (arrays["head"] if "head" in arrays else np.load(beside)).astype(float)
        self.readout = np.linalg.qr(self.head)[0]
        self.token, self.prompt = arrays["token"].astype(int), arrays["prompt"].astype(int)
        self.token_prob, self.place = arrays["token_prob"].astype(float), arrays.get("place")
        self.law_index, self.law_prob = arrays["law_index"].astype(int), arrays["law_prob"].astype(float)
        self.x_1 = arrays.get("x_1", np.zeros(self.heads * self.width**2)).astype(float)
        self.greedy = self.header["temperature"] == 0
        self.temperature = self.header["temperature"] or 1.0
        self.nu, self.burn_in = int(self.header["nu"]), int(self.header["burn_in_rounds"])
        weights = self.header.get("weights", [1.0])
        self.weights = [weight / sum(weights) for weight in weights]
        self.whitener = self.whitened() if self.burn_in else arrays["whitener"].astype(float)

    def whitened(self) -> np.ndarray:
        """The inverse root of the burn-in's second moment, a little of its mean diagonal added, over √d."""
        moment = np.zeros((self.width, self.width))
        rows = self.burn_in * self.nu
        for i in range(rows):
            moment += np.outer(self.features[i, 0], self.features[i, 0]) / rows
        moment += self.header["ridge"] * np.trace(moment) / self.width * np.eye(self.width)
        return np.real(fractional_matrix_power(moment, -0.5)) / sqrt(self.width)

    def part(self, x: np.ndarray, k: int) -> np.ndarray:
        """Head k's matrix ``[d, d]``."""
        size = self.width**2
        return x[k * size : (k + 1) * size].reshape(self.width, self.width)

    def logits(self, x: np.ndarray, position: int, k: int) -> np.ndarray:
        """W h + Q Xᵀ M h ``[V]``, of head k at a position, under the decision x ``[H·d·d]``."""
        hidden = self.features[position, k]
        return self.head @ hidden + self.readout @ (self.part(x, k).T @ (self.whitener @ hidden))

    def draft(self, x: np.ndarray, position: int, k: int) -> np.ndarray:
        """The draft's law ``[V]``."""
        logits = self.logits(x, position, k) / self.temperature
        raw = np.exp(logits - logits.max())
        return raw / raw.sum()

    def noise(self, position: int) -> np.ndarray:
        """By which draft and target chose, under the Gumbel rule: a request's number is its prompt's."""
        assert self.place is not None
        request, place = int(self.prompt[position]), int(self.place[position])
        return exponentials(int(self.header["seed"]), request, place, len(self.head))

    def target(self, position: int) -> np.ndarray:
        """The law that is learned, on the tokens that were kept."""
        law = np.zeros(len(self.head))
        for token, prob in zip(self.law_index[position], self.law_prob[position], strict=True):
            law[token] = prob
        return law

    def loss(self, x: np.ndarray, positions: range) -> float:
        """Mean KL(target ‖ draft), heads weighed."""
        total = 0.0
        for position in positions:
            target = self.target(position)
            kept = target > 0
            for k in range(self.heads):
                law = self.draft(x, position, k)
                total += self.weights[k] * float(np.sum(target[kept] * np.log(target[kept] / law[kept])))
        return total / len(positions)

    def gradient(self, x: np.ndarray, positions: range) -> np.ndarray:
        """Of ``loss``: Σ weight · (M h) ((draft − target) Q)ᵀ / temperature, the mean over the positions."""
        found = np.zeros((self.heads, self.width, self.width))
        for position in positions:
            target = self.target(position)
            for k in range(self.heads):
                slope = self.readout.T @ (self.draft(x, position, k) - target) / self.temperature
                found[k] += self.weights[k] * np.outer(self.whitener @ self.features[position, k], slope)
        return found.ravel() / len(positions)

    def end_of_prompt(self, position: int) -> int:
        """The first position after it that belongs to another prompt."""
        end = position
        while end < self.count and self.prompt[end] == self.prompt[position]:
            end += 1
        return end
