"""``sim.play``: a learner in any form against any environment, by the one loop."""

import re
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest

import sim
from sim.experiments import EXPERIMENTS
from theory.domain import Ball
from theory.learners import OGD, Ensemble, Hedge

SHORT = sim.Tracking(sim.Drift(2.0), horizon=60, dimension=3)


def test_play_is_what_an_experiment_runs():
    row = EXPERIMENTS["drift/P8/ogd"]
    trace = sim.play("ogd", "drift/P8", copies=row.seeds, seed=row.seed)
    run = row.run()
    assert trace.header["name"] == "drift/P8/ogd"
    for name in ("settings", "violations", "final"):
        assert trace.header[name] == run.header[name]
    np.testing.assert_allclose(
        trace.columns["dynamic_regret"][-1], run.columns["dynamic_regret"][-1], rtol=1e-4, err_msg="the last round"
    )


@pytest.mark.parametrize(
    "learner",
    ["ogd", OGD, OGD(SHORT.problem.oracle_step_size, SHORT.problem.domain)],
    ids=["name", "class", "object"],
)
def test_a_learner_by_name_class_or_object_is_the_same(learner):
    trace = sim.play(learner, SHORT, copies=2)
    named = sim.play("ogd", SHORT, copies=2)
    assert trace.header["name"] == "tracking/ogd"
    assert trace.header["violations"] == 0
    for name, column in named.columns.items():
        np.testing.assert_array_equal(trace.columns[name], column)


def test_a_learner_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom theory import OGD\n\n@dataclass(frozen=True)\nclass Mine(OGD):\n"
        "    pass\n"
    )
    trace = sim.play(f"{file}:Mine", SHORT, copies=2, step_size=0.25)
    assert trace.header["name"] == "tracking/mine-Mine,step_size=0_25"
    assert len(trace.header["settings"]["learner_file"]) == 64


def test_settings_as_keywords_and_as_a_mapping():
    fast = sim.play("ensemble", SHORT, copies=1, settings={"base.step_size": (0.25, 0.5), "prior": None})
    assert fast.header["settings"]["learner"]["base"]["step_size"] == [0.25, 0.5]
    again = sim.play(Ensemble(OGD((0.1,), Ball(1.0))), SHORT, copies=1, surrogate=False)
    assert again.header["settings"]["learner"]["surrogate"] is False


def test_a_seed_draws_the_truth_and_copies_differ():
    one, same, other = (sim.play("ogd", SHORT, copies=2, seed=seed).columns["dynamic_regret"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    assert np.all(one[-1, 0] != one[-1, 1])


def test_as_many_rounds_are_kept_as_asked_for():
    assert len(sim.play("ogd", SHORT, copies=1, logged=20).columns["round"]) <= 20
    kept = sim.play("ogd", SHORT, copies=1, logged=120).columns["round"]
    assert kept.tolist() == list(range(1, 61))


@dataclass(frozen=True)
class Still(sim.Environment):
    """One linear loss for ever."""

    @property
    def problem(self):
        return SHORT.problem

    def start(self, seeds, rng):
        episode = import_module("sim.environments.base").LinearEpisode
        slopes = np.zeros((60, seeds, 3)) + np.array([1.0, 0.0, 0.0])
        return episode(slopes, -slopes)


def test_an_environment_of_ones_own():
    trace = sim.play("ogd", Still(), copies=2)
    assert trace.header["name"] == "still/ogd"
    assert trace.header["violations"] == 0
    assert np.all(trace.columns["dynamic_regret"][-1] > 0)


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        (("ogd", "drift/P9"), {}, "environment='drift/P9': no such environment; did you mean 'drift/P8'? give one of"),
        (("ogd", sim.Tracking), {}, "or an Environment, for example sim.Tracking()"),
        (("ogdd", SHORT), {}, "learner='ogdd': no such learner; did you mean 'ogd'?"),
        (("hedge", SHORT), {}, "learner='hedge': plays on the simplex"),
        ((Hedge(0.1), SHORT), {}, "plays on the simplex, but this problem's decisions lie in Ball"),
        (("ogd", SHORT), {"step": 1}, "setting step: OGD has no setting 'step'; did you mean 'step_size'?"),
        (("ogd", SHORT), {"step_size": -1.0}, "every step size must be positive and finite"),
        (("ogd", SHORT), {"copies": 0}, "play(copies=0): must be at least 1"),
        (("ogd", SHORT), {"logged": 1}, "play(logged=1): must be at least 2"),
        ((OGD(0.5), SHORT), {}, "to which its regret is measured; project in update"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_played_is_refused(arguments, more, words):
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        sim.play(*arguments, **more)
    assert "--" not in str(refusal.value)
