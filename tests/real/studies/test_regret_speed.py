"""Does regret predict speed: which systems are pairs, what decides one, and shares that are right on made-up runs."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.studies import regret_speed as study  # noqa: E402
from tests.real.cli.test_real_cli import real, said  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402


def run(path, kl, alpha, seconds, steps, rounds=None, count=24):
    """One system's run: a little noise of its own in every column."""
    rng = np.random.default_rng(sum(map(ord, path.name)))
    noise = {name: 1 + 0.01 * rng.standard_normal(count) for name in ("kl", "alpha", "seconds", "steps")}
    columns = {"tokens": np.full(count, 100.0), "verified": np.full(count, 80.0), "steps": steps * noise["steps"]}
    columns |= {"kl_sum": 80 * kl * noise["kl"], "alpha_sum": 80 * alpha * noise["alpha"]}
    columns |= {"seconds_total": seconds * noise["seconds"]}
    header = {"settings": {"schedule": f"c:{count}", "seed": 0}, "provenance": {}}
    header["provenance"] = dict.fromkeys(("commit", "dirty", "command", "versions", "device"), "x")
    header["rounds"] = rounds
    Trace(header, columns).save(path)


def cell(folder):
    """Of the small model three learners, of the heads two; a mixture stands alone."""
    run(folder / "sd", 1.0, 0.5, 2.0, 40)
    run(folder / "adapter-ogd", 0.8, 0.6, 2.2, 36)  # better by both losses, fewer steps, slower on the clock
    run(folder / "adapter-ensemble", 0.8, 0.7, 1.5, 30)  # KL as before, TV better, faster
    run(folder / "heads", 1.0, 0.5, 2.0, 40)
    run(folder / "heads-ogd", 1.2, 0.6, 1.9, 36)  # KL worse, TV better, faster
    run(folder / "mixture", 0.1, 0.9, 1.0, 20)
    run(folder / "plain", 0.0, 0.0, 2.0, 100)


def test_pairs_share_the_drafter_and_where_it_starts():
    found = study.pairs(
        ["plain", "sd", "adapter-ogd", "osd", "heads", "heads-ogd", "mixture", "specialist-sd", "ngram"]
    )
    assert found == [("sd", "adapter-ogd"), ("sd", "osd"), ("adapter-ogd", "osd"), ("heads", "heads-ogd")]


def test_a_pair_is_decided_by_both_intervals_and_agrees_if_the_lower_loss_is_faster(tmp_path):
    cell(tmp_path / "generalist/qwen3/c/1")
    found = study.rows({"generalist/qwen3/c": tmp_path / "generalist/qwen3/c"})
    told = {(row["one"], row["other"], row["loss"], row["speed"]): (row["decided"], row["agrees"]) for row in found}
    names = [("adapter-ensemble", "adapter-ogd"), ("adapter-ensemble", "sd"), ("adapter-ogd", "sd")]
    assert {key[:2] for key in told} == {*names, ("heads-ogd", "heads")}
    assert told[*names[0], "kl", "net"] == (False, False)
    assert told[*names[0], "tv", "net"] == told[*names[1], "kl", "tokens_per_step"] == (True, True)
    assert told[*names[2], "tv", "tokens_per_step"] == (True, True)
    assert told[*names[2], "tv", "net"] == told[*names[2], "kl", "net"] == (True, False)
    assert told["heads-ogd", "heads", "kl", "net"] == (True, False)
    assert told["heads-ogd", "heads", "tv", "net"] == (True, True)
    shares = {(row["drafter"], row["loss"], row["speed"]): row for row in study.shares(found)}
    both = shares["all", "tv", "net"]
    assert (both["pairs"], both["decided"], both["agreeing"], both["share"]["value"]) == (4, 4, 3, 0.75)
    heads = shares["heads", "kl", "tokens_per_step"]
    assert (heads["pairs"], heads["decided"], heads["agreeing"]) == (1, 1, 0)


def test_hints_are_judged_by_their_gain(tmp_path):
    for name, steps, error in (("adapter-ogd", 40, 1.0), ("adapter-optimistic", 36, 0.5)):
        rng = np.random.default_rng(0)
        energy = rng.random(40) + 1
        lines = {"gradient": energy.tolist(), "hint_error": (error * energy).tolist()}
        run(tmp_path / "c/1" / name, 1.0, 0.5, 2.0, steps, lines)
    hints = [row for row in study.rows({"c": tmp_path / "c"}) if row["loss"] == "hint"]
    assert [(row["speed"], row["decided"], row["agrees"]) for row in hints] == [
        ("tokens_per_step", True, True),
        ("net", False, False),
    ]
    assert hints[0]["loss_difference"]["value"] == pytest.approx(0.5)  # the first is the one without


def test_from_the_command_line(tmp_path):
    cell(tmp_path / "in/generalist/qwen3/c/1")
    result = real("ranks", tmp_path / "in", "--out", tmp_path / "ranks.json")
    assert result.exit_code == 0, said(result)
    body = json.loads((tmp_path / "ranks.json").read_text())
    assert body["expected"] == 0.9
    assert len(body["pairs"]) == 16
    refused = real("ranks", tmp_path / "none")
    assert refused.exit_code == 2
    assert "no runs there" in said(refused)


def test_an_earlier_report_is_kept_where_its_stream_was_not_run_again():
    earlier = [{"cell": "a", "drafter": "x", "run": 1}, {"cell": "b", "drafter": "x", "run": 1}]
    again = [{"cell": "a", "drafter": "x", "run": 2}]
    assert study.beside(again, earlier) == [earlier[1], again[0]]
