"""Learners on the whole space, as their papers write them.

Gradient descent (Zinkevich 2003), its optimistic form with a moving average for a hint (Rakhlin & Sridharan 2013), an
ensemble on one linear surrogate (Zhang, Lu & Zhou 2018) weighed by AdaHedge (de Rooij et al. 2014), heavy-ball momentum
(Polyak 1964) and Adam (Kingma & Ba 2015).
"""

from collections.abc import Sequence
from math import exp, inf, log

import numpy as np


class Frozen:
    """x_t = x_1."""

    def __init__(self, x_1: np.ndarray):
        self.x = x_1
        self.guess = np.zeros_like(x_1)

    def play(self) -> np.ndarray:
        return self.x

    def hint(self) -> np.ndarray:
        """What is guessed of the next gradient."""
        return self.guess

    def learn(self, gradient: np.ndarray) -> None:
        """The gradient at the play is revealed."""


class GradientDescent(Frozen):
    """x ← x − step · g."""

    def __init__(self, x_1: np.ndarray, step: float):
        super().__init__(x_1)
        self.step = step

    def learn(self, gradient: np.ndarray) -> None:
        self.x = self.x - self.step * gradient


class OptimisticDescent(GradientDescent):
    """Play x − step · hint; then x ← x − step · g and hint ← decay · hint + (1 − decay) · g."""

    def __init__(self, x_1: np.ndarray, step: float, decay: float):
        super().__init__(x_1, step)
        self.decay = decay

    def play(self) -> np.ndarray:
        return self.x - self.step * self.guess

    def learn(self, gradient: np.ndarray) -> None:
        super().learn(gradient)
        self.guess = self.decay * self.guess + (1 - self.decay) * gradient


class Ensemble(Frozen):
    """One gradient descent a step size, all fed the gradient at the mean play; the mean's weights are AdaHedge's."""

    def __init__(self, x_1: np.ndarray, steps: Sequence[float]):
        super().__init__(x_1)
        self.experts = [GradientDescent(x_1, step) for step in steps]
        self.losses, self.suffered, self.gap = [0.0] * len(steps), 0.0, 0.0

    def rate(self) -> float:
        """AdaHedge's learning rate: ln N over the mixability gaps paid so far."""
        return log(len(self.experts)) / self.gap if self.gap else inf

    def weights(self) -> list[float]:
        best, rate = min(self.losses), self.rate()
        raw = [1.0 if loss == best else exp(-rate * (loss - best)) for loss in self.losses]
        return [one / sum(raw) for one in raw]

    def play(self) -> np.ndarray:
        return np.sum([weight * one.x for weight, one in zip(self.weights(), self.experts, strict=True)], axis=0)

    def learn(self, gradient: np.ndarray) -> None:
        weights, rate, mean = self.weights(), self.rate(), self.play()
        now = [float(gradient @ one.x) for one in self.experts]
        pairs = [(weight, loss) for weight, loss in zip(weights, now, strict=True) if weight > 0]
        mixed = least = min(loss for _, loss in pairs)
        if rate < inf:
            mixed -= log(sum(weight * exp(-rate * (loss - least)) for weight, loss in pairs)) / rate
        self.gap += max(0.0, sum(weight * loss for weight, loss in pairs) - mixed)
        self.suffered += float(gradient @ mean)
        self.losses = [total + loss for total, loss in zip(self.losses, now, strict=True)]
        for one in self.experts:
            one.learn(gradient)


class HeavyBall(GradientDescent):
    """v ← β · v + g; x ← x − step · v."""

    def __init__(self, x_1: np.ndarray, step: float, beta: float):
        super().__init__(x_1, step)
        self.beta, self.velocity = beta, np.zeros_like(x_1)

    def learn(self, gradient: np.ndarray) -> None:
        self.velocity = self.beta * self.velocity + gradient
        super().learn(self.velocity)


class Adam(GradientDescent):
    """Moments m and v of g, both corrected for their start at zero; x ← x − step · m / (√v + ε)."""

    def __init__(self, x_1: np.ndarray, step: float, beta_1: float, beta_2: float, epsilon: float):
        super().__init__(x_1, step)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.first, self.second, self.rounds = np.zeros_like(x_1), np.zeros_like(x_1), 0

    def learn(self, gradient: np.ndarray) -> None:
        self.rounds += 1
        self.first = self.beta_1 * self.first + (1 - self.beta_1) * gradient
        self.second = self.beta_2 * self.second + (1 - self.beta_2) * gradient**2
        first = self.first / (1 - self.beta_1**self.rounds)
        second = self.second / (1 - self.beta_2**self.rounds)
        super().learn(first / (np.sqrt(second) + self.epsilon))
