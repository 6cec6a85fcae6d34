# pyright: reportAttributeAccessIssue=false
"""The matrix of agreement: what its cells are, a cell of each kind from the commands, and faults that it notices."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner  # noqa: E402

from real.systems.rows import METHODS, Method  # noqa: E402
from real.verify import matrix  # noqa: E402
from real.verify.matrix import EXACT, LAW, differences, every_cell, groups, verdict, wrong  # noqa: E402
from sim import __main__ as simulator  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)
from tests.test_agreement import GENTLE  # noqa: E402
from theory.checker.columns import apart, bound, columns  # noqa: E402
from theory.hints import MovingAverage  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402
from theory.loss import Quadratic  # noqa: E402
from theory.runs.practice import ADAPTER_LEARNERS  # noqa: E402
from theory.runs.result import save_result  # noqa: E402

ROUNDS = {"loss": [2.0, 1.0], "last_loss": [1.0, 1.0], "energy": [4.0, 1.0], "hint_error": [4.0, 0.5]}
ALPHA = {"predicted": 0.8, "measured": 0.8}


def test_every_cell_can_be_foretold_and_sampled_ones_share_no_luck():
    cells = list(every_cell().values())
    assert len(cells) >= 200
    assert {cell.gamma for cell in cells if cell.sampling == "block"} == {1}
    assert {cell.learner for cell in cells if cell.mode == "rows"} == {"frozen"}
    eager = {cell[:4] for cell in cells if cell.mode == "eager" and cell.sampling != "block"}
    assert len(eager) == 3 * (8 * len(ADAPTER_LEARNERS) + 4 * 4)
    alone = [cell.recording for cell in cells if cell.sampling in LAW]
    assert len(alone) == len({*alone})


def played(learner, losses, x_1):
    states = [learner.init(x_1)]
    for loss_t in losses:
        states.append(learner.update(states[-1], loss_t))
    return states


def test_columns_by_hand_and_in_both_libraries():
    """f_t(x) = ½(x − c_t)², c = 1, 3; steps of ½ from 0: plays 0, ½, 1.75."""
    losses = [Quadratic(np.array([center])) for center in (1.0, 3.0)]
    learner, x_1 = OGD(0.5), np.zeros(1)
    found = columns(learner, x_1, played(learner, losses, x_1), losses)
    assert found["loss"].tolist() == [0.5, 3.125]
    assert found["frozen_loss"].tolist() == [0.5, 4.5]
    assert found["last_loss"].tolist() == [0.28125, 0.78125]
    assert found["regret"].tolist() == [0.21875, 2.5625]
    assert found["energy"].tolist() == found["hint_error"].tolist() == [1.0, 6.25]
    # 1.75²/(2·½) + ½·½·(1 + 6.25)
    assert bound(learner, played(learner, losses, x_1), losses) == pytest.approx(4.875)
    hinted = OptimisticOGD(0.5, MovingAverage(0.5))
    mine = columns(hinted, x_1, played(hinted, losses, x_1), losses)
    assert mine["hint_error"][1] != mine["energy"][1]
    single, start = [Quadratic(torch.tensor([center])) for center in (1.0, 3.0)], torch.zeros(1)
    theirs = columns(hinted, start, played(hinted, single, start), single)
    assert max(apart(theirs[name], mine[name]) for name in mine) < 1e-6
    assert apart(np.ones(2), np.ones(3)) == np.inf


def test_a_column_that_is_off_is_seen():
    told = {"rounds": ROUNDS, "bound": 5.0}
    assert set(differences(told, told, ALPHA).values()) == {0.0}
    for name in ("loss", "energy", "hint_error"):
        other = told | {"rounds": ROUNDS | {name: [value * 1.001 for value in ROUNDS[name]]}}
        assert differences(told, other, ALPHA)[name] == pytest.approx(1e-3)
    assert differences(told, told | {"rounds": ROUNDS | {"loss": [2.0]}}, ALPHA)["loss"] == np.inf
    assert differences(told, told | {"bound": 5.01}, ALPHA)["bound"] == pytest.approx(2e-3)
    assert differences(told, {}, ALPHA | {"measured": 0.9}) == {"alpha": pytest.approx(0.125)}


def row(sampling="greedy", holds=True, **more):
    found = {"drafter": "heads", "sampling": sampling, "mode": "eager", "holds": holds, "smallest_bias": 0.1}
    if sampling in EXACT:
        found |= {"differing": [], "unexplained": 0, "differences": {"loss": 1e-6}}
        found |= {"sensitive": [], "columns_hold": True}
    return found | more


def test_the_verdict_is_over_all_cells():
    sampled = [row("token", holds=i > 0) for i in range(60)]
    told = verdict([row(), row(holds=False), *sampled])
    assert told["holds"] == {"accepted tokens": (1, 2), "columns, float32 against float64": (2, 2)}
    assert told["inside"]["holds"]
    assert list(wrong(told)) == ["accepted tokens"]
    few = verdict([row("token", holds=i > 12) for i in range(60)])["inside"]
    assert (few["holds"], few["value"]) == (False, 47 / 60)
    assert few["high"] < 0.95
    assert list(wrong(verdict([row(columns_hold=False), *sampled]))) == ["columns, float32 against float64"]


def test_a_line_of_a_group_leaves_out_what_is_sensitive():
    moved = row(differences={"loss": 0.5, "alpha": 2e-6}, sensitive=["loss"])
    tied = row(differences={}, differing=[{"explained": True}])
    (line,) = groups([row(), moved, tied])
    assert line["largest_difference"] == 2e-6
    assert (line["cells"], line["hold"], line["near_ties"], line["sensitive"]) == (3, 3, 1, 1)
    assert groups([row("token")])[0]["largest_difference"] is None


def test_only_the_replays_that_foretold_the_cells_confirm_them(tmp_path):
    """What is in the file besides does not count; one of another recording, learner or length is no confirmation."""
    cells = [every_cell()[f"eager/heads-greedy/{name}"] for name in ("ogd-gamma1", "ogd-gamma2")]
    foretold = {cell: SimpleNamespace(header={"settings": {"recording": "new"}}) for cell in cells}
    rows = [
        {"recording": recording, "learner": "ogd", "gamma": gamma, "holds": True, "counted": 0, "differences": sizes}
        for recording, gamma, sizes in (("new", 1, {"x": 1e-9}), ("new", 2, {"x": 1e-8}), ("old", 3, {"x": 0.5}))
    ]

    def kept(rows):
        save_result(tmp_path / "confirmed.json", "confirmed", {"rows": rows, "limit": 1e-6})
        return matrix.confirmed(foretold, tmp_path)

    assert kept(rows) == {"runs": 2, "held": 2, "limit": 1e-6, "largest": 1e-8, "counted": 0}
    for other in ({"recording": "old"}, {"learner": "adam"}, {"gamma": 4}):
        with pytest.raises(ValueError, match=r"lacks the replays of 1 cells, first .*ogd-gamma2; run `python -m sim"):
            kept([rows[0], rows[1] | other])
    for sizes, largest in (({"x": 1e-9, "bound": np.nan}, np.nan), ({"x": np.inf}, np.inf)):
        np.testing.assert_equal(kept([rows[0], rows[1] | {"differences": sizes}])["largest"], largest)


CELLS = ("eager/adapter-*/ogd-gamma2", "rows/adapter-g*/frozen-gamma3", "eager/adapter-block/ogd-gamma1")


@pytest.mark.slow
def test_cells_of_every_kind_from_the_commands(tmp_path, monkeypatch):
    """On random models; then a live learner of another step is noticed in every cell that has rounds."""
    monkeypatch.setitem(ADAPTER_LEARNERS, "ogd", GENTLE["ogd"])
    monkeypatch.setitem(METHODS, "ogd", Method("adapter", GENTLE["ogd"]))
    for name, value in {"SCHEDULE": "prose:5,c:5", "NEW": 40, "BURN_IN": 32}.items():
        monkeypatch.setattr(matrix, name, value)
    matrix._models.cache_clear()
    plan = tmp_path / "o/matrix/plan.json"
    assert real("matrix", *CELLS, "--plan", "--out", "o").exit_code == 0
    early = real("matrix", *CELLS, "--out", "o")
    assert early.exit_code == 2
    assert "and `python -m sim foretell" in said(early)
    confirm = ["confirm", str(plan), "--out", str(tmp_path / "o/matrix/confirmed.json")]
    for command in (["foretell", str(plan)], confirm):
        result = CliRunner().invoke(simulator.app, command)
        assert result.exit_code == 0, result.output
    result = real("matrix", *CELLS, "--out", "o")
    assert result.exit_code == 0, said(result)
    told = json.loads((tmp_path / "o/agreement_matrix.json").read_text())
    eager, rows = ({row["sampling"] for row in told["rows"] if row["mode"] == mode} for mode in ("eager", "rows"))
    assert (eager, rows) == ({*EXACT, *LAW}, {*EXACT})
    for row in told["rows"]:
        if row["sampling"] in EXACT:
            assert row["identical"] == row["prompts"] == 10
            assert ("hint_error" in row["differences"]) == (row["mode"] == "eager")
            assert max(row["differences"].values()) < 1e-4
        else:
            assert 0 < row["smallest_bias"] < 1
    assert told["confirmed"]["held"] == told["confirmed"]["runs"] == 6
    made = {path: path.read_bytes() for path in (tmp_path / "o/matrix/made").rglob("*.json")}
    assert real("matrix", *CELLS, "--out", "o").exit_code == 0
    assert all(path.read_bytes() == before for path, before in made.items())
    wrong_step = replace(GENTLE["ogd"], step_size=GENTLE["ogd"].step_size * 1.01)
    monkeypatch.setitem(METHODS, "ogd", Method("adapter", wrong_step))
    for path in made:
        path.unlink()
    result = real("matrix", *CELLS, "--out", "o")
    assert result.exit_code == 1
    assert "disagree" in said(result)
    matrix._models.cache_clear()
