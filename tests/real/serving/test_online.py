# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The loop: rounds of exactly ν tokens, updates at step boundaries, no second target call, exact resumption."""

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import Piece, make_drafter  # noqa: E402
from real.drafters.adapter import Adapter  # noqa: E402
from real.drafters.objective import Objective  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.models.state import load, save  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.feedback import Counts, NonFiniteGradient, hint_gain  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.rounds import Rounds, cut  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import random_pair, random_prompts, reference  # noqa: E402
from theory.hints import LastGradient, Zero  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402
from theory.loss import Quadratic  # noqa: E402
from theory.runs.practice import ADAPTER_LEARNERS  # noqa: E402

GREEDY = Sampling(0.0)
NU, BURNED = 16, 2
PROMPTS = random_prompts(4, 512, 3)
NARROW = torch.eye(8)


@pytest.fixture(scope="module")
def pair():
    return random_pair("qwen3", "float64")


def decoder(pair, learner=OGD(64.0), sampling=Sampling(0.8), drafter="adapter", gamma=3, **more) -> Decoder:  # noqa: B008
    settings = {"burn_in": BURNED * NU} if drafter == "adapter" else {}
    made = None if drafter is None else make_drafter(drafter, pair, **settings)
    return online_decoder(pair, made, learner, Serving(gamma, NU, sampling, 41), 5, **more)


def serve(online: Decoder, prompts=PROMPTS) -> list:
    return [online.serve(prompt, Ledger()) for prompt in prompts]


def test_rounds_are_exactly_nu_committed_tokens_across_requests(pair):
    rounds: list[list[Piece]] = []
    online = decoder(pair, record=lambda pieces: rounds.append(list(pieces)))
    texts = [text for text, _ in serve(online)]
    sizes = [sum(piece.stop - piece.start for piece in pieces) for pieces in rounds]
    assert set(sizes) == {NU}
    assert any(len(pieces) > 1 for pieces in rounds), "no round spans two requests: the test is too easy"
    pieces = [piece for pieces in rounds for piece in pieces] + online.learning.rounds.pieces
    served = [token for piece in pieces for token in piece.tokens[piece.start : piece.stop]]
    assert served == [token for text in texts for token in text]
    assert online.learning.rounds.waiting == len(served) % NU
    assert online.learning.log.rounds == len(served) // NU - BURNED
    assert all(len(piece.features) == len(piece.target_probs) == piece.stop - piece.start for piece in pieces)


def test_pieces_hold_what_one_plain_forward_over_the_text_gives(pair):
    """Features and laws are those of the committed prefix, whatever the steps were."""
    rounds: list[Piece] = []
    online = decoder(pair, OGD(64.0), record=rounds.extend)
    serve(online)
    sampling = online.serving.sampling
    with torch.inference_mode():
        for piece in rounds:
            text = torch.tensor(piece.tokens[: piece.stop])
            laws = sampling.law(pair.target.model(text[None]).logits[0, piece.start - 1 : -1])
            torch.testing.assert_close(piece.target_probs, laws, rtol=1e-8, atol=1e-10)
            hidden = pair.draft.hidden(text)[piece.start - 1 : -1]
            torch.testing.assert_close(piece.features, hidden, rtol=1e-8, atol=1e-10)


def test_the_first_logged_loss_is_the_frozen_drafts_divergence(pair):
    """KL(target ‖ draft) at x = 0, computed from fresh forwards with nothing of the adapter's arithmetic."""
    rounds: list[list[Piece]] = []
    online = decoder(pair, record=lambda pieces: rounds.append(list(pieces)))
    serve(online)
    divergence = []
    with torch.inference_mode():
        for piece in rounds[BURNED]:
            text = torch.tensor(piece.tokens[: piece.stop])
            laws = [online.serving.sampling.law(m.model(text[None]).logits[0, piece.start - 1 : -1])
                    for m in (pair.target, pair.draft)]  # fmt: skip
            divergence += (laws[0] * (laws[0].log() - laws[1].log())).sum(-1).tolist()
    assert online.learning.log.lines[0].loss == pytest.approx(sum(divergence) / NU, rel=1e-4)
    assert online.learning.log.lines[0].hint_error == online.learning.log.lines[0].gradient > 0


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0)], ids=["greedy", "sampled"])
def test_a_round_is_learned_at_the_first_step_boundary_after_its_last_token(pair, sampling):
    committed, seen = 0, []

    def watch(step) -> None:
        nonlocal committed
        seen.append((online.learning.log.rounds, max(0, committed // NU - BURNED), bool(online.drafter.x.any())))
        committed += len(step.tokens)

    online = decoder(pair, sampling=sampling, watch=watch)
    serve(online)
    assert all(updates == due and moved == (due > 0) for updates, due, moved in seen)
    assert seen[-1][0] >= 3


def test_learning_never_calls_the_target(pair, monkeypatch):
    calls = []
    hidden = type(pair.target).hidden

    def counted(self, ids, cache=None):
        calls.append(self is pair.target)
        return hidden(self, ids, cache)

    monkeypatch.setattr(type(pair.target), "hidden", counted)
    counts = [count for _, count in serve(decoder(pair))]
    prefills = sum(len(prompt) > 1 for prompt in PROMPTS)
    assert sum(calls) == prefills + sum(count.steps for count in counts)


def test_greedy_losses_are_oblivious_to_the_learner(pair):
    """Same committed text, so the same labels bit for bit and, up to rounding, the same features."""
    seen = []
    for learner in (Frozen(), OGD(256.0), Adam(0.3)):
        pieces: list[Piece] = []
        serve(decoder(pair, learner, GREEDY, record=pieces.extend))
        seen.append((torch.cat([p.target_probs for p in pieces]), torch.cat([p.features for p in pieces])))
    for labels, features in seen[1:]:
        assert torch.equal(labels, seen[0][0])
        torch.testing.assert_close(features, seen[0][1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("gamma", [1, 4, 7])
def test_greedy_text_is_the_targets_while_the_draft_learns(pair, gamma):
    wanted = reference(pair, PROMPTS, 41)
    hint = lambda drafter, pieces: drafter.loss(pieces).grad(drafter.x)  # noqa: E731
    online = decoder(pair, OptimisticOGD(64.0, LastGradient()), GREEDY, gamma=gamma, hint=hint)
    assert [text for text, _ in serve(online)] == wanted
    assert online.learning.log.rounds >= 5


def test_counts_are_those_of_the_steps(pair):
    steps = []
    online = decoder(pair, watch=steps.append)
    counts = [count for _, count in serve(online)]
    total = {key: sum(vars(count)[key] for count in counts) for key in vars(counts[0])}
    assert total["tokens"] == sum(len(step.tokens) for step in steps) == 4 * 41
    assert total["steps"] == len(steps)
    assert total["accepted"] + len(steps) - total["tokens"] <= len(PROMPTS)  # only a request's last step is cut
    assert total["verified"] == total["accepted"] + total["rejections"]
    assert 0 < total["alpha_sum"] <= total["verified"] <= total["drafted"]
    again = sum(
        float(torch.minimum(law, draft).sum())
        for step in steps
        if step.draft_probs is not None
        for i, (law, draft) in enumerate(zip(step.target_probs, step.draft_probs, strict=False))
        if i <= step.accepted
    )
    assert total["alpha_sum"] == pytest.approx(again)
    apart = sum(
        float((law * (law.log() - draft.log()).where(law > 0, law.new_zeros(()))).sum())
        for step in steps
        if step.draft_probs is not None
        for law, draft in list(zip(step.verified_laws, step.draft_probs, strict=False))[: step.accepted + step.rejected]
    )
    assert 0 < total["kl_sum"] == pytest.approx(apart, rel=1e-4)


def test_a_draft_that_rules_a_token_out_is_infinitely_far():
    law = torch.tensor([[0.5, 0.5, 0.0]])
    step = SimpleNamespace(tokens=[1], drafted=1, accepted=1, rejected=0, verified_laws=law)
    for draft, expected in (([1.0, 0.0, 0.0], math.inf), ([0.25, 0.25, 0.5], math.log(2)), ([0.5, 0.5, 0.0], 0.0)):
        counts = Counts()
        counts.add(SimpleNamespace(**vars(step), draft_probs=torch.tensor([draft])))
        assert counts.kl_sum == pytest.approx(expected)


EVERY = [*((name, "adapter", learner) for name, learner in ADAPTER_LEARNERS.items()),
         ("weights", "weights", Adam(1e-3)), ("ngram", "ngram", Frozen()), ("plain", None, Frozen())]  # fmt: skip


@pytest.mark.parametrize("drafter, learner", [entry[1:] for entry in EVERY], ids=[entry[0] for entry in EVERY])
def test_a_saved_state_goes_on_as_if_never_stopped(tmp_path, drafter, learner):
    pair = random_pair("llama", "float32")
    whole, first, second = (decoder(pair, learner, drafter=drafter) for _ in range(3))
    together = serve(whole)
    apart = serve(first, PROMPTS[:2])
    save(tmp_path / "s", first.state(), {"made": "here"})
    tensors, about = load(tmp_path / "s")
    assert about == {"made": "here"}
    second.restore(tensors)
    assert apart + serve(second, PROMPTS[2:]) == together
    if drafter is not None:
        assert second.learning.log.lines == whole.learning.log.lines
        assert second.learning.log.state()["log_sums"].equal(whole.learning.log.state()["log_sums"])
    assert all(torch.equal(value, whole.state()[key]) for key, value in second.state().items())


def test_a_state_before_the_burn_in_ends_can_be_saved(pair):
    first, second = decoder(pair), decoder(pair)
    serve(first, PROMPTS[:1])
    first.serve([1], Ledger())
    second.restore(first.state())
    assert serve(first, PROMPTS[1:]) == serve(second, PROMPTS[1:])


def test_an_outside_hint_is_used_in_place_of_the_learners_own(pair):
    """The last gradient, handed in from outside, does what the learner's own rule does."""
    own = decoder(pair, OptimisticOGD(64.0, LastGradient()))
    last = lambda drafter, pieces: drafter.loss(pieces, Objective(temperature=0.8)).grad(drafter.x)  # noqa: E731 (x is still the one played)
    given = decoder(pair, OptimisticOGD(64.0, Zero()), hint=last)
    without = decoder(pair, OptimisticOGD(64.0, Zero()))
    assert serve(own) == serve(given)
    serve(without)
    assert [entry.gradient for entry in given.learning.log.lines] == pytest.approx(
        [entry.gradient for entry in own.learning.log.lines], rel=1e-5
    )
    assert hint_gain(given.logs) == pytest.approx(hint_gain(own.logs), rel=1e-5)
    assert hint_gain(without.logs) == 1


class Broken(Quadratic):
    def grad(self, x):
        return super().grad(x) + float("nan")


def test_a_gradient_that_is_not_finite_stops_the_learner_and_changes_nothing(pair, monkeypatch):
    online = decoder(pair, ADAPTER_LEARNERS["ensemble"])
    serve(online, PROMPTS[:2])
    before = online.state()
    monkeypatch.setattr(Adapter, "loss", lambda self, pieces, temperature: Broken(torch.zeros(self.dimension)))
    with pytest.raises(
        NonFiniteGradient, match=r"Ensemble, round \d+: 4096 of 4096 gradient.*nothing was updated. Take"
    ):
        serve(online, PROMPTS[2:])
    after = online.state()
    learned = [key for key in before if key.startswith(("learner.", "log"))]
    assert len(learned) > 3
    assert all(torch.equal(after[key], before[key]) for key in learned)


def test_a_decision_that_is_not_finite_is_never_served(pair):
    online = decoder(pair, OGD(1e39))
    with pytest.raises(NonFiniteGradient, match=r"OGD, round 1: the next decision is not finite.*smaller step_size"):
        serve(online)
    assert not online.drafter.x.any()


BAD = {
    "gamma": (lambda pair: Serving(gamma=0), "gamma=0: a step drafts at least one"),
    "nu": (lambda pair: Serving(gamma=4, nu=4), "nu=4: a round must hold a whole step, at least gamma"),
    "length": (lambda pair: Serving(max_new_tokens=0), "max_new_tokens=0"),
    "burn-in": (lambda pair: Serving(burn_in=0), "burn_in=0: must be at least 1"),
    "law": (lambda pair: Serving(law_top_k=-1), "law_top_k=-1"),
    "rounds": (lambda pair: Rounds(0), "nu=0"),
    "copies": (lambda pair: decoder(pair, OGD((1.0, 2.0))), r"plays \(2, 4096\), the drafter serves one"),
    "state": (
        lambda pair: decoder(pair, ADAPTER_LEARNERS["adam"]).restore(decoder(pair).state()),
        "state entry 'learner.first': shape None in the file.*another file",
    ),
    "state of other weights": (
        lambda pair: decoder(pair).restore(decoder(pair, Adam(1e-3), drafter="weights").state()),
        r"state entry 'drafter.ready': shape None in the file, \(\) here.*another file",
    ),
    "state of counts": (
        lambda pair: decoder(pair, Frozen()).restore(decoder(pair, Frozen(), drafter="ngram").state()),
        "state entry 'drafter.ready': shape None in the file",
    ),
    "state of an adapter": (
        lambda pair: decoder(pair, Frozen(), drafter="ngram").restore(decoder(pair, Frozen()).state()),
        r"state entry 'drafter.counts': shape None in the file, \(0, 6\) here",
    ),
    "state of another width": (
        lambda pair: decoder(pair, Frozen()).restore(decoder(pair, Frozen()).state() | {"drafter.whitening": NARROW}),
        r"state entry 'drafter.whitening': shape \(8, 8\) in the file, \(64, 64\) here",
    ),
    "no state": (lambda pair: decoder(pair).restore({}), r"state entry 'rng': shape None in the file"),
}  # fmt: skip


@pytest.mark.parametrize("make, words", BAD.values(), ids=BAD)
def test_errors_name_argument_value_and_rule(pair, make, words):
    with pytest.raises(ValueError, match=words):
        make(pair)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "s").write_bytes(b"not a state")
    with pytest.raises(ValueError, match=r"not a readable state.*remove it and start over"):
        load(tmp_path / "s")
    with pytest.raises(FileNotFoundError, match="no state there; `python -m real run --state"):
        load(tmp_path / "none")


def test_a_cut_law_keeps_the_likeliest_and_sums_to_one():
    law = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
    torch.testing.assert_close(cut(law, 2), torch.tensor([[0.0, 4 / 7, 0.0, 3 / 7]]))
    assert cut(law, 0) is law
    assert cut(law, 4) is law


def test_the_learner_sees_the_cut_law_and_serving_does_not(pair):
    pieces: list[Piece] = []
    online = decoder(pair, record=pieces.extend)
    online.learning.rounds.law_top_k = 8
    texts = serve(online)
    assert all(int((p.target_probs > 0).sum(-1).max()) <= 8 for p in pieces)
    assert next(text for text, _ in texts) == serve(decoder(pair))[0][0], "until learning begins the runs are one"
