"""The figures of curves and of returning shifts: what is drawn is what the recordings' file says."""

import numpy as np
import pytest

from figures import curves, returning
from figures.results import MissingResult
from theory.runs.result import save_result

GAIN = {"memory": 0.05, "tv-mixture": 0.1, "tv-mixture-shared": 0.11}
RETURNS = "prose:3,c:3,prose:3"


def around(value):
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def row(family, start, schedule, kinds):
    """One recording; every mean crosses zero after 120.5 tokens."""
    systems = {"sd": {"tokens_per_step": around(2.0)}}
    for name, more in GAIN.items():
        ends = {"value": [-1.0, 0.5, 9 * more], "low": [None, 0.1, 0.2], "high": [None, 1, 2]}
        systems[name] = {kind: {"tokens": [100, 300, 1000], **ends, "crossings": [120.5]} for kind in kinds}
    parts = {name: {"whole": around(1 + more), "first": around(1.0)} for name, more in GAIN.items()}
    sharing = {"whole": around(1.01), "first": around(1.02)}
    names = [part.partition(":")[0] for part in schedule.split(",")]
    stretches = [{"name": name, "systems": parts, "sharing": sharing} for name in names]
    told = {"family": family, "start": start, "schedule": schedule}
    return told | {"systems": systems, "stretches": stretches}


def curves_results(root):
    both = ("measured", "predicted")
    rows = [row("qwen3", "generalist", "c:8", both), row("qwen3", "specialist", RETURNS, both)]
    rows.append(row("llama", "specialist", "c:8", ("measured",)))
    save_result(root / "curves" / "curves.json", "curves", {"rows": rows})


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    curves_results(root)
    return root


def test_curves_have_their_zeros_and_are_of_one_family_unless_others_are_asked_for(results):
    table = curves.collect(results, [])
    assert set(table["stream"].tolist()) == {"qwen3 c:8", f"qwen3 {RETURNS}"}
    assert set(table["kind"].tolist()) == {"measured", "predicted"}
    np.testing.assert_array_equal(table["committed_tokens"][table["zero"]], [120.5] * 12)
    assert np.isnan(table["low"][~table["zero"]][0])
    assert set(curves.collect(results, ["llama/*"])["stream"].tolist()) == {"llama c:8"}


def test_a_curve_is_drawn_as_it_is_with_a_dot_at_every_zero(results):
    table = curves.collect(results, [])
    panel = curves.draw(table, 6.75).axes[0]
    dots = [line.get_xydata().tolist() for line in panel.lines if line.get_marker() == "o"]
    assert dots == [[[120.5, 0.0]]] * 3
    drawn = [line.get_xydata() for line in panel.lines if line.get_color() == curves.COLORS["memory"]]
    np.testing.assert_allclose(drawn[0], [[100, -1.0], [300, 0.5], [1000, 0.45]])


def test_recordings_that_match_nothing_are_named(results):
    with pytest.raises(MissingResult, match="matches gpt/\\*; there: qwen3/generalist/c:8"):
        curves.collect(results, ["gpt/*"])


def test_stretches_are_those_of_streams_that_shift(results):
    table = returning.collect(results, [])
    assert set(table["start"].tolist()) == {"specialist"}
    assert table["stretch"][table["system"] == "memory"].tolist() == ["prose", "prose", "c", "c", "prose", "prose"]
    assert set(table["value"][table["system"] == returning.SHARING].tolist()) == {1.01, 1.02}
    figure = returning.draw(table, 6.75)
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["prose", "c", "prose"]
    with pytest.raises(MissingResult, match="no stream that shifts"):
        returning.collect(results, ["llama/*"])
