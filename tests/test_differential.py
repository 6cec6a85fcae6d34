"""One source, three references: plain scalar re-implementations from the literature, torch.optim, and torch arrays."""

from math import exp, inf, log, sqrt

import numpy as np
import pytest
import torch

from theory.checks import plays
from theory.domain import Ball, Box, Free, Simplex
from theory.hints import LastGradient, MovingAverage
from theory.learners import LEARNERS, OGD, AdaHedge, Adam, Ensemble, Hedge, Momentum, OptimisticOGD
from theory.loss import Linear, Quadratic, SoftmaxKL
from theory.problem import Problem
from theory.step_size import SelfConfident

RNG = np.random.default_rng(0)
HORIZON, DIMENSION = 60, 4
CENTERS = RNG.normal(size=(HORIZON, DIMENSION))
SLOPES = RNG.normal(size=(HORIZON, DIMENSION)) + 0.3
X_1 = np.array([0.3, -0.2, 0.1, 0.4])
QUADRATICS = [Quadratic(c) for c in CENTERS]
LINEAR = [Linear(s) for s in SLOPES]


# Plain scalar references: lists and loops, no code of ours


def project_ball(x, radius):
    norm = sqrt(sum(v * v for v in x))
    return [v * radius / norm for v in x] if norm > radius else x


def zinkevich_ogd(x, centers, eta, radius):
    """Zinkevich 2003, Algorithm 1 (greedy projection), on ½‖x − c‖²."""
    path = []
    for center in centers:
        path.append(x)
        x = project_ball([v - eta * (v - c) for v, c in zip(x, center, strict=True)], radius)
    return path


def optimistic_mirror_descent(y, slopes, eta_of, hint_of, radius):
    """Rakhlin & Sridharan 2013, Eq. 3 with the Euclidean regulariser, linear losses."""
    path, seen, error = [], [], 0.0
    for slope in slopes:
        hint, eta = hint_of(seen), eta_of(error)
        path.append(project_ball([a - eta * m for a, m in zip(y, hint, strict=True)], radius))
        y = project_ball([a - eta * g for a, g in zip(y, slope, strict=True)], radius)
        error += sum((g - m) ** 2 for g, m in zip(slope, hint, strict=True))
        seen.append(slope)
    return path


def exponential_weights(losses, epsilon, prior):
    """Freund & Schapire 1997: multiply, never sum."""
    weights, path = list(prior), []
    for row in losses:
        total = sum(weights)
        path.append([w / total for w in weights])
        weights = [w / total * exp(-epsilon * v) for w, v in zip(weights, row, strict=True)]
    return path


def adahedge_from_the_paper(losses):
    """De Rooij et al. 2014, Figure 1, line by line."""

    def mix(eta, cumulative):
        least = min(cumulative)
        w = [float(v == least) if eta == inf else exp(-eta * (v - least)) for v in cumulative]
        s = sum(w)
        return [v / s for v in w], least - log(s / len(w)) / eta

    delta, cumulative, path = 0.0, [0.0] * len(losses[0]), []
    for row in losses:
        eta = log(len(row)) / delta if delta > 0 else inf
        w, before = mix(eta, cumulative)
        path.append(w)
        h = sum(a * b for a, b in zip(w, row, strict=True))
        cumulative = [a + b for a, b in zip(cumulative, row, strict=True)]
        delta += max(0.0, h - (mix(eta, cumulative)[1] - before))
    return path


def ader(x_1, centers, diameter, gradient_bound, loss_range, surrogate):
    """Zhang, Lu & Zhou 2018, Algorithms 1 and 2 (3 and 4 with the surrogate), on ½‖x − c‖²."""
    horizon = len(centers)
    count = -(-log(1 + 4 * horizon / 7, 2) // 2) + 1
    etas = [2**i * diameter / gradient_bound * sqrt(7 / (2 * horizon)) for i in range(int(count))]
    weights = [(1 + 1 / count) / (i * (i + 1)) for i in range(1, int(count) + 1)]
    alpha, experts, path = sqrt(8 / (horizon * loss_range**2)), [list(x_1) for _ in etas], []
    for center in centers:
        x = [sum(w * e[j] for w, e in zip(weights, experts, strict=True)) for j in range(len(x_1))]
        path.append(x)
        gradient = [v - c for v, c in zip(x, center, strict=True)]
        losses = []
        for i, expert in enumerate(experts):
            own = gradient if surrogate else [v - c for v, c in zip(expert, center, strict=True)]
            half = 0.5 * sum(g * g for g in own)
            losses.append(sum(g * v for g, v in zip(gradient, expert, strict=True)) if surrogate else half)
            experts[i] = project_ball([v - etas[i] * g for v, g in zip(expert, own, strict=True)], diameter / 2)
        weights = [w * exp(-alpha * loss) for w, loss in zip(weights, losses, strict=True)]
        weights = [w / sum(weights) for w in weights]
    return path


def test_ogd_is_zinkevich():
    ours = plays(OGD(0.4, Ball(0.9)), X_1, QUADRATICS)
    np.testing.assert_allclose(ours, zinkevich_ogd(list(X_1), CENTERS, 0.4, 0.9), atol=1e-13)


@pytest.mark.parametrize(
    ("rule", "hint_of"),
    [
        (LastGradient(), lambda seen: seen[-1] if seen else [0.0] * DIMENSION),
        (LastGradient(0.3), lambda seen: [0.3 * g for g in seen[-1]] if seen else [0.0] * DIMENSION),
        (MovingAverage(0.8), lambda seen: sum(0.2 * 0.8**k * g for k, g in enumerate(reversed(seen))) + 0 * SLOPES[0]),
    ],
    ids=["last", "scaled", "average"],
)
@pytest.mark.parametrize(
    ("step_size", "eta_of"),
    [(0.25, lambda error: 0.25), (SelfConfident(1.8, 2.5), lambda error: 1.8 / sqrt(4 * 2.5**2 + error))],
    ids=["constant", "self-confident"],
)
def test_optimistic_ogd_is_optimistic_mirror_descent(rule, hint_of, step_size, eta_of):
    ours = plays(OptimisticOGD(step_size, rule, Ball(0.9)), X_1, LINEAR)
    reference = optimistic_mirror_descent(list(X_1), SLOPES, eta_of, hint_of, 0.9)
    np.testing.assert_allclose(ours, reference, atol=1e-12)


def test_hedge_is_exponential_weights():
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(plays(Hedge(0.7), prior, LINEAR), exponential_weights(SLOPES, 0.7, prior), atol=1e-12)


@pytest.mark.parametrize(
    "losses",
    [SLOPES, RNG.integers(2, size=(80, 4)).astype(float), np.eye(4)[RNG.integers(4, size=80)], 1e3 * SLOPES],
    ids=["normal", "bits", "one loses", "large"],
)
def test_adahedge_is_the_paper_s(losses):
    ours = plays(AdaHedge(), np.full(4, 0.25), [Linear(row) for row in losses])
    np.testing.assert_allclose(ours, adahedge_from_the_paper(losses), atol=1e-9)


@pytest.mark.parametrize("surrogate", [True, False])
def test_ensemble_is_ader(surrogate):
    problem = Problem(Ball(1.0), DIMENSION, HORIZON, gradient_bound=5.0, loss_range=8.0)
    ours = plays(Ensemble.ader(problem, surrogate), X_1, QUADRATICS)
    np.testing.assert_allclose(ours, ader(X_1, CENTERS, 2.0, 5.0, 8.0, surrogate), atol=1e-12)


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


# numpy and torch arrays through the same class


def softmax_games(copies):
    rng = np.random.default_rng(1)
    for _ in range(30):
        yield SoftmaxKL(rng.normal(size=(copies, 3, 2)), rng.dirichlet(np.ones(4), size=(copies, 3)))


def run_both(learner, x_1, losses):
    """The learner's decisions on numpy arrays and on float64 tensors."""
    states, pairs = [learner.init(x_1), learner.init(torch.from_numpy(x_1))], []
    for loss in losses:
        parts = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in vars(loss).items()}
        pairs.append([learner.predict(state) for state in states])
        states = [learner.update(s, one) for s, one in zip(states, (loss, type(loss)(**parts)), strict=True)]
    return np.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs]), states


@pytest.mark.parametrize("domain", [Ball(1.5), Box(-0.5, 0.5), Simplex(), Free()], ids=repr)
@pytest.mark.parametrize("name", [n for n in LEARNERS if "hedge" not in n])
def test_numpy_and_torch_play_alike(name, domain):
    learner = LEARNERS[name].tuned(Problem(Ball(1.5) if isinstance(domain, Free) else domain, 8, 30, 6.0))
    x_1 = domain.project(np.random.default_rng(2).normal(size=(2, 8)))
    ours, theirs, states = run_both(learner, x_1, softmax_games(2))
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)
    limits = [learner.bound(state, energy) for state, energy in zip(states, (2.0, 2.0), strict=True)]
    if limits[0] is not None and limits[1] is not None:
        np.testing.assert_allclose(limits[1].numpy(), limits[0], rtol=1e-12)


@pytest.mark.parametrize("meta", [Hedge(0.8), AdaHedge()], ids=repr)
def test_numpy_and_torch_weigh_alike(meta):
    losses = [Linear(row) for row in np.random.default_rng(3).random((50, 2, 4))]
    ours, theirs, states = run_both(meta, np.full((2, 4), 0.25), losses)
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)
    np.testing.assert_allclose(meta.bound(states[1], 0.0).numpy(), meta.bound(states[0], 0.0), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in LEARNERS if "hedge" not in n])
def test_float32_in_torch_stays_close_to_float64(name):
    learner = LEARNERS[name].tuned(Problem(Ball(1.5), 8, 30, 6.0))
    state = learner.init(torch.zeros(2, 8))
    reference = plays(learner, np.zeros((2, 8)), list(softmax_games(2)))
    for x_t, loss in zip(reference, softmax_games(2), strict=True):
        played = learner.predict(state)
        assert played.dtype == torch.float32
        np.testing.assert_allclose(played.numpy(), x_t, atol=2e-4)
        features, target = (torch.from_numpy(a).float() for a in (loss.features, loss.target_probs))
        state = learner.update(state, SoftmaxKL(features, target))
