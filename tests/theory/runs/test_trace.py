"""A result file keeps what was put into it, under the name it was given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.runs.measured import measured_hash, today
from theory.runs.trace import LATER, SettingsDiffer, Trace, done, plain, provenance, save_json


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_columns_round_trip_bit_for_bit(tmp_path_factory, values):
    path = Trace({"settings": {}}, {"a": np.array(values)}).save(tmp_path_factory.mktemp("trace") / "t")
    assert Trace.load(path).columns["a"].tolist() == values


def test_a_dot_in_a_name_belongs_to_it(tmp_path):
    for scale in (0.1, 0.3):
        Trace({"settings": {"scale": scale}}, {"a": np.array([scale])}).save(tmp_path / f"hint-{scale}")
    for scale in (0.1, 0.3):
        assert Trace.load(tmp_path / f"hint-{scale}").columns["a"] == scale
        assert done(tmp_path / f"hint-{scale}", {"scale": scale})
    assert Trace.load(tmp_path / "hint-0.1.json").header["settings"] == {"scale": 0.1}


def test_results_with_other_settings_are_never_overwritten(tmp_path):
    Trace({"settings": {"scale": 1}}, {"a": np.array([1.0])}).save(tmp_path / "t")
    with pytest.raises(SettingsDiffer, match="scale"):
        Trace({"settings": {"scale": 2}}, {"a": np.array([2.0])}).save(tmp_path / "t")
    assert Trace.load(tmp_path / "t").columns["a"] == 1.0


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        (
            ".json",
            '{"settin',
            r"t\.json: a trace must be a JSON object, but reading it says Unterm.*remove it and run the command",
        ),
        (".json", "", r"t\.json: a trace must be a JSON object"),
        (".json", "[1]", r"t\.json: a trace must be a JSON object"),
        (".json", "3", r"t\.json: a trace must be a JSON object"),
        (".json", '{"settings": {}}', r"t\.json: kind=None, but a trace is read here; give the path of a trace"),
        (".json", '{"kind": "trace", "schema": 7}', r"t\.json: schema=7, but this version reads trace files of schem"),
        (".csv", "", r"t\.csv: is empty, but a trace has .* run the command that writes it again"),
        (".csv", "a,b\n1,2\n3\n", r"t\.csv: rows differ in length"),
    ],
)
def test_a_trace_that_is_not_whole_is_named(tmp_path, part, text, message):
    path = Trace({"settings": {}}, {"a": np.array([1.0])}).save(tmp_path / "t")
    path.with_suffix(part).write_text(text)
    with pytest.raises(ValueError, match=message):
        Trace.load(path)
    if part == ".json":
        with pytest.raises(ValueError, match=message):
            done(path, {})


def test_what_comes_out_alike_keeps_its_first_provenance(tmp_path):
    path = tmp_path / "summary.json"
    for time, value, kept in ((1, 0.5, 1), (2, 0.5, 1), (3, 0.25, 3)):
        save_json(path, {"value": value, "provenance": {"time": time}})
        assert json.loads(path.read_text()) == {"value": value, "provenance": {"time": kept}}
    path.write_text('{"value": 0.25, "prov')
    save_json(path, {"value": 0.25, "provenance": {"time": 4}})
    assert json.loads(path.read_text())["provenance"]["time"] == 4


def saved(path, value, settings=None):
    return Trace({"settings": settings or {}}, {"a": np.array([value, value])}).save(path)


LOST = {
    "missing": (lambda table: table.unlink(), FileNotFoundError, r"no trace at .*t\.csv: run the command"),
    "cut at a line": (
        lambda table: table.write_text(table.read_text()[:6]),
        ValueError,
        r"t\.csv: is cut, changed, or of another run than its \.json, by its checksum; remove it with its \.json",
    ),
    "of another run": (
        lambda table: table.write_bytes(saved(table.parent / "u", 2.0).with_suffix(".csv").read_bytes()),
        ValueError,
        r"t\.csv: is cut, changed, or of another run",
    ),
    "a pointer": (
        lambda table: table.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n"),
        ValueError,
        r"t\.csv: is a pointer of git-lfs, not the trace itself; fetch it \(git lfs pull\), or remove it",
    ),
}


@pytest.mark.parametrize(("lose", "error", "message"), LOST.values(), ids=LOST)
def test_a_header_without_its_table_is_no_trace_and_is_made_again(tmp_path, lose, error, message):
    path = saved(tmp_path / "t", 1.0)
    assert done(path, {})
    lose(path.with_suffix(".csv"))
    with pytest.raises(error, match=message):
        Trace.load(path)
    assert not done(path, {})
    with pytest.raises(SettingsDiffer):
        done(path, {"scale": 2})
    saved(path, 1.0)
    assert done(path, {})
    assert Trace.load(path).columns["a"].tolist() == [1.0, 1.0]


def test_a_header_that_is_a_pointer_is_named(tmp_path):
    path = saved(tmp_path / "t", 1.0)
    path.with_suffix(".json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    for ask in (lambda: Trace.load(path), lambda: done(path, {})):
        with pytest.raises(ValueError, match=r"t\.json: is a pointer of git-lfs, .* fetch it \(git lfs pull\)"):
            ask()


def test_a_trace_from_before_checksums_still_loads_and_counts(tmp_path):
    path = saved(tmp_path / "t", 1.0)
    header = json.loads(path.with_suffix(".json").read_text())
    assert header.pop("csv_sha256")
    path.with_suffix(".json").write_text(json.dumps(header))
    assert done(path, {})
    assert Trace.load(path).columns["a"].tolist() == [1.0, 1.0]
    path.with_suffix(".csv").unlink()
    assert not done(path, {})


@dataclass(frozen=True)
class Grown:
    old: int = 1
    new: float = field(default=0.0, metadata={LATER: True})


def test_a_field_that_came_later_is_told_where_it_is_set():
    """So that a result from before it is still one of the same settings."""
    assert plain(Grown()) == {"class": "Grown", "old": 1}
    assert plain([Grown(new=2.0)]) == [{"class": "Grown", "old": 1, "new": 2.0}]


@pytest.mark.parametrize(("device", "told"), [("NVIDIA H200", True), ("cpu", False), ("cpu, 1 thread", False)])
def test_what_a_gpu_measured_says_which_code_it_was(device, told):
    found = provenance(device)
    assert found.get("measured_hash") == (measured_hash("decoder", today()) if told else None)
