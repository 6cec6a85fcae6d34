# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""A mixture rests where its parts gain less than they cost; the text stays the target's, and the promise is kept."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.control import Control, Known  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.speculation.acceptance import alpha  # noqa: E402
from theory.speculation.worth import Worth, gain  # noqa: E402

V, NEW = 512, 60
REST = (1.0, 1.1, 1.2, 1.3)
"""Costs of the first part alone; those with copies and with all cost ``light`` and ``dear`` more a drafted token."""


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair("llama", "float64", 0.3)


def costs_of(*more):
    return tuple(tuple(cost + one * gamma for gamma, cost in enumerate(REST)) for one in more)


def served(pair, light, dear, temperature=1.0, count=6):
    """Requests served by cost → their texts, the decoder and [step, level, gains, the target's laws] of every step."""
    lower, costs = costs_of(0.0, light), costs_of(dear)[0]
    serving = Serving(3, 8, Sampling(temperature), NEW, costs=costs, lower_costs=lower)
    drafter = make_drafter("mixture", pair)
    told, gained = [], drafter.gained
    decoder = online_decoder(pair, drafter, Hedge(0.3), serving, seed=1)

    def spied(row, target_probs):
        told[-1][2:] = gained(row, target_probs), target_probs
        return told[-1][2]

    drafter.gained = spied
    step = decoder._step

    def stepped(ledger):
        told.append([None, decoder.control.level, [], None])
        ((request, taken),) = step(ledger)
        told[-1][0] = taken
        return [(request, taken)]

    decoder._step = stepped
    texts = [decoder.serve(prompt, Ledger())[0] for prompt in random_prompts(6, V, 3)[:count]]
    return texts, decoder, told


@pytest.mark.parametrize(("light", "dear"), [(0.0, 0.0), (0.01, 0.4), (0.3, 0.4)])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_level_costs_is_paid_by_what_it_gains(pair, light, dear, temperature):
    """The promise on every stretch, of every level: Σ extra ≤ Σ (δ·cost + gain) + B, recomputed from the steps."""
    _, decoder, told = served(pair, light, dear, temperature)
    worth, levels = Worth(), decoder.control.levels
    for above in (1, 2):
        slack = [0.0]
        for taken, level, gained, _ in told:
            cost, gamma = levels[level].costs[taken.drafted], taken.drafted
            extra = levels[above].costs[gamma] - levels[above - 1].costs[gamma] if level >= above else 0.0
            less = gained[above - 1] if level >= above else 0.0
            slack.append(slack[-1] + worth.share * cost + gain(gamma, cost, less) - extra)
        assert min(late - early for i, early in enumerate(slack) for late in slack[i:]) >= -worth.account - 1e-9
    reached = [sum(level >= above for _, level, *_ in told) / len(told) for above in (1, 2)]
    assert reached[0] >= reached[1] > 0
    assert reached[1] < 0.5 or dear == 0.0
    assert reached[0] < 0.5 or light < 0.3


@torch.inference_mode()
def drafted(pair, level):
    """A mixture that has served and follows a text at a level: the laws of three drafted tokens, and itself."""
    drafter = served(pair, 0.0, 0.0, count=2)[1].drafter
    drafter.begin([1, 2, 3, 1, 2, 3, 1, 2])
    drafter.work(level)
    drafts = drafter if level else drafter.parts[0]
    return drafts.laws_along(torch.tensor([[3, 1, 2]]), Sampling(1.0))[0], drafter


def test_gains_are_differences_of_total_variations_of_what_each_level_drafts(pair):
    """Levels draft the same path apart, and the gains told at the last one are those of their laws."""
    laws = [drafted(pair, level)[0] for level in range(3)]
    drafter = drafted(pair, 2)[1]
    drafter.texts[0].tokens += [3, 1, 9]
    drafter.commit()
    target = torch.rand(3, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).pow(8)
    target /= target.sum(-1, keepdim=True)
    kept = [float(alpha(target, law).sum()) for law in laws]
    assert drafter.gained(0, target) == pytest.approx([kept[1] - kept[0], kept[2] - kept[1]], abs=1e-6)
    assert min(abs(kept[1] - kept[0]), abs(kept[2] - kept[1])) > 1e-5


def test_greedy_texts_are_the_targets_at_whatever_level(pair):
    plain = [online_decoder(pair, None, Hedge(0.3), Serving(3, 8, Sampling(0.0), NEW)).serve(prompt, Ledger())[0]
             for prompt in random_prompts(6, V, 3)]  # fmt: skip
    for light, dear in ((0.0, 0.0), (0.01, 0.4), (0.05, 0.06), (0.3, 0.4)):
        assert served(pair, light, dear, 0.0)[0] == plain


def test_at_level_0_the_first_part_drafts_and_nothing_is_taken_in(pair):
    prompts = random_prompts(2, V, 5)
    serving = Serving(3, 8, Sampling(1.0), NEW)
    mixture, alone = make_drafter("mixture", pair), make_drafter("independent", pair)
    decoders = [online_decoder(pair, one, Hedge(0.3), serving, seed=2) for one in (mixture, alone)]
    mixture.work(0)
    texts = [[decoder.serve(prompt, Ledger())[0] for prompt in prompts] for decoder in decoders]
    assert texts[0] == texts[1]
    memory = mixture.parts[1]
    assert memory.count == 0
    mixture.work(1)
    decoders[0].serve(prompts[0], Ledger())
    assert memory.count == 0
    assert (rounds := decoders[0].learning.log.rounds) > 0
    mixture.work(2)
    decoders[0].serve(prompts[0], Ledger())
    assert 0 < memory.count <= NEW
    assert decoders[0].learning.log.rounds > rounds


def test_levels_change_within_a_text_and_positions_stay_apart(pair):
    """What is remembered after a rest is of the positions after it, and every law that is learned from is theirs."""
    mixture = make_drafter("mixture", pair)
    decoder = online_decoder(pair, mixture, Hedge(0.3), Serving(3, 8, Sampling(1.0), NEW), seed=2)
    seen = []
    decoder.learning.record = seen.extend
    steps = decoder.steps([random_prompts(1, V, 5)[0]], Ledger())
    for i, _ in enumerate(steps):
        level = (2, 0, 1, 2, 2, 0)[i % 6]
        if level == 0:
            decoder.learning.rest(decoder.session, Ledger())
        mixture.work(level)
    learned = 0
    for piece in seen:
        laws = piece.features
        known = laws.sum((-1, -2)) > 0
        torch.testing.assert_close(laws[known].sum(-1), torch.ones_like(laws[known].sum(-1)))
        with torch.inference_mode():
            draft = pair.draft.logits(torch.tensor(list(piece.tokens[: piece.stop - 1])))[piece.start - 1 :].softmax(-1)
        torch.testing.assert_close(laws[known][:, 0].to(draft), draft[known], rtol=1e-6, atol=1e-9)
        learned += int(known.sum())
    assert 0 < learned < sum(piece.stop - piece.start for piece in seen)


def test_accounts_are_saved_and_taken_up_again(pair):
    texts, one, _ = served(pair, 0.02, 0.05)
    first, second = served(pair, 0.02, 0.05, count=3)[1], served(pair, 0.02, 0.05, count=0)[1]
    second.restore(first.state())
    assert second.own.known == first.own.known
    assert second.control.level == first.control.level
    assert [second.serve(prompt, Ledger())[0] for prompt in random_prompts(6, V, 3)[3:]] == texts[3:]
    assert second.own.known.balances == pytest.approx(one.own.known.balances)


def test_costs_of_levels_go_with_costs_and_with_the_drafter(pair):
    for given, told in (
        ({"lower_costs": (REST,)}, "go with costs"),
        ({"costs": REST, "lower_costs": (REST[:2],)}, r"lower_costs\[0\]=.*needs one entry"),
        ({"costs": REST, "lower_costs": 3}, "lower_costs=3"),
    ):
        with pytest.raises(ValueError, match=told):
            Serving(3, **given)
    serving = Serving(3, 8, costs=REST, lower_costs=(REST,))
    with pytest.raises(ValueError, match=r"lower_costs=.*has 3 levels"):
        online_decoder(pair, make_drafter("mixture", pair), Hedge(0.3), serving)


@pytest.mark.parametrize("mode", ["kl", "route"])
def test_parts_of_a_mixture_without_levels_never_rest(pair, mode):
    mixture = make_drafter("mixture", pair, mode=mode)
    online_decoder(pair, mixture, Hedge(0.3), Serving(3, 8, max_new_tokens=NEW)).serve([1, 2, 3, 4], Ledger())
    assert mixture.levels == 1
    assert mixture.parts[3].filled > 0
    assert mixture.parts[1].filled > 0


def test_a_memory_with_a_draft_of_its_own_is_no_part(pair):
    with pytest.raises(ValueError, match="brings a draft of its own"):
        make_drafter("mixture", pair, parts=("independent", "memory", "backoff"))


def step_of(tokens, drafted):
    return SimpleNamespace(tokens=[0] * tokens, accepted=tokens - 1, drafted=drafted, rejected=tokens <= drafted,
                           verified_probs=None)  # fmt: skip


@pytest.mark.parametrize("rows", [1, 16])
def test_no_account_is_overdrawn_whatever_is_lost(rows):
    """All parts lose as much as can be lost in every step; no account ever falls below zero, though nothing is cut."""
    told = []
    drafter = SimpleNamespace(
        levels=3,
        copying=False,
        asks_all=True,
        work=lambda level: None,
        gained=lambda row, target: [-5.0] * control.level,
    )
    lower = (1.0, 1.1, 1.2, 1.3, 1.4), (1.0, 1.2, 1.3, 1.4, 1.5)
    control = Control(Serving(4, costs=(1.0, 2.0, 2.2, 2.4, 2.6), lower_costs=lower), drafter)

    def observe(balance, gamma, cost, extra=0.0, less=0.0):
        told.append(balance + control.worth.share * cost + gain(gamma, cost, less) - extra)
        return min(told[-1], control.worth.account)

    control.worth = SimpleNamespace(on=Worth().on, observe=observe, share=0.3, account=16.0)
    known = Known(control.levels[-1].init(), (6.3, 16.0))
    known = control.end(known, [])
    for _ in range(200):
        gamma = control.begin(known)
        known = control.end(known, [step_of(gamma + 1, gamma)] * rows)
    assert min(told) >= -1e-9
    assert max(told) > 6


@pytest.mark.parametrize("right", [0, 1, 4])
def test_texts_in_one_step_pay_from_one_account(right):
    """A step of sixteen texts is charged once, against what plain decoding gives them: the promise on every stretch."""
    control = Control(Serving(4, costs=(1.0, 2.0, 2.2, 2.4, 2.6)), SimpleNamespace(levels=1, copying=False))
    policy, known, lost = control.levels[0], control.init(), [0.0]
    for turn in range(300):
        gamma = control.begin(known)
        rows = [step_of(min(gamma, right * (row == turn % 16)) + 1, gamma) for row in range(16)]
        tokens = sum(len(row.tokens) for row in rows) / len(rows)
        lost.append(lost[-1] + policy.costs[gamma] - (1 + policy.share) * tokens)
        known = control.end(known, rows)
    assert max(late - early for i, early in enumerate(lost) for late in lost[i:]) <= policy.account + 1e-9


@pytest.mark.parametrize("longest", [1, 4, 8, 16])
def test_however_long_drafts_are_an_account_covers_two_of_them(longest):
    """A level that gains nothing for a while is on again: no length is too dear for a full account."""
    rest = tuple(1 + 0.14 * gamma for gamma in range(longest + 1))
    costs = tuple(one + 0.02 * gamma for gamma, one in enumerate(rest))
    drafter = SimpleNamespace(levels=2, copying=False, work=lambda level: None)
    control = Control(Serving(longest, 32, costs=costs, lower_costs=(rest,)), drafter)
    known = control.init()
    always = known._replace(lengths=known.lengths._replace(verified=100.0, rejected=0.01))
    assert control.levels[1].choose(always.lengths) == longest
    assert control.highest(always) == 1
    dearest = longest * costs[-1] + costs[-1] - rest[-1]
    assert control.worth.account == pytest.approx(max(16.0, 2 * dearest))
    assert control.highest(always._replace(balances=(control.worth.account - dearest,))) == 1


@torch.inference_mode()
def test_gains_are_of_the_laws_as_a_generation_config_shapes_them(pair):
    """The levels of one path draft apart, shaped, and the gains told at the last are those of these laws."""
    laws, path = [], [3, 1, 9]

    def without_odd_ids(ids, logits):
        return logits.index_fill(-1, torch.arange(1, V, 2), float("-inf"))

    for level in range(3):
        said, drafter = drafted(pair, level)
        shaped = without_odd_ids(None, said.log())
        laws.append(shaped.softmax(-1))
    drafter.texts[0].shape = without_odd_ids
    drafter.texts[0].tokens += path
    drafter.commit()
    target = torch.rand(3, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).pow(8)
    target[:, 1::2] = 0.0
    target /= target.sum(-1, keepdim=True)
    kept = [float(alpha(target, law).sum()) for law in laws]
    assert drafter.gained(0, target) == pytest.approx([kept[1] - kept[0], kept[2] - kept[1]], abs=1e-6)
    assert min(abs(kept[1] - kept[0]), abs(kept[2] - kept[1])) > 1e-5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_accounts_are_told_is_of_the_laws_that_verification_used(temperature):
    """A generation config forbids most ids: gains are of the target's law without them, as tokens were accepted by."""
    shaping = random_pair("llama", "float64", 0.3)
    shaping.target.model.generation_config.suppress_tokens = list(range(0, V, 2))
    _, _, told = served(Pair(CausalLM(shaping.target.model, "target"), shaping.draft, None), 0.0, 0.0, temperature)
    told = [one for one in told if one[3] is not None]
    assert len(told) > 20
    for taken, _, gains, laws in told:
        assert float(laws[:, ::2].sum()) == 0.0
        if temperature:
            torch.testing.assert_close(laws, taken.verified_laws[: len(laws)])
        else:
            assert laws.argmax(-1).tolist() == taken.tokens
        assert float(taken.target_probs[:, ::2].sum()) > 0.0 or not temperature
        assert len(gains) == 2


@pytest.mark.parametrize("place", range(6))
def test_an_account_that_no_run_could_have_is_refused(pair, place):
    """Nothing is taken up of it."""
    one = served(pair, 0.02, 0.05, count=1)[1]
    before, state = one.own.known, one.state()
    state["lengths"] = state["lengths"].clone()
    state["lengths"][place] = -5.0 if place < 4 else 1e9
    with pytest.raises(ValueError, match="lengths"):
        one.restore(state)
    assert one.own.known == before
