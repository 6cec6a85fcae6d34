"""Work that is killed and begun again ends as work in peace, and nothing of it lives on; ``make kills`` does more."""

import random
import signal
from pathlib import Path

import pytest

from tests import kills

SMALL = "sim run drift/P8/frozen drift/P8/ogd switching/S4/frozen switching/S4/ogd --seeds 2 --jobs 2 --out o"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the kernel's list of processes")


@pytest.mark.slow
def test_a_sweep_that_is_killed_and_begun_again_leaves_what_it_would_have_left(tmp_path):
    found = list(kills.trials(SMALL, tmp_path, 2, random.Random(0)))
    assert [trial.how for trial in found] == [signal.SIGKILL, signal.SIGTERM]
    assert all(not trial.left and not trial.differs for trial in found), found
    assert kills.row("sweep", found) | {"after": ""} == {
        "work": "sweep",
        "kills": 2,
        "after": "",
        "left": 0,
        "equal": 2,
    }


def test_what_differs_is_seen_and_what_the_clock_decides_is_not(tmp_path):
    for folder, alpha, seconds in (("one", 0.5, 1.0), ("other", 0.5, 2.0), ("third", 0.25, 1.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(f"alpha,seconds_total\n{alpha},{seconds}\n")
        (tmp_path / folder / "t.json").write_text(f'{{"rows": [{{"alpha": {alpha}, "speedup": {seconds}}}]}}')
    (tmp_path / "third" / "t.csv.lock").touch()
    assert kills.differences(tmp_path / "one", tmp_path / "other") == []
    assert kills.differences(tmp_path / "one", tmp_path / "third") == ["t.csv", "t.csv.lock", "t.json"]


def test_what_runs_on_is_seen(tmp_path):
    with kills.begin("sim list", tmp_path) as began:
        assert any("sim list" in line for line in kills.session(began.pid))
    assert kills.session(began.pid) == []


def test_a_kill_that_came_too_late_is_tried_again_sooner(tmp_path, monkeypatch):
    tried = []

    def killed(command, folder, how, after):
        folder.mkdir()  # fails unless what the late one left is gone
        (folder / kills.SAID).touch()
        tried.append(after)
        return [] if after < 7 else None

    monkeypatch.setattr(kills, "killed", killed)
    monkeypatch.setattr(kills, "finish", lambda command, folder: folder.mkdir(exist_ok=True) or 100.0)
    (trial,) = kills.trials("", tmp_path, 1, random.Random(0))
    assert tried[0] > 7 > tried[-1] == trial.after


def test_work_that_had_kept_everything_is_not_begun_again(tmp_path, monkeypatch):
    def finish(command, folder):
        assert folder.name == "in peace", "begun again"
        folder.mkdir()
        (folder / "t.csv").write_text("alpha\n0.5\n")
        return 10.0

    def killed(command, folder, how, after):
        folder.mkdir()
        (folder / kills.SAID).touch()
        (folder / "t.csv").write_text("alpha\n0.5\n")
        return []

    monkeypatch.setattr(kills, "finish", finish)
    monkeypatch.setattr(kills, "killed", killed)
    (trial,) = kills.trials("", tmp_path, 1, random.Random(0))
    assert trial.differs == []


def test_work_that_ended_was_not_killed(tmp_path):
    assert kills.killed("sim list", tmp_path, kills.signal.SIGKILL, 60.0) is None
