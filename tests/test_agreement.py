# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The simulator's predictions are the decoder's runs, and every check of the agreement can fail."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner  # noqa: E402

from real.drafters import make_drafter  # noqa: E402
from real.drafters.adapter import Adapter  # noqa: E402
from real.drafters.start import save_start  # noqa: E402
from real.measure.intervals import interval  # noqa: E402
from real.measure.speed_law import pathwise, speed_law  # noqa: E402
from real.measure.summary import Sample, break_even, measures  # noqa: E402
from real.models.load import load_pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import Models, start_path  # noqa: E402
from real.systems.rows import METHODS, SYSTEMS, Method  # noqa: E402
from real.traffic import streams  # noqa: E402
from real.verify import agree as agreeing  # noqa: E402
from real.verify import record  # noqa: E402
from real.verify.agree import Made, compare_greedy, interval_of_measured  # noqa: E402
from sim import __main__ as simulator  # noqa: E402
from sim.environments import replay  # noqa: E402
from sim.environments.recording import Recording  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)
from theory.hints import MovingAverage  # noqa: E402
from theory.learners.ensemble import Ensemble  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402
from theory.loss import Quadratic  # noqa: E402
from theory.runs.agreement import difference, free_run, like, one_step  # noqa: E402
from theory.runs.practice import ADAPTER_LEARNERS, HEADS_LEARNERS, in_practice  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402

GENTLE = {
    "ogd": OGD(4.0),
    "optimistic": OptimisticOGD(4.0, MovingAverage(0.9)),
    "ensemble": Ensemble(OGD((1.0, 2.0, 4.0))),
}
"""Steps that random models bear: there, those measured on real text are far beyond 1/L, and runs are chaotic."""


@pytest.mark.slow
@pytest.mark.parametrize("mode, temperature", [*agreeing.TEMPERATURES.items(), (agreeing.GUMBEL, 1.0)])
def test_a_recording_predicts_runs_that_were_never_made(tmp_path, monkeypatch, mode, temperature):
    """Recorded frozen at gamma 3; predicted by the simulator and then decoded with three learners at other gammas."""
    folder = tmp_path / "o/agreement"
    count = 20 if mode == "sampled" else 5  # sampled runs agree in law, so there must be enough of them
    for name, learner in GENTLE.items():
        monkeypatch.setitem(ADAPTER_LEARNERS, name, learner)
        monkeypatch.setitem(METHODS, name, Method("adapter", learner))
    made = ("--schedule", f"prose:{count},c:{count}", "--temperature", temperature, "--seed", 2)
    made += ("--burn-in", 32, *(("--rule", "gumbel") if mode == agreeing.GUMBEL else ()), "--gamma")
    assert real("record", *made, 3, "--out", folder / f"{mode}.npz").exit_code == 0
    before = (folder / f"{mode}.npz").read_bytes()
    assert real("record", *made, 3, "--out", folder / f"{mode}.npz").exit_code == 0  # same settings: done
    other = real("record", *made, 7, "--out", folder / f"{mode}.npz")
    assert other.exit_code == 2
    assert "other settings" in said(other)
    assert (folder / f"{mode}.npz").read_bytes() == before
    monkeypatch.setattr(agreeing, "TEMPERATURES", {mode: temperature})
    refused = real("agree", "--out", "o")
    assert refused.exit_code == 2
    assert "no prediction at" in said(refused)
    for learner, gamma in agreeing.RUNS:
        replay = ("replay", folder / f"{mode}.npz", "--learner", learner, "--gamma", gamma)
        replay += ("--out", folder / "predicted")
        assert CliRunner().invoke(simulator.app, [str(a) for a in replay]).exit_code == 0
    (tmp_path / "o/real").mkdir()
    result = real("agree", "--out", "o")
    assert result.exit_code == 0, said(result)
    agreement = json.loads((tmp_path / "o/agreement.json").read_text())
    assert [(row["learner"], row["gamma"]) for row in agreement["rows"]] == list(agreeing.RUNS)
    for row in agreement["rows"]:  # three 95 % intervals would miss once in seven machines; twice their width will not
        assert abs(row["predicted"] - row["measured"]) <= row["high"] - row["low"], row
    if mode in agreeing.EXACT:
        assert all(row["identical"] == row["prompts"] == 2 * count for row in agreement["rows"])
        assert all(row["predicted"] == row["measured"] for row in agreement["rows"])
    assert len(agreement["arithmetic"][mode]) == len(ADAPTER_LEARNERS)
    assert all(row["one_step_holds"] for row in agreement["arithmetic"][mode])
    assert "of 3 hold" in said(result)


@pytest.mark.parametrize("mode", ["greedy", "sampled", "gumbel"])
def test_one_recording_of_linear_heads_predicts_runs_that_were_never_made(tmp_path, monkeypatch, assets, mode):  # noqa: F811
    """Which head drafts a position depends on where its step began: the walk chooses."""
    for name, learner in GENTLE.items():
        monkeypatch.setitem(HEADS_LEARNERS, name, learner)
        monkeypatch.setitem(SYSTEMS, f"heads-{name}", replace(SYSTEMS["heads"], learner=learner))
    pair = load_pair(assets / "target", assets / "generalist")
    heads = make_drafter("heads", pair, burn_in=64)
    noise = torch.Generator().manual_seed(0)
    heads.whitener.absorb(torch.randn(64, pair.target.width, generator=noise))
    heads.load(0.3 * torch.randn(heads.dimension, generator=noise))
    path = start_path("qwen3", SYSTEMS["heads"])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_start(path, heads, {})
    for name in ("prose", "c"):  # long enough for what every head reads
        rows = [{"question_id": i, "category": name, "turns": ["abcdabcd"[i % 4 :] + "ab" * i]} for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(streams.scheduled, "__defaults__", (tmp_path,))
    count, rule = 20 if mode == "sampled" else 5, "gumbel" if mode == "gumbel" else "token"
    folder, models = tmp_path / "o", Models()
    serving = Serving(4, 16, Sampling(0.0 if mode == "greedy" else 1.0), 40, 64, rule=rule)
    schedule = f"prose:{count},c:{count}"
    path = record.record(models, schedule, serving, 2, folder / f"{mode}.npz", system="heads")
    recorded = Recording.load(path)
    assert recorded.features.shape[1] == len(recorded.weights) == 4
    assert recorded.header["burn_in_rounds"] == 0
    for learner, gamma in agreeing.HEADS_RUNS:
        player = in_practice(learner, {}, recorded.problem, HEADS_LEARNERS)
        predicted, x_t = replay.predict(recorded, player, gamma, 32 if mode == "sampled" else 1, 0, {})
        assert not np.array_equal(x_t, recorded.x_1)
        made = agreeing.make(models, recorded.header, schedule, learner, gamma)
        if mode in agreeing.EXACT:
            assert compare_greedy(predicted, recorded.token, made)["identical"] == 2 * count
            assert any(made.accepted)
            assert not all(made.accepted)
        row = interval_of_measured(predicted, made)
        assert abs(row["predicted"] - row["measured"]) <= row["high"] - row["low"], row
    if mode == "greedy":  # the first head in place of all others is noticed
        right = replay.chain.decode
        monkeypatch.setattr(replay.chain, "decode", lambda walk, a, b, *more: right(walk, a[:, :1], b[:, :1], *more))
        wrong = replay.predict(recorded, player, gamma, 1, 0, {})[0]
        assert compare_greedy(wrong, recorded.token, made)["identical"] < 2 * count
    with pytest.raises(ValueError, match="there are 4 heads"):
        replay.Replay(recorded, player, 5, 1, np.random.default_rng(0))


def test_only_what_reads_the_committed_prefix_is_recorded(tmp_path):
    for system in ("eagle", "heads-ogd", "nothing"):
        with pytest.raises(
            ValueError, match=f"system='{system}': only rows at rest can be recorded of the drafters adapter, heads"
        ):
            record.at_rest(system)


def test_a_rule_that_looks_at_the_whole_draft_is_not_recorded(tmp_path):
    with pytest.raises(ValueError, match="rule='block': can be replayed of token and gumbel only; record one of them"):
        record.record(Models(), "prose:1", Serving(rule="block"), 0, tmp_path / "block.npz")


def no_whitening(patch) -> None:
    """The simulator learns on features as they are."""
    right = replay.adapter_loss

    def wrong(features, target, logits, whitener, q, temperature):
        width = len(whitener)
        return right(features, target, logits, np.eye(width) / width**0.5, q, temperature)

    patch.setattr(replay, "adapter_loss", wrong)


def late_swap(patch) -> None:
    """The decoder serves every decision one round after its own."""
    right, waiting = Adapter.load, [torch.zeros(())]

    def wrong(self, x):
        right(self, waiting.pop().expand(x.shape))
        waiting.append(x)

    patch.setattr(Adapter, "load", wrong)


def longer_drafts(patch) -> None:
    """The simulator drafts one token more than it was told to."""
    right = replay.Replay.__init__

    def wrong(self, recording, learner, gamma, copies, rng):
        right(self, recording, learner, gamma + 1, copies, rng)

    patch.setattr(replay.Replay, "__init__", wrong)


@pytest.mark.parametrize("plant", [no_whitening, late_swap, longer_drafts])
def test_the_greedy_check_notices_a_planted_bug(tmp_path, monkeypatch, plant):
    """In either world; without it the same runs agree on every prompt."""
    monkeypatch.setitem(METHODS, "ogd", Method("adapter", GENTLE["ogd"]))
    models, schedule = Models(), "prose:3,c:3"
    serving = Serving(gamma=3, sampling=Sampling(0.0), max_new_tokens=80, burn_in=32)
    recording = Recording.load(record.record(models, schedule, serving, 2, tmp_path / "greedy.npz"))

    def compared() -> dict:
        predicted, _ = replay.predict(recording, GENTLE["ogd"], 2, 1, 0, {})
        made = agreeing.make(models, recording.header, schedule, "ogd", 2)
        return compare_greedy(predicted, recording.token, made)

    right = compared()
    assert right["identical"] == right["prompts"] == 6
    plant(monkeypatch)
    assert compared()["unexplained"] > 0


def trace_of(**columns) -> Trace:
    return Trace(
        {"settings": {"gamma": 2}, "segments": ["a"], "rounds": {}}, {k: np.array(v) for k, v in columns.items()}
    )


PREDICTED = {"prompt": [0, 0, 0, 1, 1], "accepted": [1, 1, 0, 1, 0], "step_start": [1, 0, 0, 1, 0]}


def greedy(accepted, margin, tokens=(5, 6, 7, 8, 9), gap=(1.0,) * 5):
    predicted = trace_of(**PREDICTED, margin=margin)
    made = Made(PREDICTED["prompt"], list(tokens), PREDICTED["step_start"], accepted, list(gap))
    return compare_greedy(predicted, np.array([5, 6, 7, 8, 9]), made)


def test_greedy_counts_must_match_position_by_position():
    assert greedy([1, 1, 0, 1, 0], [1.0] * 5)["identical"] == 2
    wrong = greedy([1, 0, 0, 1, 0], [1.0] * 5)
    assert (wrong["identical"], wrong["unexplained"]) == (1, 1)
    assert wrong["differing"][0] == {"prompt": 0, "position": 1, "of": "draft", "gap": 1.0, "explained": False}
    tie = greedy([1, 0, 0, 1, 0], [1.0, 1e-6, 1.0, 1.0, 1.0])
    assert (tie["identical"], tie["unexplained"]) == (1, 0)


def test_another_text_is_explained_only_by_a_tie_of_the_target():
    other = (5, 6, 7, 8, 4)
    assert greedy([1, 1, 0, 1, 0], [0.0] * 5, other)["unexplained"] == 1
    assert greedy([1, 1, 0, 1, 0], [1.0] * 5, other, (1.0, 1.0, 1.0, 1.0, 1e-6))["unexplained"] == 0


@pytest.mark.parametrize("rate, inside", [(0.5, True), (0.7, False)])
def test_the_interval_of_measured_tokens_per_step_tells_right_from_wrong(rate, inside):
    rng, prompts, length = np.random.default_rng(3), 80, 40
    prompt = np.repeat(np.arange(prompts), length)
    predicted = trace_of(prompt=prompt, step_start=np.full(len(prompt), 0.5))
    starts = (rng.random(len(prompt)) < rate).tolist()
    row = interval_of_measured(predicted, Made(prompt.tolist(), [], starts, [], []))
    assert row["predicted"] == 2
    assert row["measured"] == pytest.approx(1 / rate, rel=0.05)
    assert row["low"] < row["measured"] < row["high"] < 1.1 * row["measured"]
    assert (row["low"] <= row["predicted"] <= row["high"]) == inside


def losses(dtype, rounds=30, curvature=1.0):
    centers = np.random.default_rng(1).normal(size=(rounds, 6))
    return [Quadratic(center.astype(dtype), curvature) for center in centers]


@pytest.mark.parametrize("name", ADAPTER_LEARNERS)
def test_low_precision_follows_exact_arithmetic(name):
    """On losses as smooth as the largest step size allows, no learner is sensitive."""
    exact, rounded = (losses(dtype, curvature=1 / 512) for dtype in (float, np.float32))
    learner, x_1 = ADAPTER_LEARNERS[name], np.zeros(6)
    assert one_step(learner, exact, rounded, x_1, x_1.astype(np.float32)) < 1e-5
    run = free_run(learner, exact, rounded, x_1, x_1.astype(np.float32), x_1 + 1e-7, 1e-4)
    assert run.difference < 1e-4
    assert not run.sensitive


def test_a_wrong_step_and_chaos_are_told_apart():
    x_1 = np.zeros(6)
    wrong = [Quadratic(loss.center * 1.001) for loss in losses(np.float32)]
    assert one_step(OGD(0.1), losses(float), wrong, x_1, x_1.astype(np.float32)) > 1e-5
    run = free_run(OGD(0.1), losses(float), wrong, x_1, x_1.astype(np.float32), x_1 + 1e-7, 1e-4)
    assert run.difference > 1e-4
    assert not run.sensitive
    chaos = free_run(OGD(3.0), losses(float), losses(np.float32), x_1, x_1.astype(np.float32), x_1 + 1e-7, 1e-4)
    assert chaos.sensitive == (chaos.spread > 1e-4)
    assert difference(np.array([1.0, 300.0]), np.array([1.0, 303.0])) == pytest.approx(3 / 303)
    assert like(Frozen().init(x_1), torch.zeros(1)).x.dtype == torch.float32


def run_of(prompts, step_seconds, seed, gamma=2, reject=0.4) -> Trace:
    """Requests of 60 tokens or so, each step at the given cost."""
    rng = np.random.default_rng(seed)
    steps = np.full(prompts, 25)
    rejections = rng.binomial(steps, reject)
    accepted = np.array(
        [rng.integers(0, gamma, r).sum() + gamma * (s - r) for s, r in zip(steps, rejections, strict=True)]
    )
    draft, verify, other = (part * steps * rng.normal(1, 0.02, prompts) for part in step_seconds)
    return trace_of(
        prompt=np.arange(prompts), segment=np.zeros(prompts, int), tokens=accepted + steps, steps=steps,
        drafted=gamma * steps, accepted=accepted, rejections=rejections, verified=accepted + rejections,
        alpha_sum=accepted.astype(float), seconds_draft=draft, seconds_verify=verify, seconds_learn=other,
        seconds_unattributed=0 * draft, seconds_total=draft + verify + other,
    )  # fmt: skip


@pytest.fixture
def results(tmp_path):
    plain = run_of(40, (0.0, 1.0, 0.0), 1)
    count = plain.columns["tokens"]
    plain.columns.update(steps=count, accepted=0 * count, drafted=0 * count, rejections=0 * count)
    plain.columns.update({f"seconds_{k}": count * 1.0 for k in ("verify", "total")})
    runs = {"plain": plain, "frozen": run_of(40, (0.2, 1.1, 0.0), 2), "learner": run_of(40, (0.2, 1.1, 0.1), 3, 2, 0.2)}
    for name, trace in runs.items():
        trace.save(tmp_path / "real/demo/1" / name)
    return tmp_path / "real", runs


def test_the_speed_law_predicts_even_blocks_and_notices_another_cost(results):
    folder, runs = results
    rows = speed_law(folder)
    assert [row["method"] for row in rows] == ["frozen", "learner"]
    assert all(row["holds"] and abs(row["error"]) < 0.02 for row in rows)
    slower = runs["frozen"].columns
    slower["seconds_total"][::2] *= 1.3
    runs["frozen"].save(folder / "demo/1/frozen")
    assert not speed_law(folder)[0]["holds"]


def test_the_pathwise_theorem_holds_and_notices_a_miscount(results):
    folder, runs = results
    assert [(row["method"], row["violations"]) for row in pathwise(folder)] == [("frozen", 0), ("learner", 0)]
    runs["learner"].columns["steps"][3] += 40
    runs["learner"].save(folder / "demo/1/learner")
    assert pathwise(folder)[1]["violations"] == 1


def test_measures_are_totals_over_totals_and_pairs_cancel_what_they_share(results):
    _, runs = results
    table = measures(Sample({1: runs}, lambda trace: trace.columns["tokens"] > 0))
    frozen, plain = runs["frozen"].columns, runs["plain"].columns
    rates = [run["tokens"].sum() / run["seconds_total"].sum() for run in (frozen, plain)]
    assert table["frozen"]["speedup"]["value"] == pytest.approx(rates[0] / rates[1])
    assert table["plain"]["speedup"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    learner = table["learner"]
    assert learner["generation_speedup"]["value"] > learner["speedup"]["value"]
    assert learner["relative_tokens_per_step"]["low"] > 1
    assert break_even({1: runs}, "learner") is not None
    # a machine that is three times slower on some prompts, for all methods alike, hardly widens the ratio
    noise = np.where(np.arange(40) % 5 == 0, 3.0, 1.0)
    for trace in runs.values():
        for name in ("draft", "verify", "learn", "total"):
            trace.columns[f"seconds_{name}"] = trace.columns[f"seconds_{name}"] * noise
    noisy = measures(Sample({1: runs}, lambda trace: trace.columns["tokens"] > 0))["frozen"]
    width = {
        key: (noisy[key]["high"] - noisy[key]["low"]) / noisy[key]["value"]
        for key in noisy
        if key.endswith("speedup") or key == "tokens_per_second"
    }
    assert width["speedup"] < width["tokens_per_second"] / 2


def test_the_bootstrap_covers_the_mean():
    """Of 200 samples of 40 prompts, about 95 % of the intervals hold the true ratio."""
    held = 0
    for seed in range(200):
        steps = np.random.default_rng(seed).integers(10, 30, 40)
        tokens = steps * np.random.default_rng(seed + 1000).uniform(2, 3, 40)
        trace = trace_of(tokens=tokens, steps=steps)
        entry = interval(Sample({1: {"only": trace}}, lambda t: t.columns["steps"] > 0, seed).rate("only", "steps"))
        held += entry["low"] <= 2.5 <= entry["high"]
    assert 180 <= held <= 198
    assert interval(np.array([np.nan, 1.0])) == {"value": None, "low": None, "high": None}
