"""Only a test that failed or ran for ever has noticed a mutant."""

import json

import pytest

from tests import survivors


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Exit codes → (status, what is printed)."""
    (tmp_path / "mutants").mkdir()
    (tmp_path / "survivors.csv").write_text("function,line,reason\nf,known,Equivalent\n")
    monkeypatch.setattr(survivors, "ROOT", tmp_path)
    monkeypatch.setattr(survivors, "REASONS", tmp_path / "survivors.csv")
    monkeypatch.setattr(survivors, "changed", lambda name: "known" if name.startswith("f__") else "unknown")

    def run(codes):
        (tmp_path / "mutants/a.meta").write_text(json.dumps({"exit_code_by_key": codes}))
        return survivors.main(), capsys.readouterr().out

    return run


def many(code=1):
    return {f"g__mutmut_{i}": code for i in range(100)}


def test_killed_and_timed_out_are_killed(run):
    status, printed = run(many() | {"f__mutmut_1": 0, "g__mutmut_101": 3, "g__mutmut_102": 36, "g__mutmut_103": -24})
    assert status == 0
    assert "104 mutants, 103 killed: 99.0%" in printed
    assert "{'killed': 101, 'survived': 1, 'timeout': 2}" in printed


@pytest.mark.parametrize("code", [0, 5, 33, 34, 35, -11, -9, 77])
def test_what_no_test_has_judged_needs_a_reason(run, code):
    status, printed = run(many() | {"h__mutmut_1": code})
    assert status == 1
    assert "no reason given: h: unknown" in printed
    assert run(many() | {"f__mutmut_1": code})[0] == 0


@pytest.mark.parametrize("codes", [{}, {"g__mutmut_1": None}, {"g__mutmut_1": 2}])
def test_a_run_that_has_not_ended_is_refused(run, codes):
    status, printed = run(codes)
    assert status == 1
    assert "run `make mutants` to its end" in printed


def test_too_many_survivors_are_refused(run):
    assert run(many() | {f"f__mutmut_{i}": 0 for i in range(10)})[0] == 1
