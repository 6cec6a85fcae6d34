# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Prefill is feedback too: the prompt as a hint and as text to learn from, both charged; objectives choose."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.objective import Objective  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.feedback import hint_gain  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from theory.hints import Zero  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402

PROMPTS = [[5, 6, 7, 8, 1, 2, 3, 4, 9, 9, 1], [1, 2, 3, 1, 2, 3, 1, 2, 3], [9, 8, 7, 6, 5, 4]]
SERVING = Serving(gamma=3, nu=8, sampling=Sampling(1.0), max_new_tokens=30)


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float64", vocab=128)
    return Pair(target, perturbed(target, 0.05, 1), None)


def decoder(pair: Pair, learner, drafter="heads", **more) -> Decoder:
    settings = {"burn_in": 8} if drafter in ("adapter", "heads") else {}
    return online_decoder(pair, make_drafter(drafter, pair, **settings), learner, SERVING, 5, **more)


@pytest.mark.parametrize("drafter", ["adapter", "heads", "eagle", "hydra", "weights"])
def test_a_hint_of_scale_zero_is_no_hint(pair, drafter):
    """x = anchor − η·0: the decisions and texts of plain gradient descent."""
    eta = 4.0 if drafter in ("adapter", "heads") else 0.01
    hinted = decoder(pair, OptimisticOGD(eta, Zero()), drafter, prompt_hint=0.0)
    plain = decoder(pair, OGD(eta), drafter)
    assert [hinted.serve(p, Ledger())[0] for p in PROMPTS] == [plain.serve(p, Ledger())[0] for p in PROMPTS]
    assert torch.allclose(hinted.drafter.x, plain.drafter.x, atol=1e-6)


def test_the_hint_is_the_prompts_gradient_at_the_anchor(pair):
    made = decoder(pair, OptimisticOGD(4.0, Zero()), prompt_hint=0.3)
    made.serve(PROMPTS[0], Ledger())
    anchor = made.learning.learner_state.anchor.clone()
    made.serve(PROMPTS[1], Ledger())
    prompt = torch.tensor(PROMPTS[1])
    with torch.inference_mode():
        hidden = pair.target.hidden(prompt)
        laws = pair.target.head(hidden[:-1]).float().softmax(-1)
    from real.drafters import Piece

    piece = Piece(PROMPTS[1], 1, len(prompt), laws, None, hidden[:-1], torch.zeros(len(prompt) - 1, dtype=torch.bool))
    want = 0.3 * made.drafter.loss([piece]).grad(anchor)
    assert torch.allclose(made.learning.hint_t, want, atol=1e-6)
    assert float(want.norm()) > 1e-3
    assert 0 < hint_gain(made.logs) != 1


def test_a_prompt_too_short_for_a_hint_is_served_without_the_last_ones(pair):
    made = decoder(pair, OptimisticOGD(4.0, Zero()), prompt_hint=0.3)
    for prompt in PROMPTS[:2]:
        made.serve(prompt, Ledger())
    assert made.learning.hint_t is not None
    served = []
    made.watch = lambda step: served.append(made.drafter.x)
    anchor = made.learning.learner_state.anchor.clone()
    made.serve([7], Ledger())
    assert made.learning.hint_t is None
    assert torch.equal(served[0], anchor)


def test_the_prompt_is_learned_like_any_text(pair):
    made, without = (decoder(pair, OGD(4.0), "adapter", learn_prompt=told) for told in (True, False))
    for prompt in PROMPTS:
        made.serve(prompt, Ledger())
        without.serve(prompt, Ledger())
    told = sum(len(prompt) - 1 for prompt in PROMPTS)
    committed = 3 * SERVING.max_new_tokens
    assert (
        made.learning.log.rounds + 1
    ) * SERVING.nu + made.learning.rounds.waiting == told + committed  # one round was burn-in
    assert (without.learning.log.rounds + 1) * SERVING.nu + without.learning.rounds.waiting == committed


def test_reading_the_prompt_is_charged_to_learning(pair):
    """A clock that ticks once a look: with the hint there are more looks under "learn", none outside it."""

    def seconds(**more) -> dict[str, float]:
        ticks = iter(range(10**6))
        ledger = Ledger(clock=lambda: float(next(ticks)))
        made = decoder(pair, OptimisticOGD(4.0, Zero()), **more)
        made.serve(PROMPTS[0], Ledger())
        made.serve(PROMPTS[1], ledger)
        return ledger.seconds

    plain, hinted = seconds(), seconds(prompt_hint=0.3)
    assert hinted["learn"] > plain["learn"]


def test_only_wrong_positions_are_learned_from(pair):
    """OSD's buffer: the loss is that of the recovered tokens' positions alone; a round without one changes nothing."""
    rounds: list = []
    made = decoder(pair, Adam(1e-3), "weights", objective=Objective(positions="wrong"), record=rounds.append)
    for prompt in PROMPTS:
        made.serve(prompt, Ledger())
    wrong = [sum(int(piece.wrong.sum()) for piece in pieces) for pieces in rounds]
    assert made.learning.log.rounds == sum(count > 0 for count in wrong)
    pieces = next(pieces for pieces, count in zip(rounds, wrong, strict=True) if count)
    loss = made.drafter.losses(pieces, made.learning.objective)[0]
    assert sum(len(target) for target in loss.targets) == sum(int(piece.wrong.sum()) for piece in pieces)
    assert made.drafter.losses([p.since(p.stop) for p in pieces][:0], Objective()) is not None


def test_refusals(pair):
    with pytest.raises(ValueError, match="takes no hints"):
        decoder(pair, OGD(4.0), prompt_hint=0.2)
    with pytest.raises(ValueError, match="loss='l2': must be one of kl"):
        Objective("l2")
    with pytest.raises(ValueError, match="positions='some'"):
        Objective(positions="some")
    with pytest.raises(ValueError, match="looks at runs of positions"):
        Objective("speed", "wrong")
    with pytest.raises(ValueError, match="rule='tree'"):
        Serving(rule="tree")
    with pytest.raises(ValueError, match=r"confidence=1\.5"):
        Serving(confidence=1.5)
