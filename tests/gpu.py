"""``python -m tests.gpu``: what only a CUDA device can show, in stages of nine minutes at most, the dearest first.

A stage ends in one file ``OUT/STAGE.json``: its bars, each with a value, a limit and whether it holds, the settings,
and the hash of the code that served. Begun again, a stage is skipped whose file is of today's code and the same
settings; one that did not end is run again. Status 1 if a bar is missed or a stage did not end. Elsewhere
``--device cpu --dry`` runs the same commands on as little as shows that they run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from theory.runs.measured import measured_hash, today
from theory.runs.result import save_result

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("lossless", "verify", "rivals", "learning")
"""Names, in the order of ``stages``."""
MOST = 540.0
"""Seconds of a stage."""
KIND = "gpu stage"
Run = Callable[[Sequence[str], Path, float], int]
"""(arguments after ``python -m``, file for what it says, seconds it may take) → its exit status; TimeoutError."""
Bars = dict[str, dict[str, Any]]


class Stage(NamedTuple):
    """Commands, and what is asked of what they found: their exit statuses and the files of their own they wrote."""

    name: str
    commands: tuple[str, ...]
    bars: Callable[[Sequence[int], Path], Bars]

    @property
    def files(self) -> list[Path]:
        """What its commands write."""
        words = [command.split() for command in self.commands]
        return [Path(one[one.index("--out") + 1]) for one in words if "--out" in one]


def bar(value: float, asked: str, limit: float) -> dict[str, Any]:
    """One verdict; ``asked`` is ``at least`` or ``at most``."""
    return {"value": value, asked: limit, "holds": value >= limit if asked == "at least" else value <= limit}


def stages(options: argparse.Namespace) -> Iterator[Stage]:
    """All of them; what is measured is what ``options`` ask for."""
    device = f"--device {options.device} --dtype {options.dtype}"
    pair = f"--target {options.target} --draft {options.draft} {device}"
    kernels, out, few = "" if options.dry else "--compile", options.out, 1 if options.dry else 4
    length = "--max-new-tokens 8" if options.dry else ""
    served = f"--burn-in {8 if options.dry else 256} {length} {kernels} {pair}"
    checks = f"real lossless --prompts {few} {device}", f"real lossless --prompts {few} {pair}"
    # pytest has no stage of its own on a CPU, where make test runs it
    tests = ("pytest -m gpu",) if options.device == "cuda" else ()
    yield Stage("lossless", (*tests, *checks), statuses)
    prompts = f"--domain prose --prompts {3 * few}"
    yield Stage("verify", (f"real headroom ensemble {prompts} {served} --out {out}/headroom.json",), verification)
    new = 8 if options.dry else 48
    contenders = " ".join(f"--contender {name}" for name in (["plain", "draft"] if options.dry else RIVALS))
    bench = f"real bench --prompts prose:{few} --new {new} {contenders} {pair} --out {out}/bench.json"
    yield Stage("rivals", (bench,), rivals)
    asked = f"--prompts prose:{few + few // 2} {served}"
    runs = f"real run --learner ensemble {asked}", f"real run tv-mixture {asked}"
    mixture = f"real headroom tv-mixture {prompts} {served} --out {out}/mixture.json"
    yield Stage("learning", (mixture, *runs), learning)


RIVALS = ("*compiled", "generate", "assisted", "prompt*")


def statuses(found: Sequence[int], out: Path) -> Bars:
    """Every command ended well."""
    return {"commands that failed": bar(sum(map(bool, found)), "at most", 0)}


def verification(found: Sequence[int], out: Path) -> Bars:
    """How much of a verification is reading the target's weights once at the bandwidth of this device, and learning's
    share of the time, of the ensemble of adapters."""
    rows = json.loads((out / "headroom.json").read_text())["rows"]
    share = min(row["of_memory"] for row in rows)
    bars = {"verify, bandwidth share": bar(share, "at least", 0.6), "ensemble, learning's share": learned(rows)}
    return statuses(found, out) | bars


def rivals(found: Sequence[int], out: Path) -> Bars:
    """Ours over transformers' own decoders, by the lower limit."""
    modes = json.loads((out / "bench.json").read_text())["rows"]
    ratios = {
        f"{mode}, {goal['ours']} ÷ {goal['theirs']}": bar(goal["ratio"]["low"], "at least", goal["factor"])
        for mode, row in modes.items()
        for goal in row["targets"]
    }
    return statuses(found, out) | ratios


def learning(found: Sequence[int], out: Path) -> Bars:
    """Learning's share of the time, of the mixture; both runs ended well."""
    rows = json.loads((out / "mixture.json").read_text())["rows"]
    return statuses(found, out) | {"tv-mixture, learning's share": learned(rows)}


def learned(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict on the largest share of the time that learning takes, of what ``real headroom`` measured."""
    return bar(max(row["shares"]["learn"] for row in rows), "at most", 0.03)


def begin(arguments: Sequence[str], said: Path, seconds: float) -> int:
    """Run a command in a process of its own, with its children, and end all of them when its time is over."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with said.open("a") as told:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=told, stderr=told,
            start_new_session=True,
        )  # fmt: skip
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise TimeoutError from None


def done(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a stage ended with these settings, which have the hash of the code in them."""
    if not path.exists():
        return False
    kept = json.loads(path.read_text())
    return kept["ended"] and kept["settings"] == settings


def carry_out(stage: Stage, settings: Mapping[str, Any], out: Path, run: Run = begin, most: float = MOST) -> bool:
    """Run a stage unless it is done, and keep its verdict → whether all bars hold."""
    path, said, begun = out / f"{stage.name}.json", out / f"{stage.name}.txt", time.monotonic()
    if not done(path, settings):
        for left in (said, *stage.files):  # by another run, at other settings or by other code
            left.unlink(missing_ok=True)
        found, ended, bars = list[int](), True, Bars()
        try:
            for command in stage.commands:
                found.append(run(command.split(), said, most - (time.monotonic() - begun)))
            bars = stage.bars(found, out)
        except TimeoutError:
            ended = False
        except FileNotFoundError as error:  # the command that writes it failed
            bars = statuses(found, out) | {f"{Path(error.filename).name} was written": bar(0, "at least", 1)}
        seconds = time.monotonic() - begun
        content = {"stage": stage.name, "settings": settings, "ended": ended, "seconds": seconds, "bars": bars}
        save_result(path, KIND, content, str(settings["device"]))
    kept = json.loads(path.read_text())
    for name, one in kept["bars"].items():
        print(f"{stage.name:9} {name:50} {one['value']:.4g}  {'holds' if one['holds'] else 'MISSED'}")
    if not kept["ended"]:
        print(f"{stage.name:9} did not end within {most:g} s")
    return kept["ended"] and all(one["holds"] for one in kept["bars"].values())


def main(arguments: Sequence[str] | None = None, run: Run = begin) -> int:
    """Run every stage that is asked for → the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("target", ""), ("draft", ""), ("device", "cuda"), ("dtype", "bfloat16")):
        parser.add_argument(f"--{name}", default=default, required=not default)
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this one, repeatable")
    parser.add_argument("--dry", action="store_true", help="eager, and as little as shows that the commands run")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(options).items() if key not in ("out", "stage")}
    settings["measured_hash"] = measured_hash("decoder", today())
    asked = [stage for stage in stages(options) if not options.stage or stage.name in options.stage]
    held = [carry_out(stage, settings, options.out, run) for stage in asked]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
