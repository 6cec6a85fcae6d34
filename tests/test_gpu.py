# pyright: reportArgumentType=false
"""The stages of ``make gpu``: their commands run, in both types; what ended is kept, what did not is run again."""

import json
import shlex

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner  # noqa: E402

from real import __main__ as command  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.traffic import streams  # noqa: E402
from real.verify import rounded  # noqa: E402
from tests import gpu  # noqa: E402
from tests.real.models.test_models import saved, tokenizer  # noqa: E402

NAMES = ["lossless", "verify", "rivals", "learning"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    target = random_model("llama", 0, "float32", vocab=128, layers=1)
    saved(folder / "target", target, tokenizer())
    saved(folder / "draft", perturbed(target, 0.05, 1), tokenizer())
    (folder / "streams").mkdir()
    rows = [{"question_id": i, "category": "prose", "turns": ["abcd"[i % 4 :] + "ab" * i]} for i in range(8)]
    (folder / "streams/prose.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def asked(pair, out, dtype="float32", *more):
    settings = ("--device", "cpu", "--dry", "--dtype", dtype, "--out", str(out))
    return ["--target", str(pair / "target"), "--draft", str(pair / "draft"), *settings, *more]


def in_process(arguments, said, seconds):
    """What a process of its own would do, without the seconds that it takes to start."""
    package, *rest = arguments
    assert package == "real"
    outcome = CliRunner().invoke(command.app, rest)
    with said.open("a") as told:
        told.write(f"$ {shlex.join(arguments)}\n{outcome.output}\n{outcome.exception or ''}\n")
    return outcome.exit_code


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_command_runs(pair, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(streams, "ASSETS", pair)
    monkeypatch.setattr(rounded, "ONCE", ("plain", "adapter token"))  # the matrix has tests of its own
    gpu.main(asked(pair, tmp_path, dtype), in_process)
    for name in NAMES:
        kept = json.loads((tmp_path / f"{name}.json").read_text())
        assert kept["ended"]
        assert kept["bars"]["commands that failed"]["value"] == 0, (tmp_path / f"{name}.txt").read_text()
        assert kept["settings"]["measured_hash"] == gpu.measured_hash("decoder", gpu.today())
    bars = {name: json.loads((tmp_path / f"{name}.json").read_text())["bars"] for name in NAMES}
    assert bars["verify"]["verify, bandwidth share"]["value"] > 0
    assert "ensemble, learning's share" in bars["verify"]
    assert "tv-mixture, learning's share" in bars["learning"]


class Told:
    """Writes what commands would write, and knows which were run."""

    def __init__(self, out, status=0, late=""):
        self.out, self.status, self.late, self.ran, self.commands = out, status, late, list[str](), list[list[str]]()

    def __call__(self, arguments, said, seconds):
        self.ran.append(said.stem)
        self.commands.append(list(arguments))
        assert 0 < seconds <= gpu.MOST == 9 * 60
        if said.stem == self.late:
            raise TimeoutError
        if "--out" in arguments and not self.status:
            goal = {"of_memory": 0.7, "shares": {"learn": 0.02}}
            rows = {"greedy": {"targets": []}} if "bench" in arguments else [goal]
            (self.out / arguments[-1].rpartition("/")[2]).write_text(json.dumps({"rows": rows}))
        return self.status

    @property
    def stages(self):
        return list(dict.fromkeys(self.ran))


def test_what_ended_on_this_code_is_not_run_again(pair, tmp_path, monkeypatch):
    first, again, other = (Told(tmp_path) for _ in range(3))
    assert gpu.main(asked(pair, tmp_path), first) == 0
    assert first.stages == NAMES
    assert gpu.main(asked(pair, tmp_path), again) == 0
    assert again.ran == []
    monkeypatch.setattr(gpu, "measured_hash", lambda kind, sources: "of other code")
    assert gpu.main(asked(pair, tmp_path), other) == 0
    assert other.stages == NAMES


def test_other_settings_are_measured_anew(pair, tmp_path):
    gpu.main(asked(pair, tmp_path), Told(tmp_path))
    other = Told(tmp_path)
    gpu.main(asked(pair, tmp_path, "bfloat16", "--stage", "verify"), other)
    assert other.stages == ["verify"]


def test_a_stage_that_takes_too_long_is_told_and_begun_again(pair, tmp_path, capsys):
    assert gpu.main(asked(pair, tmp_path), Told(tmp_path, late="verify")) == 1
    assert "verify    did not end within 540 s" in capsys.readouterr().out
    again = Told(tmp_path)
    assert gpu.main(asked(pair, tmp_path), again) == 0
    assert again.stages == ["verify"]


def test_a_stage_that_there_is_not_is_refused(pair, tmp_path, capsys):
    told = Told(tmp_path)
    with pytest.raises(SystemExit):
        gpu.main(asked(pair, tmp_path, "float32", "--stage", "typo"), told)
    assert "invalid choice: 'typo'" in capsys.readouterr().err
    assert told.ran == []
    assert list(gpu.STAGES) == NAMES


def test_what_another_run_left_is_not_read(pair, tmp_path, capsys):
    """Of a stage alone, whose command writes nothing this time; the other stages' files do not count for it."""
    rows = json.dumps({"rows": [{"of_memory": 0.7, "shares": {"learn": 0.02}}]})
    for name in ("headroom", "mixture"):
        (tmp_path / f"{name}.json").write_text(rows)
    assert gpu.main(asked(pair, tmp_path, "float32", "--stage", "learning"), Told(tmp_path, status=1)) == 1
    told = capsys.readouterr().out
    assert "mixture.json was written" in told
    assert "learning's share" not in told
    assert (tmp_path / "headroom.json").exists()


def test_a_command_that_fails_and_writes_nothing_is_a_missed_bar(pair, tmp_path, capsys):
    assert gpu.main(asked(pair, tmp_path, "float32", "--stage", "verify"), Told(tmp_path, status=1)) == 1
    told = capsys.readouterr().out
    assert told.count("MISSED") == 2
    assert "headroom.json was written" in told


@pytest.mark.parametrize(
    ("value", "way", "limit", "holds"),
    [(6, "at least", 6, True), (5, "at least", 6, False), (3, "at most", 3, True), (1, "at most", 0, False)],
)
def test_a_bar_holds_at_its_limit(value, way, limit, holds):
    assert gpu.bar(value, way, limit) == {"value": value, way: limit, "holds": holds}


def test_a_process_is_ended_with_its_time(tmp_path):
    with pytest.raises(TimeoutError):
        gpu.begin(["timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"], tmp_path / "said.txt", 0.5)
    assert gpu.begin(["timeit", "-n", "1", "-r", "1", "pass"], tmp_path / "said.txt", 60) == 0


def test_on_a_gpu_its_tests_come_first(pair, tmp_path):
    told = Told(tmp_path)
    assert gpu.main([*asked(pair, tmp_path), "--device", "cuda"], told) == 0
    assert told.ran.count("lossless") == 3
    assert told.commands[0] == ["pytest", "-m", "gpu"]
    assert all(command[:2] == ["real", "lossless"] for command in told.commands[1:3])
