"""Every millisecond is charged to one line; what is left over is shown."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import LINES, Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402


class Clock:
    """A clock that moves only when told."""

    def __init__(self):
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_lines_add_up_and_what_was_only_measured_is_not_charged():
    clock = Clock()
    ledger = Ledger(clock=clock)
    with ledger.serving():
        for line, seconds in {"prefill": 1.0, "draft": 2.0, "verify": 4.0, "measure": 100.0, "learn": 8.0}.items():
            with ledger(line):
                clock.time += seconds
        clock.time += 0.5
    row = ledger.row()
    assert row == {
        "seconds_prefill": 1.0,
        "seconds_draft": 2.0,
        "seconds_verify": 4.0,
        "seconds_learn": 8.0,
        "seconds_other": 0.0,
        "seconds_unattributed": 0.5,
        "seconds_total": 15.5,
    }
    assert sum(row[f"seconds_{line}"] for line in (*LINES, "unattributed")) == row["seconds_total"]


def test_a_line_is_charged_even_if_its_block_fails():
    clock = Clock()
    ledger = Ledger(clock=clock)

    def fail() -> None:
        with ledger("learn"):
            clock.time += 3.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ledger.seconds["learn"] == 3.0


def test_an_unknown_line_is_refused():
    with pytest.raises(KeyError):
        Ledger()("lunch")


@pytest.mark.parametrize("drafter", [None, "adapter", "ngram"])
def test_decoding_is_charged_line_by_line(drafter):
    """Every block of the loop is seen: a clock that ticks once a look leaves little between the blocks."""
    pair, ticks = random_pair("qwen3", "float32"), Clock()

    def tick() -> float:
        ticks.time += 1.0
        return ticks.time

    ledger = Ledger(clock=tick)
    made = None if drafter is None else make_drafter(drafter, pair, **({"burn_in": 16} if drafter == "adapter" else {}))
    decoder = online_decoder(pair, made, OGD(16.0), Serving(nu=16, max_new_tokens=64))
    decoder.serve([1, 2, 3], ledger)
    row = ledger.row()
    used = {line for line in LINES if row[f"seconds_{line}"] > 0}
    learning = {"learn", "other"} if drafter == "adapter" else set()
    assert used == {"prefill", "verify"} | ({"draft"} if drafter else set()) | learning
    lines = sum(row[f"seconds_{line}"] for line in LINES)
    assert lines + row["seconds_unattributed"] == pytest.approx(row["seconds_total"])
