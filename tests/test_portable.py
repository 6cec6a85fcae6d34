# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
"""A portable recording: the same bytes when made again, the same replay wherever it lies, its errors as stated."""

import json
import os
import shutil
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.models.sampling import Sampling  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import Models  # noqa: E402
from real.traffic import streams  # noqa: E402
from real.verify.portable import KIND, halved, rest  # noqa: E402
from real.verify.record import check_same, load_header, losses, record  # noqa: E402
from sim.confirm import confirm  # noqa: E402
from sim.environments.recording import SHAPES, Recording  # noqa: E402
from sim.environments.replay import Replay, predict  # noqa: E402
from tests.real.cli.test_real_cli import assets, real  # noqa: E402, F401 (fixtures)
from theory.learners.ensemble import Ensemble  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.runs.readout import load_readout, save_readout  # noqa: E402
from theory.runs.result import load_result  # noqa: E402
from theory.runs.trace import SettingsDiffer  # noqa: E402

TOP, NU = 24, 16
LEARNER = Ensemble(OGD((1.0, 2.0, 4.0)))


def made(assets, path, temperature=1.0, top=TOP, portable=True):  # noqa: F811
    """A recording of the tiny pair."""
    models = Models(assets / "target", assets / "specialist")
    serving = Serving(3, NU, Sampling(temperature), 40, top, 2 * NU)
    return record(models, "prose:4,c:4", serving, 5, path, portable=portable)


@pytest.fixture(scope="module")
def folder(assets, tmp_path_factory):  # noqa: F811
    """The portable recording, and the same run whole: features in float32, laws to the last token."""
    kept = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
        made(assets, kept / "here" / "r.npz")
        made(assets, kept / "again" / "r.npz")
        made(assets, kept / "whole.npz", top=0, portable=False)
    return kept


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_its_bytes_are_those_of_the_run_and_nothing_else(folder):
    """Made again at another time; what tells when lies beside."""
    here = folder / "here" / "r.npz"
    assert (folder / "again" / "r.npz").read_bytes() == here.read_bytes()
    told = load_result(here.with_suffix(".json"), KIND)
    assert told["bytes"] == here.stat().st_size
    assert told["readout"] == load_header(here)["readout"]
    assert "provenance" in told
    assert "provenance" not in load_header(here)
    assert [path.name for path in sorted(here.parent.glob("*.npy"))] == [f"{told['readout']}.npy"]


ANEW = """
import sys
from pathlib import Path
import torch
from real.models.sampling import Sampling
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.traffic import streams
from real.verify.record import record
torch.set_num_threads(1)
assets, path, top, nu = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
streams.scheduled.__defaults__ = (assets / "streams",)
models = Models(assets / "target", assets / "specialist")
record(models, "prose:4,c:4", Serving(3, nu, Sampling(1.0), 40, top, 2 * nu), 5, path, portable=True)
"""


@pytest.mark.slow
def test_its_bytes_are_those_of_any_process(assets, folder, tmp_path):  # noqa: F811
    """Made by two fresh processes that order their sets otherwise, beside the one of this process."""
    for seed in ("1", "2"):
        command = [sys.executable, "-c", ANEW, assets, tmp_path / seed / "r.npz", TOP, NU]
        environment = os.environ | {"PYTHONHASHSEED": seed, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / seed).glob("*.np*")} for seed in ("1", "2"))
    assert len(first) == 2
    assert first == second
    assert first["r.npz"] == (folder / "here" / "r.npz").read_bytes()


def test_what_tells_of_it_is_written_if_it_is_missing(assets, folder, tmp_path, monkeypatch):  # noqa: F811
    """A recording that was ended between its two files; and one whose file of numbers alone was removed."""
    monkeypatch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
    path = Path(shutil.copytree(folder / "again", tmp_path / "cut")) / "r.npz"
    beside, before = path.with_suffix(".json"), path.read_bytes()
    told = load_result(beside, KIND)
    beside.unlink()
    assert made(assets, path) == path
    assert path.read_bytes() == before
    assert load_result(beside, KIND) | {"provenance": None} == told | {"provenance": None}
    path.unlink()

    def ended(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("real.verify.record.save_beside", ended)
    with pytest.raises(KeyboardInterrupt):
        made(assets, path)
    assert path.exists()
    assert not beside.exists()


def test_its_laws_lack_exactly_the_rest(folder):
    """Of the same run, recorded with whole laws: the sum of every other token, to float32's own rounding."""
    short, whole = arrays(folder / "here" / "r.npz"), arrays(folder / "whole.npz")
    np.testing.assert_array_equal(short["token"], whole["token"])
    assert short["law_index"].shape[1] == TOP
    beyond = whole["law_prob"][:, TOP:].astype(float).sum(axis=1)
    assert beyond.max() > 1e-3
    np.testing.assert_allclose(short["law_rest"], beyond, rtol=1e-6)
    np.testing.assert_allclose(
        short["law_prob"] * (1 - short["law_rest"][:, None]), whole["law_prob"][:, :TOP], rtol=2e-6
    )


def test_the_rest_is_summed_by_itself():
    """What is left of 1 would be lost in rounding where nearly all lies at the tokens kept."""
    laws = torch.tensor([[1e-9, 0.75, 3e-9, 0.25], [0.5, 0.125, 0.25, 0.125]])
    assert rest(laws, torch.tensor([[1, 3], [0, 2]])) == pytest.approx([4e-9, 0.25], rel=1e-6)


def test_what_it_leaves_out_is_stated(folder):
    path = folder / "here" / "r.npz"
    whole, short, told = Recording.load(folder / "whole.npz"), Recording.load(path), load_header(path)["stated"]
    gap = np.linalg.norm(short.features - whole.features, axis=-1) / np.linalg.norm(whole.features, axis=-1)
    assert told["feature_error"] == pytest.approx(gap.max(), rel=1e-9)
    assert 1e-5 < told["feature_error"] <= 2.0**-11
    beyond = arrays(path)["law_rest"]
    assert (told["rest_mean"], told["rest_max"]) == (pytest.approx(beyond.mean()), beyond.max())

    def at_rest(features, law):
        """The mean KL of the draft recorded, which is SoftmaxKL's value at 0."""
        logits = features[:, 0] @ whole.head.T
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return np.mean(np.sum(law * (np.log(np.where(law > 0, law, 1.0)) - logs), axis=1))

    every = slice(None)
    found = {
        "loss": at_rest(whole.features, whole.law(every)),
        "loss_top_k": at_rest(whole.features, short.law(every)),
        "loss_portable": at_rest(short.features, short.law(every)),
    }
    assert {name: told[name] for name in found} == pytest.approx(found, abs=2e-7)
    assert abs(found["loss"] - found["loss_top_k"]) > 1e-4  # the three are three
    assert abs(found["loss_top_k"] - found["loss_portable"]) > 1e-6
    replay = Replay(short, Frozen(), 3, 1, np.random.default_rng(0))
    assert float(replay.losses(every)[0].value(short.x_1)) == pytest.approx(found["loss_portable"], abs=1e-12)


ELSEWHERE = """
import json, sys
from sim.environments.recording import Recording
from sim.environments.replay import predict
from theory.learners.ensemble import Ensemble
from theory.learners.ogd import OGD
trace, x = predict(Recording.load(sys.argv[1]), Ensemble(OGD((1.0, 2.0, 4.0))), 2, 4, 0, {})
counts = {name: trace.columns[name].tolist() for name in ("examined", "accepted", "step_start")}
print(json.dumps([trace.header["losses"], x.tolist(), counts, trace.columns["overlap"].tolist()]))
"""


def test_carried_elsewhere_it_replays_alike(folder, tmp_path):
    """From copies of its two files in another folder, by a process with more threads and an old processor's kernels."""
    here = folder / "here" / "r.npz"
    trace, x = predict(Recording.load(here), LEARNER, 2, 4, 0, {})
    assert x.any()
    name = load_header(here)["readout"]
    shutil.copy(here, tmp_path / "carried.npz")
    with pytest.raises(FileNotFoundError, match=r"no readout at .*copy the file of this name"):
        Recording.load(tmp_path / "carried.npz")
    shutil.copy(here.with_name(f"{name}.npy"), tmp_path)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "carried.npz")]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    other = threads | {"OPENBLAS_CORETYPE": "Nehalem"}  # every x86 has these; they add in another order
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | other)
    assert done.returncode == 0, done.stderr
    values, decision, counts, overlap = json.loads(done.stdout)
    np.testing.assert_allclose(values, trace.header["losses"], rtol=1e-9)
    np.testing.assert_allclose(decision, x, rtol=0, atol=1e-9 * np.abs(x).max())
    np.testing.assert_allclose(overlap, trace.columns["overlap"], rtol=1e-9)
    for column, there in counts.items():
        np.testing.assert_array_equal(there, trace.columns[column])


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
def test_the_pseudocode_reads_it_too(assets, folder, tmp_path, monkeypatch, temperature):  # noqa: F811
    """The whitener is that of the rounded features, so that whoever computes it from the file finds the same."""
    monkeypatch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
    path = folder / "here" / "r.npz" if temperature else made(assets, tmp_path / "greedy.npz", 0.0)
    found = confirm(path, LEARNER, 2)
    assert found.holds, found
    assert max(found.differences.values()) < 1e-9
    if not temperature:
        assert load_header(path)["stated"]["rest_max"] == 0


def test_the_decoders_losses_are_read_from_it(folder):
    """In float64 the learner's losses of both worlds have one value."""
    path = folder / "here" / "r.npz"
    replay = Replay(Recording.load(path), Frozen(), 3, 1, np.random.default_rng(0))
    ours = losses(path, torch.float64)
    x = 0.1 * np.random.default_rng(1).standard_normal(replay.recording.x_1.shape)
    for number, loss in enumerate(ours, start=2):
        theirs = replay.losses(slice(number * NU, (number + 1) * NU))[0]
        assert float(loss.value(torch.tensor(x))) == pytest.approx(float(theirs.value(x)), rel=1e-9)
    assert len(ours) > 3


def test_twenty_thousand_tokens_of_a_large_pair_take_less_than_100_mb(folder):
    """A file is as large as its arrays; so its size follows from their types and the shapes of Qwen3-8B and 0.6B."""
    path = folder / "here" / "r.npz"
    content = arrays(path)
    letters = SHAPES | {"features": "Pd", "law_rest": "P"}
    assert set(content) == set(letters) - {"head"} | {"header"}

    def size(**sizes):
        shapes = {name: [sizes[letter] for letter in letters[name]] for name in content if name != "header"}
        return sum(content[name].itemsize * prod(shape) for name, shape in shapes.items())

    positions, width = content["features"].shape
    around = path.stat().st_size - size(P=positions, d=width, K=TOP)
    assert 0 < around - content["header"].nbytes < 512 * len(content)
    large = size(P=20_000, d=1024, K=64) + around
    assert 59_000_000 < large < 61_000_000
    lacking = {"V": 151_936, "d": 1024}
    assert prod(lacking.values()) * 4 > 600_000_000  # the readout, which is not in it


def test_a_whole_recording_and_a_portable_one_are_not_taken_for_each_other(assets, folder, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
    path = folder / "here" / "r.npz"
    before = path.read_bytes()
    assert made(assets, path) == path  # the same settings: done
    with pytest.raises(SettingsDiffer, match=r"'features': \('float16', None\)"):
        made(assets, path, portable=False)
    with pytest.raises(SettingsDiffer, match=r"'features': \(None, 'float16'\)"):
        made(assets, folder / "whole.npz", top=0)
    with pytest.raises(SettingsDiffer, match="'features'"):
        check_same(path, {})
    assert path.read_bytes() == before


def test_the_command_records_a_pair_of_ones_own(assets, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
    own = ("--target", assets / "target", "--draft", assets / "specialist", "--dtype", "bfloat16")
    made = ("--schedule", "prose:4,c:4", "--nu", NU, "--burn-in", 2 * NU, "--max-new-tokens", 40)
    result = real("record", *own, *made, "--portable", "--out", tmp_path / "r.npz")
    assert result.exit_code == 0, result.output
    header = load_header(tmp_path / "r.npz")
    assert (header["models"]["target"], header["dtype"]) == ("target", "bfloat16")
    assert header["stated"]["feature_error"] < 2.0**-11  # bfloat16 has fewer digits than float16, but more exponents
    assert Recording.load(tmp_path / "r.npz").head.shape == (128, 64)


def test_features_beyond_float16_are_refused():
    with pytest.raises(ValueError, match="the largest is 70000, and float16 holds 65504"):
        halved({"features": np.array([[1.0, -70000.0]], np.float32)}, 1, 1e-2)


def test_a_readout_is_its_own_name(tmp_path):
    head = np.arange(6, dtype=np.float32).reshape(3, 2)
    name = save_readout(tmp_path, head)
    path = tmp_path / f"{name}.npy"
    before = path.stat().st_mtime_ns
    assert save_readout(tmp_path, head.copy()) == name
    assert path.stat().st_mtime_ns == before  # written once
    np.testing.assert_array_equal(load_readout(tmp_path, name), head)
    assert save_readout(tmp_path, head + 1) != name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="not the one that names it"):
        load_readout(tmp_path, name)
    for wrong in ("../other", name[:-1], None):
        with pytest.raises(ValueError, match="must be the SHA-256"):
            load_readout(tmp_path, wrong)
