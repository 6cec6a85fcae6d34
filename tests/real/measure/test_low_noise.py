# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The low-noise net: expected steps on a shared text in place of the steps of a text of one's own."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.measure.contenders import Online, Twin  # noqa: E402
from real.measure.contest import SECONDS, Totals  # noqa: E402
from real.measure.in_turn import InTurn  # noqa: E402
from real.measure.low_noise import EXPECTED, SHARED, expected, low_noise_net, low_noise_rate, without_luck  # noqa: E402
from real.measure.served import Comparison  # noqa: E402
from real.measure.summary import Sample, measures  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.feedback import NonFiniteGradient  # noqa: E402
from real.serving.lawful import NoLaw  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import Models  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.traffic.streams import scheduled  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, run, said  # noqa: E402, F401 (fixtures)
from theory.learners.ogd import OGD  # noqa: E402
from theory.speculation.speedup import expected_steps, tokens_per_step  # noqa: E402


class Told:
    """A follower whose acceptance rates are given."""

    def __init__(self, gamma: int, rates: Sequence[float]):
        self.gamma, self.rates = gamma, rates

    def follow(self, prompt: list[int], text: list[int]) -> Sequence[float]:
        return self.rates[: len(text)]


def test_a_request_counts_its_text_and_the_steps_expected_for_it():
    assert expected(Told(4, [1.0] * 10), [1], [5] * 10) == {SHARED: 10, EXPECTED: 2.0}
    assert expected(Told(0, [0.0] * 10), [1], [5] * 10) == {SHARED: 10, EXPECTED: 10.0}  # plain decoding
    found = expected(Told(2, [0.5, 0.25, 0.9]), [1], [5] * 3)
    assert found[EXPECTED] == pytest.approx(float(expected_steps(np.array([0.5, 0.25, 0.9]), 2)))
    assert expected(Told(1, [1 + 1e-7, -1e-9]), [1], [5] * 2)[EXPECTED] == 1  # as float32 laws may add up


def measured(tokens: float, steps: float, seconds: float, shared: float, expected_: float) -> dict[str, float]:
    columns = {"tokens": tokens, "steps": steps, "seconds_total": seconds}
    return columns | ({SHARED: shared, EXPECTED: expected_} if expected_ else {})


def test_the_rate_is_expected_tokens_a_step_times_measured_steps_a_second():
    totals = Totals.of({
        "plain": [measured(20, 20, 4.0, 20, 20)] * 5,
        "draft": [measured(24, 8, 2.0, 20, 10)] * 5,  # luck: 3 tokens a step, 2 were expected
        "heads": [measured(24, 8, 2.0, 0, 0)] * 5,
    })  # fmt: skip
    np.testing.assert_allclose(low_noise_rate(totals, "plain"), totals.rate("plain"))  # a step is a token
    np.testing.assert_allclose(low_noise_rate(totals, "draft"), (20 / 10) * (8 / 2.0))
    assert low_noise_net(totals, "draft", "plain")["value"] == pytest.approx(8 / 5)
    assert totals.ratio("draft", "plain")[0] == pytest.approx(12 / 5)
    assert low_noise_rate(totals, "heads") is None
    assert low_noise_net(totals, "heads", "plain") == {"value": None, "low": None, "high": None}


def chain(seed: int) -> tuple[float, float]:
    """A chain of three symbols whose next one depends on the last: how far expected steps are off if overlaps stand for
    the rates of the tokens themselves, and their variance over texts as a share. Enumerated over all texts."""
    rng, length = np.random.default_rng(seed), 6
    target = rng.dirichlet(np.full(3, rng.uniform(0.2, 1)), size=3)
    likeness = rng.uniform(0.3, 0.9)
    draft = likeness * target + (1 - likeness) * rng.dirichlet(np.full(3, 0.5), size=3)
    texts = np.array([(0, *text) for text in product(range(3), repeat=length)])
    before, token = texts[:, :-1], texts[:, 1:]
    weight = target[before, token].prod(-1)
    overlap = expected_steps(np.minimum(target, draft).sum(-1).clip(max=1)[before], 3)
    own = expected_steps(np.minimum(1, draft / target)[before, token], 3)
    exact, found = weight @ own, weight @ overlap
    return abs(found / exact - 1), (weight @ (overlap - found) ** 2) / (weight @ (own - exact) ** 2)


def test_overlaps_in_place_of_the_tokens_own_rates_cost_a_thousandth_and_save_most_of_the_noise():
    off, noise = np.array([chain(seed) for seed in range(60)]).T
    assert np.median(off) < 0.002
    assert off.max() < 0.03
    assert np.median(noise) < 0.25


SERVING = Serving(gamma=3, nu=8, max_new_tokens=24, burn_in=16)
METHODS = {
    "plain": Method(None),
    "frozen": Method("adapter"),
    "ogd": Method("adapter", OGD(4.0)),
    "heads": Method("heads"),
    "osd": Method("adapter", OGD(4.0), positions="wrong"),
}


def compared(methods=METHODS, serving=SERVING, **more) -> Comparison:
    return Comparison(Models(), dict(methods), scheduled("prose:3,c:3", 1), serving, 0, **more)


def test_all_that_can_follow_the_first_methods_texts_and_the_others_say_why_not():
    made = compared(low_noise=True)
    made.run()
    assert list(made.followers) == ["plain", "frozen", "ogd"]
    assert "depends on where the step began" in made.unfollowed["heads"]
    assert "learns where its drafts are rejected" in made.unfollowed["osd"]
    for name, rows in made.rows.items():
        assert all((EXPECTED in row) == (name in made.followers) for row in rows)
    for row, plain in zip(made.rows["ogd"], made.rows["plain"], strict=True):
        assert row[SHARED] == plain["tokens"] == plain[SHARED] == plain[EXPECTED]
        assert row[SHARED] / 4 <= row[EXPECTED] <= row[SHARED]
    assert made.followers["ogd"].decoder.learning.log.rounds > 3
    table = measures(Sample({0: {name: made.trace(name, {}) for name in METHODS}}))
    assert table["plain"]["low_noise_speedup"]["value"] == pytest.approx(1)
    assert table["frozen"]["low_noise_net"]["value"] == pytest.approx(1)
    assert table["ogd"]["low_noise_net"]["low"] < table["ogd"]["low_noise_net"]["high"]
    assert table["heads"]["low_noise_net"]["value"] is None
    assert "low_noise_net" not in measures(Sample({0: {name: compared_plainly()[name] for name in METHODS}}))["ogd"]


def compared_plainly():
    made = compared()
    made.run()
    return {name: made.trace(name, {}) for name in METHODS}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"costs": (1.0, 1.3, 1.5, 1.6)}, "no fixed length"),
        ({"confidence": 0.2}, "no fixed length"),
        ({"rule": "block"}, "those of the token rule"),
    ],
)
def test_what_the_recursion_is_not_about_is_said(change, why):
    serving = Serving(gamma=3, nu=8, max_new_tokens=24, burn_in=16, **change)
    made = compared({name: METHODS[name] for name in ("plain", "frozen")}, serving, low_noise=True)
    assert why in made.unfollowed["frozen"]
    assert list(made.followers) == ["plain"]


def test_followers_resume_from_a_checkpoint_too(tmp_path):
    methods = {name: METHODS[name] for name in ("plain", "ogd")}
    whole, first, second = (compared(methods, low_noise=True) for _ in range(3))
    whole.run()

    def stop() -> None:
        if first.served == 3:
            first.save_checkpoint(tmp_path, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(after=stop)
    second.load_checkpoint(tmp_path, {})
    second.run()
    expected_ = [[row[EXPECTED] for row in made.rows["ogd"]] for made in (whole, second)]
    assert expected_[0] == expected_[1]
    assert len(expected_[0]) == 6


def test_a_learner_that_breaks_while_following_stops_nobody(monkeypatch):
    methods = {name: METHODS[name] for name in ("plain", "frozen", "ogd")}
    made, calls = compared(methods, low_noise=True), list[int]()
    right = made.followers["ogd"].follow

    def failing(prompt, text):
        calls.append(len(text))
        if len(calls) == 3:
            raise NonFiniteGradient("OGD, round 5: not finite")
        return right(prompt, text)

    monkeypatch.setattr(made.followers["ogd"], "follow", failing)
    made.run()
    assert len(calls) == 3
    assert made.unfollowed == {"ogd": "OGD, round 5: not finite"}
    assert len(made.rows["ogd"]) == 6
    assert not any(EXPECTED in row for row in made.rows["ogd"])
    assert all(EXPECTED in row for row in made.rows["frozen"])
    assert made.trace("ogd", {}).columns["tokens"].tolist() == [row["tokens"] for row in made.rows["ogd"]]


def test_a_request_counts_as_served_when_it_was_followed_too(monkeypatch):
    made, calls = compared({name: METHODS[name] for name in ("plain", "frozen", "ogd")}, low_noise=True), list[int]()

    def interrupted(prompt, text):
        calls.append(len(text))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [0.5] * len(text)

    monkeypatch.setattr(made.followers["frozen"], "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert len(made.rows["ogd"]) == 3
    assert made.served == 2


def test_what_has_no_law_while_a_text_is_followed_names_the_request_of_the_run(monkeypatch):
    made, calls = compared({name: METHODS[name] for name in ("plain", "frozen")}, low_noise=True), list[int]()

    def lawless(prompt, text):
        calls.append(len(text))
        if len(calls) == 3:
            raise NoLaw("target", 7, 1, "remedy")
        return [0.5] * len(text)

    monkeypatch.setattr(made.followers["frozen"], "follow", lawless)
    with pytest.raises(NoLaw, match="target: no law of token 7 of request 3, for"):
        made.run()


def test_expected_tokens_a_step_are_those_that_serving_has_in_the_long_run():
    """A frozen draft, sampled: 40 requests served, and their texts followed."""
    models, stream = Models(), scheduled("prose:20,c:20", 1)
    serving = Serving(gamma=3, nu=8, sampling=Sampling(1.0), max_new_tokens=40, burn_in=16)
    served, twin = Online(models, METHODS["frozen"], serving, 3), Twin(models, METHODS["frozen"], serving, 3)
    in_turn, rows = InTurn(served, models.pair, models.chat), []
    for turn in stream.turns:
        rows.append(in_turn.serve(turn) | expected(twin, in_turn.asked, served.text))
    totals = Totals.of({"frozen": rows})
    ratio = totals.per("frozen", SHARED, EXPECTED) / totals.rate("frozen", "steps")
    assert abs(ratio[0] - 1) < 4 * np.std(ratio[1:])
    assert np.std(ratio[1:]) < 0.05
    assert 1 < totals.rate("frozen", "steps")[0] < tokens_per_step(0.0, 3)


def test_the_command_has_both_and_says_whose_is_missing():
    result = run("--prompts", "prose:4", "--learner", "ogd")
    assert result.exit_code == 0, said(result)
    assert "low-noise net ÷ frozen's" in said(result)
    assert "low-noise" not in said(run("--prompts", "prose:4", "--measured-only"))
    result = run("--prompts", "prose:4", "--drafter", "heads", "--learner", "ogd")
    assert "no low-noise net of ogd: its law at a position depends on where the step began" in said(result)


def test_without_the_luck_of_verification_the_mean_is_the_same_and_the_noise_less():
    """Lengths follow the steps before, as they do by cost. 2,000 texts of 60 steps."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.3, 0.9, (2000, 60, 4))
    examined = np.ones((2000, 60, 4), bool)
    kept = rng.random(rates.shape) < rates
    length = np.full(2000, 4)
    for step in range(60):
        examined[:, step] = (np.arange(4) < length[:, None]) & np.cumprod(
            np.concatenate([np.ones((2000, 1)), kept[:, step, :3]], 1), 1
        ).astype(bool)
        length = np.clip((kept & examined)[:, step].sum(-1) + 1, 1, 4)
    accepted, alphas = (kept & examined).sum((1, 2)), (rates * examined).sum((1, 2))
    columns = {"tokens": 60.0 + accepted, "accepted": 1.0 * accepted, "alpha_sum": alphas}
    columns |= {SECONDS: np.full(2000, 60.0)}
    calm, measured = without_luck(Totals({"a": columns}), "a")[0], Totals({"a": columns}).rate("a")[0]
    assert abs(calm - measured) < 4 * (accepted - alphas).std() / 60 / np.sqrt(2000)
    assert alphas.std() < 0.7 * accepted.std()
