"""A result file keeps what was put into it, under the name it was given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.trace import SettingsDiffer, Trace, done


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
