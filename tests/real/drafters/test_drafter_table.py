# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""One table for every drafter: each is held to the laws of ``real/verify/drafter_laws.py``, a test a law."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import DRAFTERS  # noqa: E402
from real.verify.drafter_laws import keeps_the_greedy_text, laws  # noqa: E402
from real.verify.on_trial import Subject, pair_of, widened  # noqa: E402

TABLE = {
    **{name: (name, {}) for name in DRAFTERS},
    "matrix": ("adapter", {"part": "matrix"}),
    "bias": ("adapter", {"part": "bias"}),
    "lora": ("weights", {"lora": 2}),
    "routing": ("mixture", {"mode": "route"}),
}
"""Every drafter, and the settings that make another decision of it."""
LAWS = [(name, law) for name, (drafter, _) in TABLE.items() for law in laws(DRAFTERS[drafter]).values()]
CONVEX = ("adapter", "matrix", "bias", "heads")


@pytest.fixture(scope="module")
def pair():
    return pair_of()


def subject(name: str, pair) -> Subject:
    drafter, settings = TABLE[name]
    return Subject.of(drafter, pair, **settings)


@pytest.mark.parametrize(("name", "law"), LAWS, ids=[f"{name}-{law.__name__}" for name, law in LAWS])
def test_every_drafter_keeps_every_law(name, law, pair):
    law(subject(name, pair))


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
@pytest.mark.parametrize("name", TABLE)
def test_greedy_text_is_transformers_own_on_other_families(name, family):
    keeps_the_greedy_text(subject(name, pair_of(family)))


def by_hand(name: str, drafter, piece, x):
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
    drafter, piece = subject(name, pair).warmed()
    plain = replace(piece, **{k: None if v is None else v.clone() for k, v in
                              (("target_probs", piece.target_probs), ("features", piece.features),
                               ("hidden", piece.hidden))})  # fmt: skip
    loss = widened(drafter.loss([piece]))
    leaf = drafter.x.double().requires_grad_()
    value = by_hand(name, drafter, plain, leaf)
    (grad,) = torch.autograd.grad(value, leaf)
    assert float(loss.value(leaf.detach())) == pytest.approx(float(value.detach()), rel=1e-5)
    torch.testing.assert_close(loss.grad(leaf.detach()), grad, rtol=1e-4, atol=1e-6)
