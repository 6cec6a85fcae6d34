"""Long texts: prefilled in pieces, the text of a model that never heard of pieces, memory that is accounted for."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.context import bytes_of, lengthened, long_prompt, measure, watched_peak  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving import step as decode  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.traffic.streams import ASSETS  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)

LONG = 4500
"""Three pieces, and more than the embedded models were made for."""


@pytest.fixture(scope="module")
def pair() -> Pair:
    return lengthened(str(ASSETS / "llama"), str(ASSETS / "specialist"), LONG + 16)


@pytest.mark.slow
def test_a_long_text_is_transformers_own(pair):
    prompt = long_prompt(pair, LONG)
    assert len(prompt) == LONG
    (wanted,) = reference(pair, [prompt], 12)
    rows = [measure(pair, drafter, prompt, 12, 3) for drafter in ("", "independent")]
    assert rows[0]["text"] == rows[1]["text"] == wanted
    for row in rows:
        assert row["caches"] < row["peak"] < 2**31


def test_memory_that_was_held_before_is_counted_when_it_is_held_again():
    """An allocator keeps what is freed below something that is still held, and gives it out again."""
    for _ in range(2):
        pieces = [torch.ones(2**18) for _ in range(64)]
        last = pieces[-1]
        del pieces
        peak = watched_peak(torch.device("cpu"))
        again = [torch.ones(2**18) for _ in range(32)]
        assert 31 * 2**20 < peak() < 64 * 2**20
        del again
    assert last.sum() == 2**18


def test_the_cache_has_room_from_the_start_and_no_more_than_it_needs(pair):
    session = alone(pair.target, None, [5] * 300, 200)
    before = session.memory.cache.size
    list(generate(session, 1, Sampling(0.0)))
    assert 499 <= session.memory.cache.size == before <= 500 + decode.BEYOND + 256
    per_slot = 2 * pair.target.layers * 2 * 32 * 4  # keys and values of two heads of 32, float32
    assert bytes_of(session.memory.cache) == before * per_slot


def test_the_command_says_whether_the_text_is_the_same(tmp_path):
    result = real("context", "--tokens", 1100, "--new", 4, "--out", "c.json")
    assert result.exit_code == 0, said(result)
    assert "the same text both times: yes" in said(result)
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept["same"] is True
    assert {row["tokens"] for row in kept["rows"].values()} == {1100}
