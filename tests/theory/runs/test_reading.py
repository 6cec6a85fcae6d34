"""Files of users: a byte order mark is no text, and what is not UTF-8 is named by file and line."""

import numpy as np
import pytest

from theory.runs.reading import check_text, json_of, read_text
from theory.runs.result import load_result, save_result
from theory.runs.trace import Trace, save_json

BOM = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_no_text_and_line_ends_stay(tmp_path):
    (tmp_path / "a").write_bytes(BOM + "naïve\r\n".encode())
    assert read_text(tmp_path / "a") == "naïve\r\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\nb".encode("utf-16"), "line 1: not UTF-8 .*as UTF-16 does.*; save the file as UTF-8"),
        (b"a\n" + "b".encode("utf-16-le"), "line 2: holds a NUL byte, as UTF-16 does; save the file as UTF-8"),
        (BOM + b"a\nb\n\n" + "é".encode("latin-1"), "line 4: not UTF-8 .*; save the file as UTF-8"),
        (b"a\n\xff", "line 2: not UTF-8"),
    ],
)
def test_another_encoding_is_named_by_file_and_line(tmp_path, content, words):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"mine\.txt, {words}"):
        read_text(tmp_path / "mine.txt")


def test_half_a_surrogate_pair_is_no_text():
    check_text(json_of(r'"\ud83d\ude00"'), "here")  # both halves are a character
    with pytest.raises(ValueError, match=r"here: character 3 is '\\ud83d', half a surrogate pair.*remove it"):
        check_text(json_of(r'"ab\ud83d"'), "here")


def test_what_is_no_json_says_where():
    with pytest.raises(ValueError, match="Unterminated string starting at at column 2"):
        json_of('{"a')
    with pytest.raises(ValueError, match="nested too deeply"):
        json_of("[" * 100_000)


def test_results_that_another_program_saved_with_a_mark_are_read(tmp_path):
    trace = Trace({"settings": {}}, {"round": np.array([1, 2])}).save(tmp_path / "t")
    save_result(tmp_path / "r.json", "bench", {"rows": []})
    for path in (*tmp_path.glob("t.*"), tmp_path / "r.json"):
        path.write_bytes(BOM + path.read_bytes())
    assert list(Trace.load(trace).columns) == ["round"]
    assert load_result(tmp_path / "r.json", "bench")["rows"] == []
    trace.with_suffix(".csv").write_bytes("round\n1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"t\.csv, line 1: not UTF-8"):
        Trace.load(trace)


def test_another_encoding_in_the_way_does_not_cost_a_result(tmp_path):
    (tmp_path / "r.json").write_bytes("é".encode("latin-1"))
    save_json(tmp_path / "r.json", {"rows": []})
    assert "rows" in (tmp_path / "r.json").read_text()
