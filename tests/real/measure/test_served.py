# pyright: reportAttributeAccessIssue=false
"""Blocks of methods: all there is skipped, some there is refused, every method resumes."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.served import settings_of
from real.studies.experiments import EXPERIMENTS
from real.systems.loaded import Models
from real.systems.rows import ROWS
from tests.real.cli.test_real_cli import QUICK, assets, contents, counts, interrupt_at, quick, real, said  # noqa: F401 (fixtures)
from theory.runs.trace import done

RESULTS = Path(__file__).parents[3] / "results/real"

OTHERS = ("plain", "frozen", "weights-adam", "adam", "momentum", "optimistic", "generalist-ensemble")


def test_every_other_method_resumes_to_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "demo", replace(QUICK, methods=OTHERS))
    assert real("demo", "--out", "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, KeyboardInterrupt())
        assert real("demo", "--out", "parts").exit_code != 0
    assert real("demo", "--out", "parts").exit_code == 0
    whole = counts(tmp_path / "whole/demo/1")
    assert whole == counts(tmp_path / "parts/demo/1")
    assert whole["weights-adam"]["rounds"]


def test_a_new_method_beside_old_results_overwrites_nothing(tmp_path, monkeypatch):
    assert real("demo", "--out", "o").exit_code == 0
    before = contents(tmp_path / "o")
    monkeypatch.setitem(EXPERIMENTS, "demo", replace(QUICK, methods=(*QUICK.methods, "adam")))
    result = real("demo", "--out", "o")
    assert result.exit_code == 2
    assert "and none of adam" in said(result)
    assert contents(tmp_path / "o") == before


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "demo"])
def test_committed_results_are_those_that_make_results_would_make(name):
    """So that it skips them; a new field of a row must not make results of before look like others."""
    experiment, models = EXPERIMENTS[name], Models()
    for seed in experiment.seeds:
        for method in experiment.methods:
            settings = settings_of(models, ROWS[method], experiment.schedule, experiment.serving, seed)
            assert done(RESULTS / name / str(seed) / method, settings)
