"""``figures.draw``: the figures of the table from traces at hand, the same as from files; clear errors for the rest."""

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import figures
import sim
from tests.figures.test_figures import METHODS, SEEDS, real_results, sim_results
from theory.runs.trace import Trace

FROM_SIM = ("regret", "tightness", "acceptance_bounds")
FROM_REAL = ("acceptance", "speed", "ledger", "speed_theorem", "paper_formulas")
FROM_FILES = ("headroom", "agreement", "systems", "step_sizes", "hints", "curves", "returning", "regret_speed")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    sim_results(root)
    real_results(root)
    return root


def at_hand(root, part):
    """What the files hold, by the names that the files have."""
    folder = root / part
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))
    return {name: Trace.load(folder / name) for name in names}


def shown(figure):
    """All curves and bars of a figure."""
    curves = [line.get_xydata() for axes in figure.axes for line in axes.lines]
    return curves + [np.array(patch.get_bbox()) for axes in figure.axes for patch in axes.patches]


@pytest.mark.parametrize("name", [*FROM_SIM, *FROM_REAL])
def test_traces_at_hand_are_drawn_as_their_files_are(results, name):
    part = "sim" if name in FROM_SIM else "real"
    figure = figures.draw(name, at_hand(results, part), width=3.25)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == 3.25
    again = shown(figures.draw(name, results, width=3.25))
    assert again
    for one, other in zip(shown(figure), again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_figure_of_other_results_says_that_it_wants_the_folder(results, name):
    with pytest.raises(ValueError, match=f"figure '{name}' cannot be drawn from traces: it reads .*; give a results"):
        figures.draw(name, at_hand(results, "sim"))


def test_every_figure_is_one_or_the_other():
    assert sorted(figures.FIGURES) == sorted([*FROM_SIM, *FROM_REAL, *FROM_FILES])


def test_traces_that_were_just_played_are_drawn_by_the_names_they_have():
    stream = sim.Tracking(sim.Drift(2.0), horizon=40)
    traces = [sim.play(learner, stream, copies=2) for learner in ("ogd", "frozen")]
    figure = figures.draw("regret", traces)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tracking"]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:2] == ["frozen", "ogd"]
    alone = figures.draw("regret", traces[0])
    assert alone.axes[0].lines[0].get_xdata()[-1] == 40


def test_methods_of_one_stream_need_no_more_than_their_names(results):
    whole = at_hand(results, "real")
    runs = {method: whole[f"shift/0/{method}"] for method in METHODS}
    assert len(figures.draw("speed", runs).axes) == 2


def test_rows_choose_among_traces(results):
    figure = figures.draw("regret", at_hand(results, "sim"), rows=["drift/*"])
    assert len(figure.axes) == 1


def test_drawing_leaves_the_caller_s_settings_alone(results):
    before = dict(matplotlib.rcParams)
    figures.draw("regret", results)
    assert dict(matplotlib.rcParams) == before


def trace(**columns):
    return Trace({"seeds": SEEDS}, {"round": np.arange(1, 4), **columns})


REGRET = trace(dynamic_regret=np.ones((3, SEEDS)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("regrets", {"a/b": REGRET}), "figure 'regrets': no such figure; give one of regret, tightness"),
        (("regret", {"a/b": REGRET}, 0.1), "width=0.1: must be in inches, between 1 and 20"),
        (("regret", []), "traces: named []; every trace needs a name of its own: give a dict, name → trace"),
        (("regret", [REGRET]), "traces: named [None]; every trace needs a name of its own"),
        (("regret", [Trace({"name": "a"}, {}), Trace({"name": "a"}, {})]), "traces: named ['a', 'a']"),
        (("regret", {"a/b": REGRET.columns}), "traces: dict is no Trace; give traces, or a results folder's path"),
        (("regret", {"a/b": trace()}), "the columns round, dynamic_regret; they lack columns: {'a/b': ['dynamic_reg"),
        (("speed", {"a/b": REGRET}), "figure 'speed' needs traces with the columns segment, tokens"),
        (("regret", {"a/b": REGRET}, None, ["c/*"]), "none matches c/*"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_drawn_is_refused(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        figures.draw(*arguments)


def test_a_folder_without_the_results_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no result files"):
        figures.draw("regret", tmp_path)
