"""What is logged of rounds: sums over all of them, and as many lines as were asked for."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.feedback import Log, RoundLog, hint_gain  # noqa: E402
from real.serving.learn import LINES  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402
from theory.hints import LastGradient  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402


def filled(most: int | None, rounds: int) -> Log:
    log = Log(most)
    for number in range(1, rounds + 1):
        log.add(RoundLog(number, 1.0, 2.0 * number, 1.0))
    return log


def test_a_log_forgets_lines_and_no_sums():
    few, every = filled(3, 10), filled(None, 10)
    assert [line.round for line in few.lines] == [8, 9, 10]
    assert len(every.lines) == few.rounds == every.rounds == 10
    assert hint_gain([few]) == hint_gain([every]) == 10 / 110
    assert hint_gain([few, every]) == 20 / 220


@pytest.mark.parametrize("sums", [True, False])
def test_a_log_goes_on_from_what_it_saved(sums):
    """Files from before there were sums hold every line."""
    saved = filled(3 if sums else None, 10).state()
    if not sums:
        del saved["log_sums"]
    log = Log(2)
    log.add(RoundLog(99, 9.0, 9.0, 9.0))
    log.restore(saved)
    assert ([line.round for line in log.lines], log.rounds) == ([9, 10], 10)
    assert (log.gradient, log.hint_error) == (110, 10)


def test_what_serves_for_ever_keeps_so_many_lines_and_learns_alike():
    pair, found = random_pair("llama", "float32"), {}
    learner = OptimisticOGD(8.0, LastGradient())
    for lines in (2, None):
        drafter = make_drafter("adapter", pair, burn_in=16)
        made = online_decoder(pair, drafter, learner, Serving(3, 8, Sampling(1.0), 24, burn_in=16), 5, lines=lines)
        for tenant in ("", "other", ""):
            list(made.serve_all(random_prompts(3, 512, 3), Ledger(), tenant))
        found[lines] = made
    few, every = found[2], found[None]
    assert [len(log.lines) for log in few.logs] == [2, 2]
    assert [len(log.lines) for log in every.logs] == [log.rounds for log in few.logs]
    assert every.learning.log.rounds > 10
    assert torch.equal(few.drafter.x, every.drafter.x)
    assert hint_gain(few.logs) == hint_gain(every.logs) != 1
    assert LINES < 2**16
