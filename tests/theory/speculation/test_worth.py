"""Parts that are switched by what the laws say they gain: the promise on every stretch, and who stays on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.speculation.worth import Worth, gain

STEPS = st.lists(
    st.tuples(st.integers(0, 8), st.floats(1.0, 3.0), st.floats(0.0, 0.5), st.floats(-1.0, 1.0)),
    min_size=1,
    max_size=60,
)
"""γ, cost without the parts, what they cost, and Δ by position."""


def played(worth: Worth, steps, keep=lambda worth, balance, *step: worth.on(balance, *step)):
    """Every step's cost, what the parts cost, their gain, and the balance after it."""
    rows, balance = [], worth.init()
    for gamma, cost, extra, by in steps:
        on = keep(worth, balance, gamma, cost + extra, extra)
        spent, less = (extra, by * (gamma + 1)) if on else (0.0, 0.0)
        balance = worth.observe(balance, gamma, cost + spent, spent, less)
        rows.append((cost + spent, spent, gain(gamma, cost + spent, less), balance))
    return np.array(rows)


def worst_stretch(worth: Worth, rows) -> float:
    """max over all stretches of Σ e − Σ (δ·c + gain) − B."""
    over = np.concatenate([[0.0], np.cumsum(rows[:, 1] - worth.share * rows[:, 0] - rows[:, 2])])
    return float(np.max(over[1:] - np.minimum.accumulate(over)[:-1])) - worth.account


@settings(max_examples=300, deadline=None)
@given(STEPS, st.floats(0.0, 0.1), st.floats(0.0, 40.0))
def test_on_every_stretch_of_every_path_the_parts_cost_what_was_promised(steps, share, account):
    worth = Worth(share, account)
    rows = played(worth, steps)
    assert worst_stretch(worth, rows) <= 1e-9
    assert (rows[:, 3] >= 0).all()


def test_the_promise_of_parts_is_reached():
    """Parts that lose all they can at once spend the whole account in one step."""
    gamma, cost, extra = 4, 2.0, 0.5
    worth = Worth(0.0, extra + gamma * (cost + extra))
    rows = played(worth, [(gamma, cost, extra, -1.0)])
    assert rows[0, 1] == extra
    assert rows[0, 3] == 0
    assert worst_stretch(worth, rows) == pytest.approx(0.0, abs=1e-12)


def test_a_step_that_may_lose_more_than_there_is_breaks_the_promise():
    """Without γ·c in the condition: a step that the account pays for, and whose loss it does not."""
    steps = [(4, 2.0, 0.5, -1.0)] * 2
    worth = Worth(0.0, 1.0)
    rows = played(worth, steps, lambda worth, balance, gamma, cost, extra: extra <= balance)
    assert worst_stretch(worth, rows) > 5


def test_parts_that_pay_stay_on_and_others_are_tried_as_often_as_the_share_allows():
    worth, rng = Worth(0.005, 16.0), np.random.default_rng(0)

    def share_on(by: float, count: int = 4000) -> tuple[float, float]:
        steps = [(4, 1.6, 0.07, by + 0.05 * rng.standard_normal()) for _ in range(count)]
        rows = played(worth, steps)
        net = float((rows[:, 1] - rows[:, 2]).sum() / rows[:, 0].sum())
        return float((rows[:, 1] > 0).mean()), net

    assert share_on(0.05)[0] == 1.0
    on, net = share_on(-0.01)
    assert 0 < on < 0.2
    assert net <= 0.005 + 16.0 / (4000 * 1.6)


def test_the_first_step_that_gains_again_keeps_them_on():
    worth = Worth()
    lost = [(4, 1.6, 0.07, -0.05)] * 2000
    rows = played(worth, lost + [(4, 1.6, 0.07, 0.1)] * 400)
    later = rows[2000:, 1] > 0
    first = int(later.argmax())
    assert later.any()
    assert later[first:].all()


def test_an_account_takes_up_a_share_of_the_time_and_what_is_gained_and_pays_what_parts_cost():
    worth = Worth(0.01, 100.0)
    assert worth.observe(5.0, 4, 2.0, 0.3, 0.1) == pytest.approx(5.0 + 0.01 * 2.0 + 4 / 5 * 2.0 * 0.1 - 0.3)
    assert worth.observe(5.0, 4, 2.0) == pytest.approx(5.02)  # where the parts rested, the share alone


def test_gain_is_what_theorem_4_says_of_one_rejection_less():
    """(N + γR)/(γ + 1) steps: one fewer rejection is γ/(γ + 1) of a step."""
    assert gain(4, 1.5, 1.0) == pytest.approx(1.5 * ((100 + 4 * 20) / 5 - (100 + 4 * 19) / 5))
    assert gain(0, 1.0, 1.0) == 0


@pytest.mark.parametrize("settings", [{"share": -0.1}, {"account": float("inf")}, {"share": float("nan")}])
def test_refusals(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Worth(**settings)
