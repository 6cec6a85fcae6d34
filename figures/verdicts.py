"""``results/verdicts.json``: every claim with its number, its limit, whether it holds, and which code was measured.

A claim is old when the code that it measured is no longer the code of today (``theory/runs/measured.py``). It may still
be true; nobody has looked.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from figures.numbers.claims import Claim, claims
from figures.numbers.files import Origin, Results
from figures.numbers.page import has_header
from theory.runs.files import write_whole
from theory.runs.measured import at, changes_since, measured_hash, today

NAME = "verdicts.json"
HEADERS = {"gpu/run.txt": "gpu/bench.json"}
"""Files without a header → the file with one that was made at the same commit."""


def verdicts(root: Path) -> list[dict[str, Any]]:
    """Every claim over the results in ``root``: name, value, low, high, limit, holds, command, commit, measured_hash.

    Where git cannot show a commit, the hash that ``verdicts.json`` has for it already is kept.
    """
    results, known = Results(root), recorded(root)
    return [_verdict(claim, results, known) for claim in claims(results)]


def _verdict(claim: Claim, results: Results, known: Mapping[tuple[str, str | None], str | None]) -> dict[str, Any]:
    origins = _origins(claim.source, results)
    own = [made for made in origins if not claim.not_of or claim.not_of not in made.command]
    origins = own or origins
    latest = origins[-1]
    found = _hash_of(claim.code, origins) if claim.code else None
    if found is None:
        found = known.get((claim.name, latest.commit))
    numbers = {"value": claim.value, "low": claim.low, "high": claim.high, "limit": claim.limit, "holds": claim.holds}
    commands = "; ".join(dict.fromkeys(made.command for made in origins))
    made = {"command": commands, "commit": latest.commit, "measured_hash": found}
    return {"name": claim.name, **numbers, **made}


def _origins(source: str, results: Results) -> list[Origin]:
    if source == "gpu/run.txt":
        first = results.text(source).partition("\n")[0].removeprefix("$ ")
        return [results.origins(HEADERS[source])[-1]._replace(command=first)]
    if not has_header(source):
        return [Origin(f"python -m theory tightness --csv results/{source}", None, False, "cpu", "")]
    return results.origins(source)


def _hash_of(kind: str, origins: list[Origin]) -> str | None:
    """The hash of the code measured, if it was the same in all runs, and they say it or it is that of a commit."""
    told = {made.measured_hash for made in origins}
    if kind == "decoder" and None not in told:
        return told.pop() if len(told) == 1 else None
    if any(made.dirty or made.commit is None for made in origins):
        return None
    found = {measured_hash(kind, at(str(made.commit))) for made in origins}
    return found.pop() if len(found) == 1 else None


def recorded(root: Path) -> dict[tuple[str, str | None], str | None]:
    """(name, commit) → hash, as the file in ``root`` has them; empty without one."""
    path = root / NAME
    known = json.loads(path.read_text("utf-8-sig")) if path.exists() else []
    return {(one["name"], one["commit"]): one["measured_hash"] for one in known}


def write(root: Path) -> Path:
    """Write ``root/verdicts.json`` → its path.

    Raises:
        FileNotFoundError: if a result file is missing.
    """
    path = root / NAME
    write_whole(path, json.dumps(verdicts(root), indent=1, ensure_ascii=False) + "\n")
    return path


def age(claim: Claim, verdict: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """Whether the code measured is that of today: ``""``, ``changed`` or ``unknown``."""
    if claim.code is None:
        return ""
    if verdict["measured_hash"] is None:
        return "unknown"
    return "" if verdict["measured_hash"] == measured_hash(claim.code, now) else "changed"


def since(claim: Claim, commit: str | None) -> str:
    """How many commits ago the claim was measured, counting those that touched the code behind it; ``?`` if unknown."""
    found = changes_since(claim.code, commit) if claim.code and commit else None
    return "?" if found is None else str(found)


def show(root: Path, console: Console) -> None:
    """Print what does not hold, and what was measured on other code than that of today."""
    made, found, now = claims(Results(root)), verdicts(root), today()
    missed = Table("does not hold", "asked", "measured", box=None)
    for claim in made:
        if not claim.holds:
            missed.add_row(claim.subject, f"{claim.asked} {claim.limit:g}", claim.measured)
    console.print(missed)
    old = Table("measured code", "commit", "changes since", "source", "claims", box=None)
    groups: dict[tuple[str, ...], int] = {}
    for claim, verdict in zip(made, found, strict=True):
        state = age(claim, verdict, now)
        if state:
            key = state, str(verdict["commit"])[:7], since(claim, verdict["commit"]), claim.source
            groups[key] = groups.get(key, 0) + 1
    for key, count in groups.items():
        old.add_row(*key, str(count))
    console.print(old)
    held, late = sum(claim.holds for claim in made), sum(groups.values())
    console.print(f"{len(made)} claims: {held} hold, {len(made) - held} do not.")
    console.print(f"{late} of them measured code that is not today's, or not known.")
