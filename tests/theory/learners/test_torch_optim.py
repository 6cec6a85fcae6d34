"""Unprojected learners are torch.optim's, step by step. Plain re-implementations are in test_pseudocode.py."""

import numpy as np
import pytest
import torch

from theory.checker.checks import plays
from theory.learners import OGD, Adam, Momentum
from theory.loss import Linear, Quadratic

RNG = np.random.default_rng(0)
HORIZON, DIMENSION = 60, 4
CENTERS = RNG.normal(size=(HORIZON, DIMENSION))
SLOPES = RNG.normal(size=(HORIZON, DIMENSION)) + 0.3
X_1 = np.array([0.3, -0.2, 0.1, 0.4])
QUADRATICS = [Quadratic(c) for c in CENTERS]
LINEAR = [Linear(s) for s in SLOPES]


# torch.optim


def torch_path(make):
    x, path = torch.tensor(X_1, requires_grad=True), []
    optimiser = make([x])
    for center in CENTERS:
        path.append(x.detach().numpy().copy())
        optimiser.zero_grad()
        (0.5 * (x - torch.from_numpy(center)).square().sum()).backward()
        optimiser.step()
    return np.stack(path)


@pytest.mark.parametrize(
    ("learner", "make"),
    [
        (OGD(0.3), lambda p: torch.optim.SGD(p, lr=0.3)),
        (Momentum(0.1, 0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        (Momentum(0.1, 0.0), lambda p: torch.optim.SGD(p, lr=0.1)),
        (Adam(0.05), lambda p: torch.optim.Adam(p, lr=0.05)),
        (Adam(0.05, 0.5, 0.9, 1e-3), lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.5, 0.9), eps=1e-3)),
    ],
    ids=["ogd", "momentum", "momentum 0", "adam", "adam, other settings"],
)
def test_unprojected_learners_are_torch_optim(learner, make):
    np.testing.assert_allclose(plays(learner, X_1, QUADRATICS), torch_path(make), atol=1e-12)
