"""``python -m tests.survivors``: what ``make mutants`` left alive, and why; status 1 below 95 % or without a reason.

``--out FILE`` keeps the counts of every module as a result.

A survivor is named by its function and by the line that was changed, not by its number, so that the reasons in
``tests/data/survivors.csv`` outlive edits elsewhere.
"""

import csv
import json
import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from theory.runs.result import save_result

ROOT = Path(__file__).parent.parent
REASONS = ROOT / "tests/data/survivors.csv"
LEAST = 0.95
KILLED = {1: "killed", 3: "killed", **dict.fromkeys((24, -24, 36, 152, 255), "timeout")}
"""Exit codes of mutmut 3 (``mutmut/stats.py``) by which a test noticed a mutant: it failed, or ran for ever."""
OTHER = {0: "survived", 5: "no tests", 33: "no tests", 34: "skipped", -11: "segfault", -9: "segfault"}
UNDECIDED = {None: "not checked", 2: "interrupted"}


def verdicts() -> dict[str, int | None]:
    """Exit code of every mutant."""
    found = {}
    for path in sorted((ROOT / "mutants").rglob("*.meta")):
        found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def survivors(codes: dict[str, int | None]) -> list[tuple[str, str]]:
    """(function, changed line) of the mutants that no test noticed, whatever else became of them."""
    return [(name.partition("__mutmut_")[0], changed(name)) for name, code in codes.items() if code not in KILLED]


def changed(name: str) -> str:
    """The line that a mutant has instead of the original one."""
    command = [str(Path(sys.executable).with_name("mutmut")), "show", name]
    diff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(lines)


def by_module(codes: dict[str, int | None]) -> list[dict[str, Any]]:
    """How many mutants every module had, and how many of them were killed."""
    made, killed = (Counter(".".join(name.split(".")[:-1]) for name in names)
                    for names in (codes, [name for name, code in codes.items() if code in KILLED]))  # fmt: skip
    return [{"module": module, "mutants": made[module], "killed": killed[module]} for module in sorted(made)]


def main(arguments: Sequence[str] = ()) -> int:
    """Print the share killed and the survivors by reason."""
    parser = ArgumentParser(description="What `make mutants` left alive.")
    parser.add_argument("--out", type=Path, help="Keep the counts in this JSON file.")
    out = parser.parse_args(arguments).out
    codes = verdicts()
    count = Counter((KILLED | OTHER | UNDECIDED).get(code, "suspicious") for code in codes.values())
    if not codes or any(code in UNDECIDED for code in codes.values()):
        print(f"no verdict on all mutants ({dict(count)}): run `make mutants` to its end")
        return 1
    total, alive = len(codes), survivors(codes)
    with REASONS.open(newline="") as file:
        reasons = {(row["function"], row["line"]): row["reason"] for row in csv.DictReader(file)}
    share = 1 - len(alive) / total
    print(f"{total} mutants, {total - len(alive)} killed: {share:.1%} ({dict(count)})")
    if out:
        save_result(out, "mutants", {"mutants": total, "killed": total - len(alive), "modules": by_module(codes)})
    by_reason: dict[str, int] = {}
    for function, line in alive:
        reason = reasons.get((function, line), "")
        by_reason[reason] = by_reason.get(reason, 0) + 1
        if not reason:
            print(f"no reason given: {function}: {line}")
    for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]):
        print(f"{count:4d}  {reason or 'no reason given'}")
    return int(share < LEAST or "" in by_reason)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
