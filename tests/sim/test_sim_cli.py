"""``python -m sim``: rows run once, results are never overwritten, every user error has its message."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sim import __main__ as command
from sim.environments.adversarial import Adversarial
from sim.environments.experts import Experts
from sim.environments.tracking import Tracking
from sim.experiments import EXPERIMENTS, Match, altered_name
from tests.sim.test_replay import WIDTH, arrays, save
from theory.learners import OGD
from theory.runs.files import owned
from theory.runs.result import load_result
from theory.runs.trace import Trace

ROWS = {
    "quick/ball/ogd": Match(Tracking(horizon=30), "ogd", seeds=2, demo=True),
    "quick/ball/adam": Match(Tracking(horizon=30), "adam", seeds=2),
    "quick/adversary/ogd": Match(Adversarial(horizon=30), "ogd", seeds=2),
    "quick/experts/hedge": Match(Experts(horizon=30), "hedge", seeds=2),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "EXPERIMENTS", ROWS)
    monkeypatch.chdir(tmp_path)


def sim(*arguments):
    return CliRunner().invoke(command.app, [str(a) for a in arguments])


def said(result):
    return re.sub(r"\s+", " ", result.output)


def test_list_shows_the_rows():
    result = sim("list")
    assert result.exit_code == 0
    assert all(name in result.output for name in ROWS)
    assert "quick/ball/adam" not in sim("list", "demo").output


def test_run_writes_one_result_a_row_and_skips_it_the_next_time(tmp_path):
    result = sim("run", "quick/ball/*", "--out", "o")
    assert result.exit_code == 0
    assert "2 rows, 2 run now, 0 with violations" in said(result)
    files = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.*")}
    assert {p.relative_to(tmp_path / "o").as_posix() for p in files} == {
        f"quick/ball/{name}.{kind}" for name in ("ogd", "adam") for kind in ("csv", "json")
    }
    result = sim("run", "quick/ball/ogd", "quick/ball/adam", "--out", "o")
    assert "2 rows, 0 run now" in said(result)
    assert files == {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.*")}
    trace = Trace.load(tmp_path / "o/quick/ball/ogd")
    assert trace.header["settings"]["learner"]["class"] == "OGD"
    assert trace.columns["dynamic_regret"].shape == (len(trace.columns["round"]), 2)


def test_results_are_the_rows_that_are_kept(monkeypatch):
    monkeypatch.setitem(ROWS, "quick/ball/adam", replace(ROWS["quick/ball/adam"], kept=False))
    assert "3 rows, 3 run now" in said(sim("run", "results", "--out", "o"))
    assert "4 rows, 1 run now" in said(sim("run", "*", "--out", "o"))
    assert "quick/ball/adam" in sim("list").output
    assert not any(row.kept for name, row in EXPERIMENTS.items() if name.startswith("drafts/"))


def test_a_summary_has_every_row_and_counts_what_is_violated(tmp_path, monkeypatch):
    assert sim("run", "quick/ball/*", "--out", "o", "--summary", "s.json").exit_code == 0
    kept = load_result(tmp_path / "s.json", command.SWEEP)
    known = {"rows": 2, "with_bounds": 1, "copies": 2, "violations": 0}
    assert {name: kept[name] for name in known} == known
    assert list(kept["tightness"]) == ["quick/ball/ogd"]
    assert 0 < kept["tightness"]["quick/ball/ogd"] <= 1
    monkeypatch.setattr(OGD, "bound", lambda self, state, energy: -1.0 + 0.0 * state.x[..., 0])
    broken = sim("run", "quick/ball/ogd", "--out", "p", "--summary", "s.json")
    assert broken.exit_code == 1
    header = json.loads((tmp_path / "p/quick/ball/ogd.json").read_text())
    assert load_result(tmp_path / "s.json", command.SWEEP)["violations"] == header["violations"] > 0


def test_an_interrupted_run_continues(tmp_path):
    sim("run", "quick/ball/ogd", "--out", "o")
    (tmp_path / "o/quick/ball/adam.csv").write_text("half a fi")  # a row whose header was never written
    assert "2 rows, 1 run now" in said(sim("run", "quick/ball/*", "--out", "o"))
    assert Trace.load(tmp_path / "o/quick/ball/adam").columns["round"][-1] == 30


@pytest.mark.parametrize(
    "lose", [lambda table: table.unlink(), lambda table: table.write_bytes(table.read_bytes()[:99])]
)
def test_a_row_whose_table_was_lost_or_cut_is_run_again(tmp_path, lose):
    sim("run", "quick/ball/*", "--out", "o")
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.csv")}
    lose(tmp_path / "o/quick/ball/adam.csv")
    assert "2 rows, 1 run now" in said(sim("run", "quick/ball/*", "--out", "o"))
    assert {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.csv")} == before


def test_a_row_that_another_process_makes_is_left_to_it(tmp_path):
    with owned(tmp_path / "o/quick/ball/adam"):
        result = sim("run", "quick/ball/*", "--out", "o")
    assert result.exit_code == 2
    assert "error: o/quick/ball/adam: another process is writing it; wait until that has ended" in said(result)
    assert {path.name for path in (tmp_path / "o/quick/ball").iterdir()} == {"ogd.csv", "ogd.json"}


def test_several_at_once_give_the_same_results(tmp_path):
    assert sim("run", "results", "--out", "one").exit_code == 0
    assert sim("run", "results", "--out", "two", "--jobs", "2").exit_code == 0
    for path in (tmp_path / "one").rglob("*.csv"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_altered_rows_have_their_own_names(tmp_path):
    result = sim("run", "quick/ball/ogd", "--set", "step_size=0.25", "--seeds", "3", "--out", "o")
    assert result.exit_code == 0
    header = json.loads((tmp_path / "o/quick/ball/ogd,step_size=0_25,seeds=3.json").read_text())
    assert header["settings"]["learner"]["step_size"] == 0.25
    assert header["seeds"] == 3
    assert altered_name("drift/P8/ogd", "my/file.py:Mine", {"hint": "last"}, None) == "drift/P8/file-Mine,hint=last"


def test_columns_stand_under_one_another_whatever_rows_are_called(monkeypatch):
    long = {f"quick/{'a' * 40}/ogd": ROWS["quick/ball/ogd"], "quick/b/ogd": ROWS["quick/ball/ogd"]}
    monkeypatch.setattr(command, "EXPERIMENTS", long)
    lines = [line for line in sim("run", "results", "--out", "o").output.splitlines() if "  regret" in line]
    assert len(lines) == 2
    assert len({line.index("  regret") for line in lines}) == 1


def test_a_learner_from_a_file_plays(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from theory.learners.ogd import OGD\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Mine(OGD):\n"
        "    pass\n"
    )
    result = sim("run", "quick/*/ogd", "--learner", "mine.py:Mine", "--set", "step_size=0.1", "--out", "o")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "o/quick/ball/mine-Mine,step_size=0_1.json").exists()
    assert (tmp_path / "o/quick/adversary/mine-Mine,step_size=0_1.json").exists()


def test_a_broken_bound_fails_the_command(tmp_path):
    (tmp_path / "boast.py").write_text(
        "from dataclasses import dataclass\n"
        "from theory.learners.ogd import OGD\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Boast(OGD):\n"
        "    def bound(self, state, comparator_energy):\n"
        "        return 0.01 * super().bound(state, comparator_energy)\n"
    )
    result = sim("run", "quick/adversary/ogd", "--learner", "boast.py:Boast", "--out", "o")
    assert result.exit_code == 1
    assert "bounds violated" in said(result)


MINE = """
from __future__ import annotations
from dataclasses import dataclass
from theory.learners.ogd import OGD


@dataclass(frozen=True)
class Mine(OGD):
    slower: float = 1.0

    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t)


@dataclass(frozen=True)
class NoInit(OGD):
    def init(self, x_1):
        return self.nothing


@dataclass(frozen=True)
class Quits(OGD):
    def update(self, state, loss_t, hint=None):
        raise SystemExit(0)


@dataclass(frozen=True)
class Nothing(OGD):
    def predict(self, state, hint=None):
        return None


@dataclass(frozen=True)
class NoBound(OGD):
    def bound(self, state, comparator_energy):
        return int("no number")


@dataclass(frozen=True)
class Outside(OGD):
    def predict(self, state, hint=None):
        return state.x + 9.0
"""


def test_an_edited_learner_is_not_taken_for_the_one_it_was(tmp_path):
    path = save(tmp_path / "rec.npz", arrays(greedy=False))
    commands = (
        ("run", "quick/ball/ogd", "--learner", "mine.py:Mine", "--out", "o"),
        ("replay", path, "--learner", "mine.py:Mine", "--set", "step_size=2", "--out", "o"),
    )
    for command_line in commands:
        (tmp_path / "mine.py").write_text(MINE)
        assert sim(*command_line).exit_code == 0
        assert sim(*command_line).exit_code == 0
        (tmp_path / "mine.py").write_text(MINE.replace("(state, loss_t)", "(state, loss_t)  # faster"))
        again = sim(*command_line)
        assert again.exit_code == 2
        assert "learner_file" in said(again)
        assert "was made with other settings" in said(again)
    assert "learner_file" not in json.dumps(ROWS["quick/ball/ogd"].settings, default=str)


@pytest.mark.parametrize(
    "learner, message",
    [
        ("mine.py:NoInit", "mine.py:NoInit: its code raised AttributeError: 'NoInit' object has no attribute"),
        ("mine.py:NoInit", "line 18 of mine.py"),
        ("mine.py:NoBound", "mine.py:NoBound: invalid literal for int() with base 10: 'no number', line 36 of mine.py"),
        ("mine.py:Quits", "mine.py:Quits: its code raised SystemExit: 0, line 24 of mine.py"),
        ("mine.py:Nothing", "mine.py:Nothing: learner=Nothing("),
        ("mine.py:Nothing", "plays (), a round takes one decision a copy, (2, 8)"),
        ("mine.py:Outside", "mine.py:Outside: Outside(step_size="),
        ("mine.py:Outside", "in round 1: not in Ball(radius=1.0)"),
        ("syn.py:X", "syn.py:X: its code raised SyntaxError: invalid syntax (syn.py, line 1)"),
    ],
)
def test_what_a_learner_from_a_file_raises_is_explained(tmp_path, learner, message):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "syn.py").write_text("def x(:\n")
    result = sim("run", "quick/ball/ogd", "--learner", learner, "--out", "o")
    assert result.exit_code == 2
    assert message in said(result)
    assert not list((tmp_path / "o").rglob("*.json"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("run", "quick/bal/ogd"), "no row matches 'quick/bal/ogd'; near it: quick/ball/ogd"),
        (("list", "nothing*"), "no row matches 'nothing*'"),
        (("run", "quick/ball/ogd", "--set", "step_sie=1"), "OGD has no setting 'step_sie'; did you mean 'step_size'?"),
        (("run", "quick/ball/ogd", "--set", "step_size"), "write key=value"),
        (
            ("run", "quick/ball/ogd", "--set", "domain=1"),
            "setting domain=1: must be a Domain, but is a int; set one of",
        ),
        (("run", "quick/ball/ogd", "--set", "step_size.a=1"), "is a value without settings of its own"),
        (("run", "quick/ball/adam", "--set", "beta_1=(1,2)"), "setting beta_1=(1, 2): must be a float, but is a tuple"),
        (("replay", "good.npz", "--learner", "optimistic", "--set", "hint=3"), "a HintRule, but is a int; give one of"),
        (
            ("replay", "good.npz", "--learner", "ensemble", "--set", "base=3"),
            "a Learner, but is a int; give one of adahedge",
        ),
        (("run", "quick/ball/ogd", "--learner", "dog.py:dog"), "dog.py defines no 'dog'; did you mean 'DoG'?"),
        (("run", "quick/ball/ogd", "--set", "step_size=fast"), "setting step_size=fast: not a number"),
        (("run", "quick/ball/ogd", "--set", "step_size=-1"), "must be positive and finite"),
        (("run", "quick/ball/ogd", "--set", "step_size=0.1,0.2"), "plays (2, 2, 8), a round takes one decision a copy"),
        (("replay", "good.npz", "--learner", "ogd", "--set", "step_size=1,2"), "give scalar settings (a tuple makes"),
        (("run", "quick/ball/ogd", "--learner", "ogdd"), "no such learner; did you mean 'ogd'?"),
        (("run", "quick/ball/ogd", "--learner", "none.py:X"), "no file 'none.py'"),
        (("run", "quick/ball/ogd", "--learner", "hedge"), "plays on the simplex, but this problem's decisions lie in"),
        (("run", "quick/ball/ogd", "--seeds", "0"), "Invalid value for '--seeds'"),
        (("replay", "none.npz"), "no recording at none.npz"),
        (("replay", "good.npz", "--gamma", "13"), "gamma=13: must lie in [1, nu=12]"),
        (("replay", "good.npz", "--set", "momentum=1"), "Frozen has no setting 'momentum'"),
        (("replay", "good.npz", "--learner", "adahedge"), "plays on the simplex"),
        (("replay", "good.npz", "--learner", "hedge"), "plays on the simplex"),
        (("replay", "good.npz", "--learner", "adam", "--set", "step_size=0.1", "--set", "epsilon=-1"), "epsilon=-1"),
    ],
)
def test_user_errors_are_explained_and_write_nothing(tmp_path, arguments, message):
    (tmp_path / "dog.py").write_text(MINE.replace("class Mine", "class DoG"))
    save(tmp_path / "good.npz", arrays(greedy=False))
    out = [] if arguments[0] == "list" else ["--out", "o"]
    result = sim(*arguments, *out)
    assert result.exit_code == 2, result.output
    assert message in said(result).replace("│ ", "")
    assert not (tmp_path / "o").exists()


def test_a_result_made_with_other_settings_stays(tmp_path, monkeypatch):
    sim("run", "quick/ball/ogd", "--out", "o")
    before = (tmp_path / "o/quick/ball/ogd.csv").read_bytes()
    other = ROWS | {"quick/ball/ogd": Match(Tracking(horizon=31), "ogd", seeds=2)}
    monkeypatch.setattr(command, "EXPERIMENTS", other)
    result = sim("run", "results", "--out", "o")
    assert result.exit_code == 2
    assert "was made with other settings" in said(result)
    assert "nothing was overwritten" in said(result)
    assert (tmp_path / "o/quick/ball/ogd.csv").read_bytes() == before
    assert not (tmp_path / "o/quick/ball/adam.json").exists()  # refused before anything ran


def test_a_result_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "o").write_text("a file where the directory should be")
    result = sim("run", "quick/ball/ogd", "--out", "o")
    assert result.exit_code == 2
    assert "error:" in said(result)
    assert (tmp_path / "o").read_text() == "a file where the directory should be"


def broken(**changes):
    content = arrays(greedy=False) | {k: v for k, v in changes.items() if v is not None}
    return {name: array for name, array in content.items() if changes.get(name, array) is not None}


GOOD = arrays(greedy=False)
HEADER = json.loads(str(GOOD["header"]))
BROKEN = {
    "no-array": (broken(token=None), "array 'token' missing"),
    "no-header": (broken(header=None), "header format None"),
    "old-format": (broken(header=np.array('{"format": "x"}')), "header format 'x', expected 'onlinespec-recording-1'"),
    "no-scalar": (
        broken(header=np.array(json.dumps({k: v for k, v in HEADER.items() if k != "nu"}))),
        "header entry 'nu' missing",
    ),
    "nu": (broken(header=np.array(json.dumps(HEADER | {"nu": 0}))), "nu must be at least 1"),
    "json": (broken(header=np.array("{")), "not a readable recording"),
    "shape": (broken(token=GOOD["token"][:-1]), "token has shape (132,), expected [P]"),
    "empty": (broken(law_index=GOOD["law_index"][:, :0]), "law_index has shape (133, 0)"),
    "finite": (broken(features=GOOD["features"] * np.nan), "features must be finite"),
    "finite head": (broken(head=GOOD["head"] + np.float32(np.inf)), "head must be finite"),
    "finite whitener": (broken(whitener=GOOD["whitener"] * np.nan), "whitener must be finite"),
    "finite probability": (broken(token_prob=GOOD["token_prob"] * np.float32(np.inf)), "token_prob must be finite"),
    "finite law": (broken(law_prob=GOOD["law_prob"] * np.nan), "law_prob must be finite"),
    "finite decision": (broken(x_1=np.full(WIDTH**2, np.nan)), "x_1 must be finite"),
    "range": (broken(token=GOOD["token"] + 99), "token must lie in [0, V=17)"),
    "law-range": (broken(law_index=GOOD["law_index"] - 5), "law_index must lie in [0, V=17)"),
    "law": (broken(law_prob=GOOD["law_prob"] / 2), "law_prob must sum to 1"),
    "token-prob": (broken(token_prob=GOOD["token_prob"] * 0), "token_prob must be positive"),
    "prompt": (broken(prompt=GOOD["prompt"][::-1]), "prompt must not decrease"),
    "pickle": (broken(token=np.array([None])), "not a readable recording"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_recordings_are_refused(tmp_path, name):
    content, message = BROKEN[name]
    result = sim("replay", save(tmp_path / "broken.npz", content), "--out", "o")
    assert result.exit_code == 2, result.output
    assert message in said(result)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("cut", [0, 100, 5000])
def test_truncated_recordings_are_refused(tmp_path, cut):
    path = save(tmp_path / "cut.npz", arrays(greedy=False))
    path.write_bytes(path.read_bytes()[:cut])
    result = sim("replay", path, "--out", "o")
    assert result.exit_code == 2
    assert "not a readable recording" in said(result)


@pytest.mark.parametrize("greedy", [True, False])
def test_replay_predicts_once_and_prints_the_counts(tmp_path, greedy):
    path = save(tmp_path / "rec.npz", arrays(greedy))
    arguments = ("replay", path, "--learner", "ogd", "--set", "step_size=2", "--gamma", 4, "--seeds", 5, "--out", "o")
    result = sim(*arguments)
    assert result.exit_code == 0, result.output
    assert "tokens_per_step" in result.output
    trace = Trace.load(tmp_path / "o/rec/ogd,step_size=2-gamma4")
    assert len(trace.header["tokens_per_step"]) == (1 if greedy else 5)
    assert {"position", "prompt", "segment", "round", "examined", "accepted", "overlap", "margin"} <= set(trace.columns)
    assert np.load(tmp_path / "o/rec/ogd,step_size=2-gamma4-x.npy").shape == (25,)
    assert sim(*arguments).output == result.output
    assert "other settings" in said(sim(*arguments, "--seed", 1))


def test_bench_prints_the_speed_of_every_contender(tmp_path):
    result = sim("bench", "--copies", 2, "--rounds", 100, "--turns", 1, "--learner", "ogd", "--learner", "ensemble",
                 "--out", "o.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    rates = load_result(tmp_path / "o.json", "simulator speed")["rates"]
    assert {"numpy", "numpy, bare", "drawing"} <= set(rates["ogd"])
    assert {"batched, bare", "objects, bare"} <= set(rates["ensemble"])
    assert all(rate > 0 for found in rates.values() for rate in found.values())


def test_play_sweeps_settings_and_horizons_into_a_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    arguments = ("play", "ogd", "drift/P8", "--sweep", "step_size=1e-2:1:3log", "--horizon", "50,1e2", "--copies", 4)
    result = sim(*arguments, "--out", "o.csv")
    assert result.exit_code == 0, result.output
    table = pandas.read_csv("o.csv")
    assert list(table.columns[:5]) == ["environment", "learner", "step_size", "horizon", "copy"]
    assert len(table) == 3 * 2 * 4
    assert sorted(table.step_size.unique()) == pytest.approx([0.01, 0.1, 1.0])
    assert sorted(table.horizon.unique()) == [50, 100]
    assert table.violations.sum() == 0
    assert (table.dynamic_regret <= table.bound).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ogd", "drift/P8", "--sweep", "step_size"), "sweep='step_size': write key=low:high:count"),
        (("ogd", "drift/P8", "--sweep", "step_size=1:2:no"), "write key=low:high:count"),
        (("ogd", "drift/P8", "--sweep", "step_sice=0.1,0.2"), "OGD has no setting 'step_sice'"),
        (("ogd", "drift/P9"), "environment='drift/P9': no such environment; did you mean 'drift/P8'?"),
        (("ogd", "none.py:Mine"), "no file 'none.py'"),
        (("ogd", "drift/P8", "--engine", "fortran"), "engine='fortran': must be one of numpy, jax"),
        (("ogd", "drift/P8", "--horizon", "60", "--out", "o.xls"), "tables are .csv or .parquet"),
    ],
)
def test_what_play_cannot_do_is_said(arguments, words):
    result = sim("play", *arguments)
    assert result.exit_code != 0
    assert words in said(result)


STREAM = '''
from dataclasses import dataclass
import numpy as np
from sim import Environment
from sim.environments.base import LinearEpisode
from theory import Ball, Problem

@dataclass(frozen=True)
class Mine(Environment):
    """Slopes that turn around halfway."""
    horizon: int = 40

    @property
    def problem(self):
        return Problem(Ball(1.0), 2, self.horizon, 1.0, path_length=2.0)

    def start(self, seeds, rng):
        signs = np.where(np.arange(self.horizon) < self.horizon // 2, 1.0, -1.0)[:, None, None]
        slopes = np.broadcast_to(signs * np.array([1.0, 0.0]), (self.horizon, seeds, 2))
        return LinearEpisode(slopes, -slopes)
'''


def test_play_takes_an_environment_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(STREAM)
    result = sim("play", "ogd", "mine.py:Mine", "--horizon", "20,60", "--copies", 2, "--out", "o.csv")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2
    assert lines[1].startswith("mine.py:Mine,ogd,20,0,")


def test_the_real_table_is_in_the_demo():
    assert sum(row.demo for row in EXPERIMENTS.values()) >= 12
