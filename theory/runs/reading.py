"""Text that users give is UTF-8, with or without a byte order mark; what is none is named by its file and line."""

import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any


def read_text(path: Path | str) -> str:
    """The text of a file, its line ends as they are.

    Raises:
        OSError: if it cannot be read.
        ValueError: for another encoding, or a NUL byte: the file, the line and the remedy.
    """
    return decoded(Path(path).read_bytes(), str(path))


def decoded(content: bytes, place: str) -> str:
    """The text of a file's bytes; ``place`` is what errors call the file.

    Raises:
        ValueError: as ``read_text``.
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ValueError(f"{place}, line 1: not UTF-8 (it begins as UTF-16 does); save the file as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{place}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{place}, line {line}: holds a NUL byte, as UTF-16 does; save the file as UTF-8")
    return text


def json_of(line: str) -> Any:
    """What a line of JSON says; ValueError with why it is none, and the column, or for a key that is given twice."""
    try:
        return json.loads(line, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"the key {twice!r} is given twice; give it once")
    return found


def first_line(error: Exception) -> str:
    """What kind of error it is, and the first line of what it says; two where the first only announces the second."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    said = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def check_text(text: str, place: str) -> None:
    """ValueError if ``text`` has half a surrogate pair, which no encoding can write and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{place}: character {error.start + 1} is {text[error.start]!r}, half a surrogate pair and no text; "
            "remove it, or write both halves"
        ) from None
