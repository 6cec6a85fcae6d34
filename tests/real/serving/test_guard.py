# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""A user's learner in the decoder: whatever it gives or raises is told, and the last good state is kept."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.models.state import flatten, load, not_finite, rebuild, save  # noqa: E402
from real.serving.feedback import NonFiniteGradient  # noqa: E402
from real.serving.guard import Guarded  # noqa: E402
from tests.real.serving.test_online import decoder, pair, serve  # noqa: E402, F401 (fixture)
from theory.domain import Ball, Domain, Free, Simplex  # noqa: E402
from theory.learner import Learner  # noqa: E402
from theory.learners import LEARNERS  # noqa: E402
from theory.learners.chunked import Chunked  # noqa: E402
from theory.loss import Linear  # noqa: E402
from theory.problem import Problem  # noqa: E402
from theory.runs.choose import make_learner  # noqa: E402


class State(NamedTuple):
    x: Any
    rounds: Any  # a Python number


@dataclass(frozen=True)
class Own(Learner):
    domain: Domain = Free()

    def init(self, x_1):
        return State(x_1, 0)

    def predict(self, state, hint=None):
        return state.x

    def update(self, state, loss_t, hint=None):
        return State(state.x - 8.0 * loss_t.grad(state.x), state.rounds + 1)


class NoPlay(Own):
    def predict(self, state, hint=None):
        return None


class Numpy(Own):
    def predict(self, state, hint=None):
        return state.x.numpy()


class Double(Own):
    def init(self, x_1):
        return State(x_1.double(), 0)


class Whole(Own):
    def predict(self, state, hint=None):
        return state.x.long()


class NoState(Own):
    def update(self, state, loss_t, hint=None):
        return None


class Listed(Own):
    def init(self, x_1):
        return {"x": x_1}


class Raises(Own):
    def update(self, state, loss_t, hint=None):
        raise KeyError("gone")


class RaisesAtOnce(Own):
    def init(self, x_1):
        raise KeyError("gone")


class Quits(Own):
    def update(self, state, loss_t, hint=None):
        raise SystemExit(0)


class Poisons(Own):
    def update(self, state, loss_t, hint=None):
        after = super().update(state, loss_t, hint)
        return after._replace(rounds=float("nan")) if after.rounds > 2 else after


class PoisonsItsPlay(Own):
    def update(self, state, loss_t, hint=None):
        after = super().update(state, loss_t, hint)
        return after._replace(x=after.x / 0.0) if after.rounds > 2 else after


FAULTS = {
    NoPlay: "NoPlay: predict gave a NoneType, but a drafter serves a float32 tensor",
    Numpy: "Numpy: predict gave a ndarray, but a drafter serves a float32 tensor",
    Double: "Double: predict gave torch.float64, but a drafter serves a float32 tensor",
    Whole: "Whole: predict gave torch.int64, but a drafter serves a float32 tensor",
    NoState: "NoState, round 1: state: a state must be a NamedTuple of arrays, but has a NoneType",
    Listed: "Listed, init: state: a state must be a NamedTuple of arrays, but has a dict",
    Raises: r"Raises: its code raised KeyError: 'gone', line \d+ of .*test_guard.py",
    RaisesAtOnce: "RaisesAtOnce: its code raised KeyError: 'gone'",
    Quits: "Quits: its code raised SystemExit: 0",
    Poisons: "Poisons, round 3: state.rounds hold nan or infinity; the state from before is kept",
    PoisonsItsPlay: "PoisonsItsPlay, round 3: the next decision is not finite; it was not served",
}


@pytest.mark.parametrize(("kind", "words"), FAULTS.items(), ids=[kind.__name__ for kind in FAULTS])
def test_what_a_learner_does_wrong_is_told_and_not_taken_up(pair, kind, words):  # noqa: F811
    with pytest.raises(ValueError, match=words) as raised:
        serve(decoder(pair, kind()))
    assert isinstance(raised.value, NonFiniteGradient) == (kind in (Poisons, PoisonsItsPlay))


@pytest.mark.parametrize("kind", [Raises, RaisesAtOnce, Quits])
def test_it_is_told_inside_a_learner_of_ours_too(pair, kind):  # noqa: F811
    with pytest.raises(ValueError, match=FAULTS[kind]):
        serve(decoder(pair, Chunked(kind(), 1)))


@pytest.mark.parametrize("kind", [Poisons, PoisonsItsPlay, Raises, Quits, NoState])
def test_the_last_good_state_is_kept_and_can_be_saved(pair, tmp_path, kind):  # noqa: F811
    good = decoder(pair, Own())
    rounds = 2 if kind in (Poisons, PoisonsItsPlay) else 0
    states = []
    good.learning.on_round = lambda updates: states.append(updates[-1].before)
    online = decoder(pair, kind())
    with pytest.raises(ValueError):
        serve(online)
    serve(good)
    save(tmp_path / "s", online.state(), {})
    kept, _ = load(tmp_path / "s")
    assert not not_finite(kept)
    assert online.learning.log.rounds == len(kept["log"]) == rounds
    assert torch.equal(kept["learner.x"], states[rounds].x)
    assert torch.equal(online.drafter.x, states[rounds].x)


def test_a_number_in_a_state_is_kept_with_it(pair, tmp_path):  # noqa: F811
    whole, first = decoder(pair, Own()), decoder(pair, Own())
    serve(first)
    save(tmp_path / "s", first.state(), {})
    again = decoder(pair, Own())
    again.restore(load(tmp_path / "s")[0])
    serve(whole)
    assert again.learning.learner_state.rounds == whole.learning.learner_state.rounds > 2
    assert type(again.learning.learner_state.rounds) is int
    assert torch.equal(again.drafter.x, whole.drafter.x)
    state = State(torch.ones(2), State(0.5, True))
    back = rebuild("a", state, dict(flatten("a", state)))
    assert (back.rounds, type(back.rounds.rounds)) == ((0.5, True), bool)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_is_ever_written(tmp_path, value):
    save(tmp_path / "s", {"a": torch.ones(3)}, {})
    before = (tmp_path / "s").read_bytes()
    with pytest.raises(ValueError, match=r"not written, for b hold nan or infinity; what was there before stays"):
        save(tmp_path / "s", {"a": torch.ones(3), "b": torch.tensor([0.0, value]), "c": torch.tensor([1])}, {})
    assert (tmp_path / "s").read_bytes() == before
    assert not_finite({"large": torch.full((4,), 3e38)}) == []  # whose sum is not finite


@pytest.mark.parametrize("name", LEARNERS)
def test_no_learner_of_ours_is_refused(name):
    """Its state is finite and made of arrays, from the first round on."""
    simplex = LEARNERS[name].weighs_experts()
    domain = Simplex() if simplex else Ball(1.0)
    problem = Problem(domain, 4, 30, 1.0, strong_convexity=1.0, smoothness=1.0, loss_range=1.0, exp_concavity=1.0)
    learner = make_learner(name, {}, problem)
    guarded, x = Guarded(learner, 4), torch.full((4,), 0.25)
    state = guarded.init(x)
    for t in range(12):
        guarded.check_finite(state, t)
        x = guarded.predict(state)
        state = guarded.update(state, Linear(torch.sin(torch.arange(4.0) + t)), None, t)
    guarded.check_finite(state, 12)
