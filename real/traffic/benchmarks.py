"""The paper's seven benchmarks as prompts: from the files their authors publish to the one JSONL schema.

The files are the user's: nothing is fetched. Each benchmark names its fields as published, in the original release and
on the common hub, and one plain instruction that asks for the answer.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from theory.runs.files import write_whole
from theory.runs.reading import check_text, decoded, json_of


@dataclass(frozen=True)
class Benchmark:
    """How an entry becomes a prompt.

    Attributes:
        template: the request, over the names in ``names``. names: for each, the keys under which releases have it.
        answer: the keys of the reference answer. columns: of a CSV file that has no header line.
    """

    template: str
    names: Mapping[str, Sequence[str]]
    answer: Sequence[str]
    columns: Sequence[str] = field(default=())


BENCHMARKS = {
    "gsm8k": Benchmark("{question}\nReason step by step.", {"question": ["question"]}, ["answer"]),
    "spider": Benchmark(
        "Database: {database}\nWrite one SQL query that answers: {question}",
        {"database": ["db_id"], "question": ["question"]},
        ["query"],
    ),
    "codesearchnet": Benchmark(
        "Write a Python function.\n{docstring}",
        {"docstring": ["docstring", "func_documentation_string"]},
        ["code", "whole_func_string", "func_code_string"],
    ),
    "finance-alpaca": Benchmark(
        "{instruction}\n{input}", {"instruction": ["instruction"], "input": ["input"]}, ["output"]
    ),
    "math": Benchmark("{problem}\nReason step by step.", {"problem": ["problem"]}, ["solution"]),
    "mbpp": Benchmark(
        "{text}\nYour code should pass these tests:\n{tests}",
        {"text": ["text", "prompt"], "tests": ["test_list"]},
        ["code"],
    ),
    "mmlu": Benchmark(
        "{question}\n{choices}\nAnswer with one letter, with your reasons before it.",
        {"question": ["question"], "choices": ["choices"]},
        ["answer"],
        columns=("question", "A", "B", "C", "D", "answer"),
    ),
}
"""GSM8K (Cobbe et al. 2021), Spider (Yu et al. 2018), CodeSearchNet Python (Husain et al. 2019), Finance-Alpaca
(Gaurang Bharti), MATH (Hendrycks et al. 2021b), MBPP (Austin et al. 2021) and MMLU (Hendrycks et al. 2021a)."""


def prepare(name: str, path: Path, out: Path) -> int:
    """Write the prompts of a benchmark's file, or of a folder of them, as JSONL; returns how many.

    Raises:
        ValueError: for a benchmark, file, format or entry that does not fit; nothing is written then.
        FileExistsError: if ``out`` is there already.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark={name!r}: must be one of {', '.join(BENCHMARKS)}")
    if out.exists():
        raise FileExistsError(f"out={str(out)!r} is there already; choose another file, or remove it")
    benchmark = BENCHMARKS[name]
    rows = [
        {"question_id": number, "category": name} | _prompt(entry, benchmark, where)
        for number, (where, entry) in enumerate(_entries(path, benchmark))
    ]
    if not rows:
        raise ValueError(f"file={str(path)!r}: holds no entry of {name}")
    write_whole(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _prompt(entry: Any, benchmark: Benchmark, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: {str(entry)[:60]!r} is not an object with named fields")
    if benchmark.columns and "choices" not in entry and "A" in entry:
        entry = entry | {"choices": [entry[letter] for letter in "ABCD"]}
    values = {name: _text(name, _find(entry, keys, where)) for name, keys in benchmark.names.items()}
    reference = next((str(entry[key]) for key in benchmark.answer if key in entry), None)
    turn = benchmark.template.format_map(values).strip()
    check_text(f"{turn}{reference or ''}", where)
    return {"turns": [turn]} | ({} if reference is None else {"reference": [reference]})


def _find(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> Any:
    for key in keys:
        if key in entry:
            return entry[key]
    raise ValueError(f"{where}: lacks {' or '.join(keys)}; it has {', '.join(map(str, entry))}")


def _text(name: str, value: Any) -> str:
    if name == "choices":
        return "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDEFGHIJ", value, strict=False))
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _entries(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, Any]]:
    """Where each entry stands, and the entry."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in READERS | {".gz": None})
    else:
        files = [path]
    for file in files:
        if not file.is_file():
            raise ValueError(f"file={str(file)!r}: no such file or folder")
        kind = Path(file.stem).suffix if file.suffix == ".gz" else file.suffix
        if kind not in READERS:
            raise ValueError(
                f"file={str(file)!r}: must be one of {', '.join(READERS)}, or .gz of one; "
                "a Parquet file is turned into JSONL by the datasets library's to_json"
            )
        text = decoded(_content(file), str(file))
        try:
            yield from ((f"{file}, {place}", entry) for place, entry in READERS[kind](text, benchmark))
        except (ValueError, RecursionError, csv.Error) as error:
            raise ValueError(f"{file}: not {kind[1:].upper()} ({error})") from None


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file}: not a whole gzip file ({error}); fetch it again") from None


def _jsonl(text: str, benchmark: Benchmark) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(StringIO(text, newline=None), start=1):
        if line.strip():
            try:
                entry = json_of(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            yield f"line {number}", entry


def _json(text: str, benchmark: Benchmark) -> Iterator[tuple[str, Any]]:
    content = json.loads(text)
    for number, entry in enumerate(content if isinstance(content, list) else [content], start=1):
        yield f"entry {number}", entry


def _csv(text: str, benchmark: Benchmark) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(csv.DictReader(StringIO(text, newline=""), benchmark.columns or None), start=1):
        if None in entry or None in entry.values():
            raise csv.Error(f"row {number} has another number of columns than the others")
        yield f"row {number}", entry


READERS = {".jsonl": _jsonl, ".json": _json, ".csv": _csv}
