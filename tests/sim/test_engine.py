"""Both engines play the game of the definition, in chunks of any size, and the traced one says what it cannot run."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from sim.engine import CHUNK, Game, play
from sim.environments.drift import Drift
from sim.environments.tracking import Tracking
from sim.simulator import simulate, simulate_each
from sim.together import together
from tests.sim.by_hand import game, in_hindsight
from tests.sim.test_environments import ENVIRONMENTS
from theory.domain import Simplex
from theory.learners import LEARNERS, OGD
from theory.runs.choose import make_learner
from theory.step_size import InverseSqrt

EXPERT_LEARNERS = [name for name, learner in LEARNERS.items() if learner.weighs_experts()]
PAIRS = [
    (stream, learner)
    for stream, environment in ENVIRONMENTS.items()
    for learner in LEARNERS
    if isinstance(environment.problem.domain, Simplex) or learner not in EXPERT_LEARNERS
    if not isinstance(environment.problem.domain, Simplex) or learner not in ("ensemble", "momentum", "adam")
]


def built(stream, learner, seeds=3):
    """Learner, episode with its comparators known, problem and first decision."""
    environment = ENVIRONMENTS[stream]
    problem = environment.problem
    player = make_learner(learner, {}, problem)
    x_1 = problem.domain.project(np.zeros((seeds, problem.dimension)))
    return player, in_hindsight(player, environment.start(seeds, np.random.default_rng(0)), x_1), problem, x_1


@pytest.mark.parametrize("stream, learner", PAIRS)
def test_an_engine_plays_what_the_definition_says(stream, learner):
    player, episode, problem, x_1 = built(stream, learner)
    rounds = list(game(player, episode, x_1))
    ended = 0
    for chunk in play(Game(player, episode, problem), x_1, 7):
        for i, t in enumerate(chunk.rounds):
            expected = rounds[t - 1]
            np.testing.assert_array_equal(chunk.played.x[i], expected.x_t)
            value = expected.loss_t.value(expected.x_t) - expected.loss_t.value(expected.u_t)
            np.testing.assert_allclose(chunk.measured.regret[i], value, rtol=1e-12, atol=1e-14)
            energy = np.sum(expected.loss_t.grad(expected.x_t) ** 2, axis=-1)
            np.testing.assert_allclose(chunk.measured.gradient_energy[i], energy, rtol=1e-12, atol=1e-14)
            hint = player.own_hint(expected.before)
            assert (hint is None) == (chunk.measured.hint_error is None)
            ended = t
    assert ended == problem.horizon == len(rounds)


TRACED = [
    (stream, learner)
    for stream, learner in PAIRS
    if learner in ("ogd", "hedge") or stream in ("quadratic", "experts", "drafts")
    if (stream, learner) != ("drafts-sure", "ogd")  # there a mixture meets the kink of its loss: rounding picks a side
]
"""Every stream, and every learner on three of them: a compiler takes half a second for each."""


@pytest.mark.parametrize("stream, learner", TRACED)
def test_the_traced_engine_gives_the_same_trace(stream, learner):
    pytest.importorskip("jax")
    environment = ENVIRONMENTS[stream]
    player = make_learner(learner, {}, environment.problem)
    assert player.traceable
    ours, theirs = (
        simulate(player, environment, 3, np.random.default_rng(0), logged=100, engine=engine)
        for engine in ("numpy", "jax")
    )
    assert list(ours.columns) == list(theirs.columns)
    for name, column in ours.columns.items():
        np.testing.assert_allclose(theirs.columns[name], column, rtol=1e-9, atol=1e-9, err_msg=name)
    assert theirs.header["violations_of"] == ours.header["violations_of"]
    assert theirs.header["checked"] == ours.header["checked"]


@pytest.mark.parametrize(
    "stream, learner", [("quadratic", "ensemble"), ("adversarial", "optimistic"), ("tokens", "ogd")]
)
def test_a_trace_does_not_depend_on_how_many_rounds_are_drawn_at_once(stream, learner, monkeypatch):
    environment = ENVIRONMENTS[stream]
    player = make_learner(learner, {}, environment.problem)
    traces = []
    for numbers in (1, 5 * 3 * environment.width, CHUNK):
        monkeypatch.setattr("sim.simulator.CHUNK", numbers)
        traces.append(simulate(player, environment, 3, np.random.default_rng(0)))
    for name, column in traces[0].columns.items():
        for other in traces[1:]:
            np.testing.assert_allclose(other.columns[name], column, rtol=1e-13, atol=1e-13, err_msg=name)
    assert traces[0].header["violations_of"] == traces[1].header["violations_of"] == traces[2].header["violations_of"]


def test_violations_are_counted_over_all_chunks(monkeypatch):
    monkeypatch.setattr("sim.simulator.CHUNK", 400)

    class Boaster(OGD):
        def bound(self, state, comparator_energy):
            return super().bound(state, comparator_energy) - 1e3 * (state.rounds[..., 0] % 10 == 0)

    environment = Tracking(Drift(1.0), horizon=95)
    boaster = Boaster(0.1, environment.problem.domain)
    for engine in ("numpy",):
        header = simulate(boaster, environment, 4, np.random.default_rng(0), engine=engine).header
        assert header["violations_of"]["bound"] == 9 * 4


@dataclass(frozen=True)
class Looking(OGD):
    """Branches on a value, and says so."""

    traceable = False

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t) if state.rounds.max() >= 0 else state


def test_what_a_compiler_cannot_run_is_refused_by_name():
    environment = Tracking(horizon=20)
    with pytest.raises(ValueError, match=r"engine='jax': Looking\(.*is not traceable.*take engine='numpy'"):
        simulate(Looking(0.1), environment, 2, np.random.default_rng(0), engine="jax")
    with pytest.raises(ValueError, match="engine='fortran': must be one of numpy, jax"):
        simulate(OGD(0.1), environment, 2, np.random.default_rng(0), engine="fortran")


def test_memory_does_not_grow_with_the_horizon():
    """Peaks of what Python and numpy allocate, twenty times the rounds."""
    import tracemalloc

    peaks = []
    for horizon in (2_000, 40_000):
        environment = replace(Tracking(Drift(1.0), dimension=2), horizon=horizon)
        player = make_learner("ogd", {}, environment.problem)
        tracemalloc.start()
        simulate(player, environment, 200, np.random.default_rng(0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


STEPS = (0.01, 0.1, 0.5)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
@pytest.mark.parametrize(
    "stream, learner, setting",
    [
        ("quadratic", "ogd", "step_size"),
        ("quadratic", "optimistic", "step_size"),
        ("linear", "momentum", "step_size"),
        ("tokens", "ogd", "step_size"),
        ("quadratic", "ensemble", "meta.meta_step_size"),
        ("experts", "hedge", "meta_step_size"),
        ("adversarial", "ogd", "step_size"),  # the adversary looks at each of them: one after another
    ],
)
def test_settings_played_together_are_each_alone(stream, learner, setting, engine):
    if engine == "jax":
        pytest.importorskip("jax")
    environment = ENVIRONMENTS[stream]
    learners = [make_learner(learner, {setting: step}, environment.problem) for step in STEPS]
    assert (together(learners, environment.problem) is not None) or stream == "adversarial"
    rng = np.random.default_rng
    traces = simulate_each(learners, environment, 3, rng(0), [{"step": step} for step in STEPS], engine=engine)
    for player, step, trace in zip(learners, STEPS, traces, strict=True):
        alone = simulate(player, environment, 3, rng(0), {"step": step})
        assert list(trace.columns) == list(alone.columns)
        for name, column in alone.columns.items():
            np.testing.assert_allclose(trace.columns[name], column, rtol=1e-9, atol=1e-9, err_msg=name)
        for key in ("violations_of", "checked", "settings"):
            assert trace.header[key] == alone.header[key]


def test_what_is_no_number_is_played_one_after_another():
    environment = Tracking(horizon=30)
    problem = environment.problem
    assert together([OGD(0.1, problem.domain), OGD(InverseSqrt(2.0, 1.0), problem.domain)], problem) is None
    assert together([OGD(0.1, problem.domain), make_learner("momentum", {}, problem)], problem) is None
    assert together([OGD(0.1, problem.domain)] * 2, problem) == OGD(0.1, problem.domain)
