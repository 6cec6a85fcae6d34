"""Work in several processes: no more of them than work, none outlives the one that began it, a killed one is said."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Event, Thread

import pytest

from theory.runs.workers import _accept, at_once

ROOT = Path(__file__).parents[3]
SLOW = """
import os, sys, time
from pathlib import Path
from theory.runs.workers import at_once

def call(name, tell):
    Path(sys.argv[1], name).write_text(str(os.getpid()))
    tell(name)
    time.sleep(60)

list(at_once(call, [("a",), ("b",)], 8, lambda said: print(said, flush=True)))
"""


def square(number, tell):
    tell("seen", number)
    return number**2


def kill(number, tell):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hears(address, key: bytes, told: list) -> bool:
    """Whether a worker with the right key is heard."""
    with Client(address, authkey=key) as worker:
        worker.send(("here",))
        deadline = time.monotonic() + 5
        while ("here",) not in told and time.monotonic() < deadline:
            time.sleep(0.01)
    return ("here",) in told


@pytest.mark.parametrize(
    "error", [None, ConnectionResetError(), EOFError(), AuthenticationError("digest"), OSError(24, "too many files")]
)
def test_one_that_cannot_be_taken_in_keeps_no_other_out(monkeypatch, error):
    """None: one that comes with another key. The others: what the first call of ``accept`` raises."""
    told, over, failed = [], Event(), [] if error is None else [error]
    accept = Listener.accept
    monkeypatch.setattr(Listener, "accept", lambda self: raised(failed.pop()) if failed else accept(self))
    with Listener(authkey=b"key") as listener:
        thread = Thread(target=_accept, args=(listener, lambda *said: told.append(said), over), daemon=True)
        thread.start()
        if error is None:
            with pytest.raises((AuthenticationError, EOFError, OSError)):
                Client(listener.address, authkey=b"another")
        assert hears(listener.address, b"key", told)
        over.set()
        with suppress(AuthenticationError, EOFError, OSError):
            Client(listener.address, authkey=b"another").close()  # wakes it
        thread.join(5)
        assert not thread.is_alive()


def raised(error: BaseException):
    raise error


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_is_called_once_and_what_it_tells_is_heard(jobs):
    told = []
    assert sorted(at_once(square, [(2,), (3,), (4,)], jobs, lambda *said: told.append(said))) == [4, 9, 16]
    deadline = time.monotonic() + 5  # what workers tell comes on threads
    while len(told) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(told) == [("seen", 2), ("seen", 3), ("seen", 4)]


def test_one_task_needs_no_other_process():
    assert list(at_once(lambda tell: os.getpid(), [()], 8)) == [os.getpid()]


def test_a_killed_worker_says_what_happened_and_what_to_do():
    with pytest.raises(
        ChildProcessError, match=r"was killed, .* ran out; .* run the same again, with fewer jobs than 2"
    ):
        list(at_once(kill, [(i,) for i in range(5)], 2))


def family(pid: int) -> set[int]:
    """The process and all that it began, as the kernel knows them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the kernel's list of processes")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_began_them_however_it_ends(tmp_path, how):
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as began:
        assert began.stdout is not None
        assert {began.stdout.readline().strip() for _ in range(2)} == {b"a", b"b"}
        everyone = family(began.pid)
        workers = [pid for pid in everyone if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert sorted(workers) == sorted(int(path.read_text()) for path in tmp_path.iterdir())  # 8 jobs, 2 tasks
        began.send_signal(how)
    deadline = time.monotonic() + 10
    while any(map(alive, everyone)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in everyone if alive(pid)]
