# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""Copies alone draft where that is faster; the text stays the target's, and every promise is kept."""

from collections import Counter
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.base import COPIES, MIXED, MODEL  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.control import Control, Known  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import COSTS, LOWER_COSTS, WAY_COSTS  # noqa: E402
from real.verify.on_trial import pair_of  # noqa: E402
from tests.real.drafters.test_copying import PARTS, repeated  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.speculation.worth import Worth, gain  # noqa: E402

GAMMA, NEW = 4, 60
DEAR = (1.0, 2.0, 2.1, 2.2, 2.3)
"""Of copies alone, at which they are never faster."""


@pytest.fixture(scope="module")
def pair():
    return pair_of()


def served(pair, name, temperature=0.0, prompts=None, ways=WAY_COSTS, rows=1):
    """Requests served by cost → texts, the decoder, and of every step [level, way, known before, steps, gains]."""
    settings = {"parts": PARTS} if name == "copies" else {}
    drafter = make_drafter("backoff" if name == "backoff" else "mixture", pair, **settings)
    serving = Serving(
        GAMMA,
        8,
        Sampling(temperature),
        NEW,
        costs=COSTS,
        lower_costs=LOWER_COSTS[: drafter.levels - 1],
        way_costs=ways,
    )
    decoder = online_decoder(pair, drafter, Hedge(0.3) if drafter.trains else Frozen(), serving, seed=1, rows=rows)
    told, control = [], decoder.control
    begin, step, gained = control.begin, decoder._step, drafter.gained

    def begun(known):
        gamma = begin(known)
        told.append([control.level, control.way, known, [], []])
        return gamma

    def spied(row, target_probs):
        told[-1][4].append(gained(row, target_probs))
        return told[-1][4][-1]

    def stepped(ledger):
        found = step(ledger)
        told[-1][3] = [taken for _, taken in found]
        return found

    control.begin, decoder._step, drafter.gained = begun, stepped, spied
    prompts = repeated(6) if prompts is None else prompts
    requests = sorted(decoder.serve_all(prompts, Ledger()), key=lambda request: request.number)
    return [request.tokens for request in requests], decoder, told


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["backoff", "copies", "mixture"])
def test_greedy_texts_are_the_targets_by_whatever_way(pair, name, rows):
    plain = online_decoder(pair, None, Hedge(0.3), Serving(GAMMA, 8, Sampling(0.0), NEW))
    prompts = [prompt for prompt in repeated(6 // rows) for _ in range(rows)]  # in rows something is found for all
    wanted = [plain.serve(prompt, Ledger())[0] for prompt in prompts]
    taken = []
    for ways in (WAY_COSTS, (WAY_COSTS[0], COSTS), (WAY_COSTS[0], DEAR)):
        texts, _, told = served(pair, name, prompts=prompts, ways=ways, rows=rows)
        assert texts == wanted
        taken.append(Counter(way for _, way, *_ in told))
    assert min(one[way] for one in taken for way in (COPIES, MODEL)) > 5
    assert sum(one[MIXED] for one in taken) > 3
    if rows == 1:  # more of them take so few steps that no way has proved better
        assert taken[0][COPIES] > taken[2][COPIES]
        assert taken[2][MIXED] > 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", ["backoff", "copies", "mixture"])
def test_the_promises_are_kept_on_every_stretch(pair, name, temperature):
    """Against plain decoding, Σ cost ≤ (1 + δ)·Σ tokens + B; of every level, Σ extra ≤ Σ (δ·cost + gain) + B, where a
    step of copies alone is held against the first part's speed."""
    _, decoder, told = served(pair, name, temperature)
    control, worth = decoder.control, Worth()
    plain, paid = [0.0], [[0.0] for _ in control.levels[1:]]
    for level, way, known, steps, gained in told:
        (taken,) = steps
        assert bool(gained) == (len(paid) > 0 and way == MIXED) or (level and way == MODEL)
        policy = {MIXED: control.levels[level], MODEL: control.model[level], COPIES: control.copies}[way]
        cost, tokens = policy.costs[taken.drafted], len(taken.tokens)
        plain.append(plain[-1] + cost - (1 + policy.share) * tokens)
        for above, sums in enumerate(paid, 1):
            less = gained[0][above - 1] if above <= level and gained else 0.0
            extra = control._extra[above][taken.drafted] if above <= level and way != COPIES else 0.0
            if above == 1 and way == MODEL and level:
                extra = max(0.0, control.model[1].costs[taken.drafted] - control.levels[0].costs[taken.drafted])
            if above == 1 and way == COPIES:
                verified, rejected = known.model
                law = known.lengths._replace(verified=verified, rejected=rejected)
                extra = cost - tokens / control.levels[0].speed(law)
            sums.append(sums[-1] + worth.share * cost + gain(taken.drafted, cost, less) - extra)
    assert max(late - early for i, early in enumerate(plain) for late in plain[i:]) <= 8.0 + 1e-9
    for sums in paid:
        assert min(late - early for i, early in enumerate(sums) for late in sums[i:]) >= -worth.account - 1e-9
    ways = Counter(way for _, way, *_ in told)
    assert ways[MODEL] > 3
    assert ways[COPIES] > (0 if temperature else 3)


@pytest.mark.parametrize("name", ["backoff", "copies"])
def test_what_is_known_of_the_ways_is_saved_and_taken_up_again(pair, name):
    prompts = repeated(6)
    texts, one, _ = served(pair, name, 1.0, prompts)
    first, second = served(pair, name, 1.0, prompts[:3])[1], served(pair, name, 1.0, [])[1]
    second.restore(first.state())
    assert second.own.known == first.own.known
    assert [second.serve(prompt, Ledger())[0] for prompt in prompts[3:]] == texts[3:]
    assert second.own.known.copies == pytest.approx(one.own.known.copies)
    assert second.own.known.model == pytest.approx(one.own.known.model)


def step_of(tokens, drafted):
    return SimpleNamespace(tokens=[0] * tokens, accepted=tokens - 1, drafted=drafted, rejected=tokens <= drafted,
                           verified_probs=drafted, room=99)  # fmt: skip


def driven(levels=1, ways=WAY_COSTS, finds=lambda: True, first_alone=False):
    """A control whose drafter only says whether it finds something; with all it loses what can be lost."""
    drafter = SimpleNamespace(levels=levels, copying=True, work=lambda level: None, draft_by=lambda way: None)
    drafter.finds, drafter.first_alone, drafter.asks_all = finds, first_alone, True
    drafter.gained = lambda row, drafted: (
        [0.0 if first_alone and control.way == MODEL else -drafted - 1.0] * control.level
    )
    lower = LOWER_COSTS[: levels - 1]
    control = Control(Serving(GAMMA, costs=COSTS, lower_costs=lower, way_costs=ways), drafter)
    return control


def test_copies_alone_draft_where_they_are_right_and_are_left_and_tried_again_where_they_are_not():
    found, ways = [True], []
    control = driven(finds=lambda: found[0])
    known = control.init()
    for turn in range(600):
        gamma, found[0] = control.begin(known), turn % 5 > 0
        ways.append(control.way)
        right = 1 if control.way != COPIES else gamma if turn < 200 else 0  # copies are right for 200 steps, then never
        known = control.end(known, [step_of(right + 1, gamma)])
    early, late = (Counter(ways[start:stop]) for start, stop in ((20, 200), (300, 600)))
    assert early[MIXED] == 0
    assert early[COPIES] > 100
    assert late[MIXED] > 150
    assert 1 <= late[COPIES] < 60
    assert early[MODEL] + late[MODEL] == pytest.approx((180 + 300) / 5, abs=1)


def test_every_way_has_a_length_of_its_own():
    found = [True]
    control = driven(finds=lambda: found[0])
    known = control.init()
    for turn in range(400):
        found[0] = turn % 2 == 0
        gamma = control.begin(known)
        known = control.end(known, [step_of(gamma + 1 if found[0] else 1, gamma)])
    assert known.copies[1] / known.copies[0] < 0.05
    assert known.model[1] / known.model[0] > 0.9
    assert (control.begin(known), control.way) == (1, MODEL)
    found[0] = True
    assert (control.begin(known), control.way) == (GAMMA, COPIES)


def taken_ways(control, outcome, steps=400, gamma_of=lambda gamma: gamma):
    """The ways of so many steps; ``outcome`` (way, drafted) → tokens that were accepted."""
    known, ways = control.init(), []
    for _ in range(steps):
        gamma = control.begin(known)
        drafted = gamma_of(gamma) if control.way == COPIES else gamma
        ways.append(control.way)
        known = control.end(known, [step_of(min(outcome(control.way, drafted), drafted) + 1, drafted)])
    return Counter(ways[steps // 2 :]), known


def test_copies_that_end_early_are_worth_no_more_than_they_drafted():
    """Also where they end before their first token."""
    ways, _ = taken_ways(driven(), lambda way, drafted: drafted, gamma_of=lambda gamma: 0)
    assert ways[MIXED] > 5 * ways[COPIES]
    control = driven()
    ways, known = taken_ways(control, lambda way, drafted: drafted, gamma_of=lambda gamma: min(gamma, 1))
    counts = known.lengths._replace(verified=known.copies[0], rejected=known.copies[1])
    assert control.copies.speed(counts) < 2 / WAY_COSTS[1][1]
    assert taken_ways(driven(), lambda way, drafted: drafted)[0][COPIES] == 200


def test_near_the_end_of_a_text_a_short_draft_says_nothing():
    control = driven()
    known = control.init()
    control.begin(known)
    ended = control.end(known, [SimpleNamespace(**{**vars(step_of(2, 1)), "room": 1})])
    control.begin(known)
    short = control.end(known, [step_of(2, 1)])
    assert ended.copies[1] == pytest.approx(known.copies[1] * (1 - 1 / 64))
    assert short.copies[1] == pytest.approx(known.copies[1] * (1 - 1 / 64) ** 2 + 1)


def test_what_was_never_tried_is_guessed_from_what_the_models_do_alone():
    """A draft that is right where nothing is found is tried where something is, though copies look as good."""
    found, ways = [False], Counter()
    control = driven(finds=lambda: found[0])
    known = control.init()
    for turn in range(60):
        gamma, found[0] = control.begin(known), turn % 3 == 1
        ways[control.way] += 1
        right = gamma if control.way != COPIES else min(gamma, 2)
        known = control.end(known, [step_of(right + 1, gamma)])
    assert ways[MIXED] > 5
    assert ways[COPIES] < 15
    wrong = driven(finds=lambda: True)
    before = wrong.init()._replace(model=(60.0, 50.0))  # a guess is never worse than the one before the first step
    wrong.begin(before)
    after = wrong.end(before, [step_of(3, 3)])
    assert wrong.way == COPIES
    assert (after.lengths.verified, after.lengths.rejected) == (before.lengths.verified, before.lengths.rejected)


def test_parts_rest_where_a_look_for_copies_cannot_be_paid_and_the_first_drafts_in_full():
    dear = tuple(cost + 0.3 * (gamma > 0) for gamma, cost in enumerate(COSTS))
    control = driven(2, ways=(dear, WAY_COSTS[1]), finds=lambda: False, first_alone=True)
    fresh, control.worth = control.init(), SimpleNamespace(on=lambda *_: True)
    look = control.model[1].costs[GAMMA] - LOWER_COSTS[0][GAMMA]
    assert look > 0.3
    for balance, level in ((look + 1e-6, 1), (look - 1e-6, 0)):
        known = fresh._replace(model=(60.0, 0.5), balances=(balance,))
        control.end(known, [])
        assert control.level == level
        assert control.begin(known) == GAMMA


def test_what_a_model_has_to_catch_up_with_after_copies_is_charged_to_it():
    found = [True]
    drafter = SimpleNamespace(levels=1, copying=True, first_alone=False, draft_by=lambda way: None)
    drafter.finds = lambda: found[0]
    control = Control(Serving(GAMMA, costs=COSTS, switch_cost=0.5, way_costs=WAY_COSTS), drafter)
    known = control.init()
    for found[0], way, more in ((False, MODEL, 0.5), (False, MODEL, 0.0), (True, COPIES, 0.0), (False, MODEL, 0.5)):
        before = known._replace(lengths=known.lengths._replace(account=4.0))
        gamma = control.begin(before)
        assert control.way == way
        known = control.end(before, [step_of(gamma + 1, gamma)])
        policy = control.copies if way == COPIES else control.model[0]
        spent = 4.0 + (1 + policy.share) * (gamma + 1) - known.lengths.account
        assert spent == pytest.approx(policy.costs[gamma] + more)


def test_the_memory_is_not_charged_for_looking_and_a_first_part_alone_drafts_in_full():
    """Three levels: where nothing is found, the first account pays for the look alone, and the last for its own."""
    control = driven(3, ways=(tuple(cost + 0.01 * (gamma > 0) for gamma, cost in enumerate(COSTS)), WAY_COSTS[1]))
    for gamma in range(1, GAMMA + 1):
        light = LOWER_COSTS[1][gamma] - LOWER_COSTS[0][gamma]
        assert control._looked[gamma] == pytest.approx(light + 0.01)
        assert control.model[2].costs[gamma] == pytest.approx(COSTS[gamma] + 0.01)
        assert control.model[1].costs[gamma] == pytest.approx(LOWER_COSTS[1][gamma] + 0.01)
    alone = driven(2, finds=lambda: False, first_alone=True)
    known = alone.end(alone.init(), [])
    known = known._replace(
        model=(60.0, 0.5), balances=(6.0,), lengths=known.lengths._replace(verified=3.0, rejected=2.9)
    )
    assert alone.begin(known) == GAMMA
    together = driven(2, finds=lambda: False)
    together.end(known, [])
    assert together.begin(known) < GAMMA


def test_numbers_that_are_none_are_refused(pair):
    one = served(pair, "copies", 1.0, repeated(1))[1]
    before, state = one.own.known, one.state()
    for place, number in ((0, 0.0), (5, 0.0), (6, float("nan")), (7, 0.0), (8, 1e6)):
        damaged = {**state, "lengths": state["lengths"].clone()}
        damaged["lengths"][place] = number
        with pytest.raises(ValueError, match="lengths"):
            one.restore(damaged)
        assert one.own.known == before


@pytest.mark.parametrize("right", [0.0, 0.5])
@pytest.mark.parametrize("levels", [2, 3])
def test_no_account_is_overdrawn_whatever_is_lost(levels, right):
    """Whatever way is taken, parts lose as much as can be lost, and copies are never right or every other time."""
    told, turn = [], [0]
    control = driven(levels, ways=((1.0, 3.0, 4.0, 5.0, 6.0), WAY_COSTS[1]), finds=lambda: turn[0] % 3 > 0)

    def observe(balance, gamma, cost, extra=0.0, less=0.0):
        told.append(balance + control.worth.share * cost + gain(gamma, cost, less) - extra)
        return min(told[-1], control.worth.account)

    known, ways = control.end(control.init(), []), Counter()
    control.worth = SimpleNamespace(on=Worth().on, observe=observe, share=0.3, account=16.0)
    for turn[0] in range(600):
        gamma = control.begin(known)
        ways[control.way, control.level] += 1
        tokens = gamma + 1 if turn[0] % 2 < 2 * right else 1
        known = control.end(known, [step_of(tokens, gamma)])
    assert min(told) >= -1e-9
    assert sum(ways[COPIES, level] for level in range(1, levels)) > 1
    assert sum(ways[MODEL, level] for level in range(1, levels)) > 1


def test_ways_go_with_costs_and_are_two():
    for given, told in (
        ({"way_costs": WAY_COSTS}, "go with costs"),
        ({"costs": COSTS, "way_costs": (COSTS[:2], COSTS)}, r"way_costs\[0\]=.*needs one entry"),
        ({"costs": COSTS, "way_costs": (COSTS, COSTS[::-1])}, r"way_costs\[1\]=.*must not fall"),
        ({"costs": COSTS, "way_costs": 3}, "way_costs=3"),
        ({"costs": COSTS, "way_costs": (COSTS,)}, "must be two"),
    ):
        with pytest.raises(ValueError, match=told):
            Serving(GAMMA, **given)
    control = Control(Serving(GAMMA, costs=COSTS, way_costs=WAY_COSTS), SimpleNamespace(levels=1, copying=False))
    assert control.copies is None  # a drafter that copies nothing has one way
    assert control.init() == Known(control.levels[0].init(), ())


@pytest.mark.parametrize("place", range(9))
def test_numbers_that_no_run_could_have_are_refused(pair, place):
    one = served(pair, "copies", 1.0, repeated(1))[1]
    before, state = one.own.known, one.state()
    assert len(state["lengths"]) == 9
    state["lengths"] = state["lengths"].clone()
    state["lengths"][place] = -5.0
    with pytest.raises(ValueError, match="lengths"):
        one.restore(state)
    assert one.own.known == before
