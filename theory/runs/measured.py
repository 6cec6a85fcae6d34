"""Which code a result measured: a hash of all sources that take part, at the commit that the result names.

The sources are found by their imports, from the modules that a kind of result starts from. A file counts by its lines
without imports, docstrings and comments, and the order of files does not count: a file that is only moved leaves the
hash as it is.
"""

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("theory", "sim", "real")
DECODER = ("real/serving/", "real/drafters/", "real/models/", "theory/learners/", "real/online.py", "real/batch.py")
SIMULATOR = ("sim/simulator.py", "sim/environments/", "sim/experiments.py", "theory/learners/")
ENTRIES = {
    "decoder": DECODER,
    "simulator": SIMULATOR,
    "both worlds": DECODER + SIMULATOR,
}
"""Kind of result → the folders and modules its code starts from. Two of the decoder's are names that it had once."""
BESIDE = ("theory/runs/trace.py", "theory/trace.py", "real/serving/certify.py", "real/certify.py")
"""Modules that write results down or certify them afterwards, under their names of today and before."""
DIGITS = 16
"""Hexadecimal digits kept of a hash."""


def today() -> dict[str, str]:
    """Path → text of every module of the packages as it lies here."""
    files = (path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py")))
    return {path.relative_to(REPOSITORY).as_posix(): path.read_text("utf-8") for path in files}


@cache
def at(commit: str) -> Mapping[str, str]:
    """The same at a commit; empty where git cannot show it."""
    names = _git("ls-tree", "-r", "--name-only", commit, "--", *PACKAGES).decode().splitlines()
    names = [name for name in names if name.endswith(".py")]
    asked = "".join(f"{commit}:{name}\n" for name in names).encode()
    answer, texts = _git("cat-file", "--batch", given=asked), {}
    for name in names:
        head, _, answer = answer.partition(b"\n")
        size = int(head.split()[-1])
        texts[name], answer = answer[:size].decode("utf-8"), answer[size + 1 :]
    return texts


def _git(*arguments: str, given: bytes = b"") -> bytes:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, input=given, capture_output=True, check=True
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return b""


@cache
def changes_since(kind: str, commit: str) -> int | None:
    """How many commits since this one touched the code behind a kind of result; None where git cannot show it.

    Comments count here: it is how often someone worked on that code, not what came of it.
    """
    before = at(commit)
    if not before:
        return None
    paths = sorted(taking_part(kind, before) | taking_part(kind, today()))
    counted = _git("rev-list", "--count", f"{commit}..HEAD", "--", *paths)
    return int(counted) if counted else None


def measured_hash(kind: str, sources: Mapping[str, str]) -> str | None:
    """Hash of the code behind a kind of result; None if there are no sources.

    Raises:
        ValueError: if none of the kind's first modules is among the sources.
    """
    if not sources:
        return None
    digests = sorted(filter(None, (_digest(sources[path]) for path in taking_part(kind, sources))))
    return sha256("".join(digests).encode()).hexdigest()[:DIGITS]


def taking_part(kind: str, sources: Mapping[str, str]) -> set[str]:
    """Paths of the kind's first modules and of all that they import, directly or through others.

    Raises:
        ValueError: if none of the kind's first modules is among the sources.
    """
    waiting = [path for path in sources if path in ENTRIES[kind] or path.startswith(_folders(kind))]
    if not waiting:
        raise ValueError(f"kind={kind!r}: none of {', '.join(ENTRIES[kind])} is there; name the module that took over")
    found: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path not in found and path not in BESIDE:
            found.add(path)
            waiting += [other for other in _imported(path, sources[path]) if other in sources]
    return found


def _folders(kind: str) -> tuple[str, ...]:
    return tuple(entry for entry in ENTRIES[kind] if entry.endswith("/"))


@cache
def _imported(path: str, text: str) -> tuple[str, ...]:
    """Paths of the modules that a text imports when it runs, whether or not they exist."""
    names: list[str] = []
    for node in _run(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.split("/")[: -node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    stems = [name.replace(".", "/") for name in names]
    return tuple(place for stem in stems for place in (f"{stem}.py", f"{stem}/__init__.py"))


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _run(node)


@cache
def _digest(text: str) -> str:
    """Hash of a module's code; empty where it has none."""
    code = "\n".join(_code(text))
    return sha256(code.encode()).hexdigest() if code else ""


def _code(text: str) -> Iterator[str]:
    """The lines of a module that say what it does: no imports, docstrings, comments or empty lines."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and (isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node)):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.rstrip()
        if number not in left_out and stripped and not stripped.lstrip().startswith("#"):
            yield stripped


def _is_text(node: ast.stmt) -> bool:
    """Whether it is a string that stands alone: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
