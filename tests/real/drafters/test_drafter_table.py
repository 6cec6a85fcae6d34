# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""One table for every drafter that trains: round trips, gradients, the loss describes the law drafted, equal texts."""

from dataclasses import fields, replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import DRAFTERS, Drafter, Piece, make_drafter  # noqa: E402
from real.drafters.objective import Objective  # noqa: E402
from real.models.hf import Pair, perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.loss import Blocks, SoftmaxKL  # noqa: E402

PROMPT = [5, 6, 7, 8]
SAMPLED = Sampling(0.8)
BURN_IN = {"burn_in": 20}
TABLE = {
    "adapter": ("adapter", BURN_IN),
    "matrix": ("adapter", {**BURN_IN, "part": "matrix"}),
    "bias": ("adapter", {"part": "bias"}),
    "weights": ("weights", {}),
    "lora": ("weights", {"lora": 2}),
    "heads": ("heads", BURN_IN),
    "hydra": ("hydra", {}),
    "eagle": ("eagle", {}),
}
CONVEX = ("adapter", "matrix", "bias", "heads")


def make_pair(family: str = "llama", dtype: str = "float64", draft_vocab: int | None = None) -> Pair:
    target = random_model(family, 0, dtype, vocab=128)
    return Pair(target, perturbed(target, 0.05, 1, draft_vocab), None)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


def make(name: str, pair: Pair) -> Drafter:
    drafter, settings = TABLE[name]
    return make_drafter(drafter, pair, **settings)


def serve(pair: Pair, drafter: Drafter, new: int = 30, prompt: list[int] = PROMPT, seed: int = 3):
    session = alone(pair.target, drafter, prompt, new)
    steps = list(generate(session, 3, SAMPLED, torch.Generator().manual_seed(seed)))
    drafter.catch_up()
    start, stop = session.texts[0].prompt_length, len(session.texts[0].tokens)
    laws = torch.cat([done.target_probs for done in steps])
    wrong = torch.cat([torch.arange(len(s.tokens)) == (s.accepted if s.rejected else -1) for s in steps])
    hidden = None if session.texts[0].hidden is None else session.texts[0].hidden[: stop - 1]
    return steps, Piece(session.texts[0].tokens, start, stop, laws, drafter.features(start, stop), hidden, wrong)


def warmed(name: str, pair: Pair) -> tuple[Drafter, Piece]:
    """A drafter that is ready, at a decision of its own, and a piece of what it served there."""
    drafter = make(name, pair)
    while not drafter.ready:
        drafter.absorb([serve(pair, drafter)[1]])
    noise = torch.randn(drafter.dimension, generator=torch.Generator().manual_seed(1))
    drafter.load(drafter.x + (1.0 if drafter.convex else 0.03) * noise)
    return drafter, serve(pair, drafter)[1]


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_is_one_flat_vector(name, pair):
    drafter = make(name, pair)
    x = drafter.x
    assert x.shape == (drafter.dimension,)
    assert x.dtype == torch.float32
    other = x + 1
    drafter.load(other)
    assert torch.equal(drafter.x, other)
    drafter.x.zero_()
    assert torch.equal(drafter.x, other), "x must be a copy"
    drafter.load(x)
    assert torch.equal(drafter.x, x)


@pytest.mark.parametrize("name", TABLE)
def test_a_drafter_is_made_alike_every_time_and_leaves_global_randomness_alone(name, pair):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = make(name, pair), make(name, pair)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.x, two.x)
    assert serve(pair, one)[1].tokens == serve(pair, two)[1].tokens


@pytest.mark.parametrize("name", [name for name in DRAFTERS if name not in {row[0] for row in TABLE.values()}])
def test_drafters_with_no_gradient_are_made_alike_and_draft_the_targets_text(name, pair):
    """Those that stand still, and the mixture, whose losses have a file of their own (test_mixture_drafter.py)."""
    one, two = make_drafter(name, pair), make_drafter(name, pair)
    texts = [list(serve(pair, drafter, seed=4)[1].tokens) for drafter in (one, two)]
    assert texts[0] == texts[1]
    session = alone(pair.target, make_drafter(name, pair), PROMPT, 30)
    list(generate(session, 3, Sampling(0.0)))
    assert session.texts[0].tokens[len(PROMPT) :] == reference(pair, [PROMPT], 30)[0]


def by_hand(name: str, drafter: Drafter, piece: Piece, x):
    """The loss written out again in float64 from the docstrings' formulas: autograd's own gradient is the yardstick."""

    def kl(logits, target):
        law = logits.log_softmax(-1)
        return (torch.xlogy(target, target) - target * law).sum(-1).mean()

    target = piece.target_probs.double()
    if name == "heads":
        q, m, total, whole = drafter.q.double(), drafter.whitener.matrix.double(), 0.0, 0.0
        for k, matrix in enumerate(x.view(drafter.heads, drafter.target.width, -1), start=1):
            late = piece.since(k + 1)
            hidden = late.states()[late.start - 1 - k : late.stop - 1 - k]
            base = drafter.target.head(hidden).double()
            weight = drafter.decay ** (k - 1)
            total = total + weight * kl(base + hidden.double() @ m @ matrix @ q.T, late.target_probs.double())
            whole += weight
        return total / whole
    hidden, matrix = piece.features.double(), x.view(drafter.shape)
    base = drafter.model.head(piece.features).double()
    if name == "bias":
        return kl(base + matrix, target)
    moved = hidden @ drafter.whitening.double() @ matrix
    return kl(base + (moved @ drafter.q.double().T if name == "adapter" else moved), target)


@pytest.mark.parametrize("name", CONVEX)
def test_the_gradient_of_a_convex_loss_is_autograds(name, pair):
    drafter, piece = warmed(name, pair)
    plain = replace(piece, **{k: None if v is None else v.clone() for k, v in
                              (("target_probs", piece.target_probs), ("features", piece.features),
                               ("hidden", piece.hidden))})  # fmt: skip
    loss = widened(drafter.loss([piece]))
    leaf = drafter.x.double().requires_grad_()
    value = by_hand(name, drafter, plain, leaf)
    (grad,) = torch.autograd.grad(value, leaf)
    assert float(loss.value(leaf.detach())) == pytest.approx(float(value.detach()), rel=1e-5)
    torch.testing.assert_close(loss.grad(leaf.detach()), grad, rtol=1e-4, atol=1e-6)


def widened(loss):
    """The convex losses' float32 arrays in float64, so that differences mean something."""
    if isinstance(loss, Blocks):
        return replace(loss, losses=tuple(widened(part) for part in loss.losses))
    if isinstance(loss, SoftmaxKL):
        arrays = {field.name: getattr(loss, field.name) for field in fields(loss)}
        return replace(loss, **{k: v.double() for k, v in arrays.items() if isinstance(v, torch.Tensor)})
    return loss


OBJECTIVES = [
    Objective(),
    Objective("reverse_kl"),
    Objective("jsd"),
    Objective("tv"),
    Objective("speed", gamma=3),
    Objective(positions="wrong"),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda row: f"{row.divergence}-{row.positions}")
@pytest.mark.parametrize("name", TABLE)
def test_the_gradient_is_the_derivative(name, objective, pair):
    drafter, piece = warmed(name, pair)
    (loss,) = map(widened, drafter.losses([piece], objective))
    x = drafter.x.double()
    value, grad = loss.value_and_grad(x)
    assert torch.equal(value, loss.value(x))
    assert torch.equal(grad, loss.grad(x))
    direction = grad / grad.norm() + torch.randn(len(x), generator=torch.Generator().manual_seed(2)) / len(x) ** 0.5
    h = 1e-6 if drafter.convex else 1e-3  # transformers' norms compute in float32 whatever the model's dtype
    measured = (loss.value(x + h * direction) - loss.value(x - h * direction)) / (2 * h)
    coarse = 1e-2 if objective.divergence in ("tv", "speed") else 1e-3  # these have kinks
    assert float(measured) == pytest.approx(float(grad @ direction), rel=1e-6 if drafter.convex else coarse)


@pytest.mark.parametrize("name", TABLE)
def test_the_law_drafted_is_the_law_of_the_loss(name, pair):
    """The loss of one position, first drafted in a step, is the KL from the very law that was reported there."""
    drafter, _ = warmed(name, pair)
    steps, piece = serve(pair, drafter)
    at = piece.start
    checked = 0
    for step in steps:
        if step.draft_probs is not None and step.drafted:
            one = replace(piece.since(at), stop=at + 1)
            rows = {k: getattr(one, k) for k in ("target_probs", "features", "wrong")}
            one = replace(one, **{k: None if v is None else v[:1] for k, v in rows.items()})
            loss = drafter.loss([one], Objective(temperature=SAMPLED.temperature))
            if name == "heads":
                loss = loss.losses[0]
                x = drafter.x[: loss.features.shape[-1] ** 2]
            elif name == "hydra":
                loss.shares, x = [float(i == 0) for i in range(len(loss.shares))], drafter.x
            else:
                x = drafter.x
            target, draft = one.target_probs[0].double(), step.draft_probs[0].double()
            want = float(torch.xlogy(target, target).sum() - (target * draft.log()).sum())
            assert float(loss.value(x)) == pytest.approx(want, rel=1e-3, abs=1e-4)
            checked += 1
        at += len(step.tokens)
    assert checked > 5


@pytest.mark.parametrize("name", ["eagle", "hydra"])
def test_the_cache_follows_the_text(name, pair):
    """After rejections, stops and a swap, every law drafted equals that of a drafter that meets the text afresh."""
    drafter, _ = warmed(name, pair)
    session = alone(pair.target, drafter, PROMPT, 30)
    rng = torch.Generator().manual_seed(9)
    for number, step in enumerate(generate(session, 3, SAMPLED, rng)):
        if session.texts[0].done:
            break
        if number == 3:
            drafter.load(drafter.x * 1.01)
        fresh = make(name, pair)
        fresh.load(drafter.x)
        with torch.inference_mode():
            fresh.begin(list(session.texts[0].tokens), session.texts[0].hidden)
            drafted: list = []
            for _ in range(3):
                mine, theirs = drafter.logits_after(drafted), fresh.logits_after(drafted)
                torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
                drafted.append(mine.argmax(-1))
        drafter.commit()
        assert step.tokens


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox"])
@pytest.mark.parametrize("name", TABLE)
def test_greedy_text_is_transformers_own_while_learning(name, family):
    pair = make_pair(family)
    prompts = [[9], PROMPT, [7, 7, 7, 1, 2, 3, 9, 9, 4]]
    learner = OGD(4.0) if name in CONVEX else Adam(1e-3)
    decoder = online_decoder(pair, make(name, pair), learner, Serving(3, 8, Sampling(0.0), 40), 0)
    before = decoder.drafter.x
    assert [decoder.serve(prompt, Ledger())[0] for prompt in prompts] == reference(pair, prompts, 40)
    assert not torch.equal(decoder.drafter.x, before)


@pytest.mark.parametrize("name", CONVEX)
def test_convex_losses_are_convex_and_the_theorys_own(name, pair):
    drafter, piece = warmed(name, pair)
    loss = drafter.loss([piece])
    rng = torch.Generator().manual_seed(4)
    for _ in range(20):
        x, y = (drafter.x + torch.randn(drafter.dimension, generator=rng) for _ in range(2))
        middle = float(loss.value((x + y) / 2))
        assert middle <= (float(loss.value(x)) + float(loss.value(y))) / 2 + 1e-5
        assert float(loss.value(y)) >= float(loss.value(x) + loss.grad(x) @ (y - x)) - 1e-4
