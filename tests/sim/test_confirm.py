"""Three worlds, one answer: the replay against the papers' pseudocode, and faults of the replay that it catches."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sim import __main__ as simulator
from sim import pseudocode
from sim.confirm import Confirmed, by_pseudocode, compared, confirm
from sim.environments import chain
from sim.environments.recording import Recording
from sim.environments.replay import Replay
from sim.pseudocode.noise import exponentials
from sim.pseudocode.run import Told
from tests.sim.test_replay import NU, POSITIONS, VOCABULARY, WIDTH, arrays, save
from theory.domain import Ball
from theory.hints import MovingAverage
from theory.learners.adahedge import AdaHedge
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.hedge import Hedge
from theory.learners.momentum import Momentum
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.loss import Blocks
from theory.runs.practice import ADAPTER_LEARNERS
from theory.speculation.acceptance import Walk
from theory.speculation.adapter import whitening
from theory.speculation.gumbel_rule import key, noise

HEADS = 3
LEARNERS = {
    "ogd": OGD(2.0),
    "optimistic": OptimisticOGD(2.0, MovingAverage(0.7)),
    "ensemble": Ensemble(OGD((1.0, 2.0, 4.0))),
    "momentum": Momentum(0.4, 0.8),
    "adam": Adam(0.02, beta_2=0.9),
}


def recorded(folder, kind, heads=1):
    """A recording of random numbers; of heads, with a first decision of their own."""
    content = arrays(False, rule=kind) if kind == "gumbel" else arrays(kind == "greedy")
    content["whitener"] = whitening(content["features"][: 2 * NU].astype(float))
    if heads > 1:
        rng = np.random.default_rng(1)
        around = content["features"][:, None] + 0.3 * rng.standard_normal((POSITIONS, heads, WIDTH))
        content |= {"features": around.astype(np.float32), "x_1": rng.standard_normal(heads * WIDTH**2)}
        header = json.loads(str(content["header"])) | {"burn_in_rounds": 0, "weights": [4.0, 2.0, 1.0]}
        content["header"] = np.array(json.dumps(header))
    return save(folder / f"{kind}-{heads}.npz", content)


@pytest.mark.parametrize("kind", ["greedy", "sampled", "gumbel"])
@pytest.mark.parametrize("name", [*LEARNERS, "frozen"])
def test_the_replay_is_the_pseudocode(tmp_path, name, kind):
    learner = LEARNERS.get(name) or ADAPTER_LEARNERS[name]
    for heads, gammas in ((1, (1, 3, 8)), (HEADS, (1, 2, 3))):
        path = recorded(tmp_path, kind, heads)
        for gamma in gammas:
            found = confirm(path, learner, gamma)
            assert found.holds, (heads, gamma, found)
            assert max(found.differences.values()) < 1e-9
            assert {"overlap", "loss", "hint_error", "steps", "bonus", "x"} <= set(found.differences)
            assert ("bound" in found.differences) == (name in ("ogd", "optimistic", "ensemble"))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_text_that_ends_with_the_burn_in_is_compared_too(tmp_path, name):
    """No round is learned, so that its columns are empty and no bound is claimed; the counts remain."""
    content = arrays(False, burn_in_rounds=POSITIONS // NU)
    content["whitener"] = whitening(content["features"][: POSITIONS // NU * NU].astype(float))
    found = confirm(save(tmp_path / "short.npz", content), LEARNERS[name], 3)
    assert (found.holds, found.positions) == (True, POSITIONS)
    assert found.differences["loss"] == 0.0
    assert "bound" not in found.differences


def told(energy):
    """A run of one position, with a column of small numbers."""
    positions = {name: np.ones(1) for name in ("step_start", "examined", "accepted", "overlap", "margin")}
    return Told(positions, {"energy": np.array(energy)}, {"steps": 1.0}, np.zeros(4))


def test_a_difference_is_relative_to_the_largest_entry_of_its_column():
    near, far = (compared(told([1e-6, size]), told([1e-6, 2e-6])) for size in (2e-6 * (1 + 1e-7), 2e-6 * (1 + 1e-5)))
    assert near.holds
    assert far.differences["energy"] == pytest.approx(1e-5)
    assert not far.holds


@pytest.mark.parametrize("differences", [{"overlap": 0.0, "bound": np.nan}, {"bound": np.nan, "overlap": 0.0}])
def test_what_is_no_number_does_not_hold(differences):
    assert not Confirmed(differences, 0, 10).holds
    assert not compared(told([1.0, np.nan]), told([1.0, 1.0])).holds


def test_what_is_not_written_as_pseudocode_is_refused():
    for learner in (Ensemble(OGD((1.0, 2.0)), Hedge(1.0)), OGD((1.0,)), OGD(1.0, Ball(1.0)), OptimisticOGD(1.0)):
        with pytest.raises(ValueError, match="not written as pseudocode"):
            by_pseudocode(learner)


def test_the_noise_is_written_twice():
    keys, places = np.array([key(9, 4)] * 3), np.array([0, 1, 1000])
    twice = [exponentials(9, 4, place, VOCABULARY) for place in places.tolist()]
    assert np.allclose(twice, noise(keys, places, VOCABULARY), rtol=1e-14, atol=0)


def test_it_imports_nothing_of_the_project_but_itself():
    for path in Path(pseudocode.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name is not None
                assert name.startswith("sim.pseudocode") or name.split(".")[0] not in ("sim", "theory", "real", "tests")


def replaced(owner, name, changed):
    """A fault: ``changed`` in place of a method, which it gets as its first argument."""

    def plant(patch):
        original = getattr(owner, name)
        patch.setattr(owner, name, lambda *given, **named: changed(original, *given, **named))

    return plant


def claimed(owner, name, value):
    """A fault: a property that says something else."""
    return lambda patch: patch.setattr(owner, name, property(value))


def read_otherwise(changed):
    """A fault: a recording that is read otherwise."""

    def plant(patch):
        original = Recording.load
        patch.setattr(Recording, "load", staticmethod(lambda path: changed(original(path))))

    return plant


def a_round_late(original, self, hint, grad, kept=[]):  # noqa: B006 (what it remembers is the fault)
    """The hint that followed from the gradient before."""
    kept.append(original(self, hint, grad))
    return kept[-2] if len(kept) > 1 else kept[-1]


def early(recording):
    return replace(recording, header=recording.header | {"burn_in_rounds": recording.header["burn_in_rounds"] - 1})


FAULTS = {
    "features of the position before": read_otherwise(lambda one: replace(one, features=np.roll(one.features, 1, 0))),
    "whitening of another burn-in": read_otherwise(
        lambda one: replace(one, whitener=whitening(one.features[NU : 3 * NU, 0]))
    ),
    "burn-in of a round less": read_otherwise(early),
    "temperature left out": claimed(Recording, "temperature", lambda self: 1.0),
    "heads weighed alike": claimed(Recording, "weights", lambda self: (1 / HEADS,) * HEADS),
    "steps go on over prompts": claimed(Recording, "starts", lambda self: np.zeros(POSITIONS, bool)),
    "stale weights for a round": replaced(
        Replay, "_decode", lambda original, self, part, heads, x_t, old: original(self, part, heads, old, old)
    ),
    "weights swapped in within a step": replaced(
        Replay, "_decode", lambda original, self, part, heads, x_t, old: original(self, part, heads, x_t, x_t)
    ),
    "the first head at every place": replaced(
        chain, "decode", lambda original, walk, kept, old, *rest: original(walk, kept[:, :1], old[:, :1], *rest)
    ),
    "bonus verified like a draft": replaced(Walk, "examined", lambda original, self, gamma: original(self, gamma + 1)),
    "loss averaged over half its positions": replaced(
        OGD, "update", lambda original, self, state, loss, hint=None: original(self, state, Blocks((loss,), (2.0,)))
    ),
    "hint of the round before": replaced(MovingAverage, "after", a_round_late),
    "hint left out of the play": replaced(
        OptimisticOGD, "predict", lambda original, self, state, hint=None: original(self, state, 0.0 * state.hint)
    ),
    "moments not corrected": replaced(
        Adam, "update", lambda original, self, state, loss: original(self, state._replace(decay=0 * state.decay), loss)
    ),
    "velocity averaged": replaced(
        Momentum, "update", lambda original, self, state, loss: original(
            self, state, Blocks((loss,), (1 - self.momentum,))
        )
    ),
    "weights at twice their rate": replaced(AdaHedge, "_rate", lambda original, self, state: 2 * original(self, state)),
    "noise of the place before": read_otherwise(lambda one: replace(one, place=one.place - 1)),
    "noise of another request": read_otherwise(lambda one: replace(one, prompt=one.prompt + 1)),
    "bound without the surplus": replaced(
        Ensemble, "terms", lambda original, *given, **named: original(*given, **named)._replace(surplus=0.0)
    ),
}  # fmt: skip
"""Faults of the replay, of a reading or of a learner."""
MEETS = {
    "heads weighed alike": ("ogd", HEADS),
    "the first head at every place": ("ogd", HEADS),
    "hint of the round before": ("optimistic", 1),
    "hint left out of the play": ("optimistic", 1),
    "moments not corrected": ("adam", 1),
    "velocity averaged": ("momentum", 1),
    "weights at twice their rate": ("ensemble", 1),
    "bound without the surplus": ("ensemble", 1),
}
"""The learner and the number of heads that a fault is of; of all others gradient descent, one head."""
SEEDED = ("noise of the place before", "noise of another request")
"""Faults that only the Gumbel rule meets."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(tmp_path, monkeypatch, fault):
    name, heads = MEETS.get(fault, ("ogd", 1))
    path = recorded(tmp_path, "gumbel" if fault in SEEDED else "sampled", heads)
    assert confirm(path, LEARNERS[name], 3).holds
    FAULTS[fault](monkeypatch)
    found = confirm(path, LEARNERS[name], 3)
    assert not found.holds
    assert found.counted or max(found.differences.values()) > 1e-4  # not by a rounding


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = recorded(tmp_path, "greedy")
    result = CliRunner().invoke(simulator.app, ["confirm", str(path), "--learner", "ogd", "--gamma", "2"])
    assert result.exit_code == 0, result.output
    assert "of 1 runs 1 hold" in result.output
    (row,) = json.loads((tmp_path / "out/confirm.json").read_text())["rows"]
    assert (row["learner"], row["gamma"], row["counted"], row["holds"]) == ("ogd", 2, 0, True)
    FAULTS["stale weights for a round"](monkeypatch)
    result = CliRunner().invoke(simulator.app, ["confirm", str(path), "--learner", "ogd"])
    assert result.exit_code == 1
    assert "differ from the pseudocode" in result.output
