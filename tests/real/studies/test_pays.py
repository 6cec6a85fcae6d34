# pyright: reportArgumentType=false
"""The study of whether learning pays: who is compared, by whose costs, and what a headline is made of."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.base import COPIES, MODEL  # noqa: E402
from real.measure.contenders import Timed  # noqa: E402
from real.measure.costs import Costs, Turn, costs  # noqa: E402
from real.measure.summary import Sample, load_runs  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.studies import pays  # noqa: E402
from real.systems.rows import ROWS  # noqa: E402
from tests.real.cli.test_real_cli import real, said  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402

SECONDS = {"draft": 2.0, "tv-mixture": 1.7, "copies": 1.8, "fixed-mixture": 2.2, "copies-mixture": 1.6, "ngram": 1.0,
           "adapter-ogd": 1.7, "adapter-ensemble": 1.5}  # fmt: skip


def cell(out, name, scale=1.0, count=12, schedule=None, segment=None):
    """Runs of a cell whose systems take so many seconds a request of 100 tokens in 40 steps, and a little noise."""
    noise = 1 + 0.01 * np.random.default_rng(len(name)).standard_normal(count)
    for system, row in pays.systems(name.split("/")[0]).items():
        seconds = SECONDS[system] * noise * (scale if system == pays.LEARNS else 1.0)
        columns = {"tokens": np.full(count, 100), "steps": np.full(count, 40), "seconds_total": seconds}
        columns |= {"accepted": np.full(count, 60), "alpha_sum": np.full(count, 70 if system == pays.LEARNS else 60)}
        columns |= {"seconds_learn": 0.01 * seconds, "prompt": np.arange(count)}
        columns |= {"segment": np.zeros(count) if segment is None else segment}
        header = {
            "method": row,
            "segments": [name] if schedule is None else [part.split(":")[0] for part in schedule.split(",")],
            "provenance": {"commit": "c"},
            "settings": {"schedule": schedule or f"c-large:{count}", "seed": 0},
        }
        Trace(header, columns).save(out / name / "0" / row)


def test_every_system_of_a_block_is_a_row_and_starts_alike():
    for block, (start, sampling, *_) in pays.BLOCKS.items():
        for system, row in pays.systems(block).items():
            assert ROWS[row].drafter is not None
            assert system == "ngram" or ROWS[row].draft == start
        rivals = set(pays.systems(block)) - {pays.FROZEN, pays.LEARNS}
        assert ("ngram" in rivals) == sampling.greedy


def test_cells_are_of_the_large_streams_and_by_cost():
    found = pays.cells(["specialist-compiled"], ["qwen3"], ["c", "cmake"], 8000)
    assert list(found) == ["specialist-compiled/qwen3/c", "specialist-compiled/qwen3/cmake"]
    row = found["specialist-compiled/qwen3/cmake"]
    assert (row.schedule, row.by_cost, row.compiled) == ("cmake-large:63", True, True)
    for given, told in (
        ({"chosen": ["fast"]}, "block='fast'"),
        ({"families": ["gpt"]}, "family='gpt'"),
        ({"names": ["latin"]}, "domain='latin'"),
        ({"tokens": 100}, "tokens=100"),
    ):
        with pytest.raises(ValueError, match=told):
            pays.cells(**{"chosen": ["specialist"], "families": ["qwen3"], "names": ["c"], "tokens": 8000} | given)


def test_a_headline_leaves_out_what_was_tuned_on_and_what_is_held_out(tmp_path):
    scales = {"prose": 1.25, "c": 1.0, "sql": 0.8, "session": 0.1, "javascript": 0.1}
    for domain, scale in scales.items():
        cell(tmp_path, f"specialist/qwen3/{domain}", scale)
    rows = pays.table(tmp_path, pays.finished(tmp_path))
    assert len(rows) == 5 * len(scales)
    (found,) = pays.headline(tmp_path, rows)
    assert found["cells"] == 3
    assert found["median_net"] == pytest.approx(2.0 / 1.6, rel=1e-9)
    assert found["median_calm"] == pytest.approx(1.1 * found["median_net"], rel=1e-9)  # it was unlucky
    assert found["median_calm_first"] == pytest.approx(1.1 * found["median_first"], rel=1e-9)
    assert found["pooled"]["value"] == pytest.approx(3 * 2.0 / (1.6 * (1.25 + 1 + 0.8)), rel=0.01)
    assert found["pooled_holds"]
    # of the shifted ones alone, against the copies, which are the best that learns nothing
    assert found["median_against_best_rival"] == pytest.approx((1.8 / 1.6 + 1.8 / 1.28) / 2, rel=0.01)


def test_home_is_pooled_over_families(tmp_path):
    for family, scale in (("qwen3", 1.25), ("llama", 1.0)):
        cell(tmp_path, f"specialist/{family}/prose", scale)
        cell(tmp_path, f"specialist/{family}/c", 0.1)
    found = pays.home(tmp_path, pays.finished(tmp_path))
    assert found is not None
    assert found["cells"] == ["specialist/llama/prose", "specialist/qwen3/prose"]
    assert found["net"]["value"] == pytest.approx(2 * 2.0 / (1.6 * (1.25 + 1)), rel=0.01)
    assert found["net"]["low"] < found["limit"] < found["net"]["value"]
    assert found["calm"]["value"] == pytest.approx(1.1 * found["net"]["value"], rel=1e-9)  # it was unlucky
    assert found["calm"]["low"] < found["calm_limit"] < found["calm"]["value"]
    assert pays.home(tmp_path, ["specialist/qwen3/c", "generalist/qwen3/prose"]) is None


def test_after_returns_only_what_is_home_again_counts(tmp_path):
    planned = pays.cells(["specialist"], ["qwen3"], [pays.RETURNS], 1152)["specialist/qwen3/returns"].schedule
    assert planned == "prose-large:3,sql-large:3,prose-large:6,python-large:3,prose-large:6"
    segment = np.repeat([0, 1, 2, 3, 4], [3, 3, 6, 3, 6])
    again = np.isin(segment, (2, 4))
    assert (len(segment), again.sum()) == (9 * 7 // 3, 21 * 4 // 7)
    cell(tmp_path, "specialist/qwen3/returns", np.where(again, 1.0, 7.0), 21, planned, segment)
    found = pays.returns(tmp_path, pays.finished(tmp_path))
    assert found is not None
    assert found["net"]["value"] == pytest.approx(2.0 / 1.6, rel=0.01)
    assert pays.home(tmp_path, pays.finished(tmp_path)) is None
    assert pays.headline(tmp_path, pays.table(tmp_path, pays.finished(tmp_path))) == []


def test_prompts_that_overlap_with_earlier_ones_can_be_left_out(tmp_path):
    """The domain's prompts served twice: the second time all overlap, and only then is anything gained."""
    count = 160
    scale, segment = np.repeat([1.0, 0.5], count), np.repeat([0, 1], count)
    cell(tmp_path, "specialist/qwen3/c", scale, 2 * count, f"c:{count},c:{count}", segment)
    (row,) = [row for row in pays.table(tmp_path, ["specialist/qwen3/c"]) if row["system"] == pays.LEARNS]
    assert row["net"] == pytest.approx(2.0 / 1.6 / 0.75, rel=0.01)
    assert row["net_apart"] == pytest.approx(2.0 / 1.6, rel=0.01)


def test_greedy_is_held_against_the_best_rival_over_all_cells(tmp_path):
    for domain in ("c", "sql"):
        cell(tmp_path, f"generalist-greedy/qwen3/{domain}")
    (found,) = pays.headline(tmp_path, pays.table(tmp_path, pays.finished(tmp_path)))
    assert found["best_rival"] == "ngram"
    assert found["pooled_against_best_rival"]["value"] == pytest.approx(1.0 / 1.6, rel=0.01)


def test_the_first_tokens_are_those_of_the_requests_that_begin_within_them():
    columns = {"tokens": np.array([600, 300, 200, 50])}
    assert pays.early(columns).tolist() == [True, True, True, False]


def test_a_step_costs_what_it_drafts_and_what_all_verify():
    """Seconds made by the formula, one system's turns disturbed; its own draft and rest are found again."""
    rng, full = np.random.default_rng(0), {}
    for system, draft, rest in (("", 0.0, 0.0), ("a", 1.0, 0.1), ("b", 2.0, 0.5)):
        for gamma in (1, 2) if system else (0,):
            times = zip(draft * gamma + 0.01 * rng.random(80), 10 + gamma + 0.01 * rng.random(80), strict=True)
            steps = [Timed(gamma, gamma, 1, one, verify, one + verify + rest) for one, verify in times]
            seldom = 0.4 if system else 0.0  # every fourth step takes in what came before
            steps = [one._replace(whole=one.whole + seldom * (i % 4 == 0)) for i, one in enumerate(steps)]
            full[Turn(system, 0, gamma)] = [steps[i : i + 8] for i in range(0, 80, 8)]
    slow = full[Turn("b", 0, 1)][:3]
    full[Turn("b", 0, 1)][:3] = [
        [one._replace(verify=one.verify * 3, whole=one.whole + 3 * one.verify) for one in steps] for steps in slow
    ]
    assert costs(full, "a", 0, learning=0.5) == pytest.approx((1.0, 1.27, 1.47), abs=0.01)
    full |= {turn: [[one._replace(whole=one.whole - 0.1) for one in steps] for steps in own]
             for turn, own in full.items() if turn.system}  # fmt: skip
    assert costs(full, "a", 0) == pytest.approx((1.0, 1.21, 1.41), abs=0.01)
    assert costs(full, "b", 0) == pytest.approx((1.0, 1.35, 1.65), abs=0.01)
    ways = full | {turn._replace(way=way): steps if way == MODEL or turn.gamma == 1 else [[] for _ in steps]
                   for turn, steps in full.items() if turn.system for way in (MODEL, COPIES)}  # fmt: skip
    for turn in [turn for turn in ways if turn.way == MODEL]:
        ways[turn] = [[one._replace(whole=one.whole + 0.2) for one in own] for own in ways[turn]]
    assert costs(ways, "a", 0, way=MODEL) == pytest.approx((1.0, 1.23, 1.43), abs=0.01)
    assert costs(ways, "a", 0, way=COPIES) == pytest.approx((1.0, 1.21, 1.41), abs=0.01)  # taken for one token alone
    serving = Costs(((1.0, 1.1, 1.2), (1.0, 1.3, 1.4))).applied(Serving(2, 8))
    assert (serving.costs, serving.lower_costs) == ((1.0, 1.3, 1.4), ((1.0, 1.1, 1.2),))
    ways = ((1.0, 1.2, 1.3), (1.0, 1.1, 1.1))
    assert Costs(((1.0, 1.3, 1.4),), ways).applied(Serving(2, 8)).way_costs == ways


def test_pays_from_the_command_line(tmp_path, monkeypatch):
    """Two systems, few tokens: costs are measured once, a cell is served by them, and what is done is skipped."""
    monkeypatch.setattr(
        pays, "systems", lambda block: {"draft": "specialist-draft", pays.LEARNS: "specialist-copies-mixture"}
    )
    monkeypatch.setattr("real.studies.blocks.TIMED", "session:2")
    asked = ["pays", "--block", "specialist", "--domain", "c", "--tokens", "1024", "--out", str(tmp_path)]
    assert "specialist/qwen3/c, seed 0: run" in said(real(*asked))
    headline = json.loads((tmp_path / "specialist.json").read_text())["headline"]
    assert headline[0]["tokens"] >= 900
    (costs,) = (tmp_path / "costs").glob("*.json")
    kept = json.loads(costs.read_text())["costs"]
    assert set(kept) == {"specialist-draft", "specialist-copies-mixture"}
    assert [(len(kept[name]["levels"]), len(kept[name]["ways"])) for name in sorted(kept)] == [(2, 2), (1, 0)]
    settings = Sample(load_runs(tmp_path / "specialist/qwen3/c")).names
    assert settings == ["specialist-copies-mixture", "specialist-draft"]
    assert "skipped" in said(real(*asked))
