"""Files to begin with pass their own checks, and own files are not overwritten."""

import re

import pytest
from typer.testing import CliRunner

from sim.__main__ import app as simulator
from theory.__main__ import app as theory


def run(app, *arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def test_a_new_learner_passes_its_check_and_plays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run(theory, "new", "my_learner")
    assert status == 0
    assert "check my_learner.py:MyLearner" in said
    text = (tmp_path / "my_learner.py").read_text()
    assert "OwnLearner" not in text
    assert "{file}" not in text
    assert run(theory, "check", "my_learner.py:MyLearner", "--games", 2000)[0] == 0
    for engine in ("numpy", "jax"):
        assert (
            run(simulator, "play", "my_learner.py:MyLearner", "drift/P8", "--horizon", 100, "--engine", engine)[0] == 0
        )


def test_a_new_environment_plays_over_settings_and_horizons(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run(simulator, "new", "two_sides", "--folder", tmp_path)
    assert status == 0
    assert "TwoSides" in said
    text = (tmp_path / "two_sides.py").read_text()
    assert "class TwoSidesEpisode" in text
    assert "Own" not in text
    arguments = ("--sweep", "step_size=0.1,0.5", "--horizon", "100,250", "--copies", 4)
    status, said = run(simulator, "play", "ogd", "two_sides.py:TwoSides", *arguments)
    assert status == 0, said
    status, said = run(simulator, "new", "two_sides")
    assert status == 2
    assert "is there already" in said


@pytest.mark.parametrize("name", ["My-Learner", "learner.py", "", "1st"])
def test_a_bad_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run(theory, "new", name)
    assert status == 2
    assert "must be a Python name in lower case" in said
