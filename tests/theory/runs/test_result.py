"""A result file says what it is, and is read as nothing else."""

import json

import numpy as np
import pytest

from theory.runs.result import load_result, save_result
from theory.runs.trace import Trace


def test_a_result_comes_back_as_it_was_given_with_its_provenance(tmp_path):
    save_result(tmp_path / "deep/floor.json", "floor", {"rows": [{"holds": True}]}, "cuda")
    written = json.loads((tmp_path / "deep/floor.json").read_text())
    assert list(written) == ["kind", "schema", "rows", "provenance"]
    assert (written["kind"], written["schema"]) == ("floor", 1)
    found = load_result(tmp_path / "deep/floor.json", "floor")
    assert found.pop("provenance")["device"] == "cuda"
    assert found == {"rows": [{"holds": True}]}


def test_what_comes_out_alike_keeps_its_first_provenance(tmp_path):
    for device, value, kept in (("one", 0.5, "one"), ("two", 0.5, "one"), ("three", 0.25, "three")):
        save_result(tmp_path / "r.json", "bench", {"value": value}, device)
        assert load_result(tmp_path / "r.json", "bench")["provenance"]["device"] == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"r\.json: a floor must be a JSON object, but reading it says Expecting value.*; remove it and run the"),
        ("[1, 2]", r"r\.json: a floor must be a JSON object, .*; remove it and run the command that writes it again"),
        ('{"rows": []}', r"r\.json: kind=None, but a floor is read here; give the path of a floor"),
        ('{"kind": "bench", "schema": 1}', r"r\.json: kind='bench', but a floor is read here; give the path of a floo"),
        ('{"kind": "floor"}', r"r\.json: schema=None, but this version reads floor files of schema 1; read it with th"),
        ('{"kind": "floor", "schema": 2}', r"r\.json: schema=2, .* or remove it and run the command that writes it ag"),
    ],
)
def test_another_kind_or_form_is_said(tmp_path, text, message):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_result(tmp_path / "r.json", "floor")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no floor at .*r\.json: run the command that writes it first"):
        load_result(tmp_path / "r.json", "floor")


def test_a_trace_is_no_other_result(tmp_path):
    path = Trace({"settings": {}, "rows": 3}, {"a": np.array([1.0])}).save(tmp_path / "t")
    assert list(json.loads(path.with_suffix(".json").read_text()))[:2] == ["kind", "schema"]
    assert Trace.load(path).header == {"settings": {}, "rows": 3}
    with pytest.raises(ValueError, match="kind='trace', but a floor is read here"):
        load_result(path.with_suffix(".json"), "floor")
