"""Figures and report: built from small synthetic result files; what is saved is what was drawn."""

import csv
import json
from shutil import copytree

import numpy as np
import pytest
from typer.testing import CliRunner

from figures import FIGURES, acceptance, regret, regret_speed, report, speed, stream, style, systems
from figures.__main__ import app, build
from figures.results import MissingResult
from tests.figures.test_curves import curves_results
from theory.runs.kind import stamped
from theory.runs.result import save_result
from theory.runs.trace import Trace

SEEDS, PROMPTS, GAMMA = 4, 40, 4
METHODS = {"plain": 0.0, "frozen": 0.0, "ngram": -0.15, "ogd": 0.05, "optimistic": 0.07, "ensemble": 0.09, "adam": 0.11}


def sim_results(root):
    rng = np.random.default_rng(0)
    rounds = np.arange(1, 301)
    slopes = {"frozen": 0.8, "ogd": 0.6, "optimistic": 0.5, "ensemble": 0.55}
    for environment in ("drift/P8", "switching/K4", "tokens/V64"):
        for learner, slope in slopes.items():
            columns: dict[str, np.ndarray] = {"dynamic_regret": rounds[:, None] ** slope * rng.uniform(0.8, 1.2, SEEDS)}
            if learner != "frozen":
                columns["bound"] = 2.5 * rounds**slope  # all seeds agree: stored once
                columns["certificate"] = 1.1 * columns["dynamic_regret"]
            if environment.startswith("tokens"):
                alpha = np.full((len(rounds), SEEDS), 0.6) + rng.normal(0, 0.01, SEEDS)
                columns |= {"alpha": alpha, "alpha_bound": alpha - 0.2}
                columns |= {"tokens_per_step": 4 * alpha, "tokens_per_step_bound": 4 * alpha - 0.9}
                columns |= {"tokens_per_step_pathwise": 4 * alpha - 0.3, "alpha_guarantee": 0.1 + 0 * rounds}
            header = {"settings": {}, "seeds": SEEDS, "rounds": 300, "violations": 0, "tightness": 0.9091}
            header["final"] = {name: float(np.mean(column[-1])) for name, column in columns.items()}
            Trace(header, {"round": rounds} | columns).save(root / "sim" / environment / learner)


def real_results(root):
    for seed in range(2):
        for index, (method, gain) in enumerate(METHODS.items()):
            rng = np.random.default_rng([seed, index])
            segment = np.repeat([0, 1], [PROMPTS // 3, PROMPTS - PROMPTS // 3])
            learned = gain * np.minimum(np.arange(PROMPTS) / PROMPTS, 1) * segment
            alpha = np.where(segment == 0, 0.8, 0.6) + learned + rng.normal(0, 0.02, PROMPTS)
            tokens = rng.integers(180, 220, PROMPTS)
            per_step = (1 - alpha ** (GAMMA + 1)) / (1 - alpha)
            steps = tokens if method == "plain" else np.round(tokens / per_step).astype(int)
            rejected = np.round((tokens - steps) * (1 - alpha) / alpha).astype(int)
            verified = tokens - steps + rejected
            seconds = steps * (0.01 if method == "plain" else 0.016)
            columns = {"prompt": np.arange(PROMPTS), "segment": segment, "tokens": tokens, "steps": steps}
            columns |= {
                "drafted": GAMMA * steps * (method != "plain"),
                "accepted": tokens - steps,
                "verified": verified,
            }
            columns |= {"alpha_sum": alpha * verified, "rejections": rejected, "seconds_total": seconds}
            columns |= {f"seconds_{line}": 0.25 * seconds for line in ("verify", "draft", "learn", "unattributed")}
            header = {"settings": {"gamma": GAMMA, "seed": seed, "method": method}, "segments": ["prose", "code"]}
            header["rounds"] = {"loss": [0.5, 0.7]} if method in ("ogd", "ensemble") else {}
            Trace(header, columns).save(root / "real" / "shift" / str(seed) / method)


def agreement_results(root):
    rows = [
        {
            "learner": n,
            "gamma": g,
            "sampling": s,
            "predicted": 2 + g / 6,
            "measured": 2.02 + g / 6,
            "low": 1.9 + g / 6,
            "high": 2.1 + g / 6,
        }
        for n in ("ogd", "optimistic", "ensemble")
        for g in (2, 3, 6)
        for s in ("greedy", "sampled")
    ]
    save_result(root / "agreement.json", "agreement", {"rows": rows})


def claims_results(root):
    def around(value):
        return {"value": value, "low": value - 0.02, "high": value + 0.02}

    ensembles = [
        {"stream": name, "seeds": 5, "best": "ogd-16"}
        | {"ensemble": around(0.99), "tuned": around(pace), "last_loss": around(0.95)}
        for name, pace in (("home", 1.0), ("sql", 0.93))
    ]
    hints = [
        {"stream": "home", "nu": nu, "hint": hint, "hint_gain": around(gain), "alpha": around(2 - gain)}
        | {"prompted": around(1.9 - gain)}
        for nu in (8, 16)
        for hint, gain in (("hint-last", 1.04), ("hint-prompt-0.3", 0.97))
    ]
    (root / "claims").mkdir()
    save_result(root / "claims" / "claims.json", "claims", {"ensembles": ensembles, "hints": hints})


def ranks_results(root):
    def around(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    rows = [
        {"cell": "generalist/qwen3/c", "drafter": drafter, "one": "a", "other": "b", "loss": loss, "speed": speed}
        | {"loss_difference": around(higher), "speed_log_ratio": around(faster)}
        | {"decided": abs(higher) > 0.01, "agrees": higher * faster < 0}
        for drafter in ("small model", "heads")
        for loss in ("kl", "tv", "hint")
        for speed in ("tokens_per_step", "net")
        for higher, faster in ((0.1, -0.2), (-0.2, 0.1), (0.005, 0.1))
    ]
    save_result(root / "ranks.json", "regret_speed", {"expected": 0.9, "shares": [], "pairs": rows})


def headroom_results(root):
    bars = {"learning": 1.32, "overhead": 1.31, "drafting": 1.5, "draft": 2.4, "memory": 1.3, "rule": 1.35}
    rows = [
        {"domain": domain, "speedup": 1.3, "binds": "draft", "without": bars | {"one draft": several}}
        for domain, several in (("c", 1.6), ("sql", None))
    ]
    save_result(root / "headroom.json", "headroom", {"rows": rows})


def table1_results(root):
    (root / "table1").mkdir()
    for block, prefix in (("generalist", ""), ("specialist", "specialist-")):
        rows = ["block,family,domain,system,speedup,relative_speedup"]
        rows += [f"{block},llama,{domain},plain,1.0," for domain in ("c", "sql")]
        rows += [f"{block},llama,{domain},{prefix}sd,1.3,1.0" for domain in ("c", "sql")]
        rows += [f"{block},llama,{domain},{prefix}osd,1.4,{1.05 + 0.01 * len(domain)}" for domain in ("c", "sql")]
        if prefix:
            rows += [f"{block},llama,{domain},sd,9.9," for domain in ("c", "sql")]  # a generalist beside
        (root / "table1" / f"{block}.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    sim_results(root)
    ranks_results(root)
    real_results(root)
    agreement_results(root)
    claims_results(root)
    table1_results(root)
    headroom_results(root)
    curves_results(root)
    interval = {"value": 1.3216, "low": 1.2501, "high": 1.3987}
    unknown = {"value": None, "low": None, "high": None}
    entry = {"speedup": interval, "alpha": {"value": 0.7123, "low": 0.7, "high": 0.72}, "hint_gain": unknown}
    table = dict.fromkeys(METHODS, entry)
    shifted = {method: {"speedup": {"value": 1.1456, "low": 1.1, "high": 1.2}} for method in METHODS}
    shifted["ensemble"] |= {"gap_closed": {"value": 0.613, "low": 0.6, "high": 0.62}}
    real = {
        "methods": table,
        "parts": {"shifted_last_half": shifted},
        "gap_closed": {"ensemble": {"value": 0.613, "low": None, "high": None}},
    }
    found = {"sim": {"rows": 12, "violations": 0, "median_tightness": 0.468}, "real": real, "others": {"greedy": real}}
    rows = [{"learner": "ogd", "gamma": 3, "predicted": 2.345, "measured": 2.348}]
    found |= {"agreement": {"median_error": 0.0125, "rows": rows}}
    found |= {"provenance": {"commit": "c0ffee", "versions": {"numpy": "2.4"}}}
    (root / "summary.json").write_text(json.dumps(stamped("summary", found)))
    return root


def read(path):
    with path.open(newline="") as file:
        names, *rows = list(csv.reader(file))
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_builds(results, tmp_path, name):
    paths = build(name, results, tmp_path, [])
    assert [path.suffix for path in paths] == [".pdf", ".png", ".csv"]
    assert all(path.stat().st_size > 200 for path in paths)
    assert len(read(paths[2])) >= 3


def test_the_csv_is_what_was_drawn(results, tmp_path):
    table = regret.collect(results, ["drift/*"])
    figure = regret.draw(table, 3.25)
    saved = read(style.save(figure, table, tmp_path, "regret")[2])
    assert set(saved["environment"]) == {"drift/P8"}
    mine = [i for i, learner in enumerate(saved["learner"]) if learner == "ogd"]
    t, mean, bound = ([float(saved[key][i]) for i in mine] for key in ("round", "dynamic_regret", "bound"))
    lines = [line for line in figure.axes[0].lines if line.get_color() == style.color("ogd")]
    np.testing.assert_array_equal(lines[0].get_xydata(), np.c_[t, mean])
    np.testing.assert_array_equal(lines[1].get_xydata(), np.c_[t, bound])
    trace = Trace.load(results / "sim" / "drift/P8/ogd")
    assert mean[-1] == trace.columns["dynamic_regret"][-1].mean()
    assert t[-1] == trace.columns["round"][-1]


def test_a_rolling_mean_over_the_whole_stream_is_the_ratio_of_totals(results):
    runs_of_seeds = stream.streams(results, [])["shift"]
    grid = stream.grid_of(runs_of_seeds)
    curves = stream.ratio(runs_of_seeds, "tokens", "steps", grid)
    for method in METHODS:
        ends = []
        for runs in runs_of_seeds.values():
            axis = stream.place(runs)
            ends.append(
                [np.interp(grid[-1], axis, stream.cumulative(runs[method], key)) for key in ("tokens", "steps")]
            )
        tokens, steps = np.sum(ends, axis=0)
        assert curves[method]["value"][-1] == pytest.approx(tokens / steps, rel=1e-12)


def test_shifts_lie_where_the_segments_change(results):
    runs_of_seeds = stream.streams(results, [])["shift"]
    starts, names = stream.shifts(runs_of_seeds)
    expected = np.mean([stream.place(runs)[PROMPTS // 3] for runs in runs_of_seeds.values()])
    assert names == ["prose", "code"]
    assert starts == [0.0, pytest.approx(expected)]
    table = acceptance.collect(results, [])
    assert set(table["segment"][table["committed_tokens"] < starts[1]]) == {"prose"}
    assert "plain" not in table["method"]


def test_speedup_is_relative_to_plain_with_everything_charged(results):
    table = speed.collect(results, [])
    rows = (table["quantity"] == "speedup") & (table["method"] == "adam")
    traces = [{m: Trace.load(results / "real/shift" / str(s) / m).columns for m in ("adam", "plain")} for s in range(2)]
    rate = {
        m: sum(t[m]["tokens"].sum() for t in traces) / sum(t[m]["seconds_total"].sum() for t in traces)
        for m in traces[0]
    }
    assert table["value"][rows][-1] == pytest.approx(rate["adam"] / rate["plain"], rel=0.01)
    shown = np.isfinite(table["value"][rows])
    window = stream.window_of(stream.streams(results, [])["shift"])
    assert np.array_equal(shown, table["committed_tokens"][rows] >= window), "nothing is shown before one window"
    assert (table["low"][rows] <= table["value"][rows] + 1e-9)[shown].all()


def test_without_patterns_the_streams_of_most_seeds_are_drawn(results, tmp_path):
    copytree(results, tmp_path, dirs_exist_ok=True)
    copytree(results / "real/shift/0", tmp_path / "real/once/0")
    assert list(stream.streams(tmp_path, [])) == ["shift"]
    assert list(stream.streams(tmp_path, ["once/*"])) == ["once"]


def test_methods_must_have_served_the_same_prompts(results):
    runs = dict(stream.streams(results, [])["shift"]["0"])
    short = Trace(runs["ogd"].header, {name: column[:-1] for name, column in runs["ogd"].columns.items()})
    with pytest.raises(ValueError, match="same prompts"):
        stream.place(runs | {"ogd": short})


@pytest.mark.slow
def test_the_report_holds_the_summary_s_numbers_and_is_self_contained(results, tmp_path):
    for name in FIGURES:
        build(name, results, tmp_path, [])
    page = report.write(results, tmp_path).read_text()
    for text in ("1.322", "1.250 – 1.399", "0.712", "1.146", "0.468", "0.613", "0.013", "2.348", "c0ffee"):
        assert text in page
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "http" not in page
    assert "<script" not in page


MISSING = [
    (["regret"], "no result files"),
    (["acceptance"], "no result files"),
    (["speed"], "no result files"),
    (["agreement"], "agreement.json: run `python -m real agree --out"),
    (["report"], "nothing to report"),
    (["all"], "run `make demo` first"),
    (["regrets"], "unknown figure 'regrets'"),
    (["regret", "--width", "0.1"], "--width is in inches"),
]


@pytest.mark.parametrize(("arguments", "message"), MISSING)
def test_errors_say_what_is_missing(tmp_path, arguments, message):
    name, *options = arguments
    outcome = CliRunner().invoke(app, [name, str(tmp_path), *options])
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_rows_that_match_nothing_are_named(results):
    outcome = CliRunner().invoke(app, ["regret", str(results), "--rows", "no/*"])
    assert outcome.exit_code == 2
    assert "matches no/*" in outcome.stderr
    assert "drift/P8/ensemble" in outcome.stderr


def test_a_stream_without_plain_has_no_speedup(results, tmp_path):
    with pytest.raises(MissingResult, match="plain"):
        speed.collect(results, ["*/ogd"])


def test_all_builds_what_is_there(results, tmp_path):
    sim_results(tmp_path)
    outcome = CliRunner().invoke(app, ["all", str(tmp_path), "--width", "3.25"])
    assert outcome.exit_code == 0
    assert "not yet" in outcome.stdout
    assert (tmp_path / "figures/regret.pdf").exists()
    assert not (tmp_path / "figures/speed.pdf").exists()
    assert "dynamic regret" in (tmp_path / "report.html").read_text()


def test_without_arguments_nothing_is_drawn(tmp_path, monkeypatch):
    sim_results(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert "Usage" in CliRunner().invoke(app, []).output
    assert not (tmp_path / "results/report.html").exists()


def test_the_list_names_every_figure():
    outcome = CliRunner().invoke(app, ["list"])
    assert all(name in outcome.stdout for name in FIGURES)


def test_a_rolling_mean_never_reaches_back_over_a_shift(results):
    runs = stream.streams(results, [])["shift"]["0"]
    for trace in runs.values():
        level = np.where(trace.columns["segment"] == 0, 0.8, 0.6)
        trace.columns["alpha_sum"] = level * trace.columns["verified"]
    starts, _names = stream.shifts({"0": runs})
    grid = stream.grid_of({"0": runs})
    curve = stream.ratio({"0": runs}, "alpha_sum", "verified", grid, 800.0)["ogd"]
    shown = np.isfinite(curve["value"])
    np.testing.assert_allclose(curve["value"][shown], np.where(grid < starts[1], 0.8, 0.6)[shown])
    since = np.where(grid < starts[1], grid, grid - starts[1])
    np.testing.assert_array_equal(shown, since >= 200)


def test_generalists_beside_specialists_are_not_drawn_as_specialists(results):
    table = systems.collect(results, [])
    assert set(table["system"].tolist()) == {"sd", "osd", "specialist-sd", "specialist-osd"}
    assert table["speedup"].max() == 1.4


@pytest.mark.parametrize("command", ["all", "report"])
def test_with_out_everything_is_written_there_and_the_folder_of_results_stays(results, tmp_path, command):
    root = tmp_path / "results"
    sim_results(root)
    before = sorted(root.rglob("*"))
    outcome = CliRunner().invoke(app, [command, str(root), "--out", str(tmp_path / "there"), "--rows", "drift/*"])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(root.rglob("*")) == before
    assert (tmp_path / "there/report.html").is_file()


@pytest.mark.parametrize("arguments", [("regret", "{root}", "--out", "{root}/a file"), ("all", "{root}/a file")])
def test_a_place_that_cannot_be_written_is_refused_first(tmp_path, arguments):
    sim_results(tmp_path)
    (tmp_path / "a file").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    outcome = CliRunner().invoke(app, [part.format(root=tmp_path) for part in arguments])
    assert outcome.exit_code == 2
    assert "error: " in outcome.output
    assert "a file" in outcome.output
    assert sorted(tmp_path.rglob("*")) == before


def test_names_with_markup_are_drawn_and_printed_as_they_are(results, tmp_path):
    """Of folders, learners and domains: brackets are no markup to the screen, dollars no mathematics to the figure."""
    root = tmp_path / "[/red]"
    for name in ("real/shift", "sim/drift"):
        copytree(results / name, root / name)
    (root / "sim/drift/P8/ogd.csv").rename(root / "sim/drift/P8/$x^[b.csv")
    (root / "sim/drift/P8/ogd.json").rename(root / "sim/drift/P8/$x^[b.json")
    for path in sorted((root / "real/shift").rglob("*.json")):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"segments": ["$\\frac[/b]", "$a$ $^^"]}))
    outcome = CliRunner().invoke(app, ["all", str(root)])
    assert outcome.exit_code == 0, outcome.output
    said = outcome.output.replace("\n", "")
    assert f"{root}/figures/acceptance.png" in said
    assert f"{root}/report.html" in said
    assert "not yet: " in said
    assert said.count(f"{root}/") > 8
    assert "$x^[b" in (root / "figures/regret.csv").read_text()


def test_pairs_are_turned_so_that_the_first_has_the_higher_loss(results):
    table = regret_speed.collect(results, [])
    chosen = (table["loss"] == "kl") & (table["speed"] == "net") & (table["drafter"] == "heads")
    np.testing.assert_allclose(table["loss_difference"][chosen], [0.1, 0.2, 0.005])
    np.testing.assert_allclose(np.log(table["speed_ratio"][chosen]), [-0.2, -0.1, 0.1])
    assert table["decided"][chosen].tolist() == [True, True, False]
    assert "hint" not in table["loss"]
