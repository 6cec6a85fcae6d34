"""``python -m tests.kills``: work is killed at times spread over it, begun again, and held against work that was not.

Status 1 if anything but seconds differs, if a file is left that work in peace does not leave, or if a process outlives
the one that was killed by two seconds.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from theory.runs.table import Column, console, table
from theory.runs.terminal import Progress

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 2.0
"""Seconds after which nothing may be left of what was killed."""
SAID = "said.txt"
"""What a command said, in its folder while it runs."""
SOONER = 0.8
"""Part of the time after which a kill is tried again that came too late."""
BY_THE_CLOCK = re.compile(r"second|speed|share|break_even|net$|cost_ratio|provenance|^runs$|sha256")
"""Names of what no two runs have in common; the checksum is that of a table with seconds in it."""
WORK = {
    "sim sweep": "sim run drift/P8/* switching/S4/* experts/best/* --jobs 2 --out o",
    "study": "real table1 --prompts 9 --family llama --domain c --domain sql --system mixture --jobs 2 --out o",
    "run --state": "real run --prompts prose:6,c:6 --max-new-tokens 32 --learner ensemble --state state --certify log "
    "--out o",
}
"""The commands that are killed."""


class Trial(NamedTuple):
    """One kill: by which signal, after how many seconds, what was left of it, and what differs in the end."""

    how: signal.Signals
    after: float
    left: list[str]
    differs: list[str]


def begin(command: str, folder: Path) -> subprocess.Popen:
    """A command of ours in a folder, and in a session of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    arguments = [sys.executable, "-m", *command.split()]
    with (folder / SAID).open("a") as said:
        return subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def finish(command: str, folder: Path) -> float:
    """Run it to its end → seconds.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    start = time.monotonic()
    with begin(command, folder) as began:
        pass
    if began.returncode:
        raise RuntimeError(f"{command}: status {began.returncode}\n{(folder / SAID).read_text()}")
    (folder / SAID).unlink()
    return time.monotonic() - start


def session(leader: int) -> list[str]:
    """What runs in a session, by command line; what has ended and waits for its parent does not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
            line = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [line] if int(number) == leader and state != "Z" else []
    return found


def killed(command: str, folder: Path, how: signal.Signals, after: float) -> list[str] | None:
    """Begin it and kill it → what still runs ``PATIENCE`` later; None if it had ended before."""
    with begin(command, folder) as began:
        try:
            began.wait(after)
            return None
        except subprocess.TimeoutExpired:
            began.send_signal(how)
    ended = time.monotonic()
    while (left := session(began.pid)) and time.monotonic() < ended + PATIENCE:
        time.sleep(0.05)
    return left


def told(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry of a JSON file by its path, but those that the clock decides."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            if not BY_THE_CLOCK.search(str(key)):
                yield from told(value, f"{path}/{key}")
    else:
        yield path, content


def read(path: Path) -> Any:
    """What a file says, but for what the clock decides."""
    if path.suffix == ".json":
        return dict(told(json.loads(path.read_text("utf-8"))))
    if path.suffix == ".csv":
        names, *rows = csv.reader(StringIO(path.read_text("utf-8")))
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return {name: column for name, column in columns if not BY_THE_CLOCK.search(name)}
    if path.suffix == "":
        from safetensors import safe_open  # a state; its file has its entries in any order

        with safe_open(path, "numpy") as file:
            return file.metadata(), {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
    return path.read_bytes()


def differences(one: Path, other: Path) -> list[str]:
    """Files that only one folder has, or that say something else."""
    there, here = (
        {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()} for folder in (one, other)
    )
    both = there.keys() & here.keys()
    return sorted([*(there.keys() ^ here.keys()), *(name for name in both if read(there[name]) != read(here[name]))])


def trials(command: str, folder: Path, kills: int, rng: random.Random) -> Iterator[Trial]:
    """Kill it so many times, each in a folder of its own, and begin it again."""
    seconds = finish(command, folder / "in peace")
    for number in range(kills):
        how, after = (signal.SIGKILL, signal.SIGTERM)[number % 2], seconds * (number + rng.random()) / kills
        place = folder / str(number)
        while (left := killed(command, place, how, after)) is None:  # this machine has become faster since
            shutil.rmtree(place)
            after *= SOONER
        (place / SAID).unlink()
        if differences(folder / "in peace", place):  # or all was kept, and the process about to end
            finish(command, place)
        yield Trial(how, after, left, differences(folder / "in peace", place))


COLUMNS = (
    Column("work", "work"),
    Column("kills", "kills", "d"),
    Column("after", "after seconds"),
    Column("left", "processes left", "d"),
    Column("equal", "equal in the end", "d"),
)


def row(name: str, found: Sequence[Trial]) -> dict[str, Any]:
    """One kind of work as the table shows it."""
    after = ", ".join(f"{trial.after:.1f} ({-trial.how})" for trial in found)
    left, equal = sum(len(trial.left) for trial in found), sum(not trial.differs for trial in found)
    return {"work": name, "kills": len(found), "after": after, "left": left, "equal": equal}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for every kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=7, help="of every kind of work")
    parser.add_argument("--seed", type=int, default=0, help="of the times")
    parser.add_argument("work", nargs="*", help=f"one of {', '.join(WORK)}; all if left out")
    given = parser.parse_args(arguments)
    if strange := [name for name in given.work if name not in WORK]:
        parser.error(f"work={strange[0]!r}: must be one of {', '.join(WORK)}")
    rows, wrong = [], []
    for name in given.work or WORK:
        with TemporaryDirectory() as folder, Progress() as progress:
            found, tell = [], progress.task(name)
            for trial in trials(WORK[name], Path(folder), given.kills, random.Random(given.seed)):
                found.append(trial)
                tell(len(found), given.kills)
        rows.append(row(name, found))
        wrong += [(name, trial) for trial in found if trial.left or trial.differs]
    console.print(table(rows, COLUMNS))
    for name, trial in wrong:
        print(f"{name}, {trial.how.name} after {trial.after:.1f} s: left {trial.left}, differs {trial.differs}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
