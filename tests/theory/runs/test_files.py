"""Files are whole or not there, whoever else writes them, and what a process works on for long belongs to it alone."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from theory.runs.files import Owned, atomic, owned, write_whole

ROOT = Path(__file__).parents[3]
OWNER = """
import sys, time
from pathlib import Path
from theory.runs.files import atomic, owned

with owned(Path(sys.argv[1])), atomic(Path(sys.argv[1] + ".csv")) as partial:
    partial.write_text("half")
    print("owned", flush=True)
    time.sleep(60)
"""


def test_two_that_write_one_name_at_once_each_write_it_whole(tmp_path):
    path = tmp_path / "state"
    with atomic(path) as one:
        one.write_text("o")
        with atomic(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
        one.write_text("one")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", [lambda path: path.write_text("half"), lambda path: (path / "in").mkdir(parents=True)])
def test_what_fails_leaves_what_was_there_and_nothing_half_written(tmp_path, make):
    def failing() -> None:
        with atomic(tmp_path / "deep/f") as partial:
            make(partial)
            raise OSError("disk full")

    write_whole(tmp_path / "deep/f", "old")
    with pytest.raises(OSError, match="disk full"):
        failing()
    assert {path.name: path.read_text() for path in (tmp_path / "deep").iterdir()} == {"f": "old"}


def test_a_folder_appears_whole(tmp_path):
    with atomic(tmp_path / "model") as partial:
        partial.mkdir()
        (partial / "config.json").write_text("{}")
        assert not (tmp_path / "model").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/config.json"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_one_process_owns_is_refused_to_others_until_it_ends_however_it_ends(tmp_path, how):
    path = tmp_path / "learned"
    write_whole(tmp_path / "learned-too.csv.1-12345678.partial", "of another name")
    command = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "owned\n"
        with (
            pytest.raises(Owned, match=r"learned: another process is writing it; wait until .* or choose another name"),
            owned(path),
        ):
            raise AssertionError("owned by two")
        other.send_signal(how)
    assert len(list(tmp_path.glob("learned.csv.*.partial"))) == 1
    with owned(path):
        assert {file.name for file in tmp_path.iterdir()} == {"learned.lock", "learned-too.csv.1-12345678.partial"}
    assert {file.name for file in tmp_path.iterdir()} == {"learned-too.csv.1-12345678.partial"}


@pytest.mark.parametrize("own", ["P8", "P8/ogd"])
def test_a_lock_that_a_killed_process_left_stops_nobody_and_goes_with_the_next_owner(tmp_path, own):
    """As of a trace that was being written in the folder of a run: the next process makes the run again."""
    for name in ("P8/adam.csv.lock", "P8/poetry.csv.lock"):
        write_whole(tmp_path / name, "" if "adam" in name else "a file of the user's")
    command = [sys.executable, "-c", OWNER, str(tmp_path / "P8/ogd.csv")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "owned\n"
        with owned(tmp_path / own):
            assert (tmp_path / "P8/ogd.csv.lock").exists()
        other.kill()
    assert (tmp_path / "P8/ogd.csv.lock").exists()
    with owned(tmp_path / own):
        pass
    left = {"poetry.csv.lock"} | ({"adam.csv.lock"} if own == "P8/ogd" else set())
    assert {path.name for path in (tmp_path / "P8").glob("*.lock")} == left


def test_owning_what_is_never_written_leaves_no_trace(tmp_path):
    with owned(tmp_path / "deep/er/f"):
        pass
    assert not list(tmp_path.iterdir())


ALONE = {
    "theory/runs/files.py": "the one writer",
    "real/build/train.py": "a model's folder, file by file, by the process that owns it",
    "real/cli/kept.py": "texts are appended by the process that owns them, and cut to the checkpoint",
    "real/measure/context.py": "a switch of the kernel, no file",
}


def test_everything_is_written_by_the_one_writer():
    """Who writes otherwise has a reason; what other libraries write is written within ``atomic``."""
    ways = (
        r"\.write_(text|bytes)\(",
        r"os\.replace\(",
        r"\.rename\(",
        r"open\(.*[\"'][wax]b?[\"']",
        r"np\.save\w*\((?!file)",
    )
    writes = re.compile("|".join(ways))
    packages = [path for package in ("theory", "sim", "real", "figures") for path in (ROOT / package).rglob("*.py")]
    lines = [(path.relative_to(ROOT).as_posix(), line) for path in packages for line in path.read_text().splitlines()]
    found = {name: line.strip() for name, line in lines if writes.search(line) and "atomic(" not in line}
    assert {name: line for name, line in found.items() if name not in ALONE} == {}
    assert found.keys() == ALONE.keys()
