"""Whole trajectories against plain re-implementations from pseudocode: floats, lists and loops, no code of ours."""

from math import ceil, exp, inf, log, log2, sqrt

import numpy as np
import pytest

from theory.checker.checks import plays
from theory.domain import Ball, Box
from theory.hints import LastGradient, MovingAverage
from theory.learners import OGD, AdaHedge, Ensemble, Hedge, OptimisticHedge, OptimisticOGD, Sword
from theory.loss import Linear, Quadratic
from theory.problem import Problem
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident

HORIZON, DIMENSION = 80, 3
NOTHING = [0.0] * DIMENSION
X_1 = [0.3, -0.2, 0.4]
RNG = np.random.default_rng(0)
CENTERS = (RNG.normal(size=(HORIZON, DIMENSION)) + 2 * np.sin(np.arange(HORIZON) / 15)[:, None]).tolist()


# Losses, domains and arithmetic, in plain Python


def dot(a, b):
    return sum(v * w for v, w in zip(a, b, strict=True))


def minus(a, b, factor=1.0):
    return [v - factor * w for v, w in zip(a, b, strict=True)]


def average(weights, points):
    return [sum(w * p[j] for w, p in zip(weights, points, strict=True)) for j in range(len(points[0]))]


def normalised(weights):
    total = sum(weights)
    return [w / total for w in weights]


def exponential(losses, epsilon):
    """Weights ∝ e^{−ε·loss}; the least loss is taken off first, which changes nothing but overflow."""
    return normalised([exp(-epsilon * (loss - min(losses))) for loss in losses])


def onto_ball(radius):
    def project(x):
        norm = sqrt(dot(x, x))
        return [v * radius / norm for v in x] if norm > radius else list(x)

    return project


def onto_box(low, high):
    return lambda x: [min(max(v, low), high) for v in x]


def quadratic(center):
    """½‖x − c‖²: its value and its gradient."""
    return lambda x: 0.5 * dot(minus(x, center), minus(x, center)), lambda x: minus(x, center)


def linear(slope):
    return lambda x: dot(slope, x), lambda x: list(slope)


PLAIN = {"quadratic": [quadratic(c) for c in CENTERS], "linear": [linear(c) for c in CENTERS]}
OURS = {"quadratic": [Quadratic(np.array(c)) for c in CENTERS], "linear": [Linear(np.array(c)) for c in CENTERS]}
DOMAINS = {"ball": (Ball(1.0), onto_ball(1.0), 2.0), "box": (Box(-0.5, 0.7), onto_box(-0.5, 0.7), 1.2 * sqrt(3))}


# Gradient descent (Zinkevich 2003, Algorithm 1), with the steps of Theorem 1 and of Streeter & McMahan 2010 too


def descent(losses, project, step):
    """Play, receive the gradient, step, project; ``step`` is told t and all gradients so far, the present one too."""
    x, path, gradients = list(X_1), [], []
    for t, (_, gradient) in enumerate(losses, start=1):
        path.append(x)
        gradients.append(gradient(x))
        x = project(minus(x, gradients[-1], step(t, gradients)))
    return path


STEPS = {
    "fixed": (0.4, lambda t, gradients: 0.4),
    "1/√t": (InverseSqrt(1.5, 2.0), lambda t, gradients: 1.5 / (2.0 * sqrt(t))),
    "AdaGrad-norm": (AdaGradNorm(1.5), lambda t, gradients: 1.5 / sqrt(sum(dot(g, g) for g in gradients))),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("step", STEPS)
def test_ogd_is_its_pseudocode(step, kind, domain):
    ours, project, _ = DOMAINS[domain]
    step_size, by_hand = STEPS[step]
    theirs = descent(PLAIN[kind], project, by_hand)
    np.testing.assert_allclose(plays(OGD(step_size, ours), np.array(X_1), OURS[kind]), theirs, rtol=0, atol=1e-9)
    assert any(project([1.01 * v for v in x]) != [1.01 * v for v in x] for x in theirs[1:])  # the border was reached


# Optimistic mirror descent (Rakhlin & Sridharan 2013)


def optimistic_mirror_descent(y, slopes, eta_of, hint_of, project):
    """Rakhlin & Sridharan 2013, Eq. 3 with the Euclidean regulariser, linear losses."""
    path, seen, error = [], [], 0.0
    for slope in slopes:
        hint, eta = hint_of(seen), eta_of(error)
        path.append(project(minus(y, hint, eta)))
        y = project(minus(y, slope, eta))
        error += dot(minus(slope, hint), minus(slope, hint))
        seen.append(slope)
    return path


@pytest.mark.parametrize(
    ("rule", "hint_of"),
    [
        (LastGradient(), lambda seen: seen[-1] if seen else NOTHING),
        (LastGradient(0.3), lambda seen: [0.3 * g for g in seen[-1]] if seen else NOTHING),
        (
            MovingAverage(0.8),
            lambda seen: average([0.2 * 0.8**k for k in range(1 + len(seen))], [*seen[::-1], NOTHING]),
        ),
    ],
    ids=["last", "scaled", "average"],
)
@pytest.mark.parametrize(
    ("step_size", "eta_of"),
    [(0.25, lambda error: 0.25), (SelfConfident(1.8, 2.5), lambda error: 1.8 / sqrt(4 * 2.5**2 + error))],
    ids=["constant", "self-confident"],
)
def test_optimistic_ogd_is_optimistic_mirror_descent(rule, hint_of, step_size, eta_of):
    ours = plays(OptimisticOGD(step_size, rule, Ball(0.9)), np.array(X_1), OURS["linear"])
    reference = optimistic_mirror_descent(list(X_1), CENTERS, eta_of, hint_of, onto_ball(0.9))
    np.testing.assert_allclose(ours, reference, atol=1e-12)


# Exponential weights, and AdaHedge


SLOPES = RNG.normal(size=(60, 4)) + 0.3


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


def test_hedge_is_exponential_weights():
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(
        plays(Hedge(0.7), prior, [Linear(row) for row in SLOPES]), exponential_weights(SLOPES, 0.7, prior), atol=1e-12
    )


@pytest.mark.parametrize(
    "losses",
    [SLOPES, RNG.integers(2, size=(80, 4)).astype(float), np.eye(4)[RNG.integers(4, size=80)], 1e3 * SLOPES],
    ids=["normal", "bits", "one loses", "large"],
)
def test_adahedge_is_the_paper_s(losses):
    ours = plays(AdaHedge(), np.full(4, 0.25), [Linear(row) for row in losses])
    np.testing.assert_allclose(ours, adahedge_from_the_paper(losses), atol=1e-9)


# Ader (Zhang, Lu & Zhou 2018)


def ader(losses, project, diameter, gradient_bound, loss_range, surrogate):
    """Algorithm 1, the meta algorithm, around Algorithm 2, the experts; with the surrogate Algorithms 3 and 4."""
    horizon = len(losses)
    count = ceil(0.5 * log2(1 + 4 * horizon / 7)) + 1
    eta = [2**i * diameter / gradient_bound * sqrt(7 / (2 * horizon)) for i in range(count)]
    alpha = sqrt(8 / (horizon * loss_range**2))
    scale = 1 + 1 / count
    weights = [scale / (i * (i + 1)) for i in range(1, count + 1)]
    experts, path = [list(X_1) for _ in eta], []
    for value, gradient in losses:
        x = average(weights, experts)  # receive the experts' predictions, output their weighted average
        path.append(x)
        g = gradient(x)
        suffered = [dot(g, minus(e, x)) if surrogate else value(e) for e in experts]
        weights = normalised([w * exp(-alpha * loss) for w, loss in zip(weights, suffered, strict=True)])
        directions = [g if surrogate else gradient(e) for e in experts]  # one gradient, or one for each expert
        experts = [project(minus(e, d, step)) for e, d, step in zip(experts, directions, eta, strict=True)]
    return path


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("surrogate", [True, False])
def test_ader_with_true_losses_and_with_the_surrogate(surrogate, kind, domain):
    ours, project, diameter = DOMAINS[domain]
    problem = Problem(ours, DIMENSION, HORIZON, gradient_bound=6.0, loss_range=9.0)
    theirs = ader(PLAIN[kind], project, diameter, 6.0, 9.0, surrogate)
    np.testing.assert_allclose(plays(Ensemble.ader(problem, surrogate), np.array(X_1), OURS[kind]), theirs, atol=1e-9)
    assert np.ptp(theirs, axis=0).max() > 0.3


# Sword: optimistic bases, optimistic Hedge, a correction for experts that move, one gradient a round


def sword(losses, project, steps, rate, adaptive, correction, hint_scale):
    count = len(steps)
    hint, paid, total = [0.0] * DIMENSION, 0.0, [0.0] * count
    anchors = [list(X_1) for _ in steps]
    last = [list(X_1) for _ in steps]
    path = []
    for _, gradient in losses:
        epsilon = min(rate, log(max(count, 2)) / paid) if adaptive and paid > 0 else rate
        # every base moves along the hint, and is charged for how far it moved
        experts = [project(minus(y, hint, step)) for y, step in zip(anchors, steps, strict=True)]
        charges = [correction * dot(minus(e, b), minus(e, b)) for e, b in zip(experts, last, strict=True)]
        guesses = [dot(hint, e) + c for e, c in zip(experts, charges, strict=True)]
        # the meta learner counts the guess as if it had been suffered
        weights = exponential([s + m for s, m in zip(total, guesses, strict=True)], epsilon)
        x = average(weights, experts)
        path.append(x)
        g = gradient(x)  # the only one of this round
        suffered = [dot(g, e) + c for e, c in zip(experts, charges, strict=True)]
        before = exponential(total, epsilon)
        mixed = -log(sum(w * exp(-epsilon * v) for w, v in zip(before, suffered, strict=True))) / epsilon
        paid += max(dot(weights, suffered) - mixed, 0.0)
        total = [s + v for s, v in zip(total, suffered, strict=True)]
        anchors = [project(minus(y, g, step)) for y, step in zip(anchors, steps, strict=True)]
        last, hint = experts, [hint_scale * v for v in g]
    return path


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(
    ("rate", "adaptive", "correction", "hint_scale"),
    [(0.125, False, 1.0, 1.0), (20.0, True, 1.0, 1.0), (20.0, True, 0.0, 0.3), (0.3, False, 4.0, 1.0)],
    ids=["theorem", "adaptive", "no correction, scaled hint", "large correction"],
)
def test_sword_is_its_pseudocode(rate, adaptive, correction, hint_scale, kind, domain):
    ours, project, _ = DOMAINS[domain]
    steps = (0.02, 0.05, 0.125)
    base = OptimisticOGD(steps, LastGradient(hint_scale), ours)
    learner = Sword(base, OptimisticHedge(rate, adaptive=adaptive), correction)
    theirs = sword(PLAIN[kind], project, steps, rate, adaptive, correction, hint_scale)
    np.testing.assert_allclose(plays(learner, np.array(X_1), OURS[kind]), theirs, atol=1e-9)
    assert np.ptp(theirs, axis=0).max() > 0.3
    if adaptive:  # the rate did adapt
        state = learner.init(np.array(X_1))
        for loss_t in OURS[kind]:
            state = learner.update(state, loss_t)
        assert log(3) / state.meta.paid[0] < 0.9 * rate


def test_sword_as_tuned_is_its_pseudocode_on_the_tuned_grid():
    problem = Problem(Ball(1.0), DIMENSION, HORIZON, gradient_bound=6.0, smoothness=1.0)
    learner = Sword.tuned(problem)
    smallest, largest = 2.0 / (4 * 6.0 * sqrt(HORIZON)), 1 / 8
    steps = [smallest * 2**i for i in range(ceil(log2(largest / smallest)))] + [largest]
    assert learner.base.step_size == pytest.approx(steps)
    theirs = sword(PLAIN["quadratic"], onto_ball(1.0), steps, 1 / 8, True, 1.0, 1.0)
    np.testing.assert_allclose(plays(learner, np.array(X_1), OURS["quadratic"]), theirs, atol=1e-9)
