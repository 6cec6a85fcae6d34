"""The hardest comparators: at least the truth, found where they are known, and within every guarantee."""

import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sim import __main__ as command
from sim.environments.adversarial import Adversarial
from sim.environments.drift import Drift
from sim.environments.tokens import Tokens
from sim.environments.tracking import Tracking
from sim.experiments import Match
from sim.hardest import hardest
from tests.sim.by_hand import rounds_of
from theory import hindsight
from theory.runs.choose import make_learner

SHORT = {
    "still": Tracking(horizon=40),
    "drift": Tracking(Drift(1.0), horizon=40),
    "linear": Tracking(Drift(1.0), horizon=40, loss="linear"),
    "adversary": Adversarial(horizon=40, segments=4),
}


def found(environment, name="ogd", **settings):
    learner = make_learner(name, {}, environment.problem)
    return hardest(learner, environment, np.random.default_rng(0), **settings)


@pytest.mark.parametrize("name", SHORT)
def test_the_hardest_comparators_lie_between_the_truth_and_the_guarantee(name):
    result = found(SHORT[name])
    assert result.guarantee is not None
    assert result.truth <= result.hardest <= result.at_most * (1 + 1e-9) <= result.guarantee
    assert result.at_most - result.hardest < 0.01 * result.hardest + 0.05


def test_without_a_path_the_hardest_comparator_is_the_best_fixed_decision():
    environment = SHORT["still"]
    episode = environment.start(1, np.random.default_rng(0))
    losses = [episode.loss(drawn) for drawn in rounds_of(episode)]
    centers = np.stack([loss.center[0] for loss in losses])
    u = hindsight.best_piecewise(centers, environment.problem.domain, 1, "quadratic")
    learner = make_learner("frozen", {}, environment.problem)
    frozen = hardest(learner, environment, np.random.default_rng(0))
    assert frozen.hardest == pytest.approx(0.5 * np.sum(centers**2) - 0.5 * np.sum((u - centers) ** 2), abs=1e-3)
    assert frozen.guarantee is None


def test_a_solver_cut_short_still_knows_the_truth():
    result = found(SHORT["linear"], steps=1)
    assert result.hardest >= result.truth
    assert result.at_most > found(SHORT["linear"]).hardest


def test_other_losses_are_refused():
    with pytest.raises(ValueError, match="not for those of Tokens; choose another stream"):
        found(Tokens(horizon=5, vocabulary=8))


def test_the_command_prints_and_judges(monkeypatch, tmp_path):
    drift = replace(SHORT["drift"], horizon=30)
    monkeypatch.setattr(command, "EXPERIMENTS", {"a/ogd": Match(drift, "ogd"), "b/adam": Match(drift, "adam")})
    result = CliRunner().invoke(command.app, ["hardest", "*"])
    assert result.exit_code == 0
    assert re.search(r"a/ogd +-?\d+\.\d\d +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d", result.output)
    assert re.search(r"b/adam .* none", result.output)
    (tmp_path / "boast.py").write_text(
        "from dataclasses import dataclass\n"
        "from theory.learners.ogd import OGD\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Boast(OGD):\n"
        "    def guarantee(self, problem):\n"
        "        return 0.1\n"
    )
    result = CliRunner().invoke(command.app, ["hardest", "a/ogd", "--learner", f"{tmp_path}/boast.py:Boast"])
    assert result.exit_code == 1
    assert "guarantees violated" in result.output
    assert CliRunner().invoke(command.app, ["hardest", "nothing"]).exit_code == 2
