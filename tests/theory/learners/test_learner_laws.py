"""Every learner keeps the laws it must keep and those it declares; a user's own learner gets the same checks."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest

from theory.checker.checks import checks, plays
from theory.domain import Ball, Box, Domain, Free, Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learners import (
    LEARNERS,
    OGD,
    AdaHedge,
    Adam,
    CoinBetting,
    Ensemble,
    FixedShare,
    Hedge,
    LastLoss,
    Mixture,
    Momentum,
    OptimisticHedge,
    OptimisticOGD,
    Sword,
    Tracking,
)
from theory.learners.chunked import Chunked
from theory.learners.delayed import Delayed
from theory.loss import Counted, Linear, Quadratic
from theory.problem import Problem
from theory.runs.choose import make_learner
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident, geometric

DOMAINS: list[Domain] = [Ball(1.0), Box(-1.0, 0.5), Simplex(), Free()]
DIMENSION = 4


def tuned(name: str, domain: Domain):
    """The learner as its theorem tunes it; on a free domain as tuned for a ball."""
    problem = Problem(Ball(1.0) if isinstance(domain, Free) else domain, DIMENSION, 12, 3.0)
    where = "base.domain" if name in ("ensemble", "sword") else "domain"
    settings = {where: domain} if isinstance(domain, Free) else {}
    return make_learner(name, settings, problem)


SUBJECTS = {
    f"{name} on {domain}": tuned(name, domain)
    for name in LEARNERS
    for domain in ([Simplex()] if LEARNERS[name].weighs_experts() else DOMAINS)
} | {
    "optimistic, no hint": OptimisticOGD(0.1, Zero(), Ball(1.0)),
    "optimistic, average": OptimisticOGD(0.1, MovingAverage(0.8), Ball(1.0)),
    "optimistic, scaled hint": OptimisticOGD(0.1, LastGradient(0.3), Box(-1.0, 1.0)),
    "optimistic, constant step": OptimisticOGD(0.1, domain=Simplex()),
    "ensemble of optimists": Ensemble(OptimisticOGD((0.02, 0.1, 0.5), domain=Ball(1.0))),
    "ensemble without surrogate": Ensemble(OptimisticOGD((0.02, 0.1), domain=Ball(1.0)), Hedge(0.3), surrogate=False),
    "ensemble of momentum": Ensemble(Momentum((0.02, 0.1), 0.5, Ball(1.0)), AdaHedge()),
    "ensemble of adam": Ensemble(Adam((0.02, 0.1), domain=Ball(1.0)), AdaHedge()),
    "ensemble under fixed share": Ensemble(OGD((0.02, 0.1), Ball(1.0)), FixedShare(0.3, 0.1)),
    "fixed share without a share": FixedShare(0.3, 0.0),
    "optimistic hedge, constant rate": OptimisticHedge(0.3, adaptive=False),
    "optimistic hedge, average": OptimisticHedge(2.0, MovingAverage(0.8)),
    "sword, constant rate": Sword(
        OptimisticOGD((0.02, 0.1), domain=Ball(1.0)), OptimisticHedge(0.1, adaptive=False), 1.0
    ),
    "1/√t": OGD(InverseSqrt(2.0, 1.0), Ball(1.0)),
    "AdaGrad-norm": OGD(AdaGradNorm(2.0), Box(-1.0, 1.0)),
    "self-confident": OGD(SelfConfident(2.0, 1.0), Simplex()),
    "optimistic, no hint, self-confident": OptimisticOGD(SelfConfident(2.0, 1.0), Zero(), Ball(1.0)),
    "optimistic, average, self-confident": OptimisticOGD(SelfConfident(2.0, 1.0), MovingAverage(0.7), Ball(1.0)),
    "tracking": Tracking(1.0, 4.0, Ball(1.0)),
    "tracking, free": Tracking(0.5, 0.5),
    **{f"coin betting on {domain}": CoinBetting(2.0, 1.0, domain) for domain in DOMAINS},
    "chunked": Chunked(OGD(0.3, Ball(1.0)), 3),
    "chunked, one round": Chunked(OGD(0.3, Simplex()), 1),
    "chunked optimistic": Chunked(OptimisticOGD(0.3, domain=Box(-1.0, 1.0)), 4),
    "chunked ensemble": Chunked(Ensemble(OGD((0.1, 0.5), Ball(1.0))), 3),
    "chunked AdaGrad-norm": Chunked(OGD(AdaGradNorm(2.0), Ball(1.0)), 5),
    "delayed": Delayed(OGD(0.3, Ball(1.0)), 3),
    "delayed by nothing": Delayed(OGD(0.3, Simplex()), 0),
    "delayed optimistic": Delayed(OptimisticOGD(0.3, domain=Box(-1.0, 1.0)), 2),
    "delayed ensemble": Delayed(Ensemble(OGD((0.1, 0.5), Ball(1.0))), 2),
    "delayed coin betting": Delayed(CoinBetting(2.0, 1.0, Ball(1.0)), 2),
    "delayed, longer than the game": Delayed(Momentum(0.1), 20),
    "delayed chunks": Delayed(Chunked(OGD(AdaGradNorm(2.0), Ball(1.0)), 2), 3),
}

CASES = [
    pytest.param(list(group), id=f"{subject}: {law}")
    for subject, learner in SUBJECTS.items()
    for law, group in groupby(checks(learner, DIMENSION), lambda named: named[0].partition("[")[0])
]


@pytest.mark.parametrize("named", CASES)
def test_law(named):
    """In several dimensions, on linear and quadratic games."""
    for _, check in named:
        check()


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_shapes_of_a_state_never_change(name):
    """So that states can be stacked, saved and loaded, and loops traced."""
    learner = SUBJECTS[name]
    state = learner.init(learner.domain.project(np.ones((2, 3))))
    after = learner.update(state, Quadratic(np.ones(3)))
    assert shapes(after) == shapes(state)


def shapes(state):
    return [shapes(part) if isinstance(part, tuple) else np.shape(part) for part in state]


def test_every_learner_of_the_table_is_checked_and_most_laws_are_declared():
    assert {type(learner) for learner in SUBJECTS.values()} == {*LEARNERS.values(), Chunked, Delayed}
    assert all(learner.traceable for learner in SUBJECTS.values())
    experts = ("hedge", "fixed_share", "optimistic_hedge", "mixture", "last_loss")
    declared = {name: LEARNERS[name].laws for name in ("ogd", "optimistic", "momentum", "adahedge", *experts)}
    assert all("permutation" in laws for laws in declared.values())
    assert all("scaling" in declared[name] for name in ("ogd", "optimistic", "momentum", *experts))
    assert all("translation" in declared[name] for name in ("adahedge", *experts))


def test_a_user_s_learner_gets_the_same_checks(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from theory.learners.ogd import OGD\n"
        "@dataclass(frozen=True)\n"
        "class Halved(OGD):\n"
        "    def predict(self, state, hint=None):\n"
        "        return self.domain.project(0.5 * state.x)\n"
    )
    learner = make_learner(f"{file}:Halved", {"step_size": "0.2"}, Problem(Ball(1.0), DIMENSION, 12, 3.0))
    assert isinstance(learner, OGD)
    assert learner.step_size == 0.2
    for name, check in checks(learner):
        if name.startswith(("feasible", "causal", "pure")):
            check()


@pytest.mark.parametrize(("surrogate", "queries"), [(True, 1), (False, 3)])
def test_the_surrogate_asks_one_gradient_a_round(surrogate, queries):
    learner = Ensemble(OGD(geometric(0.1, 3), Ball(1.0)), surrogate=surrogate)
    state, loss = learner.init(np.zeros((5, 2))), Counted(Quadratic(np.ones((5, 2))), copies=5)
    learner.update(state, loss)
    assert loss.queries == queries


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_a_class_declares_is_what_it_does(name):
    """Hints are taken where that is declared, a learner that learns moves, and only bases come several at once."""
    learner, rng = SUBJECTS[name], np.random.default_rng(0)
    x_1 = learner.domain.project(np.abs(rng.normal(size=4)) + 0.1)
    state = learner.init(x_1)
    for _ in range(24):  # more rounds than any delay here
        state = learner.update(state, Linear(rng.normal(size=4)))
    own, hint = learner.own_hint(state), rng.normal(size=4)
    assert np.any(learner.predict(state, hint) != learner.predict(state)) == learner.takes_hints
    assert (own is not None) == (learner.takes_hints and getattr(learner, "surrogate", True))
    assert own is None or own.shape == hint.shape
    assert np.any(learner.predict(state) != learner.predict(learner.init(x_1))) == learner.learns
    anchor = learner.anchor(state)
    assert anchor is None or anchor.shape == (*(() if learner.bases is None else (learner.bases,)), 4)


def test_a_hint_that_is_used_and_not_declared_breaks_a_law():
    @dataclass(frozen=True)
    class Hinted(OptimisticOGD):
        takes_hints = False

    (check, *_) = [check for name, check in checks(Hinted(0.1, domain=Ball(1.0))) if name.startswith("hint_optional")]
    with pytest.raises(AssertionError, match="uses an outside hint, but takes_hints is False"):
        check()


def test_frozen_never_moves():
    x_1 = np.random.default_rng(0).normal(size=(3, DIMENSION))
    played = plays(LEARNERS["frozen"](), x_1, [Linear(np.full(DIMENSION, 9.0))] * 5)
    np.testing.assert_array_equal(played, np.broadcast_to(x_1, played.shape))


EXTREMES = [Hedge(0.1), Hedge(10.0), AdaHedge(), FixedShare(10.0, 0.1), FixedShare(0.1, 0.0), OptimisticHedge()]
EXTREMES += [OptimisticHedge(10.0, adaptive=False), Mixture(1.0), LastLoss(10.0)]


@pytest.mark.parametrize("meta", EXTREMES, ids=repr)
@pytest.mark.parametrize("size", [1e-300, 1e-12, 1.0, 1e4])
def test_weights_stay_on_the_simplex_for_extreme_losses(meta, size):
    rng = np.random.default_rng(0)
    for slopes in (size * rng.random((50, 3, 5)), size * rng.integers(2, size=(50, 3, 5)), np.zeros((50, 3, 5))):
        weights = plays(meta, np.full((3, 5), 0.2), [Linear(slope) for slope in slopes])
        assert np.all(np.isfinite(weights))
        np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-12)
        assert np.all(weights >= 0)


def test_a_schedule_reads_only_the_past():
    schedule = SelfConfident(2.0, 1.0)
    assert schedule.at(np.zeros(1)) == 1.0
    state = OptimisticOGD(schedule, domain=Ball(1.0)).init(np.zeros(2))
    np.testing.assert_array_equal(state.energy, [0.0])
