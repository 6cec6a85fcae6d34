# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""A mixture rests where its parts gain less than they cost; the text stays the target's, and the promise is kept."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.speculation.acceptance import alpha  # noqa: E402
from theory.speculation.worth import Worth, gain  # noqa: E402

V, NEW = 512, 60
REST = (1.0, 1.1, 1.2, 1.3)
"""Costs without the parts; with them every drafted token costs ``dear`` more."""


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair("llama", "float64", 0.3)


def served(pair, dear, temperature=1.0, count=6, **settings):
    """Requests served by cost → their texts, the decoder and (step, rested, gain) of every step."""
    costs = tuple(cost + dear * gamma for gamma, cost in enumerate(REST))
    serving = Serving(3, 8, Sampling(temperature), NEW, costs=costs, rest_costs=REST, **settings)
    drafter = make_drafter("mixture", pair)
    told, gained = [], drafter.gained
    decoder = online_decoder(pair, drafter, Hedge(0.3), serving, seed=1)

    def spied(row, target_probs):
        told[-1][2] = gained(row, target_probs)
        return told[-1][2]

    drafter.gained = spied
    step = decoder._step

    def stepped(ledger):
        told.append([None, decoder.rests, 0.0])
        ((request, taken),) = step(ledger)
        told[-1][0] = taken
        return [(request, taken)]

    decoder._step = stepped
    texts = [decoder.serve(prompt, Ledger())[0] for prompt in random_prompts(6, V, 3)[:count]]
    return texts, decoder, told


@pytest.mark.parametrize("dear", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_parts_cost_is_paid_by_what_they_gain(pair, dear, temperature):
    """The promise on every stretch: Σ extra ≤ Σ (δ·cost + gain) + B, all recomputed from the steps."""
    _, decoder, told = served(pair, dear, temperature)
    worth, working, resting = Worth(), decoder.control.working, decoder.control.resting
    spent, owed = [0.0], [0.0]
    for taken, rested, less in told:
        costs = (resting if rested else working).costs
        extra = 0.0 if rested else working.costs[taken.drafted] - resting.costs[taken.drafted]
        spent.append(spent[-1] + extra)
        owed.append(owed[-1] + worth.share * costs[taken.drafted] + gain(taken.drafted, costs[taken.drafted], less))
    slack = [o - s for o, s in zip(owed, spent, strict=True)]
    assert min(late - early for i, early in enumerate(slack) for late in slack[i:]) >= -worth.account - 1e-9
    shares = sum(rested for _, rested, _ in told) / len(told)
    assert shares > 0.5 if dear == 0.4 else shares < 0.9


def test_a_gain_is_the_difference_of_two_total_variations(pair):
    _, decoder, told = served(pair, 0.0, count=2)
    drafter = decoder.drafter
    drafter.begin([1, 2, 3, 1, 2, 3, 1])
    text = drafter.texts[0].tokens
    proposal = drafter.propose([3], Sampling(1.0), torch.tensor([[0.3, 0.6, 0.9]], dtype=torch.float64))
    first = torch.stack([laws[0, 0] for laws in drafter._drafted[1]])
    text += [*proposal.tokens[0, :2].tolist(), (int(proposal.tokens[0, 2]) + 1) % V]
    drafter.commit()
    target = torch.rand(3, V, dtype=torch.float64).softmax(-1)
    wanted = float((alpha(target, proposal.probs[0]) - alpha(target, first)).sum())
    assert type(drafter).gained(drafter, 0, target) == pytest.approx(wanted, abs=1e-9)
    assert abs(wanted) > 1e-6
    assert len(told) > 10


def test_greedy_texts_are_the_targets_whoever_rests(pair):
    plain = [online_decoder(pair, None, Hedge(0.3), Serving(3, 8, Sampling(0.0), NEW)).serve(prompt, Ledger())[0]
             for prompt in random_prompts(6, V, 3)]  # fmt: skip
    for dear in (0.0, 0.05, 0.4):
        assert served(pair, dear, 0.0)[0] == plain


def test_at_rest_the_first_part_drafts_and_nothing_is_taken_in(pair):
    prompts = random_prompts(2, V, 5)
    serving = Serving(3, 8, Sampling(1.0), NEW)
    mixture, alone = make_drafter("mixture", pair), make_drafter("independent", pair)
    decoders = [online_decoder(pair, one, Hedge(0.3), serving, seed=2) for one in (mixture, alone)]
    mixture.rest(True)
    texts = [[decoder.serve(prompt, Ledger())[0] for prompt in prompts] for decoder in decoders]
    assert texts[0] == texts[1]
    memory = mixture.parts[1]
    assert memory.count == 0
    mixture.rest(False)
    decoders[0].serve(prompts[0], Ledger())
    assert 0 < memory.count <= NEW
    assert decoders[0].learning.log.rounds > 0


def test_turning_parts_off_and_on_within_a_text_keeps_positions_apart(pair):
    """What is remembered after a rest is of the positions after it, and every law that is learned from is theirs."""
    mixture = make_drafter("mixture", pair)
    decoder = online_decoder(pair, mixture, Hedge(0.3), Serving(3, 8, Sampling(1.0), NEW), seed=2)
    seen = []
    decoder.learning.record = seen.extend
    steps = decoder.steps([random_prompts(1, V, 5)[0]], Ledger())
    for i, _ in enumerate(steps):
        rests = i % 3 == 1
        if rests and not mixture._resting:
            decoder.learning.rest(decoder.session, Ledger())
        mixture.rest(rests)
        decoder.rests = rests
    assert seen
    for piece in seen:
        laws = piece.features
        known = laws.sum((-1, -2)) > 0
        torch.testing.assert_close(laws[known].sum(-1), torch.ones_like(laws[known].sum(-1)))
        with torch.inference_mode():
            draft = pair.draft.logits(torch.tensor(list(piece.tokens[: piece.stop - 1])))[piece.start - 1 :].softmax(-1)
        torch.testing.assert_close(laws[known][:, 0], draft[known], rtol=1e-6, atol=1e-9)


def test_the_balance_is_saved_and_taken_up_again(pair):
    texts, one, _ = served(pair, 0.05)
    first, second = served(pair, 0.05, count=3)[1], served(pair, 0.05, count=0)[1]
    second.restore(first.state())
    assert second.own.known == first.own.known
    assert second.rests == first.rests
    assert [second.serve(prompt, Ledger())[0] for prompt in random_prompts(6, V, 3)[3:]] == texts[3:]
    assert second.own.known.balance == pytest.approx(one.own.known.balance)


def test_costs_at_rest_go_with_costs():
    with pytest.raises(ValueError, match=r"rest_costs=.*go with costs"):
        Serving(3, rest_costs=REST)
    with pytest.raises(ValueError, match=r"rest_costs=.*needs one entry"):
        Serving(3, costs=REST, rest_costs=REST[:2])
