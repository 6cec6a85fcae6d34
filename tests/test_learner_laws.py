"""Every learner keeps the laws it must keep and those it declares; a user's own learner gets the same checks."""

import numpy as np
import pytest

from theory.checks import checks, plays
from theory.choose import make_learner
from theory.domain import Ball, Box, Domain, Free, Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learners import LEARNERS, OGD, AdaHedge, Adam, Ensemble, Hedge, Momentum, OptimisticOGD
from theory.loss import Counted, Linear, Quadratic
from theory.problem import Problem
from theory.step_size import SelfConfident, geometric

DOMAINS: list[Domain] = [Ball(1.0), Box(-1.0, 0.5), Simplex(), Free()]
DIMENSION = 4


def tuned(name: str, domain: Domain):
    """The learner as its theorem tunes it; on a free domain as tuned for a ball."""
    problem = Problem(Ball(1.0) if isinstance(domain, Free) else domain, DIMENSION, 12, 3.0)
    settings = {"base.domain" if name == "ensemble" else "domain": domain} if isinstance(domain, Free) else {}
    return make_learner(name, settings, problem)


SUBJECTS = {
    f"{name} on {domain}": tuned(name, domain)
    for name in LEARNERS
    for domain in ([Simplex()] if "hedge" in name else DOMAINS)
} | {
    "optimistic, no hint": OptimisticOGD(0.1, Zero(), Ball(1.0)),
    "optimistic, average": OptimisticOGD(0.1, MovingAverage(0.8), Ball(1.0)),
    "optimistic, scaled hint": OptimisticOGD(0.1, LastGradient(0.3), Box(-1.0, 1.0)),
    "optimistic, constant step": OptimisticOGD(0.1, domain=Simplex()),
    "ensemble of optimists": Ensemble(OptimisticOGD((0.02, 0.1, 0.5), domain=Ball(1.0))),
    "ensemble without surrogate": Ensemble(OptimisticOGD((0.02, 0.1), domain=Ball(1.0)), Hedge(0.3), surrogate=False),
    "ensemble of momentum": Ensemble(Momentum((0.02, 0.1), 0.5, Ball(1.0)), AdaHedge()),
    "ensemble of adam": Ensemble(Adam((0.02, 0.1), domain=Ball(1.0)), AdaHedge()),
}

CASES = [
    pytest.param(check, id=f"{subject}: {name}")
    for subject, learner in SUBJECTS.items()
    for name, check in checks(learner, DIMENSION)
]


@pytest.mark.parametrize("check", CASES)
def test_law(check):
    check()


def test_every_learner_of_the_table_is_checked_and_most_laws_are_declared():
    assert {type(learner) for learner in SUBJECTS.values()} == set(LEARNERS.values())
    declared = {name: LEARNERS[name].laws for name in ("ogd", "optimistic", "momentum", "hedge", "adahedge")}
    assert all("permutation" in laws for laws in declared.values())
    assert all("scaling" in declared[name] for name in ("ogd", "optimistic", "momentum", "hedge"))
    assert all("translation" in declared[name] for name in ("hedge", "adahedge"))


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


def test_frozen_never_moves():
    x_1 = np.random.default_rng(0).normal(size=(3, DIMENSION))
    played = plays(LEARNERS["frozen"](), x_1, [Linear(np.full(DIMENSION, 9.0))] * 5)
    np.testing.assert_array_equal(played, np.broadcast_to(x_1, played.shape))


@pytest.mark.parametrize("meta", [Hedge(0.1), Hedge(10.0), AdaHedge()], ids=repr)
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
